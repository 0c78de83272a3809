"""Steps of training, ours and the stock Trainer's, counted alike.

A step's real tokens are those that went through the model's forward, padding aside; its seconds are
wall time, data loading and optimiser included; its loss is what was descended on, dropout and all.
"""

import argparse
import csv
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from benchmarks._harness import ROOT
from torch import nn
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback, TrainerCallback

from sartor.core.events import Event, StageProgress
from sartor.core.types import Backbone
from sartor.models.catalogue import find_backbone
from sartor.models.loading import load_text_backbone
from sartor.tasks.text_classification.train import TextClassification
from sartor.tune.batching import Budget, Tokens, plan_epoch
from sartor.tune.loop import Recipe, Rows, Watch, train
from sartor.tune.settings import Loop

WARM, ROWS, LONGEST = 3, 16, 256
_MOST_ROWS = 64


@dataclass(frozen=True, slots=True)
class Setup:
    """What the sides share.

    Args:
        backbone: MiniLM.
        tokens: Of the rows.
        labels: (rows,) class indices.
        classes: How many there are.
        steps: That count; `WARM` come before them.
        seed: Of batches and dropout.
        lr: Peak learning rate of everything that trains, falling linearly from the first step.
    """

    backbone: Backbone
    tokens: Tokens
    labels: np.ndarray
    classes: int
    steps: int
    lr: float
    seed: int = 0

    def of_round(self, number: int) -> "Setup":
        return replace(self, seed=number)


