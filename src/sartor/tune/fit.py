"""`Tuner`: a candidate in, a folder with a folded model out. Implements `core.protocols.Fit`.

A fit's place on disk is the hash of everything that decides its bytes, so asking again costs a
verification, and asking after a kill goes on from the last checkpoint.
"""

import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sartor.core.columns import TableCode
from sartor.core.events import Emit
from sartor.core.hashing import digest, sources_sha256, versions
from sartor.core.protocols import Fitted, Floats
from sartor.core.types import Backbone, Candidate, Examples
from sartor.tune.again import Again, Lesson, fit_again
from sartor.tune.api import ClosedForm
from sartor.tune.checkpoint import Checkpoints
from sartor.tune.closed import fit_closed, fit_together
from sartor.tune.ending import Ending, Facts, NoFacts, folder_of
from sartor.tune.frozen import ClosedFit
from sartor.tune.job import Job, Result
from sartor.tune.keeping import (
    intact,
    keep_answers,
    locked,
    read_answers,
    read_fitted,
    write_fitted,
)
from sartor.tune.loop import Watch
from sartor.tune.looped import Source, fit_looped
from sartor.tune.recipe import Halts, never
from sartor.tune.settings import Settings, read_settings
from sartor.tune.windows import Reading


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """What is the same for every candidate of a run."""

    task: str = "text_classification"
    """Name in the tasks registry."""
    max_length: int = 256
    """Tokens a text is cut at; the encoder of `encoder_for` must cut at the same."""
    bf16: bool = False
    """Whether the loop's matrix products run in bfloat16: the precision probe's answer."""
    deadline: float = math.inf
    """`time.monotonic()` after which a fit ends at its next step."""
    facts: Facts = field(default_factory=NoFacts)
    """Of the run: where the deadline cut fits, so that it cuts them there again."""
    checkpoint_seconds: float = 60.0
    """Time between checkpoints."""
    checkpoint_steps: int = 0
    """Steps between checkpoints; 0 leaves it to the time."""
    descriptions: Mapping[str, str] = field(default_factory=dict[str, str])
    """What a label means, in words, where the need says so."""
    code: TableCode | None = None
    """How columns become numbers, for a task that reads them."""
    scored_train_rows: int = 512
    """Training rows the loop's methods score at the end, drawn by seed; the others are NaN. Heads
    score all of them for nothing."""


@dataclass(frozen=True, slots=True)
class Making:
    """How a result is made, and how its model reads texts.

    Args:
        fit: Makes it; a closed form needs no watch.
        prefix: Put before every text.
        cut: Tokens a text is cut at.
    """

    fit: Callable[[Watch], Result]
    prefix: str
    cut: int


