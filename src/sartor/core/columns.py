"""Columns of a row as numbers: fitted on training rows, stored as JSON, applied by numpy alone.

number    (clip(x) − mean) / deviation, and 1 where it is missing
date      days, month and weekday, each as a number; and 1 where it is missing
category  1 for its own value, for any other value, or where it is missing
items     the places of its ids in the list of those known, the newest first (`core.histories`)
answers   the same of items that were answered, right or wrong

A number whose training values are skewed is read by sign(x) · ln(1 + |x|). What is missing is a
value like any other; what was never seen is "another"; what lies beyond the training rows' range is
taken to lie at its end, since no row says what is true out there. Linear models, trees and served
graphs read the same numbers.
"""

import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from sartor.core.dates import read_date
from sartor.core.histories import (
    ANSWERS,
    ITEMS,
    LENGTH,
    encode_answers,
    encode_items,
    read_answers,
    read_asked,
    read_items,
    read_skill,
)
from sartor.core.numerals import number_of
from sartor.core.protocols import Floats
from sartor.core.texts import Cells, Text, cells_of
from sartor.core.types import ITEM, SKILL
from sartor.core.unfit import Unfit

Kind = Literal["number", "category", "date", "items", "answers", "item", "skill"]
"""What a column holds; the last two say what is asked about, and become no numbers."""
_KINDS: tuple[Kind, ...] = get_args(Kind)
MOST_ITEMS = 100_000
"""Items that are told apart."""
MOST_VALUES = 50
"""Values of a category that are told apart; rarer ones are "another"."""
LEAST_ROWS = 3
"""Training rows that a value must have to be told apart."""
_SKEWED = 2.0
"""Skewness of the training values beyond which their logarithm is read."""
_DAY = 86_400.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Doubles = NDArray[np.float64]


class Column(BaseModel):
    """How one column is read; fitted by `fit`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Kind
    missing: bool = False
    """Whether it was missing in a training row."""
    low: float = 0.0
    """Least value of the training rows; of a date in days since 1970."""
    high: float = 0.0
    """Greatest value of the training rows."""
    log: bool = False
    """Whether the logarithm of its size is read."""
    mean: list[float] = Field(default=[], max_length=3)
    """Of the training rows, of each of its numbers."""
    deviation: list[float] = Field(default=[], max_length=3)
    values: list[str] = Field(default=[], max_length=MOST_ITEMS)
    """Of a category: what is told apart, the most frequent first; of items: all there are."""
    skills: list[str] = Field(default=[], max_length=MOST_ITEMS)
    """Of answers: the skill of each item, in their order; all are of one where it is empty."""

    @model_serializer(mode="wrap")
    def _as_before(self, given: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # What knows no skills reads columns without the key.
        found: dict[str, Any] = given(self)
        if not self.skills:
            del found["skills"]
        return found

    @cached_property
    def places(self) -> dict[str, int]:
        """Value to its place in `values`."""
        return {value: at for at, value in enumerate(self.values)}

    @property
    def width(self) -> int:
        """Numbers that it becomes."""
        if self.kind in (ITEMS, ANSWERS):
            return LENGTH if self.kind == ITEMS else 2 * LENGTH
        return len(self.values) + 2 if self.kind == "category" else len(self.mean) + 1

    def encode(self, values: Sequence[Any]) -> Floats:
        """(rows, width) of values as `cell` gives them."""
        if self.kind == ITEMS:
            return encode_items(values, self.places)
        if self.kind == ANSWERS:
            return encode_answers(values, self.places, self.skills)
        if self.kind == "category":
            place = self.places
            other = len(self.values)
            found = np.zeros((len(values), self.width), np.float32)
            at = [other + 1 if v is None else place.get(v, other) for v in values]
            found[np.arange(len(values)), at] = 1.0
            return found
        raw = _numbers(self.kind, values)
        gone = np.isnan(raw[:, :1])
        raw[:, 0] = np.clip(raw[:, 0], self.low, self.high)
        standard = (_logged(raw) if self.log else raw) - np.array(self.mean)
        standard /= np.array(self.deviation)
        return np.hstack([np.where(gone, 0.0, standard), gone]).astype(np.float32)

    def outside(self, value: Any) -> str:
        """What no training row was like, as a sentence's second half; "" where some were."""
        if self.kind == ITEMS:
            return _strange(value or (), self.places)
        if self.kind == ANSWERS:
            return _strange([name for name, _ in value or ()], self.places)
        if value is None:
            return "" if self.missing else "is missing, which it never was in what was learnt from"
        if self.kind == "category":
            if value in self.values:
                return ""
            return f"is {_shown(value)}, which few or none of the learnt rows held"
        at = float(_numbers(self.kind, [value])[0, 0])
        if self.low <= at <= self.high:
            return ""
        low, high = (self._written(end) for end in (self.low, self.high))
        return f"is {value}, outside the learnt {low} to {high}"

    def typical(self) -> Any:
        """A value that training rows held."""
        if self.kind == ITEMS:
            return self.values[:1]
        if self.kind == ANSWERS:
            return [[name, 1] for name in self.values[:1]]
        if self.kind == "category":
            return self.values[0] if self.values else None
        return self._written((self.low + self.high) / 2)

    def _written(self, value: float) -> Any:
        if self.kind == "date":
            return datetime.fromtimestamp(value * _DAY, UTC).date().isoformat()
        return cell(value, "number")


