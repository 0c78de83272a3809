"""Epochs 2…n of the top layers: ours on cached states, against stock `transformers.Trainer`.

    python -m benchmarks.top_layers [--rows 1000] [--rounds 5] [--top 2] [--bf16]

All train the same layers and head of MiniLM on the same rows in the same dtype, with AdamW,
clipping and dropout. The stock model is the ordinary one with its lower layers frozen, in batches
of 16 rows padded to their longest, drawn at random or grouped by length; ours hold the same number
of real tokens on average. Between them stands our own loop with the lower layers run again in every
epoch: what it gives without the cache. An epoch is timed as its training steps; encoding, which the
first epoch pays once, is timed by itself. Variants run in turn, in an order that reverses every
round. Takes about 20 minutes on two quiet cores, 8 with --rows 400.
"""

import argparse
import csv
import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks._harness import ROOT, Line, alternate, arguments, faster, finish, machine, spread
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback, TrainerCallback
from transformers.utils import logging as noise

from sartor.core.activations import Activations
from sartor.core.events import Event, StageProgress
from sartor.core.types import Backbone
from sartor.models.catalogue import find_backbone
from sartor.models.encode import TextEncoder
from sartor.models.loading import load_text_backbone
from sartor.models.precision import Precision
from sartor.models.states import TokenStates
from sartor.tasks._encoder.model import TextClassifier
from sartor.tasks.text_classification.train import TextClassification
from sartor.tune.batching import Budget, Inputs, Tokens, plan_epoch
from sartor.tune.loop import Recipe, Rows, Watch, train
from sartor.tune.methods.top_layers import TopLayers
from sartor.tune.settings import Loop
from sartor.tune.stated import States
from sartor.tune.upper import Upper

ROWS, LONGEST, CLASSES, LR = 16, 256, 2, 2e-4


@dataclass(frozen=True)
class Setup:
    """What the variants share.

    Args:
        backbone: MiniLM.
        tokens: Of the rows.
        states: Of the same rows, at the layer below the trained ones.
        labels: (rows,).
        top: Layers trained.
        bf16: Whether matrix products run in bfloat16, in all variants.
    """

    backbone: Backbone
    tokens: Tokens
    states: TokenStates
    labels: np.ndarray
    top: int
    bf16: bool


def cached(setup: Setup) -> float:
    model = _classifier(setup)
    return _ours(setup, Upper(model, setup.backbone.layers - setup.top), States(setup.states))


def recomputed(setup: Setup) -> float:
    return _ours(setup, _classifier(setup), setup.tokens)


def _classifier(setup: Setup) -> TextClassifier:
    encoder, _ = load_text_backbone(setup.backbone)
    model = TextClassification().build(encoder, CLASSES)
    TopLayers(top=setup.top).attach(model)
    return model


def _ours(setup: Setup, model: torch.nn.Module, inputs: Inputs) -> float:
    """Seconds of the second epoch."""
    lengths = setup.tokens.lengths()
    budget = Budget(ROWS * round(float(lengths.mean())), 64)
    first = len(plan_epoch(lengths, budget, seed=0, epoch=0))
    loop = Loop(
        epochs=2,
        batch_tokens=budget.tokens,
        batch_rows=budget.rows,
        evaluations=1,
        patience=999,
    )
    at: dict[int, float] = {}

    def watch(event: Event) -> None:
        if isinstance(event, StageProgress):
            at[event.done] = time.perf_counter()

    task, method = TextClassification(), TopLayers(top=setup.top)
    weights = torch.ones(CLASSES)
    recipe = Recipe(
        loop,
        seed=0,
        loss=lambda logits, labels: task.loss(logits, labels, weights, 0.0),
        rate=lambda name: method.rate(name, 6),
        bf16=setup.bf16,
    )
    few = Rows(_Few(inputs), setup.labels[:4])
    train(model, (Rows(inputs, setup.labels), few), recipe, Watch(emit=watch))
    return max(at.values()) - at[first]


@dataclass(frozen=True)
class _Few:
    """The first rows: an evaluation lies between the epochs, and is not what is measured."""

    inputs: Inputs

    def lengths(self) -> np.ndarray:
        return self.inputs.lengths()[:4]

    def batch(self, rows: np.ndarray) -> tuple[torch.Tensor, ...]:
        return self.inputs.batch(rows)


