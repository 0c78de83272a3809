"""The one gradient loop: deterministic, crash-safe, resumable to the bit.

Every random choice is a function of the seed and the step (batches, dropout windows) or is saved
with the checkpoint (torch's, NumPy's and Python's generators), so a run killed anywhere and resumed
ends with the bytes of one that was not, at the same thread count.

AdamW: Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101
"""

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from sartor.core.errors import Diverged, SettingError
from sartor.core.events import Emit, Note, StageProgress, silent
from sartor.core.protocols import Floats
from sartor.tune.batching import Budget, Tokens, plan_epoch, plan_in_order
from sartor.tune.checkpoint import (
    Checkpoints,
    Snapshot,
    flatten_optimizer,
    restore_optimizer,
)
from sartor.tune.dropout import MaskPool, pooled_dropout
from sartor.tune.generators import restore_generators, save_generators, seeded
from sartor.tune.settings import Loop

Loss = Callable[[Tensor, Tensor], Tensor]
"""(batch, outputs) logits and (batch,) labels to a scalar, averaged over rows."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Tokens with their answers; labels are class indices."""

    tokens: Tokens
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides the result.

    Args:
        loop: The loop's settings.
        seed: Of batches and dropout.
        loss: What training minimises.
        rate: Trainable tensor's name to its peak learning rate.
        bf16: Whether matrix products run in bfloat16, as the precision probe told.
    """

    loop: Loop
    seed: int
    loss: Loss
    rate: Callable[[str], float]
    bf16: bool = False


@dataclass(frozen=True, slots=True)
class Watch:
    """What does not decide the result, bar the deadline.

    Args:
        checkpoints: Where to save and to resume from; None keeps nothing.
        every_seconds: Time between checkpoints.
        every_steps: Steps between checkpoints; 0 leaves it to the time.
        deadline: `time.monotonic()` after which training ends at the next step.
        emit: Told of progress.
    """

    checkpoints: Checkpoints | None = None
    every_seconds: float = 60.0
    every_steps: int = 0
    deadline: float = math.inf
    emit: Emit = field(default=silent)


@dataclass(frozen=True, slots=True)
class Trained:
    """How a run went.

    Args:
        history: One mapping an evaluation: step, epoch, train_loss, validation_log_loss.
        steps: Optimiser steps done over all of the run's processes.
        tokens: Real tokens read by this process.
        seconds: Wall time of this process's steps, evaluations and checkpoints aside.
        cut: Whether the deadline ended it.
    """

    history: Sequence[dict[str, float]]
    steps: int
    tokens: int
    seconds: float
    cut: bool


def train(model: nn.Module, data: tuple[Rows, Rows], recipe: Recipe, watch: Watch) -> Trained:
    """Train in place, to the weights with the best validation log-loss.

    Args:
        model: `(input_ids, attention_mask) -> logits`; a method is attached.
        data: Training and validation rows.
        recipe: What decides the result.
        watch: Checkpoints, deadline, progress.

    Raises:
        Diverged: If the loss or the gradient is not a finite number.
        SettingError: If a trainable tensor never moved.
    """
    with seeded(recipe.seed), ExitStack() as stack:
        pool = None
        if recipe.loop.masks == "pooled":
            pool = stack.enter_context(pooled_dropout(model, recipe.seed))
        run = _Run(model, data, recipe, watch, pool)
        run.resume()
        run.go()
    model.eval()
    return run.outcome()


def score(model: nn.Module, tokens: Tokens, *, bf16: bool = False) -> Floats:
    """(rows, outputs) logits in eval mode; the model's mode is restored."""
    device = next(model.parameters()).device
    found: dict[int, NDArray[np.float32]] = {}
    was_training = model.training
    model.eval()
    with torch.inference_mode(), _precision(device, bf16):
        # Without gradients a batch can hold more before the caches overflow.
        for rows in plan_in_order(tokens.lengths(), Budget(tokens=4096, rows=64)):
            ids, mask = tokens.batch(rows)
            logits = model(ids.to(device), mask.to(device)).float().cpu().numpy()
            found.update(zip(rows.tolist(), logits, strict=True))
    model.train(was_training)
    return np.stack([found[i] for i in range(len(found))])


def log_loss(logits: Floats, labels: NDArray[np.int64]) -> float:
    """Mean negative log-probability of the true class, natural log."""
    wide = logits.astype(np.float64)
    top = wide.max(1)
    total = top + np.log(np.exp(wide - top[:, None]).sum(1))
    return float((total - wide[np.arange(len(labels)), labels]).mean())


