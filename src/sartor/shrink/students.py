"""The torch side of a form, for compressors that change weights: opened, asked, taught, written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from sartor.core.errors import Diverged, ModelError, NothingToShrink
from sartor.core.protocols import Floats
from sartor.core.types import Examples, TargetKind, one_label
from sartor.models.loading import load_tokenizer
from sartor.models.packed import Packed, tokenise
from sartor.shrink.api import FIT, GRAPH, TOKENIZER, Bench, Form
from sartor.shrink.export import to_onnx
from sartor.tasks import TASKS
from sartor.tasks._encoder.model import TextClassifier, layer_stack

_ROWS = 32
"""Rows of a batch."""
_CLOSE = 1e-3
"""Logits of a model that was saved and loaded again differ by less."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows as the model takes them.

    Args:
        places: (batch,) which rows.
        ids: (batch, longest) token ids.
        mask: (batch, longest) 1 at real tokens, 0 at padding.
    """

    places: list[int]
    ids: Tensor
    mask: Tensor


@dataclass(frozen=True, slots=True)
class Whole:
    """The model that a student is made of.

    Args:
        name: Of the compressor, for messages.
        model: In eval mode.
        form: Where it lies.
        bench: With rows.
    """

    name: str
    model: TextClassifier
    form: Form
    bench: Bench

    @staticmethod
    def opened(name: str, form: Form, bench: Bench) -> "Whole":
        """Load it, for a compressor that trains.

        Raises:
            NothingToShrink: If it is no encoder of known parts, or nothing can be trained.
        """
        if form.fit is not None and bench.retrain is None:
            raise NothingToShrink(
                f"{name} trains what it made smaller, and there is nothing to train with.",
                fix="compress within `sartor run`, or choose int8_dynamic.",
            )
        return Whole.read(name, form, bench)

    @staticmethod
    def read(name: str, form: Form, bench: Bench) -> "Whole":
        """Load it.

        Raises:
            NothingToShrink: If it is no encoder of known parts, or there are no training rows.
        """
        if form.fit is None:
            raise NothingToShrink(
                f"{name} changes weights, and of {form.graph.name} only the graph is at hand.",
                fix="choose a compressor of graphs, such as int8_dynamic.",
            )
        if not len(bench.train):
            raise NothingToShrink(
                f"{name} looks at training rows, and there are none.",
                fix="compress within `sartor run`, or choose int8_dynamic.",
            )
        model = _load(bench.task, form.fit)
        if not isinstance(model, TextClassifier) or model.added:
            kind = "added layers" if isinstance(model, TextClassifier) else type(model).__name__
            raise NothingToShrink(
                f"{name} works on a plain encoder with a head, and this model has {kind}.",
                fix="choose another compressor, or a method that folds, such as full or lora.",
            )
        if model.by_piece:
            raise NothingToShrink(
                f"{name} learns from answers about whole texts, and this model answers about each"
                " piece of one.",
                fix="choose a compressor of graphs, such as int8_rows or int8_dynamic.",
            )
        return Whole(name, model, form, bench)

    def of(self, model: TextClassifier) -> "Whole":
        """The same bench, with another model on it."""
        return replace(self, model=model)

    @property
    def _target_kind(self) -> TargetKind:
        return TASKS.get(self.bench.task)().roles.target_kind

    @property
    def one_label(self) -> bool:
        """Whether a row has one label among few that compete."""
        return one_label(self._target_kind)

    def apart(self, wanted: Tensor, found: Tensor) -> float:
        """How far the answers of (rows, outputs) logits lie from the wanted ones: mean KL in nats;
        of numbers the mean square, in variances of the wanted ones."""
        if self._target_kind == "number":
            return float((wanted - found).pow(2).mean() / wanted.var().clamp(min=1e-12))
        wanted, found = (
            torch.cat([logsigmoid(logits), logsigmoid(-logits)], dim=1)
            if self._target_kind == "labels"
            else logits.log_softmax(-1)
            for logits in (wanted, found)
        )
        return float((wanted.exp() * (wanted - found)).sum(1).mean())

    def layers(self) -> nn.ModuleList:
        """The encoder's, bottom first.

        Raises:
            NothingToShrink: If it does not keep them in one list.
        """
        found = layer_stack(self.model.encoder)
        if found is None:
            kind = type(self.model.encoder).__name__
            raise self.nothing(f"{kind} does not keep its layers in one list")
        return found

    def nothing(self, why: str) -> NothingToShrink:
        """The error that says so."""
        return NothingToShrink(
            f"{self.name} found nothing to work on: {why}.", fix="choose another compressor."
        )

    def tokens(self, rows: Examples) -> Packed:
        """The rows as token ids, cut and prefixed as they are served."""
        tokenizer = load_tokenizer(self.form.tokenizer.parent)
        tokenizer.enable_truncation(self.bench.max_length)
        return tokenise(tokenizer, rows.texts, self.bench.prefix)

    def special(self) -> list[int]:
        """Tokens that every text has, such as [CLS]."""
        return load_tokenizer(self.form.tokenizer.parent).encode("").ids

    def batches(self, rows: Examples) -> list[Batch]:
        """The rows, those of about equal length together."""
        ids = self.tokens(rows)
        pad = self.model.encoder.config.pad_token_id or 0
        order = np.argsort(ids.lengths, kind="stable").tolist()
        return [
            _batch(order[i : i + _ROWS], [ids[row] for row in order[i : i + _ROWS]], pad)
            for i in range(0, len(order), _ROWS)
        ]

    def sample(self, rows: Examples, most: int) -> Examples:
        """At most so many of the rows, drawn by seed."""
        if len(rows) <= most:
            return rows
        drawn = np.random.default_rng(self.bench.seed).permutation(len(rows))[:most]
        return rows.take(np.sort(drawn).tolist())

    def features(self) -> Floats:
        """(training rows, features) what the whole model's head reads."""
        batches = self.batches(self.bench.train)
        return _in_order(batches, lambda b: self.model.features(b.ids, b.mask)).numpy()

    def teacher(self) -> Floats:
        """(training rows, outputs) logits of the whole model."""
        answers = self.bench.answers(self.form, self.bench.train.texts)
        return np.asarray(answers, np.float32)

    def teach(
        self,
        student: TextClassifier,
        target: Path,
        epochs: int,
        lr: float,
        more: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Train a student on the whole model's answers and the labels, and write its form.

        Args:
            student: Made smaller; it is saved as it is, and trained from there.
            target: The compressor's empty folder.
            epochs: Passes over the training rows, at most.
            lr: Peak learning rate of all weights: every layer has to learn anew.
            more: Other settings; see `Retrain`. With `hidden` above 0, what the whole model's head
                reads is to be learnt too.

        Raises:
            NothingToShrink: If the student cannot be saved and loaded alike, its training diverged,
                or time ran out.
        """
        rate = {"lr": lr, "head_lr": lr, "layer_decay": 1.0}
        settings = {"epochs": epochs, "patience": 2 * epochs, **rate, **more}
        told = [self.teacher(), *([self.features()] if more.get("hidden") else [])]
        assert self.bench.retrain is not None
        with TemporaryDirectory() as place:
            start = Path(place) / "start"
            student.eval().save(start)
            copyfile(self.form.tokenizer, start / TOKENIZER)
            self._check_saved(student, start)
            try:
                fitted = self.bench.retrain(start, settings, np.concatenate(told, 1))
            except Diverged as error:
                raise NothingToShrink(
                    f"{self.name} did not recover what it took out: {error.what}", fix=error.fix
                ) from error
        if fitted.cut is not None:
            raise NothingToShrink(
                f"{self.name} ran out of time after {fitted.cut:,} steps of training.",
                fix="raise budget.minutes: a later run goes on from there.",
            )
        write_form(_load(self.bench.task, fitted.folder), self.form, target, self.bench.task)

    def _check_saved(self, student: TextClassifier, start: Path) -> None:
        """What an architecture decides by a layer's number is lost where layers move."""
        some = self.batches(self.bench.train.take(range(min(4, len(self.bench.train)))))
        try:
            again = _load(self.bench.task, start)
        except ModelError:
            alike = False
        else:
            alike = float((answers(again, some) - answers(student, some)).abs().max()) < _CLOSE
        if not alike:
            kind = type(student.encoder).__name__
            raise self.nothing(f"a smaller {kind} is not the same once it is loaded again")


def write_form(model: Any, source: Form, target: Path, task: str) -> None:
    """Write a model as `FIT` and `GRAPH`, with the tokenizer that it had."""
    model.save(target / FIT)
    copyfile(source.tokenizer, target / FIT / TOKENIZER)
    to_onnx(target / FIT, task, target / GRAPH)


def answers(model: nn.Module, batches: list[Batch]) -> Tensor:
    """(rows, outputs) logits."""
    return _in_order(batches, lambda batch: model(batch.ids, batch.mask))


def _in_order(batches: list[Batch], read: Callable[[Batch], Tensor]) -> Tensor:
    """What is read of each batch, as the rows were before they were sorted."""
    with torch.inference_mode():
        found = torch.cat([read(batch) for batch in batches])
    order = torch.tensor([place for batch in batches for place in batch.places])
    return found[torch.argsort(order)].clone()


def _batch(places: list[int], rows: list[Any], pad: int) -> Batch:
    longest = max(len(row) for row in rows)
    ids = np.full((len(rows), longest), pad, np.int64)
    mask = np.zeros((len(rows), longest), np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = row, 1
    return Batch(places, torch.from_numpy(ids), torch.from_numpy(mask))


def _load(task: str, folder: Path) -> nn.Module:
    return import_module(f"sartor.tasks.{task}.train").load(folder)
