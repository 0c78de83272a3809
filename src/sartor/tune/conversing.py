"""A chat model's template as the joints of `llm.written`: two conversations are written with it.

Marks stand in the place of what is said; the pieces between them are the template's. A template
that does not treat turns alike, or changes what is said, is refused.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sartor.core.errors import ModelError, SettingError
from sartor.core.types import Backbone
from sartor.llm.written import Joints
from sartor.models.chat_template import ChatTemplate, read_template
from sartor.models.loading import load_tokenizer
from sartor.models.packed import printable
from sartor.tune.framing import plain
from sartor.tune.published import Published

_MARK = re.compile("\ue000([0-9]+)\ue001")
"""Private characters: no template writes them."""
_ROLES = ("user", "assistant", "user", "assistant", "user", "assistant")
_FIX = "choose a chat model of ChatML's or Llama's kind, e.g. smollm2."


class Conversing:
    """How one model reads conversations.

    Args:
        backbone: A chat model.

    Raises:
        ModelError: If its folder is damaged, or its template refuses a conversation.
        SettingError: If it has no template, or one that joints cannot stand for.
    """

    def __init__(self, backbone: Backbone) -> None:
        folder = Path(backbone.path)
        template = read_template(folder)
        if template is None:
            raise SettingError(
                f"{backbone.name} is no chat model: its folder has no chat template.", fix=_FIX
            )
        self.whole = load_tokenizer(folder)
        self.published = Published(self.whole, template=template)
        self.tokenizer = plain(self.whole)
        """Reads what is said: it knows no control token."""
        alone = _pieces(template, _ROLES)
        first_system, system_user, *rest = _pieces(template, ("system", *_ROLES))
        assistant, user, end = alone[1], alone[2], alone[-1]
        inner = [assistant, user, assistant, user, assistant, end]
        if alone[1:] != inner or rest != inner or not assistant or not end:
            raise SettingError(
                f"the chat template of {backbone.name} does not write every turn alike.", fix=_FIX
            )
        self.joints = Joints(
            first_system=self._control(first_system),
            system_user=self._control(system_user),
            first_user=self._control(alone[0]),
            assistant=self._control(assistant),
            user=self._control(user),
        )
        self.stop = self._control(end)[:1]
        """What ends a reply."""
        specials = {t: a.content for t, a in self._specials()}
        self.silent = frozenset(specials)
        """What spells nothing."""
        self.spelt = tuple(specials.values())
        """How control tokens are spelt."""

    def said(self, text: str) -> list[int]:
        """Token ids of what is said."""
        return self.tokenizer.encode(printable(text), add_special_tokens=False).ids

    def survives(self, text: str) -> bool:
        """Whether the tokenizer gives a text back as it was."""
        return self.text(self.said(text)).strip() == text.strip()

    def text(self, ids: Sequence[int]) -> str:
        """What token ids spell; control tokens spell nothing."""
        return self.tokenizer.decode([token for token in ids if token not in self.silent])

    def _specials(self) -> Iterator[tuple[int, Any]]:
        for token, added in self.whole.get_added_tokens_decoder().items():
            if added.special:
                yield token, added

    def _control(self, piece: str) -> list[int]:
        return self.whole.encode(piece, add_special_tokens=False).ids


def _pieces(template: ChatTemplate, roles: Sequence[str]) -> list[str]:
    """What the template writes before, between and behind the messages."""
    marked = [{"role": role, "content": f"\ue000{i}\ue001"} for i, role in enumerate(roles)]
    try:
        pieces = _MARK.split(template.written(marked))
    except ModelError as error:
        raise SettingError(error.what, fix=_FIX) from error
    if [int(number) for number in pieces[1::2]] != [*range(len(roles))]:
        raise SettingError(
            "its chat template does not write every message once and in order.", fix=_FIX
        )
    return pieces[::2]
