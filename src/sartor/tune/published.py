"""How a model that writes was published to read: kept beside its fit.

A fit reads without control tokens, so that a text can name none. Whoever takes the model elsewhere
needs the tokenizer that knows them, and the template of conversations.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sartor.core.types import TARGET_TOKENIZER
from sartor.models.chat_template import SETTINGS, TEMPLATE, ChatTemplate


@dataclass(frozen=True, slots=True)
class Published:
    """What stands in the folder `core.types.PUBLISHED` of a fit.

    Args:
        tokenizer: Reads texts.
        writer: Spells what is written, where that is another; else None.
        template: Of conversations; None where the model has none.
    """

    tokenizer: Any
    writer: Any = None
    template: ChatTemplate | None = None

    def save(self, folder: Path) -> None:
        """Write tokenizer.json, and what else there is, as `models.chat_template` and
        `models.loading` read them."""
        folder.mkdir(parents=True)
        self.tokenizer.save(str(folder / "tokenizer.json"))
        if self.writer is not None:
            self.writer.save(str(folder / TARGET_TOKENIZER))
        if self.template is not None:
            (folder / TEMPLATE).write_text(self.template.text, encoding="utf-8")
            settings = json.dumps(dict(self.template.tokens), ensure_ascii=False, sort_keys=True)
            (folder / SETTINGS).write_text(settings + "\n", encoding="utf-8")
