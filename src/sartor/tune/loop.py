"""The one gradient loop: deterministic, crash-safe, resumable to the bit.

Every random choice is a function of the seed and the step (batches, dropout windows) or is saved
with the checkpoint (torch's, NumPy's and Python's generators), so a run killed anywhere and resumed
ends with the bytes of one that was not, at the same thread count.
"""

import math
import time
from contextlib import ExitStack, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sartor.core.events import Note, StageProgress
from sartor.tune.checkpoint import Snapshot
from sartor.tune.descent import Descent, clip
from sartor.tune.device import accelerator, computing
from sartor.tune.dropout import MaskPool, pooled_dropout
from sartor.tune.generators import restore_generators, save_generators, seeded
from sartor.tune.memory import kept_memory
from sartor.tune.moved import Still
from sartor.tune.narrow import narrow_states
from sartor.tune.powers import Powers
from sartor.tune.recipe import Loss, Recipe, Rows, Trained, Watch
from sartor.tune.regularise.averaging import Averaging
from sartor.tune.schedule import schedule
from sartor.tune.scoring import log_loss, precision, score
from sartor.tune.vocabulary import UsedRows, used_rows

__all__ = ["Loss", "Recipe", "Rows", "Trained", "Watch", "log_loss", "score", "train"]

_TELLING = (16, 5.0)
"""Steps, and seconds of them, after which their speed is told from that of the first."""
_SURELY = 0.7
"""Of the time that the rest would take at that speed; it may grow quicker."""


def train(model: nn.Module, data: tuple[Rows, Rows], recipe: Recipe, watch: Watch) -> Trained:
    """Train in place, to the weights with the best validation log-loss, or to the last ones.

    Args:
        model: Takes what the rows' `batch` gives, answers logits; a method is attached.
        data: Training and validation rows.
        recipe: What decides the result.
        watch: Checkpoints, deadline, progress.

    Raises:
        Diverged: If the loss or the gradient is not a finite number.
        SettingError: If a trainable tensor never moved.
    """
    with seeded(recipe.seed), ExitStack() as stack:
        stack.enter_context(computing(model))
        pool = None
        if recipe.loop.masks == "pooled":
            pool = stack.enter_context(pooled_dropout(model, recipe.seed))
        reader = recipe.objective or recipe.method
        words = stack.enter_context(used_rows(model, data[0].inputs, reader))
        stack.enter_context(narrow_states(model))
        stack.enter_context(kept_memory())
        run = _Run(model, data, recipe, watch, (pool, words))
        run.resume()
        run.go()
    model.eval()
    return run.outcome()


