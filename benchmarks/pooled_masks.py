"""Dropout from pooled masks: does it regularise as well as masks drawn afresh?

    python -m benchmarks.pooled_masks [--seeds 8] [--rows 600] [--passes 3]

Full fine-tuning of MiniLM on 600 reviews cut at 96 tokens, all weights at 1e-4, in three ways that
differ in nothing else: masks from the pool, masks drawn by torch, no dropout. A seed draws the
training rows, the head's start, the batches and the masks, the same for the three. They make the
same steps, and the last weights count, not the best ones: 600 other reviews are answered by them
once, at the end. So that the loop evaluates only there, it reads the rows three times over as one
epoch.

Pooled less drawn is a difference of pairs, with Student's 95 % interval over seeds: as good means
that the whole interval lies within two points of accuracy, and within 0.05 nats of log-loss. That
dropout acts at all is shown by the gap between the log-loss of the validation rows and that of the
training rows, both without dropout, which it must narrow against training without. In bfloat16
where the probe finds it faster. Takes about 12 minutes on two quiet cores.
"""

import argparse
import csv
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from benchmarks._harness import (
    ROOT,
    Line,
    alternate,
    arguments,
    finish,
    machine,
    median_ratio,
    paired,
    spread,
)

from sartor.core.types import Backbone
from sartor.models.catalogue import find_backbone
from sartor.models.loading import load_text_backbone
from sartor.models.precision import probe
from sartor.tasks.text_classification.train import TextClassification
from sartor.tune.batching import Tokens
from sartor.tune.dropout import set_dropout
from sartor.tune.generators import seeded
from sartor.tune.loop import Recipe, Rows, Watch, log_loss, score, train
from sartor.tune.methods.full import Full
from sartor.tune.settings import Loop

LONGEST, LR = 96, 1e-4
SAME_POINTS, SAME_NATS = 2.0, 0.05
WAYS = ("pooled", "drawn", "none")


@dataclass(frozen=True, slots=True)
class Bench:
    """What all fits share.

    Args:
        backbone: MiniLM.
        ids: Token ids of every review.
        labels: (rows,) class indices.
        held: Validation rows, the same for all seeds.
        bf16: The probe's answer.
    """

    backbone: Backbone
    ids: list[list[int]]
    labels: np.ndarray
    held: np.ndarray
    bf16: bool

    def rows(self, chosen: np.ndarray) -> Rows:
        return Rows(Tokens([self.ids[i] for i in chosen], 0), self.labels[chosen])


@dataclass(frozen=True, slots=True)
class Fit:
    """How one fit ended.

    Args:
        accuracy: Of the validation rows, percent.
        validation: Their log-loss, in nats.
        train: That of the training rows, without dropout.
        seconds: Of the steps.
        steps: How many.
    """

    accuracy: float
    validation: float
    train: float
    seconds: float
    steps: int

    @property
    def gap(self) -> float:
        return self.validation - self.train


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--held", type=int, default=600, help="validation rows")
    parser.add_argument("--passes", type=int, default=3)
    options = parser.parse_args()
    bench = _bench(options.held)
    fits: dict[str, list[Fit]] = {way: [] for way in WAYS}
    began = time.monotonic()
    for seed, way in alternate(WAYS, options.seeds):
        fits[way].append(_fit(bench, way, seed, options))
        last = fits[way][-1]
        print(
            f"seed {seed}  {way:<7} {last.accuracy:.1f} %, log-loss {last.validation:.3f}, "
            f"gap {last.gap:.3f}, {last.seconds:.1f} s",
            flush=True,
        )
    detail: dict[str, Any] = {
        "rows": options.rows,
        "passes": options.passes,
        "steps": fits["pooled"][0].steps,
        "dtype": "bf16" if bench.bf16 else "fp32",
        "threads": torch.get_num_threads(),
        "seconds": time.monotonic() - began,
        "fits": {way: [asdict(fit) for fit in found] for way, found in fits.items()},
    }
    finish("pooled_masks", facts, summary(fits), detail)


