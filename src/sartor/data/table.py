"""The table: the user's columns beside where each row came from.

Columns that begin and end with two underscores are ours: `__file__`, `__row__` (1-based data row;
in a csv the header is line 1, not a row; in json lines the line) and `__split__` (an official
assignment: train, validation, test or null).
"""

import json
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import polars as pl

from sartor.core.errors import DataError
from sartor.core.near import near_miss
from sartor.tasks import Target
from sartor.tasks._target.one_label import ONE_LABEL

FILE, ROW, SPLIT = "__file__", "__row__", "__split__"
OURS = (FILE, ROW, SPLIT)
CELLS = "__columns__"
"""Where the columns that a task reads lie as one, put there by `cells.join_cells`, or made of a
user's history; no user's column."""
MOMENT = "__moment__"
"""Where `moments.join_moments` says whose moment a row is, and when; no user's column."""
SPLITS = ("train", "validation", "test")
_INT64 = 1 << 63
_EXACT = 1 << 53
"""Above it a float no longer holds every whole number."""


@dataclass(frozen=True, slots=True)
class Source:
    """One source as it was read.

    Args:
        file: Name as the user wrote it.
        sha256: Of the bytes (for a folder, of its files' names and bytes; for an object, its rows).
        rows: Data rows.
    """

    file: str
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class Table:
    """A frame whose rows know their file, row and official split.

    Args:
        frame: The user's columns and `__file__`, `__row__`, `__split__`.
        sources: What was read, in order.
    """

    frame: pl.DataFrame
    sources: tuple[Source, ...]

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def columns(self) -> list[str]:
        """The user's columns."""
        return [name for name in self.frame.columns if name not in (*OURS, CELLS, MOMENT)]

    def require(self, *names: str) -> None:
        """Check that columns exist.

        Raises:
            DataError: Naming the first absent column and the near miss.
        """
        for name in names:
            if name not in (*self.columns, CELLS):
                files = ", ".join(s.file for s in self.sources) or "the data"
                raise DataError(
                    f"{files}: no column is called {name!r}.", fix=near_miss(name, self.columns)
                )


@dataclass(frozen=True, slots=True)
class Columns:
    """Which of the user's columns play a part.

    Args:
        text: What the model reads; of several inputs the first.
        label: What it must answer; empty for unlabelled data.
        group: Rows of one group never lie on both sides of a split.
        time: Later rows are tested on earlier ones.
        baseline: What answers today.
        target: The form of the answers in the label column.
        roles: Role to column of every input, where there are several.
        cells: Columns that are read beside the text, to what each holds; "auto" until the rows
            were looked at.
        user: Rows of one value, in the order of time, are a history; empty where rows stand alone.
        item: What a row asks the user, where its label says whether the answer was right.
        skill: What the item is about, where a column says so.
        items: Those there are, where a file lists them, to the skill it names of each, or "".
    """

    text: str
    label: str = ""
    group: str = ""
    time: str = ""
    baseline: str = ""
    target: Target = ONE_LABEL
    roles: Mapping[str, str] = field(default_factory=dict[str, str])
    cells: Mapping[str, str] = field(default_factory=dict[str, str])
    user: str = ""
    item: str = ""
    skill: str = ""
    items: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def words(self) -> list[str]:
        """Columns that hold texts."""
        return [name for name in self.inputs.values() if name != CELLS]

    @property
    def inputs(self) -> Mapping[str, str]:
        """Role to column of what the model reads."""
        return self.roles or {"text": self.text}

    @property
    def own(self) -> list[str]:
        """Columns that rows which are what users did have of their own."""
        listed = (self.user, self.item, self.label, self.skill, self.time)
        return [name for name in listed if name]

    def names(self) -> list[str]:
        others = (self.group, self.baseline, *self.own)
        return [n for n in (*self.inputs.values(), *others) if n]


def as_frame(data: object) -> pl.DataFrame:
    """A frame from what a Python user holds.

    Takes polars and pandas frames, `datasets.Dataset`, NumPy arrays (structured; one column: text;
    two columns: text and label), mappings of column name to values, and lists of mappings, of
    (text, label) pairs or of texts.

    Raises:
        DataError: If the object is none of these, or its columns differ in length.
    """
    if isinstance(data, pl.DataFrame):
        return plain(data)
    if isinstance(data, pl.LazyFrame):
        return plain(data.collect())
    if type(data).__module__.startswith("pandas"):
        return _of_pandas(data)
    if hasattr(data, "to_polars"):
        return plain(data.to_polars())  # type: ignore[attr-defined]
    if isinstance(data, np.ndarray):
        return _of_array(data)
    if isinstance(data, Mapping):
        return of_columns({str(name): list(column) for name, column in data.items()})
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        return _of_list(data)
    raise DataError(
        f"Data of type {type(data).__qualname__} cannot be read.",
        fix="pass a path, a pandas or polars frame, a NumPy array, or a list of dicts.",
    )


def _of_pandas(data: Any) -> pl.DataFrame:
    if getattr(data, "ndim", 2) == 1:
        data = data.to_frame(name=data.name or "text")
    # Object columns may mix types, which Arrow refuses; ours become text instead.
    return of_columns({str(name): data[name].tolist() for name in data.columns})


