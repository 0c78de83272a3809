"""Profile: what a table holds, and a guess at which column plays which part."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from sartor.core.errors import DataError
from sartor.core.strata import counted_under, names_of
from sartor.core.types import Modality
from sartor.data.language import languages
from sartor.data.marks import shared_pattern
from sartor.data.named import is_named, is_sure, is_whole, rank_of
from sartor.data.normalise import MISSING_TEXT
from sartor.data.numbers import are_numbers
from sartor.data.table import FILE, OURS, ROW, place, texts_of
from sartor.data.times import times_of
from sartor.tasks import Located, Target, Unreadable, Written, read_among
from sartor.tasks._target.one_label import ONE_LABEL
from sartor.tasks._target.tags import is_tag, strings_of

_MOST_LABELS = 200
_PARTS = re.compile(r"[\s\[\]\"';,|]+")
"""Between ids that one cell lists."""


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """One of the user's columns.

    Args:
        name: As in the file.
        modality: What its values look like.
        missing: Rows without a value.
        distinct: Different values.
        mean_length: Characters of a value, on average.
    """

    name: str
    modality: Modality
    missing: int
    distinct: int
    mean_length: float


@dataclass(frozen=True, slots=True)
class Profile:
    """What a table holds.

    Args:
        rows: All of them.
        columns: The user's, in order.
        languages: BCP-47 code to share, largest first.
        labels: Label to rows, most frequent first; empty without a label column.
    """

    rows: int
    columns: tuple[ColumnProfile, ...]
    languages: dict[str, float]
    labels: dict[str, int]


@dataclass(frozen=True, slots=True)
class Guess:
    """Which columns play which part; None where nothing fits.

    Args:
        text: Column to read.
        label: Column to answer.
        group: Column whose values stay on one side of a split.
        time: Column to split by.
        reasons: One sentence a part.
    """

    text: str | None
    label: str | None
    group: str | None
    time: str | None
    reasons: tuple[str, ...]


def profile(frame: pl.DataFrame, text: str | Sequence[str], label: str = "") -> Profile:
    """Count, measure and name the languages.

    Args:
        frame: As read.
        text: Column the model reads, or the columns where it reads several.
        label: Column it answers; empty for none.
    """
    columns = [text] if isinstance(text, str) else list(text)
    texts = [t for column in columns for t in texts_of(frame[column]) if t and t.strip()]
    labels = [v.strip() for v in texts_of(frame[label]) if v and v.strip()] if label else []
    return Profile(
        rows=len(frame),
        columns=tuple(_column(frame[name]) for name in frame.columns if name not in OURS),
        languages=languages(texts),
        labels=dict(sorted(Counter(labels).items(), key=lambda kv: (-kv[1], kv[0]))),
    )


def counted(frame: pl.DataFrame, label: str, target: Target = ONE_LABEL) -> dict[str, int]:
    """Label to rows, most frequent first; cells that are no answer are left out.

    Of numbers: part of their range to rows.
    """
    cells = texts_of(frame[label])
    answers = list(_read(cells, read_among(target, cells)))
    counts = Counter(name for names in counted_under(answers) for name in names)
    return dict(counts.most_common())


def _read(cells: Sequence[str | None], target: Target) -> Iterator[Any]:
    for cell in cells:
        try:
            if cell:
                yield target.value(target.read(cell))
        except Unreadable:
            continue


def _numbers(frame: pl.DataFrame, skip: str | None, target: Target) -> str | None:
    """The column of numbers, where the task predicts one: by its name, else the most varied."""
    best: tuple[tuple[int, int], str] | None = None
    for name in frame.columns:
        cells = [cell for cell in texts_of(frame[name].head(1000)) if cell and cell.strip()]
        found = list(_read(cells, target))
        if name in OURS or name == skip or len(set(found)) < 2 or not are_numbers(found):
            continue
        # A few broken cells are told of row by row; a column of words is none of numbers.
        if len(found) < 0.9 * len(cells) or is_named(name, "group") or is_named(name, "time"):
            continue
        rank = -rank_of(name, "label"), len(set(found))
        best = (rank, name) if best is None or rank > best[0] else best
    return None if best is None else best[1]


def _several(frame: pl.DataFrame, skip: str | None, target: Target) -> str | None:
    """The column whose cells hold several labels most often: one in ten at least, of few labels."""
    best: tuple[float, str] | None = None
    for name in frame.columns:
        cells = [cell for cell in texts_of(frame[name].head(1000)) if cell]
        if name in OURS or name == skip or not cells:
            continue
        form = read_among(target, cells)
        try:
            sets = [names_of(form.value(form.read(cell))) for cell in cells]
        except Unreadable:
            continue
        share = sum(len(names) > 1 for names in sets) / len(sets)
        labels = [label for names in sets for label in names]
        # Parts of a sentence do not come back as labels do.
        few = len(set(labels)) <= min(_MOST_LABELS, len(labels) / 2)
        if few and share >= 0.1 and (best is None or share > best[0]):
            best = share, name
    return None if best is None else best[1]


def _located(frame: pl.DataFrame, target: Target) -> str | None:
    """The column whose cells are lists of labelled parts, or of tags, and not all empty."""
    for name in frame.columns:
        cells = [cell for cell in texts_of(frame[name].head(1000)) if cell]
        if name in OURS or not cells:
            continue
        if all((tags := strings_of(cell)) and all(map(is_tag, tags)) for cell in cells):
            return name
        try:
            if any(target.value(target.read(cell)) for cell in cells):
                return name
        except Unreadable:
            continue
    return None


def guess(frame: pl.DataFrame, target: Target = ONE_LABEL) -> Guess:
    """Guess the parts of the columns from their names and values, for `sartor init`.

    Args:
        frame: As read.
        target: The form of the task's answers.
    """
    columns = [_column(frame[name]) for name in frame.columns if name not in OURS]
    reasons: list[str] = []
    if isinstance(target, Written):
        return _with_replies(columns, reasons)
    if isinstance(target, Located):
        label = _located(frame, target)
        reasons += [f"label = {label}: its cells hold labelled parts."] if label else []
        text = _best([c for c in columns if c.name != label], "text", reasons)
        rest = [c for c in columns if c.name != text]
    else:
        text = _best(columns, "text", reasons)
        rest = [c for c in columns if c.name != text]
        label = _answered(frame, text, target, reasons) or _best(rest, "label", reasons)
    rest = [c for c in rest if c.name != label]
    time = next(
        (c.name for c in rest if is_named(c.name, "time") and _is_time(frame[c.name])), None
    )
    time = time or next((c.name for c in rest if frame.schema[c.name].is_temporal()), None)
    if time:
        reasons.append(f"time = {time}: its values read as dates.")
    group = next((c for c in rest if c.modality == "group" and c.name != time), None)
    if group:
        reasons.append(f"group = {group.name}: {group.distinct:,} values that come back.")
    return Guess(text, label, group.name if group else None, time, tuple(reasons))


def _answered(
    frame: pl.DataFrame, text: str | None, target: Target, reasons: list[str]
) -> str | None:
    """The column, or the pattern of columns, whose cells alone say that they are the answers."""
    if label := _numbers(frame, text, target):
        reasons.append(f"label = {label}: its cells are numbers.")
    elif label := _several(frame, text, target):
        reasons.append(f"label = {label}: its cells hold several labels.")
    elif any(is_sure(name, "label") for name in frame.columns):
        return None
    elif label := shared_pattern(frame, target):
        count = len(target.columns(label, frame.columns))
        reasons.append(f"label = {label}: {count} columns hold a mark each, such as 0 and 1.")
    return label or None


def naming(frame: pl.DataFrame, ids: Collection[str]) -> str | None:
    """The column whose cells name the most of what is listed; None where none names any.

    Args:
        frame: As read.
        ids: What is listed.
    """
    best: tuple[int, str] | None = None
    for name in frame.columns:
        if name in OURS:
            continue
        cells = [cell.strip() for cell in texts_of(frame[name].head(1000)) if cell]
        named = sum(any(part in ids for part in (cell, *_PARTS.split(cell))) for cell in cells)
        if named and (best is None or named > best[0]):
            best = named, name
    return None if best is None else best[1]


def mean_length(column: pl.Series) -> float:
    """Characters of a value, on average."""
    return _column(column).mean_length


def _with_replies(columns: Sequence[ColumnProfile], reasons: list[str]) -> Guess:
    """The guess where a row holds a text and a reply: by their names, else in their order."""
    named = [c for c in columns if is_named(c.name, "reply")]
    texts = [c for c in columns if c.modality == "text" and c not in named]
    if not named and len(texts) > 1:
        named = [texts.pop()]
    if not named:
        return Guess(_best(columns, "text", reasons), None, None, None, tuple(reasons))
    reply = min(named, key=lambda c: rank_of(c.name, "reply"))
    rest = [c for c in columns if c.name != reply.name]
    text = _best(rest, "text", reasons)
    if text is None and rest:  # short texts, under a name that says nothing
        text = max(rest, key=lambda c: c.mean_length).name
    reasons.append(f"label = {reply.name}: it holds what is to be written.")
    return Guess(text, reply.name, None, None, tuple(reasons))


def further_texts(frame: pl.DataFrame, taken: Sequence[str], count: int) -> list[str]:
    """Columns that look like further texts of a row, in the order of the file; at most `count`.

    Args:
        frame: As read.
        taken: Columns that play a part already.
        count: How many are looked for.
    """
    left = [frame[name] for name in frame.columns if name not in (*OURS, *taken)]
    columns = [_column(column) for column in left]
    # Short texts look like categories or ids; a text is told from those by its spaces or its name.
    texts = [c for c in columns if c.modality == "text"]
    named = [c for c in columns if is_named(c.name, "text") and c not in texts]
    found = [c.name for c in (*texts, *named)]
    return sorted(found[:count], key=frame.columns.index)


def _best(columns: Sequence[ColumnProfile], part: str, reasons: list[str]) -> str | None:
    fitting = _fitting([c for c in columns if c.distinct], part)
    if part == "label":  # that nobody filled it in is told of where its rows are counted
        fitting = fitting or _fitting(columns, part)
    if not fitting:
        return None
    named = [c for c in fitting if is_named(c.name, part)]
    pool = named or fitting
    # Of several texts the longest is read; of several labels the one with the fewest values.
    chosen = (
        max(pool, key=lambda c: c.mean_length)
        if part == "text"
        else min(pool, key=lambda c: c.distinct)
    )
    if part == "label" and named:
        # The words of a list stand in the order of how surely they name a label.
        chosen = min(named, key=lambda c: rank_of(c.name, part))
    how = "its name says so" if named else "its values look like it"
    shown = (
        f"{chosen.distinct:,} values" if part == "label" else f"{chosen.mean_length:.0f} characters"
    )
    reasons.append(f"{part} = {chosen.name}: {how} ({shown}).")
    return chosen.name


def _fitting(columns: Sequence[ColumnProfile], part: str) -> list[ColumnProfile]:
    """Columns that may play a part: by a name that leaves no doubt, by their values, by a name.

    Of a few rows, or short ones, the values tell nothing.
    """
    if sure := [c for c in columns if is_sure(c.name, part)]:
        return sure
    wanted: Modality = "text" if part == "text" else "category"
    fitting = [c for c in columns if c.modality == wanted]
    if part == "text" and not fitting:
        # Short texts (intents) look like categories or ids.
        short = [c for c in columns if c.modality in ("category", "id") and c.mean_length > 3]
        fitting = [c for c in short if is_named(c.name, part)]
    return fitting or [c for c in columns if is_whole(c.name, part)]


def _column(column: pl.Series) -> ColumnProfile:
    values = [v for v in texts_of(column) if v is not None and v.strip()]
    values = [v for v in values if v.casefold() not in MISSING_TEXT or column.dtype != pl.String]
    distinct = len(set(values))
    mean = sum(map(len, values)) / len(values) if values else 0.0
    return ColumnProfile(
        name=column.name,
        modality=_modality(column, values, distinct, mean),
        missing=len(column) - len(values),
        distinct=distinct,
        mean_length=mean,
    )


def _modality(column: pl.Series, values: list[str], distinct: int, mean: float) -> Modality:
    """text, category, number, group or id, by how the values repeat."""
    if not values:
        return "category"
    repeats = len(values) / distinct
    few = distinct <= min(_MOST_LABELS, max(2, len(values) // 2)) and repeats >= 2
    named_group = is_named(column.name, "group") or column.name.casefold().endswith("id")
    spaced = sum(" " in v.strip() or not v.isascii() for v in values[:1000]) / min(
        len(values), 1000
    )
    if _numeric(column, values):
        if few and distinct <= 20:
            return "category"
        return "group" if named_group and repeats >= 1.2 and distinct > 20 else "number"
    if named_group and repeats >= 1.2 and mean <= 40 and (distinct > 20 or not few):
        return "group"
    if mean >= 40 or (spaced >= 0.5 and mean >= 6 and not few):
        return "text" if distinct > 1 and repeats < 20 else "category"
    if few:
        return "category"
    if repeats < 1.05 and not spaced:
        return "id"
    return "text" if spaced >= 0.3 else ("group" if repeats >= 1.2 else "id")


def _numeric(column: pl.Series, values: list[str]) -> bool:
    if column.dtype.is_numeric():
        return True
    if column.dtype != pl.String:
        return False
    return pl.Series(values[:5000]).cast(pl.Float64, strict=False).null_count() == 0


def _is_time(column: pl.Series) -> bool:
    try:
        times_of(column.head(1000), [""] * min(len(column), 1000))
    except DataError:
        return False
    return True


def row_places(frame: pl.DataFrame) -> list[str]:
    """Where each row lies, as messages say it."""
    return [place(file, row) for file, row in zip(frame[FILE], frame[ROW], strict=True)]