def stock(setup: Setup, *, grouped: bool) -> float:
    """Seconds of the Trainer's second epoch."""
    model = AutoModelForSequenceClassification.from_pretrained(
        setup.backbone.path, num_labels=CLASSES
    )
    model.requires_grad_(False)
    for part in (*model.bert.encoder.layer[-setup.top :], model.classifier):
        part.requires_grad_(True)
    began: list[float] = []
    ended: list[float] = []

    class Clock(TrainerCallback):
        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            began.append(time.perf_counter())

        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            ended.append(time.perf_counter())

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        ids, mask = Tokens([row["input_ids"] for row in rows], 0).batch(np.arange(len(rows)))
        labels = torch.tensor([row["labels"] for row in rows])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    rows = [
        {"input_ids": ids, "labels": int(label)}
        for ids, label in zip(setup.tokens.ids, setup.labels, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        options = TrainingArguments(
            output_dir=folder,
            num_train_epochs=2,
            per_device_train_batch_size=ROWS,
            learning_rate=LR,
            bf16=setup.bf16,
            train_sampling_strategy="group_by_length" if grouped else "random",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            logging_strategy="no",
            dataloader_pin_memory=False,
            remove_unused_columns=False,
        )
        trainer = Trainer(
            model,
            options,
            train_dataset=rows,  # type: ignore[arg-type]  # a list is enough for the Trainer
            data_collator=collate,
            callbacks=[Clock()],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return ended[1] - began[1]


VARIANTS: dict[str, Callable[[Setup], float]] = {
    "cached": cached,
    "recomputed": recomputed,
    "stock": lambda setup: stock(setup, grouped=False),
    "grouped": lambda setup: stock(setup, grouped=True),
}
NAMES = {
    "cached": "ours, cached states",
    "recomputed": "ours, lower layers run again",
    "stock": "Trainer, lower layers frozen",
    "grouped": "the same, grouped by length",
}


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--top", type=int, default=2)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--data", type=Path, default=ROOT / "examples/reviews/reviews.csv")
    parser.add_argument("--text", default="", help="column; the longest one if not given")
    options = parser.parse_args()
    noise.set_verbosity_error()
    noise.disable_progress_bar()
    logging.disable(logging.WARNING)

    with tempfile.TemporaryDirectory() as folder:
        setup, encoding = _setup(options, Path(folder))
        seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
        for number, name in alternate(list(VARIANTS), options.rounds):
            seconds[name].append(VARIANTS[name](setup))
            print(f"round {number + 1}  {NAMES[name]:<30} {seconds[name][-1]:7.1f} s", flush=True)
        setup.states.close()
    _report(seconds, setup, encoding, facts)


def _setup(options: argparse.Namespace, folder: Path) -> tuple[Setup, float]:
    """The rows, encoded; and the seconds that took."""
    with options.data.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[: options.rows]
    column = options.text or max(rows[0], key=lambda name: sum(len(r[name]) for r in rows[:200]))
    texts = [row[column] for row in rows]
    backbone = find_backbone("minilm")
    _, tokenizer = load_text_backbone(backbone)
    tokenizer.enable_truncation(LONGEST)
    ids = [e.ids for e in tokenizer.encode_batch(texts)]
    # Speed does not depend on the answers; parity of length is as good as any.
    labels = np.array([len(row) % 2 for row in ids], dtype=np.int64)
    encoder = TextEncoder(
        backbone,
        None,
        states_cache=Activations(folder),
        precision=Precision("bfloat16" if options.bf16 else "float32"),
    )
    began = time.perf_counter()
    states = encoder.states(texts, backbone.layers - options.top)
    encoding = time.perf_counter() - began
    return Setup(backbone, Tokens(ids, 0), states, labels, options.top, options.bf16), encoding


def _report(
    seconds: dict[str, list[float]], setup: Setup, encoding: float, facts: dict[str, Any]
) -> None:
    lengths = setup.tokens.lengths()
    what = f"One epoch of the top {setup.top} of {setup.backbone.layers} layers"
    dtype = "bf16" if setup.bf16 else "fp32"
    lines = [
        Line.of(f"{what}, {dtype}: {NAMES[name]}", spread(times), "s")
        for name, times in seconds.items()
    ]
    lines += [
        Line.of(
            f"{what}, {dtype}, epochs 2…n",
            faster(seconds["cached"], seconds[peer]),
            "times",
            against=NAMES[peer],
            goal="at least 4×" if peer == "stock" else "",
        )
        for peer in ("stock", "grouped", "recomputed")
    ]
    lines.append(Line("Encoding the rows up to the trained layers, once", encoding, "s"))
    detail = {
        "threads": torch.get_num_threads(),
        "rows": len(lengths),
        "tokens": {"mean": float(lengths.mean()), "longest": int(lengths.max())},
        "top": setup.top,
        "dtype": dtype,
        "seconds": seconds,
    }
    finish("top_layers", facts, lines, detail)


if __name__ == "__main__":
    main()