class TableCode(BaseModel):
    """How all columns of a row are read, in their order."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    columns: dict[str, Column] = Field(min_length=1, max_length=1000)

    @staticmethod
    def fit(rows: Sequence[Cells], kinds: Mapping[str, Kind]) -> "TableCode":
        """Learn from training rows what is usual in each column.

        Args:
            rows: At least one.
            kinds: Column to what it holds.
        """
        read = [row.values() for row in rows]
        columns = {
            name: fit_column([row.get(name) for row in read], kind) for name, kind in kinds.items()
        }
        return TableCode(columns=columns)

    @property
    def width(self) -> int:
        """Numbers that a row becomes."""
        return sum(column.width for column in self.columns.values())

    def encode(self, rows: Sequence[Cells]) -> Floats:
        """(rows, width)."""
        read = [row.values() for row in rows]
        blocks = [
            column.encode([row.get(name) for row in read]) for name, column in self.columns.items()
        ]
        return np.concatenate(blocks, axis=1)

    def outside(self, row: Cells) -> list[str]:
        """Sentences on what no training row was like; none where the row is usual."""
        read = row.values()
        said = ((name, column.outside(read.get(name))) for name, column in self.columns.items())
        return [f"{name} {what}." for name, what in said if what]

    def noted(
        self, answers: Sequence[dict[str, Any]], texts: Sequence[Text]
    ) -> list[dict[str, Any]]:
        """The answers to rows, each with what of its row no training row was like."""
        found: list[dict[str, Any]] = []
        for answer, cells in zip(answers, cells_of(texts), strict=True):
            notes = [*answer.get("notes", ()), *self.outside(cells)]
            found.append({**answer, "notes": notes} if notes else answer)
        return found

    def typical(self) -> Cells:
        """A row such as the training rows were, to ask about."""
        return Cells.of({name: column.typical() for name, column in self.columns.items()})

    def example(self) -> dict[str, Any]:
        """The same as a request holds it."""
        found = self.typical().values()
        for name, column in self.columns.items():
            if column.kind == ANSWERS:
                pairs = found[name]
                found[name] = [{"item": item, "correct": bool(mark)} for item, mark in pairs]
        return found


def fit_column(values: Sequence[Any], kind: Kind) -> Column:
    """How a column is read.

    Args:
        values: Of the training rows, as `cell` gives them.
        kind: What they are.
    """
    there = [value for value in values if value is not None]
    missing = len(there) < len(values)
    if kind == "category":
        counts = Counter(map(str, there)).most_common()
        # Equally frequent ones by their name, so that the rows' order does not count.
        ranked = sorted(counts, key=lambda each: (-each[1], each[0]))
        kept = [value for value, count in ranked if count >= LEAST_ROWS]
        return Column(kind=kind, missing=missing, values=kept[:MOST_VALUES])
    raw = _numbers(kind, there)
    if not len(raw):
        width = raw.shape[1]
        return Column(kind=kind, missing=True, mean=[0.0] * width, deviation=[1.0] * width)
    low, high = float(raw[:, 0].min()), float(raw[:, 0].max())
    log = kind == "number" and _skewness(raw[:, 0]) > _SKEWED
    used = _logged(raw) if log else raw
    spread = used.std(0)
    return Column(
        kind=kind,
        missing=missing,
        low=low,
        high=high,
        log=log,
        mean=used.mean(0).tolist(),
        deviation=np.where(spread > 1e-9, spread, 1.0).tolist(),
    )


def cell(value: Any, kind: Kind) -> Any:
    """A value as it stands in `Cells`: a number, a string, or None where it is missing.

    Args:
        value: As a file or a request holds it; a text stands for the number or the date in it.
        kind: What the column holds.

    Raises:
        Unfit: If it is none of that kind.
    """
    if kind in _LISTS:
        return _LISTS[kind](value)
    if isinstance(value, str):
        value = unicodedata.normalize("NFC", value.strip()) or None
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if kind == "category":
        return _category(value)
    return _number(value) if kind == "number" else _date(value)


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


_LISTS: Mapping[str, Callable[[Any], Any]] = {
    ITEMS: lambda value: [_nfc(name) for name in read_items(value)],
    ANSWERS: lambda value: [[_nfc(name), mark] for name, mark in read_answers(value)],
    ITEM: lambda value: [_nfc(name) for name in read_asked(value)],
    SKILL: lambda value: None if (name := read_skill(value)) is None else _nfc(name),
}
"""How what speaks of items is read."""


def _number(value: Any) -> float | int:
    what, fix = f"is {_shown(value)}, not a number", "write a plain number, such as 12.5"
    try:
        # Python reads "nan", "infinity" and "1_000" as numbers; in a column they are words.
        found = number_of(value) if isinstance(value, str) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = None
    if found is None or isinstance(value, bool) or not math.isfinite(found):
        raise Unfit(what, fix)
    return int(found) if found.is_integer() and abs(found) < 1e15 else found


def _category(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float) and math.isfinite(value):
        return str(_number(value))
    if isinstance(value, date):
        return value.isoformat()
    raise Unfit(f"is {type(value).__name__}, not a category", "send a string")


def _date(value: Any) -> str:
    if isinstance(value, datetime):
        found = value
    elif isinstance(value, date):
        return value.isoformat()
    else:
        what, fix = f"is {_shown(value)}, not a date", "write it as 2026-07-28 or 2026-07-28T13:45"
        if not isinstance(value, str):
            raise Unfit(what, fix)
        try:
            found = read_date(value)
        except ValueError:
            raise Unfit(what, fix) from None
    midnight = (found.hour, found.minute, found.second, found.microsecond) == (0, 0, 0, 0)
    return found.date().isoformat() if midnight else found.isoformat()


def _strange(history: Sequence[str], places: Mapping[str, int]) -> str:
    """That ids are unknown, as a sentence's second half."""
    unknown = [name for name in history if name not in places]
    if not unknown:
        return ""
    some = ", ".join(map(_shown, unknown[:3])) + ("" if len(unknown) <= 3 else ", …")
    return f"holds what is no item here and was passed by: {some}"