@dataclass(frozen=True, slots=True)
class Steps:
    """Each step's real tokens, sum over its rows of tokens squared, seconds and loss."""

    tokens: list[int] = field(default_factory=list)
    squares: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def counted(self) -> "Steps":
        """Without the first ones, which load kernels and memory."""
        return Steps(
            self.tokens[WARM:], self.squares[WARM:], self.seconds[WARM:], self.losses[WARM:]
        )

    def rate(self) -> float:
        """Real tokens a second."""
        return sum(self.tokens) / sum(self.seconds)

    def late_loss(self) -> float:
        """Mean over the last third."""
        return float(np.mean(self.losses[-max(1, len(self.losses) // 3) :]))


def takes_rows(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `rows_of` reads."""
    parser.add_argument("--data", type=Path, default=ROOT / "examples/reviews/reviews.csv")
    parser.add_argument("--text", default="", help="column; the longest one if not given")
    parser.add_argument("--label", default="label", help="column")


def rows_of(options: argparse.Namespace, *, steps: int, lr: float, most: int = 0) -> Setup:
    """The rows of a file, tokenised.

    Args:
        options: See `takes_rows`.
        steps: See `Setup`.
        lr: Likewise.
        most: Rows taken, from the first; 0 for all.
    """
    with options.data.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rows = rows[:most] if most else rows
    column = options.text or max(rows[0], key=lambda name: sum(len(r[name]) for r in rows[:200]))
    backbone = find_backbone("minilm")
    _, tokenizer = load_text_backbone(backbone)
    tokenizer.enable_truncation(LONGEST)
    ids = [e.ids for e in tokenizer.encode_batch([row[column] for row in rows])]
    names = sorted({row[options.label] for row in rows})
    labels = np.array([names.index(row[options.label]) for row in rows], dtype=np.int64)
    return Setup(backbone, Tokens(ids, 0), labels, len(names), steps, lr)


def described(setup: Setup) -> dict[str, Any]:
    """For a result file."""
    lengths = setup.tokens.lengths()
    return {
        "threads": torch.get_num_threads(),
        "rows": len(lengths),
        "tokens": {"mean": float(lengths.mean()), "longest": int(lengths.max())},
        "steps": setup.steps,
        "lr": setup.lr,
    }


def ours(
    setup: Setup, method: Any, *, bf16: bool, masks: Literal["pooled", "drawn"] = "pooled"
) -> Steps:
    """Train with our loop, in batches of as many real tokens as the stock ones hold on average.

    Args:
        setup: See `Setup`.
        method: A tuning method; its rates are not read.
        bf16: Whether matrix products run in bfloat16.
        masks: Where dropout masks come from.
    """
    encoder, _ = load_text_backbone(setup.backbone)
    torch.manual_seed(setup.seed)
    task = TextClassification()
    model = task.build(encoder, setup.classes)
    method.attach(model)
    # Schedule and decay of the stock Trainer: after equal steps the losses can be compared.
    loop = Loop(
        epochs=99,
        max_steps=setup.steps + WARM,
        batch_tokens=_budget(setup),
        batch_rows=_MOST_ROWS,
        warmup=0.0,
        weight_decay=0.0,
        masks=masks,
        patience=999,
    )
    found, counter, last = Steps(), _Counter(model), [time.perf_counter()]
    weights = torch.ones(setup.classes)

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        told = task.loss(logits, labels, weights, 0.0)
        found.losses.append(told.item())
        return told

    def watch(event: Event) -> None:
        if isinstance(event, StageProgress):
            last[0] = _tick(found, counter, last[0])

    recipe = Recipe(loop, setup.seed, loss, rate=lambda name: setup.lr, bf16=bf16)
    few = Rows(Tokens(setup.tokens.ids[:4], 0), setup.labels[:4])
    train(model, (Rows(setup.tokens, setup.labels), few), recipe, Watch(emit=watch))
    return found.counted()


def _budget(setup: Setup) -> int:
    """Padded tokens a batch of ours may hold, so that it holds the stock one's real tokens."""
    lengths = setup.tokens.lengths()
    wanted = ROWS * float(lengths.mean())
    budget = round(wanted)
    # A batch ends before the row that would not fit: what it holds lies below its budget.
    for _ in range(3):
        batches = plan_epoch(lengths, Budget(budget, _MOST_ROWS), seed=setup.seed, epoch=0)
        budget = round(budget * wanted / (float(lengths.sum()) / len(batches)))
    return budget


Padding = Literal["fixed", "dynamic", "grouped"]
"""To `LONGEST`; to the longest of a batch drawn at random; to that of rows of like length."""


def stock(setup: Setup, build: Callable[[], Any], *, bf16: bool, padding: Padding) -> Steps:
    """Train with `transformers.Trainer`, its defaults but for what is said here.

    Args:
        setup: See `Setup`.
        build: Makes the model.
        bf16: Its own autocast.
        padding: See `Padding`.
    """
    torch.manual_seed(setup.seed)
    model = build()
    found, counter, last = Steps(), _Counter(model), [0.0]

    def hear(module: nn.Module, _: Any, told: Any) -> None:
        if module.training:
            found.losses.append(float(told.loss.detach()))

    model.register_forward_hook(hear)

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            last[0] = last[0] or time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            last[0] = _tick(found, counter, last[0])

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        picked = Tokens([row["input_ids"] for row in rows], 0)
        ids, mask = picked.batch(np.arange(len(rows)))
        if padding == "fixed":
            ids, mask = (nn.functional.pad(t, (0, LONGEST - t.shape[1])) for t in (ids, mask))
        labels = torch.tensor([row["labels"] for row in rows])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    rows = [
        {"input_ids": ids, "labels": int(label)}
        for ids, label in zip(setup.tokens.ids, setup.labels, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=setup.steps + WARM,
            per_device_train_batch_size=ROWS,
            learning_rate=setup.lr,
            bf16=bf16,
            train_sampling_strategy="group_by_length" if padding == "grouped" else "random",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            logging_strategy="no",
            dataloader_pin_memory=False,
            remove_unused_columns=False,
            seed=setup.seed,
        )
        trainer = Trainer(
            model,
            arguments,
            train_dataset=rows,  # type: ignore[arg-type]  # a list is enough for the Trainer
            data_collator=collate,
            callbacks=[Clock()],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return found.counted()


def loss_gap(mine: Sequence[Steps], other: Sequence[Steps]) -> float:
    """How much higher our loss is over the last third of the steps, the rounds averaged."""
    each = [a.late_loss() - b.late_loss() for a, b in zip(mine, other, strict=True)]
    return float(np.mean(each))


def _tick(found: Steps, counter: "_Counter", last: float) -> float:
    now = time.perf_counter()
    tokens, squares = counter.take()
    found.tokens.append(tokens)
    found.squares.append(squares)
    found.seconds.append(now - last)
    return now


class _Counter:
    """Rows that went through a model's forward since the last look, while training."""

    def __init__(self, model: nn.Module) -> None:
        self.tokens, self.squares = 0, 0
        model.register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not module.training:
            return
        mask = kwargs["attention_mask"] if "attention_mask" in kwargs else args[1]
        lengths = mask.sum(1)
        self.tokens += int(lengths.sum())
        self.squares += int((lengths**2).sum())

    def take(self) -> tuple[int, int]:
        found = self.tokens, self.squares
        self.tokens, self.squares = 0, 0
        return found
