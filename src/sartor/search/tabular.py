"""What a task with columns needs before anything is fitted: how each column is read, and what about
them should make a user wonder."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sartor.core.columns import TableCode, kinds_in
from sartor.core.errors import SettingError
from sartor.core.events import Emit, Note
from sartor.core.hashing import digest
from sartor.core.strata import names_of
from sartor.core.texts import COLUMNS, Text, cells_of
from sartor.core.types import Backbone, Examples, Roles
from sartor.data.cells import empty_in
from sartor.data.prepare import Gathered
from sartor.need.model import Need

NOTHING = Backbone(
    name="columns",
    source="folder",
    path="",
    sha256=digest("columns"),
    licence="none",
    languages=("*",),
    parameters=0,
    layers=0,
    width=1,
)
"""Stands where a backbone would, for a need that names columns and no text."""
_TELLS = 0.99
"""AUC of one column at which it looks like the label in other words."""
_ID = 0.95
"""Share of distinct values at which a category looks like an id."""
_TEXT = 40.0
"""Mean length at which a category looks like a text."""
_BINS = 20
_MOST = 20_000
"""Rows that columns are looked at on."""


def tell_of_columns(gathered: Gathered, train: Examples, emit: Emit) -> TableCode | None:
    """How the columns are read, learnt from the training rows; None for a task without any.

    Args:
        gathered: Knows what each column holds.
        train: With columns.
        emit: Told what each column holds, and of those that look wrong.
    """
    kinds = kinds_in(gathered.columns.cells)
    if not kinds:
        return None
    code = TableCode.fit(cells_of(train.texts), kinds)
    emit(Note(said_of(code)))
    for doubt in (*empty_in(gathered.table, gathered.columns), *doubts(code, train)):
        emit(Note(doubt, "warning"))
    return code


def inputs_of(roles: Roles, gathered: Gathered) -> dict[str, str]:
    """A request's keys to what they hold, as the manifest says them."""
    there = gathered.columns.inputs
    return {r: m for r, m in roles.inputs.items() if r in there} | dict(gathered.columns.cells)


def words_of(examples: Examples) -> Examples:
    """The same rows without their columns."""
    inputs = {role: values for role, values in examples.inputs.items() if role != COLUMNS}
    return replace(examples, inputs=inputs)


def refuse_unread(need: Need, file: str) -> None:
    """What a need prefers that a task with columns has no use for.

    Raises:
        SettingError: Naming it.
    """
    prefer = need.prefer
    asked = {
        "long_texts: windows": prefer.long_texts == "windows",
        "llm": prefer.llm is not None,
        "pretrain": prefer.pretrain != "none",
    }
    for name, there in asked.items():
        if there:
            raise SettingError(
                f"{file}: prefer.{name} is for tasks of texts alone, and {need.task} has columns.",
                fix=f"leave {name.partition(':')[0]} out.",
            )


def said_of(code: TableCode) -> str:
    """What each column holds, in one sentence."""
    kinds: dict[str, list[str]] = {}
    for name, column in code.columns.items():
        kinds.setdefault(column.kind, []).append(name)
    listed = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items())
    return f"Columns by what they hold: {listed}. Fix it under data.columns where it is wrong."


def doubts(code: TableCode, train: Examples) -> Iterator[str]:
    """Sentences on columns that look like the label, an id or a text, or hold one value."""
    texts = train.texts[:_MOST]
    rows = [cells.values() for cells in cells_of(texts)]
    labels = ["; ".join(names_of(target)) for target in train.target[:_MOST]]
    for name, column in code.columns.items():
        values = [row.get(name) for row in rows]
        there = [v for v in values if v is not None]
        distinct = len(set(map(str, there)))
        if distinct < 2:
            yield f"The column {name!r} holds one value: nothing can be learnt from it."
            continue
        if column.kind == "category" and distinct >= _ID * len(there) and len(there) >= _BINS:
            long = sum(map(len, there)) / len(there) >= _TEXT
            how = "a text: name it under data.text" if long else "an id: leave it out"
            many = f"has {distinct:,} values in {len(there):,} rows"
            yield f"The column {name!r} {many}. It looks like {how}."
            continue
        told, label = _tells(values, labels, column.kind == "category")
        if told >= _TELLS:
            yield (
                f"The column {name!r} alone tells {label!r} from the rest (AUC {told:.3f}). If it"
                " is known only once the answer is, leave it out: it will not be there then."
            )


def _tells(values: Sequence[Any], labels: Sequence[str], category: bool) -> tuple[float, str]:
    """(AUC, label): how well one column alone ranks the rows of some label.

    Each half of the rows is scored by the shares of the other half, so that a column of many values
    does not know its own answers.
    """
    groups = _groups(values, category)
    half = np.arange(len(groups)) % 2
    best = (0.0, "")
    for label in sorted(set(labels)):
        truth = np.array([each == label for each in labels])
        score = np.empty(len(truth))
        for side in (0, 1):
            here, there = half == side, half != side
            seen = np.bincount(groups[there], minlength=groups.max() + 1)
            hits = np.bincount(groups[there & truth], minlength=groups.max() + 1)
            usual = truth[there].mean()
            score[here] = ((hits + usual) / (seen + 1))[groups[here]]
        best = max(best, (_auc(score, truth), label))
    return best


def _groups(values: Sequence[Any], category: bool) -> NDArray[np.int64]:
    """(rows,) which group of like values each is in; a missing one is of a group of its own."""
    if category or isinstance(next(v for v in values if v is not None), str):
        return np.unique([str(v) for v in values], return_inverse=True)[1].astype(np.int64)
    numbers = np.array([np.nan if v is None else float(v) for v in values])
    edges = np.unique(np.nanquantile(numbers, np.linspace(0, 1, _BINS + 1)[1:-1]))
    return np.where(np.isnan(numbers), len(edges) + 1, np.searchsorted(edges, numbers, "right"))


def _auc(score: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    up, down = score[truth], np.sort(score[~truth])
    if not len(up) or not len(down):
        return 0.0
    below = np.searchsorted(down, up, "left") + np.searchsorted(down, up, "right")
    return float(below.mean() / (2 * len(down)))


def reads_text(texts: Sequence[Text]) -> bool:
    """Whether rows hold a text beside their columns, or nothing but texts."""
    return not texts or not cells_of(texts[:1]) or isinstance(texts[0], tuple)


def column_kinds(inputs: Mapping[str, str]) -> dict[str, str]:
    """Those of a manifest's inputs that are columns, as `Columns.cells` holds them."""
    return dict(kinds_in(inputs))
