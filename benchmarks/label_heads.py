"""Several labels a text: a grid of one-against-rest heads, against scikit-learn's.

    python -m benchmarks.label_heads [--rounds 5] [--strengths 0.001 0.01 0.1]

The weaknesses of `examples/topics` on MiniLM: every strength of the penalty and every label is a
regression of its own, which we solve in one batch and `OneVsRestClassifier(LogisticRegression)` one
after another, on the same standardised features. Texts are encoded once and not counted. Both sides
answer the same validation rows: the largest difference of a probability is told beside the times,
which do not count where it is above 0.01. A minute on two cores.
"""

import time
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
CLOSE = 0.01
"""Largest difference of a probability at which both sides have solved the same problem."""


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
    answers: dict[str, Floats] = {}
    for _, side in alternate(list(seconds), options.rounds):
        began = time.perf_counter()
        answers[side] = (ours if side == "ours" else theirs)(rows, options.strengths)
        seconds[side].append(time.perf_counter() - began)
    apart = float(np.abs(answers["ours"] - answers["theirs"]).max())
    problems = marks.shape[1] * len(options.strengths)
    what = f"{problems} regressions on {len(train)} rows of {features.shape[1]} features"
    fault = gate(apart <= CLOSE, f"probabilities differ by {apart:.3f}")
    peer = "scikit-learn, one after another"
    lines = [
        Line.of(
            f"{what}, speed{fault}",
            faster(seconds["ours"], seconds["theirs"]),
            "times",
            against=peer,
        ),
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


def ours(rows: tuple[Floats, Floats, Floats], strengths: list[float]) -> Floats:
    """(strengths, held-out rows, labels) probabilities."""
    train, marks, held = rows
    data = HeadData(lambda _: train, lambda _: held, marks, marks.shape[1])
    grid = [HeadSetting((0,), C, (1.0,) * marks.shape[1]) for C in strengths]
    logits = np.stack([fit.validation_logits for fit in fit_heads(data, grid)])
    return 1 / (1 + np.exp(-logits))


def theirs(rows: tuple[Floats, Floats, Floats], strengths: list[float]) -> Floats:
    train, marks, held = rows
    scale = StandardScaler().fit(train)
    found = [
        OneVsRestClassifier(LogisticRegression(C=C, max_iter=2_000)).fit(
            scale.transform(train), marks
        )
        for C in strengths
    ]
    return np.stack([each.predict_proba(scale.transform(held)) for each in found])


if __name__ == "__main__":
    main()
