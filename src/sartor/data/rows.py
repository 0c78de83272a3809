"""The rows that cleaning works on, and the books that it keeps of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sartor.core.texts import COLUMNS, Text, shown
from sartor.data.changes import Change, excerpt
from sartor.data.labels import LabelFault
from sartor.data.normalise import content_id
from sartor.data.table import FILE, ROW, SPLIT, Columns, Table, place, texts_of
from sartor.tasks import Target
from sartor.tasks._target.one_label import ONE_LABEL

TRAIN = 2
"""Rank of a row that no held-out set has."""
_RANK = {"test": 0, "validation": 1}


@dataclass(slots=True)
class Rows:
    """The columns being worked on, and the books. `alive` holds indices still in."""

    inputs: dict[str, list[str | None]]
    labels: list[str | None]
    places: list[tuple[str, int]]
    splits: list[str | None]
    alive: list[int]
    target: Target = ONE_LABEL
    table: bool = False
    """Whether a row holds columns: then a text may be empty, and equal rows are two cases."""
    unreadable: list[LabelFault] = field(default_factory=list[LabelFault])
    known: Mapping[str, str] = field(default_factory=dict[str, str])
    ranks: dict[int, tuple[int, bool]] = field(default_factory=dict[int, tuple[int, bool]])
    dropped: list[Change] = field(default_factory=list[Change])
    changed: list[Change] = field(default_factory=list[Change])

    def text(self, i: int) -> Text:
        """What the model reads of a row."""
        found = tuple(values[i] or "" for values in self.inputs.values())
        return found[0] if len(found) == 1 else found

    def wordless(self, i: int) -> bool:
        """Whether a row holds columns and no text."""
        return self.table and not any(v[i] for role, v in self.inputs.items() if role != COLUMNS)

    def drop(self, gone: dict[int, tuple[str, str]]) -> None:
        """Drop rows: index to (reason, detail)."""
        for i in sorted(gone):
            reason, detail = gone[i]
            self.dropped.append(
                Change(*self.places[i], "dropped", reason, detail, excerpt(shown(self.text(i))))
            )
        self.alive = [i for i in self.alive if i not in gone]

    def alive_inputs(self) -> dict[str, list[str]]:
        """Role to the texts of the rows that are still in."""
        return {r: [values[i] or "" for i in self.alive] for r, values in self.inputs.items()}

    def answers(self, some: Sequence[int]) -> list[Any]:
        """The answers of rows that have one, in the task's form."""
        return [self.target.value(self.labels[i] or "") for i in some]

    def where(self, i: int) -> str:
        return place(*self.places[i])

    def rank(self, i: int) -> tuple[int, bool, int]:
        """Test rows first, then validation rows, then the order of the file.

        Of copies with the same role, the one that its file makes official goes first: a run that
        is repeated must keep the same copy.
        """
        if i not in self.ranks:
            official = self.splits[i] or ""
            role = official
            # A row that an earlier run tested on stays, whatever file a copy of it arrives in.
            if self.known and official != "test":
                name = content_id({role: values[i] or "" for role, values in self.inputs.items()})
                role = self.known.get(name, official)
            self.ranks[i] = _RANK.get(role, TRAIN), role != official
        return *self.ranks[i], i


def rows_of(table: Table, columns: Columns) -> Rows:
    label = columns.label
    return Rows(
        inputs={role: texts_of(table.frame[name]) for role, name in columns.inputs.items()},
        labels=texts_of(table.frame[label]) if label else [None] * len(table),
        places=list(zip(table.frame[FILE], table.frame[ROW], strict=True)),
        splits=table.frame[SPLIT].to_list(),
        alive=list(range(len(table))),
        target=columns.target,
        table=bool(columns.cells),
    )
