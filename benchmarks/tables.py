"""A table alone: our rungs on German credit, against the script that most would write.

    python -m benchmarks.tables [--splits 20]

The peer is scikit-learn's HistGradientBoostingClassifier with its own defaults and its own
handling of categories, on all rows that are not tested, answering by the threshold that the costs
imply. Ours are the portfolios of `columns` and `boosting`, fitted on four fifths of those rows; the
fifth chooses among them by log-loss and settles the decision rule, as a run does without folds.
Both sides answer the same quarter of the rows, drawn anew for each split. Times are those of
fitting, reading aside. A minute on two cores.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from benchmarks._harness import ROOT, Line, arguments, faster, finish, machine, paired
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import brier_score_loss, roc_auc_score

from sartor.core.columns import TableCode, kinds_in
from sartor.core.likelihood import fit_temperature
from sartor.core.protocols import Floats
from sartor.core.texts import Cells, cells_of
from sartor.core.types import Examples
from sartor.data import prepare
from sartor.need.file import load_need
from sartor.need.grammar import parse_criterion
from sartor.search.judging import roles_of
from sartor.search.tabular import NOTHING
from sartor.tasks import TASKS
from sartor.tasks._decision.logits import softmax
from sartor.tasks.text_classification.settling import costs, costs_of
from sartor.tune.api import METHODS
from sartor.tune.frozen import Frozen, Point
from sartor.tune.settings import read_settings

COST = parse_criterion("expected_cost[label=bad, miss=5, false_alarm=1] <= 0.5")
OUTPUTS = ("good", "bad")


@dataclass(frozen=True, slots=True)
class Answered:
    """What one side said of the tested rows: (rows,) chance of bad, and whether it said so."""

    chance: NDArray[np.float64]
    said: NDArray[np.bool_]


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--splits", type=int, default=20)
    options = parser.parse_args()
    rows, kinds = table()
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    scores: dict[str, list[tuple[float, float, float]]] = {"ours": [], "theirs": []}
    for seed in range(options.splits):
        order = np.random.default_rng(seed).permutation(len(rows)).tolist()
        tested, free = rows.take(order[: len(order) // 4]), order[len(order) // 4 :]
        sides = {"ours": ours, "theirs": theirs}
        for side in sides if seed % 2 == 0 else reversed(sides):
            began = time.perf_counter()
            answered = sides[side]((rows, free), tested, kinds)
            seconds[side].append(time.perf_counter() - began)
            scores[side].append(scored(answered, tested))
    peer = "scikit-learn's boosting, its defaults"
    lines = [
        Line.of(
            f"{name}, ours less theirs, over {options.splits} splits", paired(gap), "", against=peer
        )
        for name, gap in gaps(scores).items()
    ]
    lines += [
        Line(f"{name} of ours, mean", float(np.mean([s[k] for s in scores["ours"]])), "")
        for k, name in enumerate(("AUC", "Brier score", "Cost of an answer"))
    ]
    fitting = faster(seconds["ours"], seconds["theirs"])
    lines.append(
        Line.of("Fitting eight settings against one, speed", fitting, "times", against=peer)
    )
    finish("tables", facts, lines, {"seconds": seconds, "scores": scores})


def gaps(scores: dict[str, list[tuple[float, float, float]]]) -> dict[str, list[float]]:
    """Metric to ours less theirs, split by split."""
    apart = np.array(scores["ours"]) - np.array(scores["theirs"])
    names = ("AUC", "Brier score", "Cost of an answer")
    return {name: apart[:, k].tolist() for k, name in enumerate(names)}


def table() -> tuple[Examples, dict[str, Any]]:
    """The example's rows and what its columns hold."""
    place = ROOT / "examples" / "credit"
    need = load_need(place / "need.yaml", roles_of)
    columns = prepare.columns_of(need.data, ("text",))
    gathered = prepare.gather(need.data, place, known={}, columns=columns)
    split = prepare.divide(gathered, wanted_test=1, seed=0, known={})
    parts = (split.train, split.validation, split.test)
    cells = tuple(cell for part in parts for cell in cells_of(part.texts))
    target = tuple(label for part in parts for label in part.target)
    ids = tuple(name for part in parts for name in part.ids)
    return Examples(ids, {"columns": cells}, target), dict(kinds_in(gathered.columns.cells))


