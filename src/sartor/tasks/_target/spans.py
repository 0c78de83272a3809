"""Labelled parts of a text, however a file writes them.

    [{"start": 8, "end": 13, "label": "city"}]      a JSON list, a mapping each
    [[8, 13, "city"]]                               or a list each
    []                                              no part has a label: a known answer

`start` and `end` count characters (code points) from 0, the end is not included; a mapping may hold
`text` too, which must then be what stands there. Parts do not overlap, and begin and end where
pieces do (`core.pieces`). The text of an answer is a JSON list of lists, in order; its value a
tuple of `Span`.
"""

import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

from sartor.core.pieces import cut_piece, pieces
from sartor.core.spans import Span
from sartor.tasks import Unreadable
from sartor.tasks._target.cells import parsed, whole_number

_MOST_CHARS = 1_000_000
_MOST_SPANS = 10_000
_LABELS = ("label", "entity", "type", "entity_group")
_SAME = 'write a JSON list, e.g. [{"start": 0, "end": 5, "label": "city"}], and [] for none'
_OFFSETS = "count characters from 0, the end not included, in the text as the file has it"


@dataclass(frozen=True, slots=True)
class Spans:
    """See above."""

    least: int = 1

    def read(self, cell: str, declared: Sequence[str] = ()) -> str:
        return self.text([span for span, _ in _listed(cell)])

    def read_in(
        self, cell: str, declared: Sequence[str], text: str, usual: Callable[[str], str]
    ) -> str:
        """As `read`, for the text that the parts are of: see `tasks.Located`."""
        moved = [_moved(span, said, text, usual) for span, said in _listed(cell)]
        return self.text(moved)

    def value(self, text: str) -> tuple[Span, ...]:
        return tuple(Span(start, end, label) for start, end, label in json.loads(text))

    def text(self, value: Sequence[Any]) -> str:
        spans = sorted((int(s), int(e), unicodedata.normalize("NFC", str(n))) for s, e, n in value)
        return json.dumps(spans, ensure_ascii=False)

    def columns(self, pattern: str, names: Sequence[str]) -> Mapping[str, str]:
        return {}


def check_pieces(span: Span, text: str) -> None:
    """That a part begins and ends where pieces of the text do.

    Raises:
        Unreadable: If it does not; says what stands there.
    """
    places = pieces(text)
    starts, ends = {start for start, _ in places}, {end for _, end in places}
    if span.start in starts and span.end in ends:
        return
    cut = cut_piece(span.start, span.end, places)
    shown = text[span.start : span.end]
    if cut is None:
        raise Unreadable(f"{_named(span)} is {shown!r:.60}, which holds no text", _OFFSETS)
    raise Unreadable(
        f"{_named(span)} is {shown!r:.60}, which cuts {text[cut[0] : cut[1]]!r:.60} in two",
        "let it begin and end at the edge of a word, a number or a character, or correct the"
        " offsets",
    )


def _listed(cell: str) -> list[tuple[Span, str | None]]:
    """The parts of a cell, in order, each with what is said to stand there."""
    cell = cell.strip()
    if len(cell) > _MOST_CHARS:
        raise Unreadable(
            f"the cell is {len(cell):,} characters long", "check that the column holds spans"
        )
    try:
        found = parsed(cell)
    except ValueError:
        raise Unreadable(f"{cell[:80]!r} is no list of labelled parts", _SAME) from None
    if isinstance(found, Mapping):
        found = cast("Mapping[str, Any]", found).get("entities", found)
    if not isinstance(found, list | tuple):
        raise Unreadable(f"{cell[:80]!r} is no list of labelled parts", _SAME)
    listed = cast("Sequence[Any]", found)
    if len(listed) > _MOST_SPANS:
        raise Unreadable(f"the cell lists {len(listed):,} parts", "check the column")
    spans = sorted((_span(each) for each in listed), key=lambda each: each[0])
    for (one, _), (other, _) in pairwise(spans):
        if other.start < one.end:
            raise Unreadable(
                f"{_named(one)} and {_named(other)} overlap", "keep the one that matters"
            )
    return spans


def _span(each: Any) -> tuple[Span, str | None]:
    """A part, and what is said to stand there."""
    if isinstance(each, Mapping):
        given = cast("Mapping[str, Any]", each)
        label = next((given[name] for name in _LABELS if name in given), None)
        parts, said = (given.get("start"), given.get("end"), label), given.get("text")
    elif isinstance(each, list | tuple) and len(cast("Sequence[Any]", each)) == 3:
        parts, said = tuple(cast("Sequence[Any]", each)), None
    else:
        raise Unreadable(f"{str(each)[:80]!r} is no labelled part", _SAME)
    start, end, label = whole_number(parts[0]), whole_number(parts[1]), parts[2]
    if start is None or end is None or isinstance(label, bool) or not str(label or "").strip():
        raise Unreadable(f"{str(each)[:80]!r} lacks a start, an end or a label", _SAME)
    if not 0 <= start < end:
        raise Unreadable(f"a part goes from {start} to {end}", _OFFSETS)
    name = unicodedata.normalize("NFC", str(label).strip())
    return Span(start, end, name), said if isinstance(said, str) else None


def _moved(span: Span, said: str | None, text: str, usual: Callable[[str], str]) -> Span:
    """Where a part lies once its text has its usual form."""
    start, end, label = span
    if end > len(text):
        raise Unreadable(f"{_named(span)} ends behind the text, at {len(text)}", _OFFSETS)
    there = text[start:end]
    if said is not None and said != there:
        raise Unreadable(f"{_named(span)} is {there!r:.60} and not {said!r:.60}", _OFFSETS)
    start += len(there) - len(there.lstrip())
    end -= len(there) - len(there.rstrip())
    after = usual(text)
    if after != text:
        # What stands before is measured with a letter behind it, which keeps its last space.
        start, end = len(usual(text[:start] + "x")) - 1, len(usual(text[:end]))
    if start >= end:
        raise Unreadable(f"{_named(span)} is {there!r:.60}, which holds no text", _OFFSETS)
    found = Span(start, end, label)
    check_pieces(found, after)
    return found


def _named(span: Span) -> str:
    return f"{span.label!r:.60} from {span.start} to {span.end}"
