"""Training on: a fit that starts from a saved classifier, not from a backbone and a fresh head.

It is for models that were made smaller: layers, heads or neurons were taken out, and the rest
learns to do without them, from the labels and from what the whole model answers.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sartor.core.errors import DataError, ModelError, SettingError
from sartor.core.hashing import digest, file_sha256
from sartor.core.likelihood import Truth, fitting, known, unknown
from sartor.core.protocols import Floats
from sartor.core.settings import read_as
from sartor.core.types import Examples
from sartor.models.loading import load_tokenizer
from sartor.tasks import TASKS
from sartor.tune.device import computing
from sartor.tune.distillation import Distillation, Shown, Taught
from sartor.tune.dropout import set_dropout
from sartor.tune.generators import seeded
from sartor.tune.job import Result
from sartor.tune.loop import Recipe, Rows, Watch, train
from sartor.tune.reopened import Reading, reopened
from sartor.tune.rounding import seen_in_int8
from sartor.tune.scoring import score, score_sample
from sartor.tune.settings import Settings, read_settings

METHOD = "full"
"""All weights are trained: what is gone was of use to all of them."""
_DECIDES = ("model.safetensors", "config.json", "classifier.json", "tokenizer.json")


@dataclass(frozen=True, slots=True)
class Manner:
    """How training on differs from full fine-tuning."""

    int8: bool = False
    """See products as int8 would compute them (`rounding`); the weights stay floats."""


@dataclass(frozen=True, slots=True)
class Again:
    """What decides a model that is trained on, besides the rows.

    Args:
        start: Folder that the task's `train.load` reads, with a tokenizer.json.
        settings: Flat: of full fine-tuning, the loop, `Manner`, and with a teacher `Distillation`.
        seed: Seeds everything random.
        prefix: Put before every text.
        max_length: Tokens a text is cut at.
        teacher: (training rows, outputs) logits, or with what the teacher's head reads after them,
            (training rows, outputs + features); or None.
    """

    start: Path
    settings: Mapping[str, Any]
    seed: int
    prefix: str = ""
    max_length: int = 256
    teacher: Floats | None = None

    def key(self) -> str:
        """Content hash, 64 hex digits: the folder's files count, its path does not.

        Raises:
            ModelError: If the folder lacks one of them.
        """
        try:
            files = [file_sha256(self.start / name) for name in _DECIDES]
        except OSError as error:
            raise ModelError(
                f"{self.start} cannot be trained on: {error.strerror} ({error.filename}).",
                fix=f"the folder must hold {', '.join(_DECIDES)}.",
            ) from error
        told = None
        if self.teacher is not None:
            told = [self.teacher.shape, sha256(self.teacher.tobytes()).hexdigest()]
        reads = [self.prefix, self.max_length]
        return digest("again", files, dict(self.settings), self.seed, reads, told)


@dataclass(frozen=True, slots=True)
class Lesson:
    """One training on to do.

    Args:
        again: What decides it.
        train: Training rows; one without a label (None) learns from the teacher alone.
        validation: Rows that choose and stop.
        outputs: Names of the model's outputs, in order.
        task: Name in the tasks registry.
    """

    again: Again
    train: Examples
    validation: Examples
    outputs: Sequence[str]
    task: str

    def settings(self) -> tuple[Settings, Manner, Distillation]:
        """Read and checked.

        Raises:
            SettingError: If a key belongs to nobody or a value is out of range.
        """
        flat = dict(self.again.settings)
        if "layers" in flat:
            raise SettingError(
                f"layers={flat['layers']} was given for a model whose head reads layers already.",
                fix="leave layers out: the saved model says which it reads.",
            )
        manner = read_as(Manner, _taken(flat, Manner))
        taught = Distillation()
        if self.again.teacher is not None:
            taught = read_as(Distillation, _taken(flat, Distillation))
        return read_settings(flat, task=self.task, method=METHOD), manner, taught

    def labels(self) -> Truth:
        """The truth of the training rows, `core.likelihood.unknown` for rows without a label.

        Raises:
            DataError: If rows have neither label nor teacher, or a label is not an output.
        """
        rows, teacher = self.train, self.again.teacher
        there = [i for i, label in enumerate(rows.target) if label is not None]
        told = TASKS.get(self.task)().truth(rows.take(there), self.outputs)
        found = unknown(len(rows), told)
        found[there] = told
        if teacher is None and (lacking := len(rows) - len(there)):
            raise DataError(
                f"{lacking:,} of {len(rows):,} training rows have no label, and there is no"
                " teacher.",
                fix="give the logits of a teacher, or leave those rows out.",
            )
        return found

    def teacher(self, features: int) -> Floats | None:
        """The teacher's logits, and after them what its head reads, if it tells.

        Args:
            features: What the student's head reads.

        Raises:
            DataError: If they are of other rows, or of another width.
        """
        told = self.again.teacher
        if told is None:
            return None
        wanted = [(len(self.train), len(self.outputs) + more) for more in (0, features)]
        if told.shape not in wanted or not np.isfinite(told).all():
            raise DataError(
                f"the teacher's answers are {told.shape}, and not finite numbers of shape"
                f" {wanted[0]} or {wanted[1]}.",
                fix="let it answer every training row, in order.",
            )
        return np.ascontiguousarray(told, np.float32)


def fit_again(lesson: Lesson, watch: Watch, *, bf16: bool, scored: int) -> Result:
    """Train on, from the saved model's weights to those with the best validation log-loss.

    Args:
        lesson: What to do.
        watch: Checkpoints, deadline, progress.
        bf16: Whether the matrix products of training run in bfloat16.
        scored: Training rows to score at the end, drawn by seed.

    Raises:
        NothingToTune: If the saved model is none whose weights the loop trains.
    """
    settings, manner, distillation = lesson.settings()
    task, method, loop = settings.task, settings.method, settings.loop
    labels = lesson.labels()
    held = TASKS.get(lesson.task)().truth(lesson.validation, lesson.outputs)
    again = lesson.again
    model = reopened(again.start, lesson.task, len(lesson.outputs))
    read = Reading.of(again.start, again.prefix, again.max_length, by_piece=model.by_piece).tokens
    tokens = read(lesson.train.texts), read(lesson.validation.texts)
    watch = replace(watch, whole=True)
    with seeded(again.seed):
        if loop.dropout is not None:
            set_dropout(model, loop.dropout)
        told = labels[known(labels)]
        task.open(model, told, fresh=False)
        method.attach(model)
    weights = torch.from_numpy(task.weights(told, len(lesson.outputs)))

    def base(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return task.loss(logits, target, weights.to(logits.device), loop.label_smoothing)

    teacher, depth = lesson.teacher(model.head_width), max(model.layers)
    shows = teacher is not None and teacher.shape[1] > len(lesson.outputs)
    if shows and loop.mixup:
        raise SettingError(
            f"mixup={loop.mixup} blends rows whose features the teacher tells apart.",
            fix="leave mixup out, or give the teacher's logits alone.",
        )
    trainee = Shown(model) if shows else model
    recipe = Recipe(
        loop=loop,
        seed=again.seed,
        loss=base
        if teacher is None
        else Taught(labels, teacher, len(lesson.outputs), distillation, base),
        rate=lambda name: method.rate(name.removeprefix("model."), depth),
        bf16=bf16,
        method=method,
        pretrained=frozenset(model.parameters()),
    )
    # What the loss is asked with: class indices, or row numbers where more than those is known.
    asked = labels if teacher is None else np.arange(len(labels))
    with seen_in_int8(model) if manner.int8 else nullcontext():
        trained = train(trainee, (Rows(tokens[0], asked), Rows(tokens[1], held)), recipe, watch)
    method.fold(model)
    task.close(model)
    model.cpu().eval()
    with computing(model):
        held_out = score(model, tokens[1])
        sample = score_sample(model, tokens[0], (again.seed, scored), bf16=bf16)
    return Result(
        model,
        load_tokenizer(again.start),
        fitting(held_out, held),
        fitting(sample, labels),
        tuple(trained.history),
        trained.steps if trained.cut else None,
    )


def _taken(flat: dict[str, Any], owner: type[Any]) -> dict[str, Any]:
    """The owner's settings, which are taken out."""
    return {f.name: flat.pop(f.name) for f in fields(owner) if f.name in flat}