class _Run:
    """The mutable middle of one run."""

    def __init__(
        self,
        model: nn.Module,
        data: tuple[Rows, Rows],
        recipe: Recipe,
        watch: Watch,
        pool: MaskPool | None,
    ) -> None:
        self.accelerator = Accelerator(mixed_precision="no")
        self.raw, (self.rows, self.validation) = model, data
        self.recipe, self.watch, self.pool = recipe, watch, pool
        self.trainable = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.before = {n: _fingerprint(p) for n, p in self.trainable.items()}
        self.steps, self.evaluate_at = _schedule(self.rows, recipe)
        self.rows_at = np.cumsum([0, *(sum(map(len, batches)) for batches in self.steps)])
        self.optimizer, self.names, self.peaks = _adamw(self.trainable, recipe)
        self.model, self.prepared = self.accelerator.prepare(model, self.optimizer)
        self.step, self.bad, self.cut = 0, 0, False
        self.best_loss, self.best = math.inf, dict[str, Tensor]()
        self.history: list[dict[str, float]] = []
        self.loss_sum, self.loss_steps = 0.0, 0
        cut = watch.checkpoints.recall("cut") if watch.checkpoints else None
        self.cut_at: int | None = cut["step"] if cut else None
        self.tokens, self.seconds = 0, 0.0
        self.saved_at = time.monotonic()

    def go(self) -> None:
        self.raw.train()
        while self.step < len(self.steps) and self.bad < self.recipe.loop.patience:
            if self._out_of_time():
                break
            started = time.perf_counter()
            self._descend(self.steps[self.step])
            self.step += 1
            self.seconds += time.perf_counter() - started
            self._tell()
            if self.step in self.evaluate_at:
                self._evaluate()
            self._save_when_due()
        if not self.history or self.history[-1]["step"] != self.step:
            self._evaluate()
        self._check_moved()
        with torch.no_grad():
            for name, tensor in self.trainable.items():
                tensor.copy_(self.best[name])

    def outcome(self) -> Trained:
        return Trained(self.history, self.step, self.tokens, self.seconds, self.cut)

    def resume(self) -> None:
        found = self.watch.checkpoints.newest() if self.watch.checkpoints else None
        if found is None:
            return
        state = found.state
        with torch.no_grad():
            for name, tensor in self.trainable.items():
                tensor.copy_(found.tensors["model"][name])
        restore_optimizer(self.optimizer, found.tensors["optimizer"], self.names)
        restore_generators(state["generators"], found.tensors["generators"])
        if self.pool is not None:
            self.pool.drawn = state["masks_drawn"]
        device = self.accelerator.device
        self.best = {n: t.to(device) for n, t in found.tensors.get("best", {}).items()}
        self.best_loss = state["best_loss"] if self.best else math.inf
        self.step, self.bad, self.history = found.step, state["bad"], state["history"]
        self.loss_sum, self.loss_steps = state["loss_sum"], state["loss_steps"]
        self.watch.emit(Note(f"Resuming at step {self.step:,} of {len(self.steps):,}."))
        if state["threads"] != torch.get_num_threads():
            text = (
                f"The checkpoint was written with {state['threads']} threads and this process has "
                f"{torch.get_num_threads()}: the result may differ in the last bits."
            )
            self.watch.emit(Note(text, "warning"))

    def _descend(self, batches: list[NDArray[np.int64]]) -> None:
        rows = sum(len(batch) for batch in batches)
        device, total = self.accelerator.device, 0.0
        for batch in batches:
            ids, mask = self.rows.tokens.batch(batch)
            labels = torch.from_numpy(self.rows.labels[batch]).to(device)
            with _precision(device, self.recipe.bf16):
                logits = self.model(ids.to(device), mask.to(device))
            loss = self.recipe.loss(logits, labels) * (len(batch) / rows)
            self.accelerator.backward(loss)
            total += loss.item()
            self.tokens += int(mask.sum())
        norm = self.accelerator.clip_grad_norm_(
            list(self.trainable.values()), self.recipe.loop.clip
        )
        if not (math.isfinite(total) and math.isfinite(float(norm or 0.0))):
            raise Diverged(
                f"step {self.step + 1} of {len(self.steps)}: loss {total}, gradient norm "
                f"{float(norm or 0.0)}.",
                fix=f"lower the learning rate (lr={max(self.peaks)} now), or raise warmup="
                f"{self.recipe.loop.warmup}.",
            )
        share = _rate(self.step, len(self.steps), self.recipe.loop.warmup)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * share
        self.prepared.step()
        self.prepared.zero_grad(set_to_none=True)
        self.loss_sum += total
        self.loss_steps += 1

    def _evaluate(self) -> None:
        logits = score(self.raw, self.validation.tokens, bf16=self.recipe.bf16)
        found = log_loss(logits, self.validation.labels)
        self.history.append(
            {
                "step": self.step,
                "epoch": float(self.rows_at[self.step]) / len(self.rows.labels),
                "train_loss": self.loss_sum / max(self.loss_steps, 1),
                "validation_log_loss": found,
            }
        )
        self.loss_sum, self.loss_steps = 0.0, 0
        if found < self.best_loss or not self.best:
            self.best_loss, self.bad = found, 0
            self.best = {n: p.detach().clone() for n, p in self.trainable.items()}
        else:
            self.bad += 1

    def _out_of_time(self) -> bool:
        if self.cut_at is not None:
            # Where time ran out is a fact of the first run; a resumed one stops there too.
            self.cut = self.step >= self.cut_at
        elif time.monotonic() >= self.watch.deadline and self.step > 0:
            self.cut = True
            if self.watch.checkpoints:
                self.watch.checkpoints.record("cut", {"step": self.step})
        return self.cut

    def _save_when_due(self) -> None:
        if self.watch.checkpoints is None:
            return
        by_step = self.watch.every_steps and self.step % self.watch.every_steps == 0
        if by_step or time.monotonic() - self.saved_at >= self.watch.every_seconds:
            self.watch.checkpoints.save(self._snapshot())
            self.saved_at = time.monotonic()

    def _snapshot(self) -> Snapshot:
        values, tensors = save_generators()
        groups = {
            "model": {n: p.detach() for n, p in self.trainable.items()},
            "optimizer": flatten_optimizer(self.optimizer, self.names),
            "generators": tensors,
        }
        if self.best:
            groups["best"] = self.best
        state = {
            "generators": values,
            "masks_drawn": self.pool.drawn if self.pool else 0,
            "best_loss": self.best_loss if self.best else None,
            "bad": self.bad,
            "history": self.history,
            "loss_sum": self.loss_sum,
            "loss_steps": self.loss_steps,
            "threads": torch.get_num_threads(),
        }
        return Snapshot(self.step, groups, state)

    def _tell(self) -> None:
        speed = self.tokens / max(self.seconds, 1e-9)
        loss = self.loss_sum / max(self.loss_steps, 1)
        detail = f"{speed:,.0f} tokens/s · loss {loss:.3f}"
        self.watch.emit(StageProgress("tune", self.step, len(self.steps), detail))

    def _check_moved(self) -> None:
        # The first steps of a warm-up may leave LoRA's A where it was: B is still zero.
        if self.step < 3:
            return
        still = [n for n, p in self.trainable.items() if _fingerprint(p) == self.before[n]]
        if still:
            shown = ", ".join(still[:3]) + (" …" if len(still) > 3 else "")
            raise SettingError(
                f"{len(still)} of {len(self.trainable)} trainable tensors did not move in "
                f"{self.step} steps: {shown}.",
                fix=f"raise the learning rate (lr={max(self.peaks)} now); if that does not help, "
                "the method opens weights that the loss does not reach.",
            )


