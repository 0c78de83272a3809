"""Rows of texts with what is to be written of them, looked through before anything is learnt.

What could never be written is refused with file and row. What is probably a slip of whoever put the
rows together, such as a text that was not translated or a placeholder that was lost, is said.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from sartor.core.errors import DataError
from sartor.core.events import Note
from sartor.core.placeholders import lacking
from sartor.core.replies import plainly
from sartor.data.language import UNKNOWN, language_of
from sartor.data.table import FILE, ROW, Columns, place, texts_of
from sartor.search.desk import Desk
from sartor.tune.sides import LONGEST_WRITTEN, Sides

_MOST = 0.5
"""Share of rows from which one says that most are so."""
_CLEAR = 0.6
"""Share of texts in one language from which a column has a language."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """Texts, what is written of them, and where they stand."""

    texts: Sequence[str]
    written: Sequence[str]
    places: Sequence[str]

    def those(self, fits: Callable[[str, str], bool]) -> list[int]:
        """Which rows are so."""
        pairs = zip(self.texts, self.written, strict=True)
        return [i for i, (text, written) in enumerate(pairs) if fits(text, written)]


def check_pairs(frame: pl.DataFrame, columns: Columns, sides: Sequence[Sides], desk: Desk) -> None:
    """Look through clean rows.

    Args:
        frame: From `data.clean`.
        columns: Which hold texts and what is written of them.
        sides: How each model reads and writes.
        desk: Gives the task, and is told.

    Raises:
        DataError: If most texts and references stand in each other's column, or a tokenizer does
            not give a reference back.
    """
    rows = _Rows(
        [text or "" for text in texts_of(frame[columns.text])],
        [text or "" for text in texts_of(frame[columns.label])],
        [place(str(f), int(r)) for f, r in zip(frame[FILE], frame[ROW], strict=True)],
    )
    form = [note for each in sides for note in _changed(rows, each)]
    if desk.need.task == "translation":
        told = [*_untranslated(rows), *_swapped(rows, columns)]
    else:
        told = _longer(rows)
    for text in (
        *form,
        *told,
        *_lost(rows),
        *(note for each in sides for note in _too_long(rows, each)),
    ):
        desk.emit(Note(text, "warning"))


def _changed(rows: _Rows, sides: Sides) -> list[str]:
    """References that a tokenizer gives back in another form, such as ， as a comma.

    Raises:
        DataError: If it does not give one back at all.
    """
    changed = rows.those(lambda _, written: not sides.survives(written))
    backs = {i: sides.text(sides.written(rows.written[i])) for i in changed}
    lost = [i for i in changed if _letters(backs[i]) != _letters(rows.written[i])]
    if lost:
        first = lost[0]
        more = f" {len(lost):,} such rows." if len(lost) > 1 else ""
        raise DataError(
            f"{rows.places[first]}: the tokenizer of {sides.name} gives"
            f" {rows.written[first][:60]!r} back as {backs[first][:60]!r}, so it could never be"
            f" written.{more}",
            fix="correct the rows, take them out, or name another model under prefer.backbones.",
        )
    if not changed:
        return []
    first = changed[0]
    return [
        f"{sides.name} writes {len(changed):,} of {len(rows.written):,} references in another form,"
        f" the first at {rows.places[first]}: {rows.written[first][:40]!r} as"
        f" {backs[first][:40]!r}."
    ]


def _letters(text: str) -> str:
    """A text without what is only form: spaces, and the widths of characters."""
    return "".join(unicodedata.normalize("NFKC", text).split())


def _untranslated(rows: _Rows) -> list[str]:
    same = rows.those(lambda text, written: plainly(text) == plainly(written))
    if len(same) <= _MOST * len(rows.texts):
        return []
    return [
        f"{len(same):,} of {len(rows.texts):,} texts are their own translation, the first at"
        f" {rows.places[same[0]]}: is the right column under data.label?"
    ]


def _swapped(rows: _Rows, columns: Columns) -> list[str]:
    """Rows that stand the other way round than most.

    Raises:
        DataError: If so many do that there is no way that most stand.
    """
    spoken = [[language_of(text) for text in side] for side in (rows.texts, rows.written)]
    main = [_main(side) for side in spoken]
    if not main[0] and not main[1]:
        count = Counter(code for code in spoken[0] if code != UNKNOWN).most_common(2)
        if len(count) < 2 or {code for code, _ in count} != {*_pair(spoken)}:
            return []
        raise DataError(
            f"Half of the rows stand the other way round: the column {columns.text!r} holds"
            f" {count[0][1]:,} texts in {count[0][0]} and {count[1][1]:,} in {count[1][0]}.",
            fix="put all texts into one column and all translations into the other.",
        )
    if not main[0] or not main[1] or main[0] == main[1]:
        return []
    other = rows.those(
        lambda text, written: (language_of(text), language_of(written)) == (main[1], main[0])
    )
    if not other:
        return []
    return [
        f"{len(other):,} of {len(rows.texts):,} rows stand the other way round, from {main[1]} to"
        f" {main[0]}, the first at {rows.places[other[0]]}: swap their columns, or take them out."
    ]


def _main(codes: Sequence[str]) -> str:
    """The language of most that have one; empty where there is none."""
    known = Counter(code for code in codes if code != UNKNOWN)
    code, count = known.most_common(1)[0] if known else ("", 0)
    return code if count > _CLEAR * known.total() else ""


def _pair(spoken: Sequence[Sequence[str]]) -> list[str]:
    """The two commonest languages of both columns together."""
    known = Counter(code for side in spoken for code in side if code != UNKNOWN)
    return [code for code, _ in known.most_common(2)]


def _longer(rows: _Rows) -> list[str]:
    longer = rows.those(lambda text, written: len(written) > len(text))
    if len(longer) <= _MOST * len(rows.texts):
        return []
    return [
        f"{len(longer):,} of {len(rows.texts):,} summaries are longer than their text, the first at"
        f" {rows.places[longer[0]]}: do data.text and data.label name the right columns?"
    ]


def _lost(rows: _Rows) -> list[str]:
    lost = rows.those(lambda text, written: bool(lacking(text, written)))
    if not lost:
        return []
    first = lost[0]
    missing = ", ".join(lacking(rows.texts[first], rows.written[first])[:3])
    shown = ", ".join(rows.places[i] for i in lost[1:4])
    also = f" (also {shown}{', …' if len(lost) > 4 else ''})" if shown else ""
    return [
        f"{len(lost):,} of {len(rows.texts):,} references lack a placeholder or tag of their text,"
        f" the first at {rows.places[first]}: {missing}{also}."
    ]


def _too_long(rows: _Rows, sides: Sides) -> list[str]:
    room = sides.most_read - len(sides.before) - len(sides.after)
    limits = (
        (rows.texts, room, "text", "texts", "its end is not read"),
        (
            rows.written,
            min(LONGEST_WRITTEN, sides.positions - len(sides.opening)) - 1,
            "reference",
            "references",
            "its end is not learnt",
        ),
    )
    found: list[str] = []
    for texts, most, one, many, what in limits:
        # A token is rarely less than a character: most rows need not be read for this.
        long = [i for i, t in enumerate(texts) if len(t) > most // 4 and len(sides.said(t)) > most]
        if long:
            named = one if len(long) == 1 else many
            found.append(
                f"{len(long):,} {named} of more than {most:,} tokens of {sides.name}, the first at"
                f" {rows.places[long[0]]}: {what}."
            )
    return found
