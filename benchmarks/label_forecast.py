"""Forecast of labels needed: does the 80 % interval cover the truth?

    python -m benchmarks.label_forecast [--trials 15] [--share 0.1] [--problems reviews ...]

Three data sets, each cut to a tenth: product reviews and English intents on MiniLM, Chinese reviews
on E5. A trial draws its tenth and its validation rows, fits heads on growing parts of it, and
forecasts at how many rows a head reaches each of a few accuracies. The truth is the curve of heads
on fresh draws of up to all rows, averaged over draws and scored on rows that no trial has seen; the
accuracies are those that the truth passes at 1.5, 2.5, 4 and 8 times the tenth, and one that it has
not reached at its end (the forecast must then not end before it). Texts are encoded once.
Goal: the interval covers the truth in at least 75 % of the trials. Width and bias are told too: an
interval from nothing to infinity would cover everything. About 12 minutes on two cores.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks._harness import ROOT, Interval, Line, arguments, bootstrap, finish, machine
from benchmarks.score_time import intents, reviews
from numpy.typing import NDArray

from sartor.core.activations import Activations
from sartor.core.protocols import Floats
from sartor.core.types import Examples
from sartor.data.read import read
from sartor.models.catalogue import find_backbone
from sartor.models.encode import EncodeSettings, TextEncoder
from sartor.need.grammar import parse_criterion
from sartor.search.assess import Held
from sartor.search.forecast import Forecast, forecast, grow
from sartor.tasks import TASKS
from sartor.tune.heads import HeadData, HeadSetting, fit_heads

TIMES = (1.5, 2.5, 4.0, 8.0)
BEYOND = 0.01
"""How much better than the end of the truth the last accuracy is."""
VALIDATION = 0.5
"""Validation rows, of the tenth: a need's own share is about a quarter of training."""
HELD_OUT = 0.25
STRENGTH = 0.003
_DRAWS = 5


@dataclass(frozen=True, slots=True)
class World:
    """Rows of one data set with their features.

    Args:
        features: (rows, features).
        labels: (rows,), class indices.
        outputs: Class names.
    """

    features: Floats
    labels: NDArray[np.int64]
    outputs: tuple[str, ...]

    def examples(self, rows: NDArray[np.int64]) -> Examples:
        names = tuple(map(str, rows.tolist()))
        return Examples(names, {"text": names}, tuple(self.outputs[k] for k in self.labels[rows]))

    def logits(self, train: NDArray[np.int64], on: NDArray[np.int64]) -> Floats:
        """(rows of `on`, outputs), of a head on `train`."""
        data = HeadData(
            train=lambda _: self.features[train],
            validation=lambda _: self.features[on],
            labels=self.labels[train],
            outputs=len(self.outputs),
        )
        setting = HeadSetting((0,), STRENGTH, (1.0,) * len(self.outputs))
        return fit_heads(data, [setting])[0].validation_logits


def chinese() -> tuple[list[str], list[str]]:
    table = read(["chinese_reviews.csv"], ROOT / "examples" / "chinese_reviews").frame
    return [str(t) for t in table["text"]], [str(t) for t in table["label"]]


def english(problem: Callable[[], Any], text: str, label: str) -> tuple[list[str], list[str]]:
    found = problem()
    rows = [*found.pool, *found.test]
    return [row[text] for row in rows], [row[label] for row in rows]


PROBLEMS: dict[str, tuple[str, Callable[[], tuple[list[str], list[str]]]]] = {
    "reviews": ("minilm", lambda: english(reviews, "text", "label")),
    "intents": ("minilm", lambda: english(intents, "text", "label")),
    "chinese_reviews": ("e5-small", chinese),
}


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--trials", type=int, default=15, help="a data set")
    parser.add_argument("--share", type=float, default=0.1, help="of the rows, that a trial has")
    parser.add_argument("--most", type=int, default=6000, help="rows a data set is cut to first")
    parser.add_argument("--problems", nargs="+", choices=list(PROBLEMS), default=list(PROBLEMS))
    parser.add_argument("--cache", type=Path, default=Path(".sartor") / "activations")
    options = parser.parse_args()
    lines: list[Line] = []
    detail: dict[str, Any] = {"trials": options.trials, "share": options.share}
    everything: list[list[dict[str, Any]]] = []
    for name in options.problems:
        world = encoded(name, options.cache, options.most)
        found = compete(world, options.trials, options.share)
        detail[name] = {"rows": len(world.labels), "found": found}
        everything += found
        lines.append(Line.of(f"{name}: covered", coverage(found), "%", goal="at least 75 %"))
        lines.append(Line(f"{name}: intervals with an upper end", bounded(found), "%"))
        if ends := width(found):
            lines.append(Line(f"{name}: that end over the lower one, median", ends, "times"))
    lines.append(Line.of("all: covered", coverage(everything), "%", goal="at least 75 %"))
    finish("label_forecast", facts, lines, detail)


