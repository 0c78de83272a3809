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

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks._harness import ROOT, Interval, Line, arguments, finish, machine
from benchmarks._histories import Histories
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from sartor.core.histories import HISTORY
from sartor.core.texts import cells_of
from sartor.core.types import ITEM, Examples
from sartor.tasks._target.right_wrong import RIGHT

BINS = 15
RUNGS = ("item_logistic", "performance_factors", "item_response", "explanatory_response")
STRENGTHS = (0.1, 1.0, 10.0)
PEERS = ("logistic", "item share")
Doubles = NDArray[np.float64]


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / "examples" / "mastery")
    data = Histories(parser.parse_args().data)
    world = World(data)
    rungs = [name for name in RUNGS if data.words or name != "explanatory_response"]
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
            Line.of(f"{name}: log-loss", data.mean(lost[name]), "nats"),
            Line.of(f"{name}: area under the curve", world.auc(tested), ""),
            Line(f"{name}: calibration error", world.gap(tested), ""),
            Line(f"{name}: rows to test chances", seconds, "s"),
        ]
        print("\n".join(map(str, lines[-4:])), flush=True)
    best = min(rungs, key=lambda name: lost[name].mean())
    for peer in ("item_logistic", *PEERS):
        apart = data.mean(lost[best] - lost[peer])
        lines.append(Line.of(f"{best}, log-loss less", apart, "nats", against=peer))
    new = np.array(data.rows.test.extra["answered_before"]) == 0
    if new.any():
        lines += [
            Line(f"{name}: log-loss, items that nobody had answered", float(each[new].mean()), "")
            for name, each in lost.items()
        ]
    finish("mastery", facts, lines, {"rows": data.counts() | {"of new items": int(new.sum())}})


class World:
    """What is said of the rows, and how well.

    Args:
        data: Answers of learners.
    """

    def __init__(self, data: Histories) -> None:
        self.data, self.rows, self.names = data, data.rows, data.names
        self.users = data.users(data.rows.test)

    def fitted(self, method: str) -> list[Any]:
        """Chances of the validation and of the test rows, one pair a setting."""
        parts = (self.rows.validation, self.rows.test)
        return [tuple(map(self._chances, parts, logits)) for logits in self.data.fitted(method)]

    def _chances(self, rows: Examples, logits: Any) -> Doubles:
        """(rows,) of what they ask."""
        asked = logits[np.arange(len(rows)), self._asked(rows)].astype(float)
        return 1 / (1 + np.exp(-asked))

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
        return np.array([self.data.at[cells.values()[ITEM][0]] for cells in cells_of(rows.texts)])

    def losses(self, chances: Doubles, part: str) -> Doubles:
        """(rows,) −log of the chance that was given to what came true."""
        right = _right(self.data.part(part))
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


def _right(rows: Examples) -> Doubles:
    return np.array([target == RIGHT for target in rows.target], np.float64)


if __name__ == "__main__":
    main()
