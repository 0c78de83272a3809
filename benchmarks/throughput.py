"""Training speed: real tokens a second, ours against the stock `transformers.Trainer`.

    python -m benchmarks.throughput [--steps 100] [--rounds 2] [--data examples/reviews/reviews.csv]

Same backbone (MiniLM), same rows, same dropout rates, full fine-tuning with AdamW and clipping.
Batches hold the same number of real tokens on average: the stock ones 16 rows, ours a token budget.
Variants run in turn, in an order that reverses every round; the first steps of each are not
counted. A ratio's interval is a bootstrap over blocks of five steps. Takes about an hour on two
cores.
"""

import argparse
import csv
import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from benchmarks._harness import ROOT, Line, alternate, arguments, finish, machine, rate
from torch import nn
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback, TrainerCallback
from transformers.utils import logging as noise

from sartor.core.events import Event, StageProgress
from sartor.core.types import Backbone
from sartor.models.catalogue import find_backbone
from sartor.models.loading import load_text_backbone
from sartor.tasks.text_classification.train import TextClassification
from sartor.tune.batching import Tokens
from sartor.tune.loop import Recipe, Rows, Watch, train
from sartor.tune.methods.full import Full
from sartor.tune.settings import Loop

WARM, BLOCK, ROWS, LONGEST = 3, 5, 16, 256
GOALS = {"stock fixed fp32": 3.0, "stock grouped fp32": 2.0, "stock grouped bf16": 1.5}


@dataclass(frozen=True)
class Speed:
    """Real tokens and seconds of each counted step."""

    tokens: list[int]
    seconds: list[float]


@dataclass(frozen=True)
class Setup:
    backbone: Backbone
    tokens: Tokens
    labels: np.ndarray
    steps: int


def ours(setup: Setup, *, bf16: bool, masks: Literal["pooled", "drawn"] = "pooled") -> Speed:
    encoder, _ = load_text_backbone(setup.backbone)
    task, method = TextClassification(), Full(lr=5e-5)  # type: ignore[call-arg]
    model = task.build(encoder, 2)
    method.attach(model)
    budget = ROWS * round(float(setup.tokens.lengths().mean()))
    steps = setup.steps + WARM
    loop = Loop(
        epochs=99, max_steps=steps, batch_tokens=budget, batch_rows=64, masks=masks, patience=999
    )
    speed, counted, last = Speed([], []), _Counter(model), [time.perf_counter()]

    def watch(event: Event) -> None:
        if isinstance(event, StageProgress):
            now = time.perf_counter()
            speed.tokens.append(counted.take())
            speed.seconds.append(now - last[0])
            last[0] = now

    weights = torch.ones(2)
    recipe = Recipe(
        loop,
        seed=0,
        loss=lambda logits, labels: task.loss(logits, labels, weights, 0.0),
        rate=lambda name: method.rate(name, 6),
        bf16=bf16,
    )
    few = Rows(Tokens(setup.tokens.ids[:4], 0), setup.labels[:4])
    train(model, (Rows(setup.tokens, setup.labels), few), recipe, Watch(emit=watch))
    return Speed(speed.tokens[WARM:], speed.seconds[WARM:])


def stock(setup: Setup, *, bf16: bool, grouped: bool) -> Speed:
    model = AutoModelForSequenceClassification.from_pretrained(setup.backbone.path, num_labels=2)
    counted, speed, last = _Counter(model), Speed([], []), [0.0]

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            last[0] = last[0] or time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            now = time.perf_counter()
            speed.tokens.append(counted.take())
            speed.seconds.append(now - last[0])
            last[0] = now

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        picked = Tokens([row["input_ids"] for row in rows], 0)
        ids, mask = picked.batch(np.arange(len(rows)))
        if not grouped:
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
            learning_rate=5e-5,
            bf16=bf16,
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
            arguments,
            train_dataset=rows,  # type: ignore[arg-type]  # a list is enough for the Trainer
            data_collator=collate,
            callbacks=[Clock()],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return Speed(speed.tokens[WARM:], speed.seconds[WARM:])