class Tuner:
    """Fits candidates: heads on cached activations, everything else through the loop.

    Args:
        backbones: By `Backbone.name`.
        encoder_for: The cached encoder of a backbone.
        work: Folder for checkpoints and results; one subfolder a fit.
        outputs: Names of the model's outputs, in order; every target is one of them.
        options: What all candidates share.
    """

    def __init__(
        self,
        backbones: Mapping[str, Backbone],
        encoder_for: Callable[[Backbone], Source],
        work: Path,
        outputs: Sequence[str],
        options: TuneOptions = TuneOptions(),
    ) -> None:
        self.backbones, self.encoder_for = backbones, encoder_for
        self.work, self.outputs, self.options = work, list(outputs), options

    def __call__(
        self,
        candidate: Candidate,
        train: Examples,
        validation: Examples,
        emit: Emit,
        halts: Halts = never,
    ) -> Fitted:
        """Fit one candidate, or return its finished result.

        Args:
            candidate: What to fit.
            train: Rows to learn from.
            validation: Rows that choose and stop.
            emit: Progress.
            halts: See `Watch`; where it ends a fit is a fact of the run.

        Raises:
            SettingError: If the candidate's settings cannot work.
            UnknownName: If its method is unknown.
            NothingToTune: If the method matches nothing in the backbone.
            DataError: If a label is not among the outputs, or all are the same.
            Diverged: If the loss stops being a number.
        """
        key = self.key(candidate, train, validation)
        return self.kept(key, self._maker(candidate, (train, validation)), emit, halts)

    def answers(
        self, candidate: Candidate, train: Examples, held: Examples, emit: Emit
    ) -> Floats | None:
        """(held rows, outputs): what a fit on the training rows answers; the model is not kept.

        None where time ran out before its end.

        Args:
            candidate: One that owes held-out rows nothing, see `closed`.
            train: Rows to learn from.
            held: Rows to answer.
            emit: Progress.

        Raises:
            See `__call__`.
        """
        key, making = self.key(candidate, train, held), self._maker(candidate, (train, held))
        place = self.work / digest("answers", key)[:24]
        # One lock from the fit to its removal: who waits for it finds the answers, and no folder
        # that is about to go.
        with locked(self.work / key[:24]):
            if not intact(place, emit):
                fitted = self._found(key, making, emit, never)
                if fitted.cut is not None:
                    return None
                keep_answers(fitted.folder, place)
                shutil.rmtree(fitted.folder)
            return read_answers(place)

    def closed(self, candidate: Candidate) -> bool:
        """Whether its fit owes held-out rows nothing."""
        return self._settings(candidate).closed

    def again(self, again: Again, train: Examples, validation: Examples, emit: Emit) -> Fitted:
        """Train a saved model on, or return the finished result.

        Args:
            again: What to start from, and how.
            train: Rows to learn from; a row whose label is None learns from the teacher alone.
            validation: Rows that choose and stop.
            emit: Progress.

        Raises:
            SettingError: If the settings cannot work.
            ModelError: If the folder holds no saved model with its tokenizer.
            NothingToTune: If it holds one that is not trained on: see `fit_again`.
            DataError: If a row has neither label nor teacher, or a label is not among the outputs.
            Diverged: If the loss stops being a number.
        """
        options = self.options
        lesson = Lesson(again, train, validation, self.outputs, options.task)
        lesson.settings()
        key = self._key(again.key(), train, validation)

        def fit(watch: Watch) -> Result:
            return fit_again(lesson, watch, bf16=options.bf16, scored=options.scored_train_rows)

        return self.kept(key, lambda: Making(fit, again.prefix, again.max_length), emit)

    def kept(
        self, key: str, making: Callable[[], Making], emit: Emit, halts: Halts = never
    ) -> Fitted:
        """The result with a key, made now if it is not there."""
        with locked(self.work / key[:24]):
            return self._found(key, making, emit, halts)

    def _found(self, key: str, making: Callable[[], Making], emit: Emit, halts: Halts) -> Fitted:
        """See `kept`; whoever asks holds the lock."""
        place, ending = self.work / key[:24], self._ending(key)
        done = folder_of(place, ending.cut())
        if not intact(done, emit):
            done = self._fit(making(), place, ending, emit, halts)
        fitted = read_fitted(done)
        ending.record(fitted.cut)
        return replace(fitted, pruned=ending.pruned())

    def heads(
        self, candidates: Sequence[Candidate], train: Examples, validation: Examples
    ) -> list[ClosedFit]:
        """Fit many candidates that read activations at once, in order, without writing anything.

        The chosen one is then fitted through `__call__`, with the same numbers up to rounding.
        """
        found: dict[int, ClosedFit] = {}
        for shared in dict.fromkeys((c.backbone, c.method) for c in candidates):
            places = [i for i, c in enumerate(candidates) if (c.backbone, c.method) == shared]
            reads = [
                Reading.of(self._job(c, self._settings(c), (train, validation)))
                for c in (candidates[i] for i in places)
            ]
            jobs = [read.job for read in reads]
            source = self.encoder_for(jobs[0].backbone)
            fits = fit_together(jobs, source, self.options.descriptions)
            whole = [read.fit(fit) for read, fit in zip(reads, fits, strict=True)]
            found |= dict(zip(places, whole, strict=True))
        return [found[i] for i in range(len(candidates))]

    def key(self, candidate: Candidate, train: Examples, validation: Examples) -> str:
        """Hash of everything that decides a fit's bytes, 64 hex digits."""
        return self._key(candidate.key, train, validation)

    def _key(self, what: str, train: Examples, validation: Examples) -> str:
        rows = [
            [part.ids, part.texts if part.inputs else (), part.target]
            for part in (train, validation)
        ]
        options = self.options
        shared: list[Any] = [options.task, options.max_length, options.bf16]
        shared += [options.scored_train_rows, *([options.code] if options.code else [])]
        sources = {
            "sartor.tune",
            "sartor.core.columns",
            "sartor.core.likelihood",
            "sartor.tasks",
            "sartor.core.pieces",
            "sartor.core.ragged",
            "sartor.core.windows",
            "sartor.models.by_piece",
            "sartor.models.packed",
            "sartor.models.chat_template",
            "sartor.llm.prompt",
        }
        code = sources_sha256(*sorted(sources))
        numeric = versions("torch", "transformers", "peft", "tokenizers", "numpy")
        meant = dict(options.descriptions)
        return digest(what, rows, self.outputs, shared, meant, code, numeric)

    def done(
        self, candidate: Candidate, train: Examples, validation: Examples, emit: Emit
    ) -> Path | None:
        """The folder of a candidate that was fitted to its end, or None; nothing is fitted."""
        folder = folder_of(self.work / self.key(candidate, train, validation)[:24], None)
        return folder if intact(folder, emit) else None

    def ending(self, candidate: Candidate, train: Examples, validation: Examples) -> Ending:
        """How its fit ends in this run."""
        return self._ending(self.key(candidate, train, validation))

    def _ending(self, key: str) -> Ending:
        return Ending(self.options.facts, f"fit {key[:16]}")

    def _settings(self, candidate: Candidate) -> Settings:
        return read_settings(candidate.settings, task=self.options.task, method=candidate.method)

    def _job(
        self, candidate: Candidate, settings: Settings, rows: tuple[Examples, Examples]
    ) -> Job:
        backbone = self.backbones[candidate.backbone]
        options = self.options
        cut = min(options.max_length, backbone.max_length)
        return Job(
            candidate,
            settings,
            backbone,
            *rows,
            self.outputs,
            cut,
            options.task,
            options.descriptions,
            options.code,
        )

    def _maker(self, candidate: Candidate, rows: tuple[Examples, Examples]) -> Callable[[], Making]:
        """How a candidate is fitted; its settings are read now, its rows when it is."""
        settings = self._settings(candidate)
        return lambda: self._making(self._job(candidate, settings, rows))

    def _making(self, job: Job) -> Making:
        source, options = self.encoder_for(job.backbone), self.options

        def fit(watch: Watch) -> Result:
            read = Reading.of(job)
            if isinstance(job.settings.method, ClosedForm):
                return read.result(fit_closed(read.job, source, options.descriptions))
            scored = options.scored_train_rows
            found = fit_looped(read.job, source, watch, bf16=options.bf16, scored=scored)
            return read.result(found)

        return Making(fit, job.backbone.prefix, job.cut)

    def _fit(self, making: Making, place: Path, ending: Ending, emit: Emit, halts: Halts) -> Path:
        """Fit, and write the result; its folder."""
        started, checkpoints = time.perf_counter(), place / "checkpoints"
        watch = Watch(
            Checkpoints(checkpoints, emit),
            every_seconds=self.options.checkpoint_seconds,
            every_steps=self.options.checkpoint_steps,
            # A fit that this run has seen whole is whole, whatever the time is now.
            deadline=math.inf if ending.known() else self.options.deadline,
            cut_at=ending.cut(),
            on_cut=ending.record,
            halts=never if ending.known() else halts,
            on_halt=ending.prune,
            emit=emit,
        )
        result = making.fit(watch)
        done = folder_of(place, result.cut)
        # Another run may have been cut at the same step.
        if not intact(done, emit):
            text = {"prefix": making.prefix, "max_length": making.cut, "outputs": self.outputs}
            write_fitted(done, text, result, time.perf_counter() - started)
        if result.cut is None:
            shutil.rmtree(checkpoints, ignore_errors=True)
        return done