def _shown(value: Any) -> str:
    return f"{value!r:.60}"


def _numbers(kind: Kind, values: Sequence[Any]) -> Doubles:
    """(rows, parts) of numbers or of dates; NaN where the value is missing."""
    if kind == "number":
        return np.array([[np.nan if v is None else float(v)] for v in values]).reshape(-1, 1)
    none = (np.nan, np.nan, np.nan)
    return np.array([none if v is None else _parts(v) for v in values]).reshape(-1, 3)


def _parts(value: str) -> tuple[float, float, float]:
    """Days since 1970, the month and the day of the week of a date."""
    found = datetime.fromisoformat(value)
    aware = found if found.tzinfo else found.replace(tzinfo=UTC)
    return (aware - _EPOCH).total_seconds() / _DAY, float(aware.month), float(aware.weekday())


def _logged(raw: Doubles) -> Doubles:
    return np.sign(raw) * np.log1p(np.abs(raw))


def _skewness(values: Doubles) -> float:
    """Third standardised moment; 0 of values that are all equal."""
    centred = values - values.mean()
    spread = float(centred.std())
    return float((centred**3).mean()) / spread**3 if spread > 1e-9 else 0.0


def kinds_in(inputs: Mapping[str, str]) -> dict[str, Kind]:
    """Those of a manifest's inputs that are columns, with what they hold."""
    return {name: kind for name, kind in inputs.items() if kind in _KINDS}
