"""How likely a learner answers right: our rungs against a plain logistic model and item shares.

    python -m benchmarks.mastery [--data FOLDER]

The made-up answers of `examples/mastery`, or what is in FOLDER with its need.yaml, such as the exam
that `examples/mastery/exam.py` converts: split as a run splits them, with the histories as they
stood before each test answer. All sides say a chance for the same answers. Settings are chosen on
validation rows by log-loss.

- *item_logistic*, *performance_factors*, *item_response*, *explanatory_response*: our rungs, with
  their portfolios; the last reads texts, and is left out where there are none.
- *logistic*: scikit-learn's logistic regression on the item, one hot, and the learner's share of
  right answers until then, smoothed by one of each, as most tutorials show it.
- *item share*: of each item the share of right answers in the training rows, smoothed by one of
  each; of an item without any that of all.

Intervals draw learners. Times are from rows to the chances of the test rows, reading and encoding
aside. A minute on two cores.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks._harness import ROOT, Interval, Line, arguments, bootstrap, finish, machine
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from sartor.core.histories import HISTORY
from sartor.core.texts import cells_of
from sartor.core.types import ITEM, USER, Candidate, Examples
from sartor.data import prepare
from sartor.models.catalogue import find_backbone
from sartor.models.encode import EncodeSettings, TextEncoder
from sartor.need.file import load_need
from sartor.search.documents import with_documents
from sartor.search.judging import roles_of
from sartor.search.recommending import declared_in, read_histories
from sartor.tasks import TASKS
from sartor.tasks._target.right_wrong import RIGHT
from sartor.tune.api import METHODS
from sartor.tune.fit import TuneOptions, Tuner

LENGTH, BINS = 256, 15
RUNGS = ("item_logistic", "performance_factors", "item_response", "explanatory_response")
STRENGTHS = (0.1, 1.0, 10.0)
PEERS = ("logistic", "item share")
Doubles = NDArray[np.float64]


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / "examples" / "mastery")
    world = World(parser.parse_args().data)
    rungs = [name for name in RUNGS if world.words or name != "explanatory_response"]
    sides: dict[str, Callable[[], list[Any]]] = {
        **{name: (lambda name=name: world.fitted(name)) for name in rungs},
        "logistic": lambda: [world.logistic(strength) for strength in STRENGTHS],
        "item share": lambda: [world.share()],
    }
    lines: list[Line] = []
    lost: dict[str, Doubles] = {}
    for name, said in sides.items():
        began = time.perf_counter()
        _, tested = min(said(), key=lambda each: world.losses(each[0], "held").mean())
        seconds = time.perf_counter() - began
        lost[name] = world.losses(tested, "test")
        lines += [
            Line.of(f"{name}: log-loss", world.mean(lost[name]), "nats"),
            Line.of(f"{name}: area under the curve", world.auc(tested), ""),
            Line(f"{name}: calibration error", world.gap(tested), ""),
            Line(f"{name}: rows to test chances", seconds, "s"),
        ]
        print("\n".join(map(str, lines[-4:])), flush=True)
    best = min(rungs, key=lambda name: lost[name].mean())
    for peer in ("item_logistic", *PEERS):
        apart = world.mean(lost[best] - lost[peer])
        lines.append(Line.of(f"{best}, log-loss less", apart, "nats", against=peer))
    new = np.array(world.rows.test.extra["answered_before"]) == 0
    if new.any():
        lines += [
            Line(f"{name}: log-loss, items that nobody had answered", float(each[new].mean()), "")
            for name, each in lost.items()
        ]
    finish("mastery", facts, lines, {"rows": world.counts() | {"of new items": int(new.sum())}})


class World:
    """The data, split, and who answered what.

    Args:
        place: Folder with need.yaml.
    """

    def __init__(self, place: Path) -> None:
        file = place / "need.yaml"
        need = with_documents(load_need(file, roles_of), str(file), place)
        task = TASKS.get(need.task)()
        columns = prepare.columns_of(need.data, tuple(task.roles.inputs), task.target)
        gathered = prepare.gather(need.data, place, known={}, columns=columns)
        self.rows = prepare.divide(gathered, wanted_test=1, seed=need.seed, known={})
        self.words = dict(need.data.label_descriptions)
        self.names = task.outputs(self.rows.train, declared_in(need, self.rows))
        self.at = {name: at for at, name in enumerate(self.names)}
        self.code, _ = read_histories(need, self.names, self.rows)
        self.users = [str(user) for user in self.rows.test.extra[need.data.roles[USER]]]
        self.backbone = find_backbone("minilm")

    def counts(self) -> dict[str, int]:
        parts = {"train": self.rows.train, "held": self.rows.validation, "test": self.rows.test}
        return {"items": len(self.names), **{name: len(part) for name, part in parts.items()}}

    def part(self, name: str) -> Examples:
        return self.rows.test if name == "test" else self.rows.validation

    def fitted(self, method: str) -> list[Any]:
        """Chances of the validation and of the test rows, one pair a setting."""
        source = TextEncoder(self.backbone, None, settings=EncodeSettings(max_length=LENGTH))
        options = TuneOptions(
            task="mastery", max_length=LENGTH, descriptions=self.words, code=self.code
        )
        backbone, rows = self.backbone, self.rows
        both = _both(rows.validation, rows.test)
        with tempfile.TemporaryDirectory() as work:
            tuner = Tuner(
                {backbone.name: backbone}, lambda _: source, Path(work), self.names, options
            )
            grid = METHODS.get(method).portfolio()
            candidates = [Candidate(backbone.name, backbone.sha256, method, s, 0) for s in grid]
            fits = tuner.heads(candidates, rows.train, both)
        cut, asked = len(rows.validation), self._asked(both)
        rows_of = np.arange(len(both))
        chances = [
            1 / (1 + np.exp(-f.validation_logits[rows_of, asked].astype(float))) for f in fits
        ]
        return [(each[:cut], each[cut:]) for each in chances]

    def logistic(self, strength: float) -> Any:
        model: Any = LogisticRegression(C=strength, max_iter=1_000)
        model.fit(self._features(self.rows.train), _right(self.rows.train))
        return tuple(
            model.predict_proba(self._features(part))[:, 1]
            for part in (self.rows.validation, self.rows.test)
        )

    def share(self) -> Any:
        asked, right = self._asked(self.rows.train), _right(self.rows.train)
        seen = np.bincount(asked, minlength=len(self.names))
        hits = np.bincount(asked, right, len(self.names))
        shares = np.where(seen > 0, (hits + 1) / (seen + 2), right.mean())
        return tuple(shares[self._asked(p)] for p in (self.rows.validation, self.rows.test))

    def _features(self, rows: Examples) -> Any:
        """(rows, items + 1): the item, one hot, and the learner's share until then."""
        asked = self._asked(rows)
        ones = (np.ones(len(rows)), (np.arange(len(rows)), asked))
        marks = [[mark for _, mark in cells.values()[HISTORY]] for cells in cells_of(rows.texts)]
        share = np.array([(sum(each) + 1) / (len(each) + 2) for each in marks])
        return hstack(
            [csr_matrix(ones, shape=(len(rows), len(self.names))), share[:, None]]
        ).tocsr()

    def _asked(self, rows: Examples) -> NDArray[np.int64]:
        return np.array([self.at[cells.values()[ITEM][0]] for cells in cells_of(rows.texts)])

    def losses(self, chances: Doubles, part: str) -> Doubles:
        """(rows,) −log of the chance that was given to what came true."""
        right = _right(self.part(part))
        given = np.where(right > 0, chances, 1 - chances)
        return -np.log(np.clip(given, 1e-15, 1.0))

    def auc(self, chances: Doubles) -> Interval:
        """Of the test rows; learners are drawn with all their answers."""
        right, (_, of) = _right(self.rows.test), np.unique(self.users, return_inverse=True)
        members = [np.flatnonzero(of == learner) for learner in range(of.max() + 1)]
        drawn = np.random.default_rng(0)
        values: list[float] = []
        for _ in range(400):
            rows = np.concatenate(
                [members[at] for at in drawn.integers(0, len(members), len(members))]
            )
            if 0 < right[rows].mean() < 1:
                values.append(float(roc_auc_score(right[rows], chances[rows])))
        low, high = np.quantile(values, [0.025, 0.975])
        return Interval(float(low), float(roc_auc_score(right, chances)), float(high))

    def gap(self, chances: Doubles) -> float:
        """Mean distance of chances from shares, over bins of as many rows each."""
        order, right = np.argsort(chances, kind="stable"), _right(self.rows.test)
        parts = np.array_split(order, BINS)
        return float(sum(abs((right[p] - chances[p]).sum()) for p in parts) / len(right))

    def mean(self, values: Doubles) -> Interval:
        """Over answers; learners are drawn."""
        _, of = np.unique(self.users, return_inverse=True)
        sums, counts = np.bincount(of, values), np.bincount(of).astype(float)
        return bootstrap([np.column_stack([sums, counts])], _ratio)


def _ratio(parts: Sequence[Doubles]) -> float:
    return float(parts[0][:, 0].sum() / parts[0][:, 1].sum())


def _right(rows: Examples) -> Doubles:
    return np.array([target == RIGHT for target in rows.target], np.float64)


def _both(one: Examples, other: Examples) -> Examples:
    inputs = {role: one.inputs[role] + other.inputs[role] for role in one.inputs}
    return Examples(one.ids + other.ids, inputs, one.target + other.target)


if __name__ == "__main__":
    main()
