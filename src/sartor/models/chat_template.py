"""How a chat model was taught to read a conversation: the template that comes with it.

A template is a stranger's Jinja. transformers runs it in a sandbox where nothing can be changed or
called but what it is given; its size is checked before it is parsed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sartor.core.errors import ModelError
from sartor.models.folder import read_capped

_MOST_BYTES = 1 << 20
TEMPLATE, SETTINGS = "chat_template.jinja", "tokenizer_config.json"


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A template, and what it may name.

    Args:
        text: Jinja.
        tokens: bos_token and the like, as the model's settings spell them.
    """

    text: str
    tokens: Mapping[str, str]

    def written(self, messages: Sequence[Mapping[str, str]], *, begins: bool = False) -> str:
        """The conversation as the model reads it.

        Args:
            messages: Each with its role ("system", "user" or "assistant") and content.
            begins: Whether to go on to where the next reply begins, where the template says so.

        Raises:
            ModelError: If the template refuses them or is broken.
        """
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        render: Any = render_jinja_template
        try:
            found = render(
                [[dict(message) for message in messages]],
                chat_template=self.text,
                add_generation_prompt=begins,
                **self.tokens,
            )
        except (TemplateError, TypeError, ValueError, LookupError) as error:
            raise ModelError(
                f"its chat template cannot write a prompt: {error}",
                fix="choose a chat model whose template knows a system message.",
            ) from error
        return str(found[0][0])


def read_template(folder: Path) -> ChatTemplate | None:
    """The template of a model's folder; None where it has none.

    Raises:
        ModelError: If a file is too large or damaged.
    """
    settings: Any = {}
    if (folder / SETTINGS).is_file():
        try:
            settings = json.loads(read_capped(folder / SETTINGS, _MOST_BYTES))
        except (ValueError, RecursionError) as error:
            raise ModelError(
                f"{folder / SETTINGS} is not JSON: {error}.",
                fix="get the file from the model's source again.",
            ) from error
    settings = settings if isinstance(settings, dict) else {}
    text: Any = settings.get("chat_template")
    if (folder / TEMPLATE).is_file():
        text = read_capped(folder / TEMPLATE, _MOST_BYTES).decode("utf-8", "replace")
    if not isinstance(text, str) or not text.strip():
        return None
    tokens = {key: settings.get(key) for key in ("bos_token", "eos_token", "pad_token")}
    return ChatTemplate(text, {k: v for k, v in tokens.items() if isinstance(v, str)})
