"""A labelled part of a text: a named entity, a slot."""

from typing import NamedTuple


class Span(NamedTuple):
    """Args:
    start: Of its first character, in code points from 0.
    end: Behind its last character.
    label: What it is.
    """

    start: int
    end: int
    label: str


class Passage(NamedTuple):
    """A part of a text that answers a question about it.

    Args:
        start: Of its first character, in code points from 0.
        end: Behind its last character.
        text: What stands there.
    """

    start: int
    end: int
    text: str
