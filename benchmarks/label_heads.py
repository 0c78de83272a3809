# pyright: reportAttributeAccessIssue=false
"""Several labels a text: a grid of one-against-rest heads, against scikit-learn's.

    python -m benchmarks.label_heads [--rounds 5] [--strengths 0.001 0.01 0.1]

The weaknesses of `examples/topics` on MiniLM: every strength of the penalty and every label is a
regression of its own, which we solve in one batch and `OneVsRestClassifier(LogisticRegression)` one
after another, on the same standardised features. Texts are encoded once and not counted. A time
counts where every regression of ours has a penalised loss that is no higher than the peer's; beside
it stand the losses of both, and the largest difference of a probability on validation rows: where a
penalty is weak, many weights have nearly the same loss. A minute on two cores.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmarks._harness import ROOT, Line, alternate, arguments, faster, finish, gate, machine
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler

from sartor.core.activations import Activations
from sartor.core.protocols import Floats
from sartor.core.types import Examples
from sartor.data.read import read
from sartor.models.catalogue import find_backbone
from sartor.models.encode import EncodeSettings, TextEncoder
from sartor.tasks import TASKS
from sartor.tune.heads import HeadData, HeadSetting, fit_heads

LAYERS = (-3, -2, -1)
HIGHER = 1e-4
"""Share of a loss by which ours may lie above the peer's: what either side's rounding leaves."""


@dataclass(frozen=True, slots=True)
class Solved:
    """What a side made of the grid.

    Args:
        held: (strengths, held-out rows, labels) probabilities.
        train: (strengths, training rows, labels) log-odds.
        squares: (strengths, labels) sums of squared weights, on standardised features.
    """

    held: Floats
    train: Floats
    squares: NDArray[np.float64]

    def losses(self, strengths: list[float], marks: Floats) -> NDArray[np.float64]:
        """(strengths, labels): C · Σ_i log(1 + exp(∓z_i)) + ½‖w‖²."""
        signed = np.where(marks > 0, self.train, -self.train).astype(np.float64)
        told = np.logaddexp(0.0, -signed).sum(1)
        return np.array(strengths)[:, None] * told + self.squares / 2


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.001, 0.01, 0.1, 1.0])
    parser.add_argument("--cache", type=Path, default=Path(".sartor") / "activations")
    options = parser.parse_args()
    features, marks = encoded(options.cache)
    order = np.random.default_rng(0).permutation(len(marks))
    held, train = order[: len(order) // 5], order[len(order) // 5 :]
    rows = features[train], marks[train], features[held]
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    found: dict[str, Solved] = {}
    for _, side in alternate(list(seconds), options.rounds):
        began = time.perf_counter()
        found[side] = (ours if side == "ours" else theirs)(rows, options.strengths)
        seconds[side].append(time.perf_counter() - began)
    apart = float(np.abs(found["ours"].held - found["theirs"].held).max())
    mine, others = (found[side].losses(options.strengths, rows[1]) for side in ("ours", "theirs"))
    problems = marks.shape[1] * len(options.strengths)
    what = f"{problems} regressions on {len(train)} rows of {features.shape[1]} features"
    above = int((mine > (1 + HIGHER) * others).sum())
    fault = gate(not above, f"{above} of our losses are higher")
    peer = "scikit-learn, one after another"
    lines = [
        Line.of(
            f"{what}, speed{fault}",
            faster(seconds["ours"], seconds["theirs"]),
            "times",
            against=peer,
        ),
        Line("Our losses above the peer's, at most", 100 * float((mine / others).max() - 1), "%"),
        Line("The peer's losses above ours, at most", 100 * float((others / mine).max() - 1), "%"),
        Line("Largest difference of a probability on held-out rows", apart, ""),
    ]
    finish("label_heads", facts, lines, {"seconds": seconds, "strengths": options.strengths})


def encoded(cache: Path) -> tuple[Floats, NDArray[np.float32]]:
    """(rows, features) and (rows, labels) of the example."""
    frame = read(["weaknesses.csv"], ROOT / "examples" / "topics").frame
    task = TASKS.get("multi_label")()
    form = task.target
    target = tuple(form.value(form.read(str(cell))) for cell in frame["scopes"])
    texts = tuple(map(str, frame["text"]))
    rows = Examples(texts, {"text": texts}, target)
    encoder = TextEncoder(find_backbone("minilm"), Activations(cache), settings=EncodeSettings())
    depth = encoder.backbone.layers + 1
    features = encoder.features(texts, [layer + depth for layer in LAYERS])
    return features, np.asarray(task.truth(rows, task.outputs(rows, None)), np.float32)


def ours(rows: tuple[Floats, Floats, Floats], strengths: list[float]) -> Solved:
    train, marks, held = rows
    data = HeadData(lambda _: train, lambda _: held, marks, marks.shape[1])
    grid = [HeadSetting((0,), C, (1.0,) * marks.shape[1]) for C in strengths]
    fits = fit_heads(data, grid)
    deviation = StandardScaler().fit(train).scale_
    return Solved(
        np.stack([1 / (1 + np.exp(-fit.validation_logits)) for fit in fits]),  # pyright: ignore[reportArgumentType]
        np.stack([fit.train_logits for fit in fits]),
        np.stack([((fit.weight * deviation) ** 2).sum(1) for fit in fits]),  # pyright: ignore[reportOperatorIssue]
    )


def theirs(rows: tuple[Floats, Floats, Floats], strengths: list[float]) -> Solved:
    train, marks, held = rows
    scale = StandardScaler().fit(train)
    standard, asked = scale.transform(train), scale.transform(held)
    fits = [
        OneVsRestClassifier(LogisticRegression(C=C, max_iter=2_000)).fit(standard, marks)
        for C in strengths
    ]
    return Solved(
        np.stack([each.predict_proba(asked) for each in fits]),
        np.stack([each.decision_function(standard) for each in fits]),
        np.array([[(one.coef_**2).sum() for one in each.estimators_] for each in fits]),  # pyright: ignore[reportOptionalMemberAccess]
    )


if __name__ == "__main__":
    main()