class _Run:
    """The mutable middle of one run."""

    def __init__(
        self,
        model: nn.Module,
        data: tuple[Rows, Rows],
        recipe: Recipe,
        watch: Watch,
        lent: tuple[MaskPool | None, UsedRows | None],
    ) -> None:
        self.accelerator = accelerator()
        self.raw, (self.rows, self.validation) = model, data
        self.recipe, self.watch = recipe, watch
        self.pool, self.words = lent
        self.trainable = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.still = Still(self.trainable)
        self.plan = schedule(self.rows.inputs.lengths(), recipe.loop, recipe.seed)
        self.descent = Descent.of(self.trainable, recipe.rate, recipe.loop)
        self.powers = Powers(recipe, model)
        self.average = Averaging(self.trainable, recipe.loop, len(self.plan.steps))
        self.powers.begin(len(self.plan.steps))
        self.model, self.prepared = self.accelerator.prepare(model, self.descent.optimizer)
        self.step, self.bad, self.cut, self.timed = 0, 0, False, 0
        self.best_loss, self.best = math.inf, dict[str, Tensor]()
        self.history: list[dict[str, float]] = []
        self.loss_sum, self.loss_steps = 0.0, 0
        self.tokens, self.seconds = 0, 0.0
        self.saved_at = time.monotonic()

    def go(self) -> None:
        self.raw.train()
        while self.step < len(self.plan.steps) and self.bad < self.recipe.loop.patience:
            if self._out_of_time():
                break
            started = time.perf_counter()
            self._descend(self.plan.steps[self.step])
            self.seconds += time.perf_counter() - started
            self.timed += 1
            self._tell()
            if self.step in self.plan.evaluate:
                self._evaluate()
                if self._halted():
                    break
            self._save_when_due()
        if not self.history or self.history[-1]["step"] != self.step:
            self._evaluate()
        self.still.check(self.step, max(self.descent.peaks))
        with torch.no_grad():
            for name, tensor in self.trainable.items():
                tensor.copy_(self.best[name])

    def outcome(self) -> Trained:
        return Trained(self.history, self.step, self.tokens, self.seconds, self.cut)

    def resume(self) -> None:
        book = self.watch.checkpoints
        found = book.newest(self.watch.cut_at) if book else None
        if found is None:
            return
        state = found.state
        with torch.no_grad():
            for name, tensor in self.trainable.items():
                tensor.copy_(found.tensors["model"][name])
        self.descent.restore(found.tensors["optimizer"])
        self.powers.restore(found.tensors.get("method", {}))
        self.average.restore(found.tensors.get("average", {}))
        restore_generators(state["generators"], found.tensors["generators"])
        if self.pool is not None:
            self.pool.drawn = state["masks_drawn"]
        device = self.accelerator.device
        self.best = {n: t.to(device) for n, t in found.tensors.get("best", {}).items()}
        self.best_loss = state["best_loss"] if self.best else math.inf
        self.step, self.bad, self.history = found.step, state["bad"], state["history"]
        self.loss_sum, self.loss_steps = state["loss_sum"], state["loss_steps"]
        self.still.waits = state["still"]
        self.watch.emit(Note(f"Resuming at step {self.step:,} of {len(self.plan.steps):,}."))
        if state["threads"] != torch.get_num_threads():
            text = (
                f"The checkpoint was written with {state['threads']} threads and this process has "
                f"{torch.get_num_threads()}: the result may differ in the last bits."
            )
            self.watch.emit(Note(text, "warning"))

    def _descend(self, batches: list[NDArray[np.int64]]) -> None:
        total = self._gradients(batches)
        norm = clip(self.trainable.values(), self.recipe.loop.clip)
        where = f"step {self.step + 1} of {len(self.plan.steps)}"
        self.descent.check(total, norm, where)
        self.descent.set_rate(self.plan.rate(self.step))
        self.prepared.step()
        self.step += 1
        self.still.look(self.step)
        self.powers.after_step(self.step)
        self.average.after_step(self.step)
        self.prepared.zero_grad(set_to_none=True)
        self.loss_sum += total
        self.loss_steps += 1

    def _gradients(self, batches: list[NDArray[np.int64]]) -> float:
        """The loss of one step over all its rows; gradients are left on the tensors."""
        rows = sum(len(batch) for batch in batches)
        device, total = self.accelerator.device, 0.0
        for i, batch in enumerate(batches):
            inputs = self.rows.inputs.batch(batch)
            labels = torch.from_numpy(self.rows.labels[batch]).to(device)
            with precision(device, bf16=self.recipe.bf16):
                loss = self.powers.loss(self.model, tuple(x.to(device) for x in inputs), labels)
            loss = loss * (len(batch) / rows)
            # The penalty knows no rows: once a step is enough.
            if i == len(batches) - 1 and (penalty := self.powers.penalty()) is not None:
                loss = loss + penalty
            self.accelerator.backward(loss)
            total += loss.item()
            self.tokens += int(inputs[-1].sum())
        return total

    def _evaluate(self) -> None:
        whole = self.words.whole() if self.words else nullcontext()
        with self.average.evaluated() as weights, whole:
            logits = score(self.raw, self.validation.inputs, bf16=self.recipe.bf16)
        found = log_loss(logits, self.validation.labels)
        self.history.append(
            {
                "step": self.step,
                "share": self.step / len(self.plan.steps),
                "epoch": float(self.plan.rows_at[self.step]) / len(self.rows.labels),
                "train_loss": self.loss_sum / max(self.loss_steps, 1),
                "validation_log_loss": found,
            }
        )
        self.loss_sum, self.loss_steps = 0.0, 0
        settled = self.powers.settled()
        last = self.recipe.loop.kept == "last"
        if last or found < self.best_loss or not self.best or not settled:
            # Weights of before are kept only for want of others: the first settled ones are better.
            self.best_loss, self.bad = found if settled else math.inf, 0
            self.best = {name: tensor.clone() for name, tensor in weights.items()}
        else:
            self.bad += 1

    def _out_of_time(self) -> bool:
        if self.watch.cut_at is not None:
            # Where time ran out is a fact of the first run; a resumed one stops there too.
            self.cut = self.step >= self.watch.cut_at
        elif self.step > 0 and (self._left() <= 0 or self._hopeless()):
            self.cut = True
            # Before the evaluation that ends this fit: a whole one goes on from here as if it had
            # never stopped.
            if self.watch.checkpoints:
                self.watch.checkpoints.save(self._snapshot())
            self.watch.on_cut(self.step)
        return self.cut

    def _left(self) -> float:
        """Seconds until the deadline."""
        return self.watch.deadline - time.monotonic()

    def _hopeless(self) -> bool:
        """Whether only a whole fit is of use, and the steps so far say that this will be none."""
        if not self.watch.whole or self.timed < _TELLING[0] or self.seconds < _TELLING[1]:
            return False
        rest = (len(self.plan.steps) - self.step) * self.seconds / self.timed
        left = self._left()
        if _SURELY * rest <= left:
            return False
        minutes = f"{rest / 60:,.0f} minutes, and {max(left, 0) / 60:,.0f} are left"
        self.watch.emit(
            Note(f"The rest of this training would take about {minutes}: it ends here.")
        )
        return True

    def _halted(self) -> bool:
        """Whether others did so much better by now that the rest is not worth its time."""
        share = self.step / len(self.plan.steps)
        known = self.watch.cut_at is not None or not math.isfinite(self.best_loss)
        if known or share >= 1 or not self.watch.halts(share, self.best_loss):
            return False
        self.cut = True
        if self.watch.checkpoints:
            self.watch.checkpoints.save(self._snapshot())
        self.watch.on_halt(self.step)
        return True

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
            "optimizer": self.descent.state(),
            "generators": tensors,
        }
        extra = {"method": self.powers.state(), "average": self.average.state(), "best": self.best}
        groups |= {name: tensors for name, tensors in extra.items() if tensors}
        state = {
            "generators": values,
            "masks_drawn": self.pool.drawn if self.pool else 0,
            "best_loss": self.best_loss if self.best else None,
            "bad": self.bad,
            "history": self.history,
            "loss_sum": self.loss_sum,
            "loss_steps": self.loss_steps,
            "still": self.still.waits,
            "threads": torch.get_num_threads(),
        }
        return Snapshot(self.step, groups, state)

    def _tell(self) -> None:
        speed = self.tokens / max(self.seconds, 1e-9)
        loss = self.loss_sum / max(self.loss_steps, 1)
        detail = f"{speed:,.0f} tokens/s · loss {loss:.3f}"
        self.watch.emit(StageProgress("tune", self.step, len(self.plan.steps), detail))
