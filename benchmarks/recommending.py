"""What somebody chooses next: our rungs against popularity, item-to-item cosines and EASE.

    python -m benchmarks.recommending [--data FOLDER]

The made-up learners of `examples/exercises`, or what is in FOLDER with its need.yaml, such as the
films that `examples/movies/make.py` writes: split by time as a run splits them, with the histories
as they stood at each test moment. All sides rank the same items for the same moments, less those of
the history. Settings are chosen on validation moments by the discounted gain of the first ten.

- *popular*, *neighbours*, *similar_items*, *two_tower*, *hybrid*: our rungs, with their portfolios.
- *cosine*: item-to-item cosines of who chose what, whatever the order, from the 100 nearest, as
  most tutorials show it.
- *EASE*: a linear model in closed form, Steck 2019, https://arxiv.org/abs/1905.03375, with the
  penalty that does best on validation moments.

Intervals draw users. Times are from moments to the order of the test moments, reading and encoding
aside. A minute on two cores with the learners; the films take about ten.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks._harness import ROOT, Line, arguments, finish, machine
from benchmarks._histories import Histories
from numpy.typing import NDArray

from sartor.core.histories import histories_in
from sartor.core.types import Examples
from sartor.judge.checks.retrieval import ndcg, recall

SHOWN, NEAREST = 10, 100
RUNGS = ("popular", "neighbours", "similar_items", "two_tower", "hybrid")
PENALTIES = (50.0, 200.0, 1_000.0)
Doubles = NDArray[np.float64]


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / "examples" / "exercises")
    data = Histories(parser.parse_args().data)
    world = World(data)
    sides: dict[str, Callable[[], list[Any]]] = {
        **{name: (lambda name=name: data.fitted(name)) for name in RUNGS},
        "cosine": lambda: [world.cosines()],
        "EASE": lambda: [world.ease(penalty) for penalty in PENALTIES],
    }
    lines: list[Line] = []
    found: dict[str, Doubles] = {}
    for name, ranked in sides.items():
        began = time.perf_counter()
        _, tested = max(ranked(), key=lambda each: world.scores(each[0], "held")[:, 1].mean())
        seconds = time.perf_counter() - began
        scores = world.scores(tested, "test")
        found[name] = scores
        new = scores[np.array(data.rows.test.extra["chosen_before"]) == 0]
        lines += [
            Line.of(f"{name}: recall among the first 10", data.mean(scores[:, 0]), ""),
            Line.of(f"{name}: discounted gain of the first 10", data.mean(scores[:, 1]), ""),
            Line(f"{name}: recall, items that nobody had chosen", float(new[:, 0].mean()), ""),
            Line(f"{name}: moments to test answers", seconds, "s"),
        ]
        print("\n".join(map(str, lines[-4:])), flush=True)
    for peer in ("popular", "cosine", "EASE"):
        apart = found["hybrid"] - found[peer]
        lines.append(Line.of("hybrid, recall less", data.mean(apart[:, 0]), "", against=peer))
    finish("recommending", facts, lines, {"moments": data.counts()})


class World:
    """What is ranked for the moments, and how well.

    Args:
        data: Choices of users.
    """

    def __init__(self, data: Histories) -> None:
        self.rows, self.names, self.at = data.rows, data.names, data.at
        self.part = data.part
        self.chosen = self._chosen(data.users(data.rows.train))

    def _chosen(self, users: Sequence[str]) -> Doubles:
        """(users, items) 1 for what training moments and their histories hold."""
        held: dict[str, set[int]] = defaultdict(set)
        rows = zip(users, histories_in(self.rows.train.texts), self.rows.train.target, strict=True)
        for user, history, wanted in rows:
            held[user] |= {self.at[name] for name in (*history, *wanted)}
        found = np.zeros((len(held), len(self.names)))
        for row, items in enumerate(held.values()):
            found[row, list(items)] = 1.0
        return found

    def cosines(self) -> Any:
        together = self.chosen.T @ self.chosen
        norm = np.sqrt(np.maximum(np.diag(together), 1.0))
        alike = together / norm[:, None] / norm[None, :]
        np.fill_diagonal(alike, 0.0)
        floor = -np.partition(-alike, min(NEAREST, len(alike)) - 1, axis=1)[:, NEAREST - 1 :][:, :1]
        return self._applied(np.where(alike >= floor, alike, 0.0))

    def ease(self, penalty: float) -> Any:
        inverse = np.linalg.inv(self.chosen.T @ self.chosen + penalty * np.eye(len(self.names)))
        weights = -inverse / np.diag(inverse)[None, :]
        np.fill_diagonal(weights, 0.0)
        return self._applied(weights)

    def _applied(self, weights: Doubles) -> Any:
        return tuple(
            np.concatenate(
                [self._held(part.take(range(at, min(at + 2_000, len(part))))) @ weights
                 for at in range(0, len(part), 2_000)]
            )
            for part in (self.rows.validation, self.rows.test)
        )  # fmt: skip

    def _held(self, rows: Examples) -> Doubles:
        """(rows, items) 1 for what a history holds."""
        found = np.zeros((len(rows), len(self.names)))
        for row, history in enumerate(histories_in(rows.texts)):
            found[row, [self.at[name] for name in history]] = 1.0
        return found

    def scores(self, logits: Any, part: str) -> Doubles:
        """(moments, 2): recall and discounted gain of the first ten."""
        rows = self.part(part)
        found: list[tuple[float, float]] = []
        for row, history, wanted in zip(
            np.asarray(logits), histories_in(rows.texts), rows.target, strict=True
        ):
            open_to = row.copy()
            open_to[[self.at[name] for name in history]] = -np.inf
            first = np.argpartition(-open_to, SHOWN)[:SHOWN]
            first = first[np.argsort(-open_to[first], kind="stable")]
            ranked, right = [self.names[at] for at in first], frozenset(wanted)
            found.append((recall(ranked, right, SHOWN), ndcg(ranked, right, SHOWN)))
        return np.array(found)


if __name__ == "__main__":
    main()
