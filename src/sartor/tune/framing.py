"""A prompt around a text that is not there yet, as token ids.

A conversation is written by the model's own chat template with a mark in the place of everything
that is said. The pieces between the marks are the template's and may hold the model's control
tokens; what is said is data, an example as much as the text, and is read without them: nothing in
it can end a message or begin another.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from sartor.core.errors import SettingError
from sartor.llm.prompt import Shown
from sartor.models.chat_template import ChatTemplate
from sartor.models.packed import printable
from sartor.models.unreachable import guarded, hide
from sartor.tasks._encoder.choices import Choices
from sartor.tasks._encoder.prompted import Framed

_MARK = re.compile("\ue000([0-9]+)\ue001")
"""Private characters: no template writes them."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a language model is asked about every text.

    Args:
        outputs: The labels.
        descriptions: What they mean, where the need says so.
        shown: Labelled texts, in the order in which they are shown.
    """

    outputs: Sequence[str]
    descriptions: Mapping[str, str]
    shown: Sequence[Shown]

    def messages(self, text: str, answer: str) -> list[dict[str, str]]:
        """The conversation up to the answer about `text`."""
        turns = [*((each.text, each.label) for each in self.shown), (text, answer)]
        found = [{"role": "system", "content": self._instructions()}]
        for said, label in turns:
            found.append({"role": "user", "content": said})
            found.append({"role": "assistant", "content": label})
        return found

    def _instructions(self) -> str:
        described = [(name, self.descriptions.get(name, "")) for name in self.outputs]
        lines = [
            f"- {name}: {' '.join(said.split())}" if said else f"- {name}"
            for name, said in described
        ]
        return "\n".join(
            [
                "You sort texts. Choose the one label that fits each text best.",
                "",
                "The labels:",
                *lines,
                "",
                "Answer with the label alone.",
            ]
        )


def plain(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer that reads a text as text: no control token in it, and none added to it."""
    settings = json.loads(tokenizer.to_str())
    control = {t["id"] for t in settings["added_tokens"] if t["special"]}
    settings["added_tokens"] = [t for t in settings["added_tokens"] if not t["special"]]
    settings["post_processor"] = None
    hidden = hide(settings, control)
    found = Tokenizer.from_str(json.dumps(hidden))
    return found if hidden is settings else guarded(found)


def frame(tokenizer: Tokenizer, template: ChatTemplate, question: Question) -> Framed:
    """The prompt around a text, and the choices between the labels behind it.

    Args:
        tokenizer: The model's, with its control tokens; cuts and pads nothing.
        template: The model's.
        question: See `Question`.

    Raises:
        ModelError: If the template refuses a system message, or is broken.
        SettingError: If it does not write every message once and in order, or two labels are the
            same to the tokenizer.
    """
    spoken = question.messages("", "")
    marked = [{**each, "content": f"\ue000{i}\ue001"} for i, each in enumerate(spoken)]
    pieces = _MARK.split(template.written(marked))
    # What stands outside the marks, and their numbers, in turn.
    outside, numbers = pieces[::2], [int(number) for number in pieces[1::2]]
    if numbers != [*range(len(spoken))] or not all(outside[-3:]):
        raise SettingError(
            "its chat template does not write every message once, in order and closed.",
            fix="choose another chat model.",
        )
    reads = plain(tokenizer)

    def ids(text: str, *, control: bool) -> list[int]:
        reader = tokenizer if control else reads
        return reader.encode(printable(text), add_special_tokens=False).ids

    # All but the last two messages, the text and its answer, are known.
    before: list[int] = []
    for piece, message in zip(outside[:-3], spoken[:-2], strict=True):
        before += ids(piece, control=True) + ids(message["content"], control=False)
    before += ids(outside[-3], control=True)
    behind, closing = ids(outside[-2], control=True), ids(outside[-1], control=True)
    labels = [[*ids(name, control=False), closing[0]] for name in question.outputs]
    try:
        choices = Choices.among(labels)
    except ValueError as error:
        raise SettingError(
            f"its tokenizer cannot tell the labels apart: {error}.", fix="rename one of the labels."
        ) from error
    return Framed(before, behind, choices)