def _schedule(rows: Rows, recipe: Recipe) -> tuple[list[list[NDArray[np.int64]]], set[int]]:
    """The batches of every optimiser step, and the steps after which to evaluate."""
    loop, lengths = recipe.loop, rows.tokens.lengths()
    budget = Budget(loop.batch_tokens, loop.batch_rows)
    steps: list[list[NDArray[np.int64]]] = []
    evaluate: set[int] = set()
    for epoch in range(loop.epochs):
        batches = plan_epoch(lengths, budget, seed=recipe.seed, epoch=epoch)
        groups = [batches[i : i + loop.accumulate] for i in range(0, len(batches), loop.accumulate)]
        parts = min(loop.evaluations, len(groups))
        evaluate |= {len(steps) + len(groups) * (i + 1) // parts for i in range(parts)}
        steps += groups
        if loop.max_steps and len(steps) >= loop.max_steps:
            break
    return (steps[: loop.max_steps] if loop.max_steps else steps), evaluate


def _adamw(
    trainable: dict[str, nn.Parameter], recipe: Recipe
) -> tuple[torch.optim.AdamW, dict[int, str], list[float]]:
    """The optimizer, its parameters' names by position, and each group's peak rate."""
    groups: dict[tuple[float, float], list[str]] = {}
    for name, tensor in trainable.items():
        # Decay pulls matrices towards zero; on biases and normalisation it only costs accuracy.
        decay = recipe.loop.weight_decay if tensor.ndim > 1 else 0.0
        groups.setdefault((recipe.rate(name), decay), []).append(name)
    peaks = [rate for rate, _ in groups]
    optimizer = torch.optim.AdamW(
        [
            {"params": [trainable[n] for n in names], "lr": rate, "weight_decay": decay}
            for (rate, decay), names in groups.items()
        ],
        fused=True,
    )
    order = [name for names in groups.values() for name in names]
    return optimizer, dict(enumerate(order)), peaks


def _rate(step: int, total: int, warmup: float) -> float:
    """Share of the peak learning rate at a step: linear up, then linear down to just above 0."""
    rise = max(1, round(total * warmup))
    if step < rise:
        return (step + 1) / rise
    return (total - step) / max(1, total - rise)


def _precision(device: torch.device, bf16: bool):
    return torch.autocast(device.type, dtype=torch.bfloat16) if bf16 else nullcontext()


def _fingerprint(tensor: Tensor) -> bytes:
    data = tensor.detach().cpu().contiguous().numpy()
    return hashlib.blake2b(data.tobytes(), digest_size=16).digest()