def _bench(count: int) -> Bench:
    with (ROOT / "examples" / "reviews" / "reviews.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    backbone = find_backbone("minilm")
    _, tokenizer = load_text_backbone(backbone)
    tokenizer.enable_truncation(LONGEST)
    ids = [e.ids for e in tokenizer.encode_batch([row["text"] for row in rows])]
    names = sorted({row["label"] for row in rows})
    labels = np.array([names.index(row["label"]) for row in rows], dtype=np.int64)
    held = np.random.default_rng(0).permutation(len(rows))[:count]
    return Bench(backbone, ids, labels, held, probe().dtype == "bfloat16")


def _fit(bench: Bench, way: str, seed: int, options: argparse.Namespace) -> Fit:
    free = np.setdiff1d(np.arange(len(bench.ids)), bench.held)
    chosen = np.random.default_rng([1, seed]).permutation(free)[: options.rows]
    learnt, held = bench.rows(chosen), bench.rows(bench.held)
    encoder, _ = load_text_backbone(bench.backbone)
    task, method = TextClassification(), Full()
    with seeded(seed):
        model = task.build(encoder, int(bench.labels.max()) + 1)
        if way == "none":
            set_dropout(model, 0.0)
        method.attach(model)
    loop = Loop(
        epochs=1,
        evaluations=1,
        batch_rows=16,
        masks="drawn" if way == "drawn" else "pooled",
    )
    weights = torch.ones(int(bench.labels.max()) + 1)
    recipe = Recipe(
        loop,
        seed,
        lambda logits, labels: task.loss(logits, labels, weights, 0.0),
        rate=lambda name: LR,
        bf16=bench.bf16,
        method=method,
    )
    # The rows times over: one evaluation, and the weights kept are the last ones.
    trained = train(
        model,
        (bench.rows(np.tile(chosen, options.passes)), bench.rows(bench.held[:4])),
        recipe,
        Watch(),
    )
    found = [score(model, rows.inputs, bf16=bench.bf16) for rows in (held, learnt)]
    right = found[0].argmax(1) == held.labels
    return Fit(
        100 * float(right.mean()),
        log_loss(found[0], held.labels),
        log_loss(found[1], learnt.labels),
        trained.seconds,
        trained.steps,
    )


def summary(fits: dict[str, list[Fit]]) -> list[Line]:
    shown = {"pooled": "pooled masks", "drawn": "masks drawn afresh", "none": "no dropout"}
    lines: list[Line] = []
    for way, found in fits.items():
        what = f"{shown[way]}; median, lowest, highest seed"
        lines += [
            Line.of(f"Validation accuracy: {what}", spread([f.accuracy for f in found]), "%"),
            Line.of(f"Validation log-loss: {what}", spread([f.validation for f in found]), "nats"),
            Line.of(
                f"Validation less training log-loss: {what}", spread([f.gap for f in found]), "nats"
            ),
        ]

    def less(one: str, other: str, of: str) -> Any:
        return paired(
            [getattr(a, of) - getattr(b, of) for a, b in zip(fits[one], fits[other], strict=True)]
        )

    drawn, none = shown["drawn"], shown["none"]
    lines += [
        Line.of(
            "Accuracy gained by pooled masks",
            less("pooled", "drawn", "accuracy"),
            "points",
            against=drawn,
            goal=f"interval within ±{SAME_POINTS:g}",
        ),
        Line.of(
            "Log-loss added by pooled masks",
            less("pooled", "drawn", "validation"),
            "nats",
            against=drawn,
            goal=f"interval within ±{SAME_NATS:g}",
        ),
    ]
    for way in ("pooled", "drawn"):
        lines.append(
            Line.of(
                f"Validation less training log-loss, added by {shown[way]}",
                less(way, "none", "gap"),
                "nats",
                against=none,
                goal="interval below 0",
            )
        )
    seconds = {way: [f.seconds for f in found] for way, found in fits.items()}
    lines.append(
        Line.of(
            "Pooled masks faster",
            median_ratio(seconds["drawn"], seconds["pooled"]),
            "times",
            against=drawn,
        )
    )
    return lines


if __name__ == "__main__":
    main()
