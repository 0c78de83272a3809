# pyright: reportFunctionMemberAccess=false
"""Rows that are histories, split as a run splits them, and what our methods make of them."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks._harness import Interval, bootstrap
from numpy.typing import NDArray

from sartor.core.types import USER, Candidate, Examples
from sartor.data import prepare
from sartor.models.catalogue import find_backbone
from sartor.models.encode import EncodeSettings, TextEncoder
from sartor.need.file import load_need
from sartor.search.documents import with_documents
from sartor.search.judging import roles_of
from sartor.search.reading import columns_of
from sartor.search.recommending import declared_in, read_histories
from sartor.tasks import TASKS
from sartor.tune.api import METHODS
from sartor.tune.fit import TuneOptions, Tuner

_LENGTH = 256
Doubles = NDArray[np.float64]


class Histories:
    """Rows by role, and the items.

    Args:
        place: Folder with need.yaml, of recommendation or mastery.
    """

    def __init__(self, place: Path) -> None:
        file = place / "need.yaml"
        need = with_documents(load_need(file, roles_of), str(file), place)
        gathered = prepare.gather(need.data, place, known={}, columns=columns_of(need))
        self.task = need.task
        self.rows = prepare.divide(gathered, wanted_test=1, seed=need.seed, known={})
        self.words = dict(need.data.label_descriptions)
        self.names = TASKS.get(need.task)().outputs(self.rows.train, declared_in(need, self.rows))
        self.at = {name: at for at, name in enumerate(self.names)}
        self.code, _ = read_histories(need, self.names, self.rows)
        self.user = need.data.roles[USER]
        self.backbone = find_backbone("minilm")

    def counts(self) -> dict[str, int]:
        parts = {"train": self.rows.train, "held": self.rows.validation, "test": self.rows.test}
        return {"items": len(self.names), **{name: len(part) for name, part in parts.items()}}

    def part(self, name: str) -> Examples:
        return self.rows.test if name == "test" else self.rows.validation

    def users(self, rows: Examples) -> list[str]:
        return [str(user) for user in rows.extra[self.user]]

    def fitted(self, method: str) -> list[tuple[Any, Any]]:
        """Logits of the validation and of the test rows, one pair a setting of the portfolio."""
        source = TextEncoder(self.backbone, None, settings=EncodeSettings(max_length=_LENGTH))
        options = TuneOptions(
            task=self.task, max_length=_LENGTH, descriptions=self.words, code=self.code
        )
        backbone, rows = self.backbone, self.rows
        both = _both(rows.validation, rows.test)
        with tempfile.TemporaryDirectory() as work:
            sources = {backbone.name: backbone}
            tuner = Tuner(sources, lambda _: source, Path(work), self.names, options)
            grid = METHODS.get(method).portfolio()
            candidates = [Candidate(backbone.name, backbone.sha256, method, s, 0) for s in grid]
            fits = tuner.heads(candidates, rows.train, both)
        cut = len(rows.validation)
        return [(f.validation_logits[:cut], f.validation_logits[cut:]) for f in fits]

    def mean(self, values: Doubles) -> Interval:
        """Over test rows; users are drawn."""
        _, of = np.unique(self.users(self.rows.test), return_inverse=True)
        sums, counts = np.bincount(of, values), np.bincount(of).astype(float)
        return bootstrap([np.column_stack([sums, counts])], _ratio)


def _ratio(parts: Sequence[Doubles]) -> float:
    return float(parts[0][:, 0].sum() / parts[0][:, 1].sum())


def _both(one: Examples, other: Examples) -> Examples:
    inputs = {role: one.inputs[role] + other.inputs[role] for role in one.inputs}
    return Examples(one.ids + other.ids, inputs, one.target + other.target)
