"""LoRA on all layers: real tokens a second, ours against peft in the stock `transformers.Trainer`.

    python -m benchmarks.lora_speed [--steps 27] [--rounds 5] [--dtypes fp32 bf16] [--rank 8]

Both train the same low-rank updates beside the same linear layers of MiniLM's encoder, and a head,
on the same rows with the same learning rate, AdamW and clipping; the number of trained tensors
beside linear layers is compared before anything is timed. The stock batches hold 16 rows, padded
to their longest, drawn at random (dynamic) or of like length (grouped); ours hold as many real
tokens on average. Each type is compared with its like. Variants run in turn, in an order that
reverses every round; the first steps of each are not counted. A ratio is the median over rounds,
its interval a bootstrap over them; it counts only where our training loss over the last third of
the steps is no higher than the peer's by more than a tolerance. The rows are as many as the steps
read, so that a run is a whole epoch. Takes about 12 minutes on two quiet cores.
"""

import argparse
import logging
from collections.abc import Callable
from typing import Any

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
    ROWS,
    WARM,
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
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForSequenceClassification
from transformers.utils import logging as noise

from sartor.models.loading import load_text_backbone
from sartor.tasks.text_classification.train import TextClassification
from sartor.tune.methods.lora import Lora

LR, ALPHA = 1e-3, 16
HIGHER = 0.05
"""Nats our mean training loss may lie above the peer's: over twice the noise of five rounds."""
TARGETS = r"bert\.encoder\..*\.(query|key|value|dense)"
"""The encoder's linear layers: what `where="*"` means to ours."""


def peer(setup: Setup, rank: int) -> Any:
    """peft around the stock classifier; its classification layer trains too."""
    model = AutoModelForSequenceClassification.from_pretrained(
        setup.backbone.path, num_labels=setup.classes
    )
    config = LoraConfig(
        task_type="SEQ_CLS", r=rank, lora_alpha=ALPHA, lora_dropout=0.0, target_modules=TARGETS
    )
    return get_peft_model(model, config)


def same_tensors(setup: Setup, rank: int) -> int:
    """How many low-rank tensors each side trains.

    Raises:
        SystemExit: If they are not as many, or not of the same shapes.
    """
    encoder, _ = load_text_backbone(setup.backbone)
    mine = TextClassification().build(encoder, setup.classes)
    Lora(rank=rank, alpha=ALPHA).attach(mine)
    shapes = [_low_rank(mine), _low_rank(peer(setup, rank))]
    if shapes[0] != shapes[1]:
        raise SystemExit(f"ours trains {len(shapes[0])} low-rank tensors, peft {len(shapes[1])}")
    return len(shapes[0])


def _low_rank(model: nn.Module) -> list[tuple[int, ...]]:
    return sorted(tuple(p.shape) for n, p in model.named_parameters() if "lora_" in n)


def variants(options: argparse.Namespace) -> dict[str, Callable[[Setup], Steps]]:
    rank, found = options.rank, dict[str, Callable[[Setup], Steps]]()
    for dtype in options.dtypes:
        bf16 = dtype == "bf16"
        found[f"ours {dtype}"] = _ours(rank, bf16)
        for padding in ("dynamic", "grouped"):
            found[f"peft {padding} {dtype}"] = _peft(rank, bf16, padding)
    return found


def _ours(rank: int, bf16: bool) -> Callable[[Setup], Steps]:
    return lambda setup: ours(setup, Lora(rank=rank, alpha=ALPHA), bf16=bf16)


def _peft(rank: int, bf16: bool, padding: Padding) -> Callable[[Setup], Steps]:
    return lambda setup: stock(setup, lambda: peer(setup, rank), bf16=bf16, padding=padding)


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--steps", type=int, default=27)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtypes", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"])
    parser.add_argument("--rank", type=int, default=8)
    takes_rows(parser)
    options = parser.parse_args()
    noise.set_verbosity_error()
    noise.disable_progress_bar()
    logging.disable(logging.WARNING)

    setup = rows_of(options, steps=options.steps, lr=LR, most=ROWS * (options.steps + WARM))
    tensors = same_tensors(setup, options.rank)
    made = variants(options)
    runs: dict[str, list[Steps]] = {name: [] for name in made}
    for number, name in alternate(list(made), options.rounds):
        runs[name].append(made[name](setup.of_round(number)))
        found = runs[name][-1].rate()
        print(f"round {number + 1}  {name:<20} {found:8,.0f} tokens/s", flush=True)
    detail = {
        **described(setup),
        "rounds": options.rounds,
        "rank": options.rank,
        "low_rank_tensors": tensors,
        "rates": {name: [run.rate() for run in found] for name, found in runs.items()},
        "losses": {name: [run.late_loss() for run in found] for name, found in runs.items()},
    }
    finish("lora_speed", facts, summary(runs, options.rank), detail)


def summary(runs: dict[str, list[Steps]], rank: int) -> list[Line]:
    what = f"LoRA of rank {rank} on all layers"
    rates = {name: [run.rate() for run in found] for name, found in runs.items()}
    lines = [
        Line.of(f"{what}, real tokens: {name}; median round", median_of(each), "a second")
        for name, each in rates.items()
    ]
    for name, found in runs.items():
        if name.startswith("ours"):
            continue
        mine = f"ours {name.split()[-1]}"
        gap = loss_gap(runs[mine], found)
        lines.append(
            Line.of(
                f"{what}, {mine}" + gate(gap <= HIGHER, f"loss {gap:+.3f}"),
                median_ratio(rates[mine], rates[name]),
                "times",
                against=f"peft and Trainer, {name.removeprefix('peft ')}",
                goal="at least 1.5×",
            )
        )
    lines += [
        Line.of(f"{what}, training loss, last third: {name}", median_of(losses), "nats")
        for name, losses in ((n, [r.late_loss() for r in found]) for n, found in runs.items())
    ]
    return lines


if __name__ == "__main__":
    main()
