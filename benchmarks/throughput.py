"""Training speed: real tokens a second, ours against the stock `transformers.Trainer`.

    python -m benchmarks.throughput [--steps 47] [--rounds 5] [--only VARIANT …]

Same backbone (MiniLM), same rows, same dropout rates and learning rate, full fine-tuning with AdamW
and clipping. Batches hold the same number of real tokens on average: the stock ones 16 rows, ours a
token budget. The stock Trainer pads to the longest of a batch, its rows drawn at random (dynamic)
or of like length (grouped); padding to a fixed length, slower by far, and our loop with masks
drawn by torch run where --only names them.

Variants run in turn, in an order that reverses every round; the first steps of each are not
counted. A ratio is the median over rounds, its interval a bootstrap over them. It counts only where
our training loss, dropout and all, over the last third of the steps is no higher than the peer's by
more than a tolerance; the rounds differ in their seed.

The share of the peak is what a step needs, over what the machine can do: 6 operations for each
weight of a matrix product and real token, 12 · width for each layer and pair of real tokens in a
row; against the fastest product that the precision probe found around that very round. Takes about
20 minutes on two quiet cores. The Trainer sorts by length within 50 batches, longest first: 47
steps after 3 that do not count are one such turn, and fewer would be its longest rows.
"""

import logging
from collections.abc import Callable
from functools import partial

import numpy as np
from benchmarks._harness import (
    Line,
    alternate,
    arguments,
    finish,
    gate,
    machine,
    median_of,
    median_ratio,
)
from benchmarks._steps import (
    Padding,
    Setup,
    Steps,
    described,
    loss_gap,
    ours,
    rows_of,
    stock,
    takes_rows,
)
from torch import nn
from transformers import AutoModelForSequenceClassification
from transformers.utils import logging as noise

from sartor.models.loading import load_text_backbone
from sartor.models.precision import Precision, probe
from sartor.tune.methods.full import Full

LR = 5e-5
HIGHER = 0.05
"""Nats our mean training loss may lie above the peer's: over twice the noise of five rounds."""
LIKE = {
    "stock fixed fp32": "at least 3×",
    "stock grouped fp32": "at least 2×",
    "stock grouped bf16": "at least 1.5×",
}
"""Goals against a peer in the same type."""
AGAINST_STOCK = "at least 4×, better 6×"
"""Of our best type, against the Trainer as most people start it."""


def _stock(setup: Setup, *, bf16: bool, padding: Padding) -> Steps:
    def build() -> nn.Module:
        return AutoModelForSequenceClassification.from_pretrained(
            setup.backbone.path, num_labels=setup.classes
        )

    return stock(setup, build, bf16=bf16, padding=padding)


VARIANTS: dict[str, Callable[[Setup], Steps]] = {
    "ours fp32": lambda s: ours(s, Full(), bf16=False),
    "ours bf16": lambda s: ours(s, Full(), bf16=True),
    "ours bf16, drawn masks": lambda s: ours(s, Full(), bf16=True, masks="drawn"),
    "stock fixed fp32": partial(_stock, bf16=False, padding="fixed"),
    "stock dynamic fp32": partial(_stock, bf16=False, padding="dynamic"),
    "stock grouped fp32": partial(_stock, bf16=False, padding="grouped"),
    "stock grouped bf16": partial(_stock, bf16=True, padding="grouped"),
}
DEFAULT = [n for n in VARIANTS if n not in ("ours bf16, drawn masks", "stock fixed fp32")]


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--steps", type=int, default=47)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=list(VARIANTS), default=DEFAULT)
    takes_rows(parser)
    options = parser.parse_args()
    noise.set_verbosity_error()
    noise.disable_progress_bar()
    logging.disable(logging.WARNING)

    setup = rows_of(options, steps=options.steps, lr=LR)
    runs: dict[str, list[Steps]] = {name: [] for name in options.only}
    peaks: list[Precision] = []
    for number, name in alternate(options.only, options.rounds):
        if len(peaks) == number:
            peaks.append(probe(100))
        runs[name].append(VARIANTS[name](setup.of_round(number)))
        found = runs[name][-1].rate()
        print(f"round {number + 1}  {name:<24} {found:8,.0f} tokens/s", flush=True)
    peaks.append(probe(100))
    detail = {
        **described(setup),
        "rounds": options.rounds,
        "rates": {name: [run.rate() for run in found] for name, found in runs.items()},
        "losses": {name: [run.late_loss() for run in found] for name, found in runs.items()},
        "peaks": [{"fp32": p.fp32_gflops, "bf16": p.bf16_gflops} for p in peaks],
    }
    finish("throughput", facts, summary(runs, peaks, setup), detail)