def encoded(name: str, cache: Path, most: int) -> World:
    starter, load = PROBLEMS[name]
    texts, labels = load()
    unique = dict(zip(texts, labels, strict=True))
    texts = list(unique)
    chosen = np.random.default_rng(0).permutation(len(texts))[:most].tolist()
    backbone = find_backbone(starter)
    encoder = TextEncoder(backbone, Activations(cache), settings=EncodeSettings())
    depth = backbone.layers
    features = encoder.features([texts[i] for i in chosen], range(depth - 3, depth + 1))
    outputs = tuple(sorted(set(unique.values())))
    index = {label: i for i, label in enumerate(outputs)}
    return World(
        features, np.array([index[unique[texts[i]]] for i in chosen], dtype=np.int64), outputs
    )


def compete(world: World, trials: int, share: float) -> list[list[dict[str, Any]]]:
    """For each trial, one mapping a target: the truth, the forecast, and whether it covers."""
    order = np.random.default_rng(1).permutation(len(world.labels))
    far = order[: round(HELD_OUT * len(order))]
    pool = order[len(far) :]
    small = round(share * len(pool))
    sizes = np.unique(np.geomspace(small, len(pool), 9).astype(int))
    scores = true_curve(world, pool, far, sizes)
    targets = [*np.interp([small * t for t in TIMES], sizes, scores), scores[-1] + BEYOND]
    found: list[list[dict[str, Any]]] = []
    for trial in range(trials):
        rng = np.random.default_rng([2, trial])
        drawn = rng.permutation(pool)[: round(small * (1 + VALIDATION))]
        train, validation = drawn[:small], drawn[small:]
        found.append(one_trial(world, (train, validation), (sizes, scores), targets, trial))
    return found


def true_curve(
    world: World, pool: NDArray[np.int64], far: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(sizes,), accuracy on held-out rows, made to rise."""
    scores: list[float] = []
    for size in sizes.tolist():
        draws = _DRAWS if size < 0.8 * len(pool) else 1
        each = [
            (
                world.logits(
                    np.random.default_rng([3, size, d]).permutation(pool)[:size], far
                ).argmax(1)
                == world.labels[far]
            ).mean()
            for d in range(draws)
        ]
        scores.append(float(np.mean(each)))
    return np.maximum.accumulate(scores)


def one_trial(
    world: World,
    rows: tuple[NDArray[np.int64], NDArray[np.int64]],
    truth: tuple[NDArray[np.int64], NDArray[np.float64]],
    targets: Sequence[float],
    seed: int,
) -> list[dict[str, Any]]:
    train, validation = rows
    examples, seen = world.examples(train), world.examples(validation)
    grown = grow(examples, "", lambda part: world.logits(train[list(part)], validation), seed=seed)
    if grown is None:
        raise SystemExit(f"{len(train)} rows are too few for a trial: raise --share")
    sizes, scores = truth
    found: list[dict[str, Any]] = []
    for target in targets:
        criterion = parse_criterion(f"accuracy >= {target:.6f}")
        # A test set without end: what it can prove is the accuracy itself.
        held = Held(
            TASKS.get("text_classification")(), world.outputs, seen, (criterion,), 10**7, seed=seed
        )
        each = forecast(criterion, held, grown, rows=len(train))
        if each is not None:
            found.append(scored(each, target, (sizes, scores)))
    return found


def scored(
    found: Forecast, target: float, truth: tuple[NDArray[np.int64], NDArray[np.float64]]
) -> dict[str, Any]:
    sizes, scores = truth
    needed = float(np.interp(target, scores, sizes)) if target <= scores[-1] else np.inf
    low = np.inf if found.low is None else found.rows + found.low
    high = np.inf if found.high is None else found.rows + found.high
    # Beyond the last row nothing is known of the truth but that it lies there.
    covered = high >= sizes[-1] if np.isinf(needed) else low <= needed <= high
    shown = {"needed": needed, "low": low, "high": high}
    return {
        "target": target,
        "covered": bool(covered),
        "chance": found.chance,
        **{name: None if np.isinf(value) else value for name, value in shown.items()},
    }


def coverage(found: Sequence[Sequence[dict[str, Any]]]) -> Interval:
    """Percent, bootstrapped over trials: the targets of one trial are alike."""
    shares = np.array([np.mean([each["covered"] for each in trial]) for trial in found])
    return bootstrap([shares], lambda parts: 100 * parts[0].mean())


def bounded(found: Sequence[Sequence[dict[str, Any]]]) -> float:
    """Percent of the targets that the truth reaches."""
    ends = [t["high"] is not None for trial in found for t in trial if t["needed"] is not None]
    return 100 * float(np.mean(ends)) if ends else 0.0


def width(found: Sequence[Sequence[dict[str, Any]]]) -> float:
    """Median ratio of the ends, where there is an upper one."""
    ends = [t["high"] / t["low"] for trial in found for t in trial if t["high"] is not None]
    return float(np.median(ends)) if ends else 0.0


if __name__ == "__main__":
    main()