def ours(of: tuple[Examples, list[int]], tested: Examples, kinds: dict[str, Any]) -> Answered:
    every, free = of
    held, train = (every.take(part) for part in (free[: len(free) // 5], free[len(free) // 5 :]))
    code = TableCode.fit(cells_of(train.texts), kinds)
    task = TASKS.get("tabular_text")()
    truth = {name: task.truth(rows, OUTPUTS) for name, rows in (("train", train), ("held", held))}
    # What is tested is scored beside what chooses, so that a fit is made once.
    both = (*held.texts, *tested.texts)
    known = np.concatenate([truth["held"], np.full(len(tested), -1)])
    frozen = Frozen(
        backbone=NOTHING,
        source=_Nothing(),
        train=train.texts,
        validation=both,
        labels=truth["train"],
        held=known,
        outputs=OUTPUTS,
        descriptions={},
        code=code,
    )
    fits: list[Floats] = []
    for name in ("columns", "boosting"):
        method: Any = METHODS.get(name)
        read = [read_settings(s, task="tabular_text", method=name) for s in method.portfolio()]
        points = [Point(r.method, (0,), (1.0, 1.0), 0) for r in read]
        fits += [fit.validation_logits for fit in method.fit_all(frozen, points)]
    count = len(held)
    best = min(fits, key=lambda logits: log_loss(logits[:count], truth["held"]))
    decision = task.settle(best[:count], held, OUTPUTS, [COST])
    answers = task.decode(best[count:], OUTPUTS, decision)
    chance = np.array([answer["probabilities"]["bad"] for answer in answers])
    return Answered(chance, np.array([answer["best"] == "bad" for answer in answers]))


class _Nothing:
    """No text is read."""

    max_length = 256

    def features(self, texts: Any, layers: Any) -> Floats:
        raise AssertionError("columns alone ask for no text")


def log_loss(logits: Floats, truth: Any) -> float:
    """After calibration, as candidates are compared."""
    chance = softmax(logits / fit_temperature(logits, truth))
    return float(-np.log(np.clip(chance[np.arange(len(truth)), truth], 1e-15, 1)).mean())


def theirs(of: tuple[Examples, list[int]], tested: Examples, kinds: dict[str, Any]) -> Answered:
    every, free = of
    train = every.take(free)
    categories = [name for name, kind in kinds.items() if kind == "category"]
    known = {
        name: sorted({cell.values()[name] for cell in cells_of(every.texts)}) for name in categories
    }

    def read(cells: list[Cells]) -> NDArray[np.float64]:
        return np.array(
            [
                [
                    known[name].index(value) if name in known else value
                    for name, value in cell.values().items()
                ]
                for cell in cells
            ],
            np.float64,
        )

    model = HistGradientBoostingClassifier(
        categorical_features=[name in known for name in kinds],  # pyright: ignore[reportArgumentType]
        random_state=0,
    )
    model.fit(read(cells_of(train.texts)), np.array(train.target) == "bad")
    chance = model.predict_proba(read(cells_of(tested.texts)))[:, 1]
    miss, alarm = costs_of(COST)
    return Answered(chance, chance * miss > (1 - chance) * alarm)


def scored(answered: Answered, tested: Examples) -> tuple[float, float, float]:
    """AUC, Brier score and mean cost."""
    bad = np.array(tested.target) == "bad"
    paid = costs(answered.said, bad, costs_of(COST))
    chance = answered.chance
    return (
        float(roc_auc_score(bad, chance)),
        float(brier_score_loss(bad, chance)),
        float(paid.mean()),
    )


if __name__ == "__main__":
    main()