VARIANTS: dict[str, Callable[[Setup], Speed]] = {
    "ours fp32": lambda s: ours(s, bf16=False),
    "ours bf16": lambda s: ours(s, bf16=True),
    "ours bf16, drawn masks": lambda s: ours(s, bf16=True, masks="drawn"),
    "stock fixed fp32": lambda s: stock(s, bf16=False, grouped=False),
    "stock grouped fp32": lambda s: stock(s, bf16=False, grouped=True),
    "stock grouped bf16": lambda s: stock(s, bf16=True, grouped=True),
}


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--data", type=Path, default=ROOT / "examples/reviews/reviews.csv")
    parser.add_argument("--text", default="", help="column; the longest one if not given")
    parser.add_argument("--only", nargs="*", default=list(VARIANTS))
    options = parser.parse_args()
    noise.set_verbosity_error()
    noise.disable_progress_bar()
    logging.disable(logging.WARNING)

    setup = _setup(options)
    runs: dict[str, list[Speed]] = {name: [] for name in options.only}
    for number, name in alternate(options.only, options.rounds):
        last = VARIANTS[name](setup)
        runs[name].append(last)
        found = sum(last.tokens) / sum(last.seconds)
        print(f"round {number + 1}  {name:<24} {found:8,.0f} tokens/s", flush=True)
    _report(runs, setup, options, facts)


def _setup(options: argparse.Namespace) -> Setup:
    with options.data.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    column = options.text or max(rows[0], key=lambda name: sum(len(r[name]) for r in rows[:200]))
    backbone = find_backbone("minilm")
    _, tokenizer = load_text_backbone(backbone)
    tokenizer.enable_truncation(LONGEST)
    ids = [e.ids for e in tokenizer.encode_batch([row[column] for row in rows])]
    # Speed does not depend on the answers; parity of length is as good as any.
    labels = np.array([len(row) % 2 for row in ids], dtype=np.int64)
    return Setup(backbone, Tokens(ids, 0), labels, options.steps)


def _report(
    runs: dict[str, list[Speed]], setup: Setup, options: argparse.Namespace, facts: dict[str, Any]
) -> None:
    lengths = setup.tokens.lengths()
    detail: dict[str, Any] = {
        "threads": torch.get_num_threads(),
        "rows": len(lengths),
        "tokens": {"mean": float(lengths.mean()), "longest": int(lengths.max())},
        "steps": options.steps,
        "rounds": options.rounds,
        "ratios": [],
    }
    lines = [
        Line.of(f"Training, real tokens: {name}", rate(_blocks(speeds)), "a second")
        for name, speeds in runs.items()
    ]
    for mine in ("ours fp32", "ours bf16"):
        for other, goal in GOALS.items():
            if mine in runs and other in runs:
                found = rate(_blocks(runs[mine]), _blocks(runs[other]))
                same = mine.split()[-1] == other.split()[-1]
                entry = {"ours": mine, "stock": other, "ratio": asdict(found), "goal": goal}
                detail["ratios"].append({**entry, "same_dtype": same})
                lines.append(
                    Line.of(
                        f"Training speed, {mine}",
                        found,
                        "times",
                        against=f"Trainer, {other.removeprefix('stock ')}",
                        goal=f"at least {goal:g}×" if same else "",
                    )
                )
    finish("throughput", facts, lines, detail)


def _blocks(speeds: list[Speed]) -> np.ndarray:
    """(blocks, 2): tokens and seconds of every five steps."""
    steps = [
        (sum(s.tokens[i : i + BLOCK]), sum(s.seconds[i : i + BLOCK]))
        for s in speeds
        for i in range(0, len(s.tokens), BLOCK)
    ]
    return np.array(steps, dtype=np.float64)


class _Counter:
    """Real tokens that went through a model's forward since the last look, while training."""

    def __init__(self, model: nn.Module) -> None:
        self.tokens = 0
        model.register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        mask = kwargs["attention_mask"] if "attention_mask" in kwargs else args[1]
        self.tokens += int(mask.sum()) if module.training else 0

    def take(self) -> int:
        tokens, self.tokens = self.tokens, 0
        return tokens


if __name__ == "__main__":
    main()