def summary(runs: dict[str, list[Steps]], peaks: list[Precision], setup: Setup) -> list[Line]:
    """Rates, ratios with their gates, losses, and shares of the peak.

    Args:
        runs: Variant to its rounds.
        peaks: Probed before every round and after the last.
        setup: Of all of them.
    """
    rates = {name: [run.rate() for run in found] for name, found in runs.items()}
    lines = [
        Line.of(f"Training, real tokens: {name}; median round", median_of(each), "a second")
        for name, each in rates.items()
    ]
    types = [name for name in ("ours fp32", "ours bf16") if name in rates]
    best = max(types, key=lambda name: float(np.median(rates[name])), default="")
    for mine in types:
        for other in (name for name in runs if name.startswith("stock")):
            gap = loss_gap(runs[mine], runs[other])
            lines.append(
                Line.of(
                    f"Training speed, {mine}" + gate(gap <= HIGHER, f"loss {gap:+.3f}"),
                    median_ratio(rates[mine], rates[other]),
                    "times",
                    against=f"Trainer, {other.removeprefix('stock ')}",
                    goal=_goal(mine, other, best),
                )
            )
    lines += [
        Line.of(
            f"Training loss, last third of {setup.steps} steps: {name}; median round",
            median_of([run.late_loss() for run in found]),
            "nats",
        )
        for name, found in runs.items()
    ]
    return [*lines, *_peak_lines(runs, peaks, setup)]


def _goal(mine: str, other: str, best: str) -> str:
    if other == "stock dynamic fp32":
        return AGAINST_STOCK if mine == best else ""
    return LIKE.get(other, "") if mine.split()[-1] == other.split()[-1] else ""


def _peak_lines(runs: dict[str, list[Steps]], peaks: list[Precision], setup: Setup) -> list[Line]:
    probed = {
        "fp32": [p.fp32_gflops for p in peaks],
        "bf16": [p.bf16_gflops for p in peaks],
    }
    lines = [
        Line.of(f"Matrix product, probed peak, {dtype}", median_of(found), "GFLOP a second")
        for dtype, found in probed.items()
    ]
    weights = matrix_weights(setup)
    for dtype, found in probed.items():
        shares = [
            # The faster of the probes before and after: a slow one would flatter the step.
            100 * operations(run, setup, weights) / sum(run.seconds) / (1e9 * max(found[i : i + 2]))
            for i, run in enumerate(runs.get(f"ours {dtype}", []))
        ]
        if shares:
            lines.append(
                Line.of(
                    f"Share of the probed peak, ours {dtype}; median round",
                    median_of(shares),
                    "%",
                    goal="at least 55 %, better 65 %",
                )
            )
    return lines


def matrix_weights(setup: Setup) -> int:
    """Weights that every token is multiplied with: the encoder's linear layers."""
    encoder, _ = load_text_backbone(setup.backbone)
    # The pooler reads one token a row, and our classifier has none.
    layers = [(n, m) for n, m in encoder.named_modules() if isinstance(m, nn.Linear)]
    return sum(m.weight.numel() for n, m in layers if not n.startswith("pooler"))


def operations(run: Steps, setup: Setup, weights: int) -> float:
    """Of the steps, forward and backward, over real tokens alone."""
    backbone = setup.backbone
    scores = 12 * backbone.layers * backbone.width * sum(run.squares)
    return 6.0 * weights * sum(run.tokens) + scores


if __name__ == "__main__":
    main()
