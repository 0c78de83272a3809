"""A row's way through a product: what each part read, what it answered, and where the row ended.

What a part reads of a row is a text for each of its bundle's inputs. One that puts documents in
another order is asked once for each of them; one that writes reads a conversation, with what was
found at the end of the system message.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sartor.core.texts import Text
from sartor.core.types import HAND_OFF
from sartor.llm.conversation import Message, as_text, conversation_of, informed
from sartor.need.parts import HISTORY, TEXT, Part

_LEAST = 1e-6
"""Confidence of an outcome that was found: none at all says that a person answers."""
_BETWEEN = "\n\n"
"""Stands between documents that are read together."""


@dataclass(frozen=True, slots=True)
class Step:
    """One part's answer on a row's way.

    Args:
        part: Its name.
        said: The label, the document's id, the labelled parts or the reply, as a text; None where
            it abstains.
        best: What it would have said.
        confidence: In `best`, 0 to 1.
        words: `said` as a person reads it: of documents what each says, the best first.
        answer: In the part's own response form.
        decides: Whether the outcome hangs on it; see `need.graph.deciding`.
    """

    part: str
    said: str | None
    best: str
    confidence: float
    words: tuple[str, ...]
    answer: Mapping[str, Any]
    decides: bool = False


@dataclass(slots=True)
class Way:
    """How a row went, and where it ended."""

    steps: list[Step] = field(default_factory=list[Step])
    outcome: str = HAND_OFF
    words: str = ""
    reason: str = ""
    given: str = ""
    """The part whose answer is the outcome."""
    reply: str = ""
    """The part that writes what is said of it."""

    @property
    def confidence(self) -> float:
        """That the outcome is right: that all are on which it hangs."""
        sure = [s.confidence for s in self.steps if s.decides or s.part == self.given]
        return max(float(np.prod(sure)), _LEAST)

    def of(self, part: str) -> Step:
        """The answer of a part that it has passed."""
        return next(step for step in self.steps if step.part == part)

    def told(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """A decoded answer with the way there."""
        found = dict(answer)
        if found["outcome"] != HAND_OFF:
            found["say"] = self.words
        elif self.reason:
            found["reason"] = self.reason
        found["path"] = [
            {
                "part": step.part,
                "best": step.best,
                "confidence": float(f"{step.confidence:.6g}"),
                "answer": dict(step.answer),
            }
            for step in self.steps
        ]
        return found


def asked_of(part: Part, text: str, way: Way) -> list[Text]:
    """What a part is asked about a row: one question, or one for each document that it ranks.

    Args:
        part: That the row has reached; none that writes words of its own.
        text: The row.
        way: So far.
    """
    messages = conversation_of(text)

    def read(name: str) -> str:
        if name == TEXT:
            return messages[-1].content
        if name == HISTORY:
            return "\n".join(each.content for each in messages if each.role == "user")
        return _found(name, part, way)

    if part.ranks is None:
        return [_side_by_side([read(name) for name in part.reads])]
    documents = way.of(part.ranks).words[: part.most]
    return [
        _side_by_side([words if name == part.ranks else read(name) for name in part.reads])
        for words in documents
    ]


def replied_to(part: Part, text: str, way: Way) -> str:
    """The conversation that a part which writes replies to, as `llm.conversation` has it.

    The arguments are those of `asked_of`.
    """
    messages: Sequence[Message] = conversation_of(text)
    if part.reads[0] == TEXT:
        messages = messages[-1:]
    return as_text(informed(messages, [_found(name, part, way) for name in part.read_parts()]))


def _found(name: str, part: Part, way: Way) -> str:
    """What a part reads of another's answer."""
    return _BETWEEN.join(way.of(name).words[: part.most])


def _side_by_side(texts: Sequence[str]) -> Text:
    return texts[0] if len(texts) == 1 else tuple(texts)
