"""Pretraining in a run: which texts, whether it helped, and the backbone that the ladder takes.

A pretrained backbone is taken only where frozen heads on it do better on validation rows than heads
on the backbone as it came: mean of log-loss before − after, row by row, with a 95 % interval that
lies above `LEAST_GAIN`. Heads cost little, and what helps them is knowledge that the tuned rungs
start from.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sartor.core.events import Note, StageDone, StageStarted
from sartor.core.likelihood import Truth, fit_temperature, hits, losses
from sartor.core.protocols import Floats
from sartor.core.texts import flat
from sartor.core.types import Backbone, Candidate, Examples
from sartor.core.workspace import Run
from sartor.data.prepare import Prepared
from sartor.models.encode import TextEncoder
from sartor.search.assess import Held
from sartor.search.documents import finds_documents
from sartor.search.fitting import STEPPED_OVER, memory_errors
from sartor.search.ladder import reason
from sartor.search.portfolio import settings_of
from sartor.search.setup import Adapt, Desk
from sartor.search.unlabelled import texts_without_labels
from sartor.tune.api import METHODS
from sartor.tune.fit import TuneOptions, Tuner
from sartor.tune.pretrain import PRETEXTS, Pretraining, Reading

HEAD, NEAREST = "head", "nearest"
"""Method whose portfolio compares backbones."""
LEAST_GAIN = 0.005
"""Nats a row that the interval must lie above: minutes of reading should buy something."""
_DRAWS = 2_000
_SHARE = 0.5
"""Of the budget in time that pretraining may take: the ladder needs the rest."""


@dataclass(frozen=True, slots=True)
class Gain:
    """What a pretrained backbone's heads do better than those of the one it came from.

    Args:
        log_loss: Mean saved a validation row, in nats; negative where it got worse.
        low: Lower end of its 95 % interval.
        high: Upper end.
        accuracy: Before and after, of the heads compared.
        n: Validation rows.
    """

    log_loss: float
    low: float
    high: float
    accuracy: tuple[float, float]
    n: int

    @property
    def shown(self) -> bool:
        """Whether it is shown to have helped by something that is worth having."""
        return self.low > LEAST_GAIN

    def sentence(self) -> str:
        """One line for the user."""
        before, after = self.accuracy
        return (
            f"frozen heads save {self.log_loss:+.3f} nats a row ({self.low:+.3f} to"
            f" {self.high:+.3f}, n {self.n:,}), accuracy {before:.3f} → {after:.3f}"
        )


@dataclass(frozen=True, slots=True)
class Rows:
    """What the comparison reads.

    Args:
        validation: Rows that compare.
        truth: Of them; see `core.likelihood` for its forms.
        groups: Of the validation rows, or None.
    """

    validation: Examples
    truth: Truth
    groups: Sequence[str] | None = None

    def losses(self, logits: Sequence[Floats]) -> tuple[NDArray[np.float64], float]:
        """(rows,) log-loss of the best of some heads after calibration, and its accuracy."""
        found = [losses(z / fit_temperature(z, self.truth), self.truth) for z in logits]
        best = min(range(len(found)), key=lambda i: float(found[i].mean()))
        return found[best], float(hits(logits[best], self.truth).mean())


def adapter(desk: Desk, here: Run) -> Adapt:
    """What `make_ready` pretrains the first backbone with.

    Args:
        desk: What the run works with.
        here: Its folder: where the clock cut the training is a fact of the run.

    Raises:
        UnknownName: If `prefer.pretrain` names no pretext task.
    """
    need = desk.need
    PRETEXTS.get(need.prefer.pretrain)

    def adapt(
        backbone: Backbone,
        rows: Prepared,
        held: Held,
        encoder_for: Callable[[Backbone], TextEncoder],
    ) -> Backbone:
        bf16 = encoder_for(backbone).precision.dtype == "bfloat16"
        texts = _texts(desk, rows)
        prefer = need.prefer
        reading = Reading(prefer.pretrain, backbone, texts, prefer.max_length, need.seed, bf16)
        minutes = need.budget.minutes
        deadline = math.inf if minutes is None else time.monotonic() + 60 * minutes * _SHARE
        folder = desk.place.folder / "pretrained"
        stage = Pretraining(folder, desk.emit, deadline, here)

        def heads(on: Backbone) -> list[Floats]:
            options = TuneOptions(
                task=need.task,
                max_length=prefer.max_length,
                bf16=bf16,
                descriptions=need.data.label_descriptions,
            )
            tuner = Tuner({on.name: on}, encoder_for, folder, held.outputs, options)
            fits = tuner.heads(grid(on, need.seed, need.task), rows.train, rows.validation)
            return [fit.validation_logits for fit in fits]

        seen = Rows(held.validation, held.truth, held.subject(held.validation, ()).groups)
        found = desk.fact("pretrained", lambda: _decided(reading, stage, heads, seen))
        return stage(reading) if found["used"] else backbone

    return adapt


def _decided(
    reading: Reading, stage: Pretraining, heads: Callable[[Backbone], list[Floats]], rows: Rows
) -> dict[str, Any]:
    """Train, compare, and say which it is: {"used", "why"}."""
    base, emit = reading.backbone, stage.emit
    emit(StageStarted("pretrain", len(reading.texts), "texts"))
    try:
        with memory_errors():
            after = stage(reading)
            found = compare(heads(base), heads(after), rows)
    except STEPPED_OVER as error:
        why = reason(error).rstrip(".") + "."
        emit(Note(f"Pretraining failed: {why} {base.name} stays as it came.", "warning"))
        return {"used": False, "why": why}
    taken = "taken" if found.shown else f"not shown to help: {base.name} stays as it came"
    emit(StageDone("pretrain", f"{len(reading.texts):,} texts · {found.sentence()} · {taken}"))
    return {"used": found.shown, "why": found.sentence()}


def _texts(desk: Desk, rows: Prepared) -> list[str]:
    """The training texts and the unlabelled ones, each once; none near a row that is held out."""
    texts = flat(rows.train.texts) + texts_without_labels(desk, rows, "to pretrain on")
    return list(dict.fromkeys(texts))


def compare(before: Sequence[Floats], after: Sequence[Floats], rows: Rows) -> Gain:
    """The gain of the best head after over the best head before, paired by row.

    Args:
        before: (rows, outputs) logits of each head on the backbone as it came.
        after: The same on the pretrained one.
        rows: The validation rows.
    """
    (old, was), (new, now) = rows.losses(before), rows.losses(after)
    saved = old - new
    names = np.arange(len(saved)) if rows.groups is None else np.asarray(rows.groups)
    units, member = np.unique(names, return_inverse=True)
    sums = np.bincount(member.reshape(-1), saved, len(units))
    sizes = np.bincount(member.reshape(-1), minlength=len(units))
    draws = np.random.default_rng(0).integers(0, len(units), (_DRAWS, len(units)))
    means = sums[draws].sum(1) / sizes[draws].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Gain(float(saved.mean()), float(low), float(high), (was, now), len(saved))


def grid(backbone: Backbone, seed: int, task: str = "text_classification") -> list[Candidate]:
    """Heads to compare a backbone by."""
    name = NEAREST if finds_documents(task) else HEAD
    method: Any = METHODS.get(name)
    settings: Sequence[Mapping[str, Any]] = settings_of(method, task)
    return [
        Candidate(backbone.name, backbone.sha256, name, each, seed)
        for each in settings
        if min(each.get("layers", (-1,))) >= -backbone.layers - 1
    ]