def _of_array(data: np.ndarray) -> pl.DataFrame:
    if data.dtype.names:
        return of_columns({name: data[name].tolist() for name in data.dtype.names})
    if data.ndim == 1:
        return of_columns({"text": data.tolist()})
    if data.ndim == 2 and data.shape[1] in (1, 2):
        names = ("text", "label")[: data.shape[1]]
        return of_columns({name: data[:, i].tolist() for i, name in enumerate(names)})
    raise DataError(
        f"An array of shape {data.shape} does not say which column is the text.",
        fix="pass a dict of column name to array, or an array with columns text and label.",
    )


def _of_list(data: Sequence[object]) -> pl.DataFrame:
    if all(isinstance(row, Mapping) for row in data):
        return of_records(data)  # type: ignore[arg-type]
    if all(isinstance(row, str) for row in data):
        return of_columns({"text": list(data)})
    if all(isinstance(row, tuple | list) and len(row) == 2 for row in data):
        return of_columns({"text": [r[0] for r in data], "label": [r[1] for r in data]})  # type: ignore[index]
    raise DataError(
        "The list mixes kinds of rows, or holds neither dicts, nor pairs, nor texts.",
        fix='write every row alike, e.g. {"text": "…", "label": "…"}.',
    )


def of_records(records: Sequence[Mapping[Any, Any]]) -> pl.DataFrame:
    """A frame from rows; a key that a row lacks is missing there."""
    names = list(dict.fromkeys(chain.from_iterable(records)))
    return of_columns({str(name): [row.get(name) for row in records] for name in names})


def of_columns(columns: Mapping[str, list[Any]]) -> pl.DataFrame:
    """A frame from Python values: NaN is missing, mixed kinds become text, surrogates U+FFFD.

    Raises:
        DataError: If the columns differ in length.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name}: {n}" for name, n in lengths.items())
        raise DataError(
            f"The columns differ in length ({shown}).", fix="give every column one value a row."
        )
    return pl.DataFrame([_series(name, values) for name, values in columns.items()])


def _series(name: str, values: list[Any]) -> pl.Series:
    values = [None if _missing(value) else value for value in values]
    name = encodable(name)
    # datetime.datetime and its like carry isoformat; polars types them itself.
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pl.Series(name, values, dtype=pl.Boolean)
    if kinds == {int} and all(v is None or -_INT64 <= v < _INT64 for v in values):
        return pl.Series(name, values, dtype=pl.Int64)
    if float in kinds and kinds <= {int, float} and not any(map(_inexact, values)):
        return pl.Series(name, values, dtype=pl.Float64)
    if len(kinds) == 1 and hasattr(next(iter(kinds)), "isoformat"):
        return pl.Series(name, values)
    texts = [None if value is None else encodable(as_text(value)) for value in values]
    return pl.Series(name, texts, dtype=pl.String)


def _inexact(value: Any) -> bool:
    """Whether a number, of an id perhaps, would be another one as a float."""
    return isinstance(value, int) and abs(value) > _EXACT


def _missing(value: Any) -> bool:
    # pandas.NA answers `==` with itself and has no truth value: ask for its name instead.
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and math.isnan(value)


def as_text(value: Any) -> str:
    """The text a person would write for a cell: 1 for 1.0, true for True, JSON for a list."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating):
        found = float(value)  # numpy's own would be written with its type
        return str(int(found)) if found.is_integer() and abs(found) < 1e15 else repr(found)
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def encodable(text: str) -> str:
    """The text with lone surrogates as U+FFFD: no encoding can carry them."""
    return (
        text
        if text.isascii()
        else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )


def plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns in the few kinds that later stages know: text, number, boolean, time.

    Categories become text; lists and structs their JSON; NaN becomes missing.
    """
    return frame.with_columns(_plain(frame[name]) for name in frame.columns)


def _plain(column: pl.Series) -> pl.Series:
    kind = column.dtype
    if isinstance(kind, pl.Categorical | pl.Enum):
        return column.cast(pl.String)
    if kind.is_nested():
        values = column.to_list()
        return pl.Series(
            column.name, [None if v is None else as_text(v) for v in values], pl.String
        )
    if kind == pl.Object:
        return _series(column.name, column.to_list())
    if kind == pl.Binary:
        values = column.to_list()
        return pl.Series(
            column.name, [None if v is None else as_text(v) for v in values], pl.String
        )
    return column.fill_nan(None) if kind.is_float() else column


def texts_of(column: pl.Series) -> list[str | None]:
    """A column as text, cell by cell: labels 1.0, 2.0 read "1", "2"."""
    if column.dtype == pl.String:
        return column.to_list()
    return [None if _missing(value) else as_text(value) for value in column.to_list()]


def named(cell: str | None) -> str:
    """A cell as a name, of a user or an item: NFC, without outer spaces; empty where nothing is."""
    return unicodedata.normalize("NFC", (cell or "").strip())


def place(file: str, row: int) -> str:
    """Where a row lies, as messages say it."""
    return f"{file}, row {row:,}"


def stack(frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """One frame under the other; columns that differ in kind meet as text."""
    parts = list(frames)
    kinds: dict[str, set[pl.DataType]] = {}
    for frame in parts:
        for name, kind in frame.schema.items():
            if kind != pl.Null:
                kinds.setdefault(name, set()).add(kind)
    mixed = {name for name, found in kinds.items() if len(found) > 1}
    parts = [
        frame.with_columns(
            pl.Series(name, texts_of(frame[name]), dtype=pl.String)
            for name in frame.columns
            if name in mixed
        )
        for frame in parts
    ]
    return pl.concat(parts, how="diagonal_relaxed")
