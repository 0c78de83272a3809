"""How a conversation becomes token ids, and when a reply ends: `writer.json` of a bundle.

A chat template is Jinja; what is needed of it fits into six pieces, the joints between messages
whose turns alternate:

    first_system S system_user U assistant A user U assistant A … end      with a system message
    first_user U assistant A user U assistant A … end                      without one

They are token ids, control tokens among them. What is said is read by a tokenizer that knows none,
so a text that spells `<|im_end|>` stays a text.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from sartor.llm.checked import read_checked
from sartor.llm.conversation import Message

FILE = "writer.json"
FORMAT = 1
_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)
Id = Annotated[int, Field(ge=0, lt=1 << 24)]
Encode = Callable[[str], Sequence[int]]
"""A text to token ids, none of them a control token."""


class Joints(BaseModel):
    """Token ids between messages; see the module."""

    model_config = _STRICT

    first_system: list[Id]
    system_user: list[Id]
    first_user: list[Id]
    assistant: list[Id]
    user: list[Id]


class Shown(BaseModel):
    """A text and its reply, as token ids, that stand before every conversation."""

    model_config = _STRICT

    text: list[Id]
    reply: list[Id]


class WriterFile(BaseModel):
    """The contents of `writer.json`."""

    model_config = _STRICT

    format: int = Field(default=FORMAT, ge=1, le=FORMAT)
    joints: Joints
    stop: list[Id] = Field(min_length=1, max_length=16)
    """Tokens that end a reply."""
    silent: list[Id] = Field(default_factory=list[Id], max_length=100_000)
    """Control tokens: in a reply they spell nothing."""
    shown: list[Shown] = Field(default_factory=list[Shown], max_length=64)
    context: int = Field(ge=16, le=1_000_000)
    """Tokens of a conversation with its reply."""
    max_new_tokens: int = Field(ge=1, le=100_000)
    """Of a reply, where nothing else is asked for."""
    layers: int = Field(ge=1, le=1_000)
    heads: int = Field(ge=1, le=1_000)
    """That keys and values have."""
    size: int = Field(ge=1, le=10_000)
    """Of a head."""

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json"), indent=1) + "\n"


@dataclass(frozen=True, slots=True)
class Asked:
    """A conversation as the model reads it.

    Args:
        ids: Up to where the reply begins.
        whole: Whether nothing was left out.
    """

    ids: tuple[int, ...]
    whole: bool


def read_writer(path: Path) -> WriterFile:
    """Read the file of a bundle, which nobody vouches for.

    Raises:
        BundleError: If it is too large or not of its form.
    """
    return read_checked(path, WriterFile)


def asked(writer: WriterFile, messages: Sequence[Message], encode: Encode, room: int) -> Asked:
    """A conversation as token ids, the oldest turns left out where it is too long.

    The shown examples stay, and so do the system message and the last one. Where these two are too
    long together the system message is cut at its end, then the last message, each down to half of
    what there is.

    Args:
        writer: See `WriterFile`.
        messages: Checked.
        encode: See `Encode`.
        room: Tokens there are for it.
    """
    joints = writer.joints
    system = [m for m in messages if m.role == "system"]
    turns = [list(encode(m.content)) for m in messages if m.role != "system"]
    shown = _joined([ids for each in writer.shown for ids in (each.text, each.reply)], joints)
    start, whole = list(joints.first_user), True
    if system:
        told = list(encode(system[0].content))
        both = room - sum(map(len, (shown, joints.first_system, joints.system_user)))
        both = max(both - len(joints.assistant), 0)
        kept = told[: max(both - len(turns[-1]), both // 2)]
        start = [*joints.first_system, *kept, *joints.system_user]
        whole = len(kept) == len(told)
    fixed = [*start, *shown]
    left = room - len(fixed) - len(joints.assistant)
    while len(turns) > 1 and len(_joined(turns[:-1], joints)) + len(turns[-1]) > left:
        turns, whole = turns[2:], False
    head = [*fixed, *_joined(turns[:-1], joints)]
    left = max(left + len(fixed) - len(head), 1)
    return Asked((*head, *turns[-1][:left], *joints.assistant), whole and len(turns[-1]) <= left)


def before_text(writer: WriterFile) -> tuple[int, ...]:
    """What stands before the text of a conversation of one message."""
    shown = [ids for each in writer.shown for ids in (each.text, each.reply)]
    return (*writer.joints.first_user, *_joined(shown, writer.joints))


def _joined(turns: Sequence[Sequence[int]], joints: Joints) -> list[int]:
    """Whole turns, an even number of them, each with the joint behind it."""
    found: list[int] = []
    for place, ids in enumerate(turns):
        found += [*ids, *(joints.assistant if place % 2 == 0 else joints.user)]
    return found
