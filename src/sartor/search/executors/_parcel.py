"""A bench in plain values, and what another process makes of it.

What a run found out travels both ways: where its clock has cut fits before, and where it cuts them
now. The worker writes into the workspace's fits, each of them under its lock, and into the caches;
facts, tables and the study are the run's alone.
"""

import fcntl
import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from sartor.core.activations import Activations
from sartor.core.errors import ModelError, SartorError, WorkspaceError
from sartor.core.events import Event, Note
from sartor.core.hashing import digest, sources_sha256, versions
from sartor.core.types import Backbone, Candidate, Examples
from sartor.models.encode import TextEncoder
from sartor.models.folder import weight_files
from sartor.models.precision import Precision
from sartor.models.store import weights_sha256
from sartor.search.fitting import Bench, fit_group
from sartor.search.folds import Folds
from sartor.search.ladder import Scored
from sartor.search.pruning import Bar
from sartor.search.setup import encoder_of
from sartor.tune.ending import NoFacts
from sartor.tune.fit import TuneOptions, Tuner


@dataclass(frozen=True, slots=True)
class Mark:
    """A file in the workspace by which another process shows that it sees the same one.

    Args:
        path: Absolute; the run holds a lock on it.
        token: What stands in it: random, new each time.
    """

    path: str
    token: str

    def fault(self) -> str:
        """Why this process does not share the workspace; "" where it does."""
        try:
            content = Path(self.path).read_text("ascii")
        except (OSError, UnicodeDecodeError):
            return "it does not see"
        if content != self.token:
            return "it sees another folder at"
        with Path(self.path).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return ""
            except OSError:
                pass
        return "file locks of other machines do not hold in"

    def require(self) -> None:
        """Raises `WorkspaceError` where this process does not share the workspace."""
        if fault := self.fault():
            raise unshared(platform.node(), fault, self.path)


def unshared(host: str, fault: str, path: str) -> WorkspaceError:
    """That a machine does not share the workspace."""
    folder = Path(path).parents[2]
    return WorkspaceError(
        f"{host} cannot fit for this run: {fault} {folder}.",
        fix="put the workspace on a file system that every node mounts at the same path, with file"
        " locks, and name it with --workspace; or run without --on.",
    )


def code() -> str:
    """Hash of what decides a fit besides its settings: our sources, and the numeric libraries."""
    ours = ("sartor.tune", "sartor.tasks", "sartor.models", "sartor.search", "sartor.core")
    return digest(
        sources_sha256(*ours), versions("torch", "transformers", "peft", "tokenizers", "numpy")
    )


@dataclass(frozen=True, slots=True)
class Parcel:
    """A bench, without what belongs to the run's own process or to one group.

    Args:
        mark: Of the workspace.
        backbones: By name, with absolute paths.
        precision: The run's.
        outputs: Names of the model's outputs.
        options: Of the tuner, without facts and deadline.
        rows: Training and validation rows.
        folds: See `Bench`.
        threads: Of one fit.
    """

    mark: Mark
    backbones: Mapping[str, Backbone]
    precision: Precision
    outputs: Sequence[str]
    options: TuneOptions
    rows: tuple[Examples, Examples]
    folds: Folds | None
    threads: int

    @staticmethod
    def of(bench: Bench, mark: Mark, threads: int) -> "Parcel":
        tuner = bench.tuner
        backbones = {name: _absolute(b) for name, b in tuner.backbones.items()}
        encoder: Any = tuner.encoder_for(next(iter(tuner.backbones.values())))
        options = replace(tuner.options, facts=NoFacts(), deadline=math.inf)
        rows = bench.train, bench.validation
        precision = encoder.precision
        return Parcel(
            mark, backbones, precision, list(tuner.outputs), options, rows, bench.folds, threads
        )


@dataclass(frozen=True, slots=True)
class Order:
    """One group to fit.

    Args:
        group: Candidates of one method.
        known: Facts of the run about their fits.
        bar: See `Bench`.
        until: `time.time()` at which the budget ends, by a clock that machines share.
    """

    group: Sequence[Candidate]
    known: Mapping[str, Any]
    bar: Bar
    until: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it.

    Args:
        results: One a candidate.
        facts: Found out, to be recorded by the run.
        notes: For the user.
        refused: What ends the whole run; None where nothing does.
    """

    results: Sequence[Scored | Exception] = ()
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    notes: Sequence[Note] = ()
    refused: SartorError | None = None


def fit_order(parcel: Parcel, order: Order) -> Answer:
    """Fit a group here, with as many threads as the parcel says."""
    import torch

    torch.set_num_threads(parcel.threads)
    notes: list[Note] = []

    def emit(event: Event) -> None:
        if isinstance(event, Note):
            notes.append(event)

    facts = _Facts(dict(order.known))
    left = order.until - time.time()
    options = replace(parcel.options, facts=facts, deadline=time.monotonic() + left)
    workspace = Path(parcel.mark.path).parents[2]

    @lru_cache
    def encoder(name: str) -> TextEncoder:
        caches = (
            Activations(workspace / "activations", emit=emit),
            Activations(workspace / "states", emit=emit),
        )
        return encoder_of(
            parcel.backbones[name], caches, parcel.precision, parcel.options.max_length, emit
        )

    tuner = Tuner(
        parcel.backbones, lambda b: encoder(b.name), workspace / "fits", parcel.outputs, options
    )
    try:
        parcel.mark.require()
        for name in {candidate.backbone for candidate in order.group}:
            _same_weights(parcel.backbones[name])
        results = fit_group(Bench(tuner, *parcel.rows, parcel.folds, order.bar), order.group, emit)
    except SartorError as error:
        return Answer(refused=error, notes=notes, facts=facts.found)
    return Answer(results, facts.found, notes)


@dataclass(slots=True)
class _Facts:
    """What the run knows, and what is found out here."""

    known: Mapping[str, Any]
    found: dict[str, Any] = field(default_factory=dict[str, Any])

    def fact(self, name: str, find: Callable[[], Any]) -> Any:
        if self.recall(name) is None:
            self.found[name] = find()
        return self.recall(name)

    def recall(self, name: str) -> Any:
        return self.found.get(name, self.known.get(name))


def _absolute(backbone: Backbone) -> Backbone:
    if not backbone.path:  # where no text is read, no folder stands behind it
        return backbone
    whole = backbone.whole and _absolute(backbone.whole)
    return replace(backbone, path=str(Path(backbone.path).resolve()), whole=whole)


def _same_weights(backbone: Backbone) -> None:
    """Raises `ModelError` where this machine has another model at the backbone's path, or none."""
    stored = backbone.whole or backbone
    if stored.path and stored.drawn is None and _weights(stored.path) != stored.weights_sha256:
        raise ModelError(
            f"{platform.node()} has other weights of {stored.name} in {stored.path}.",
            fix="give every node the same model at the same path, e.g. beside the workspace.",
        )


@lru_cache
def _weights(path: str) -> str:
    found = [weights_sha256(file) for file in weight_files(Path(path))]
    return found[0] if len(found) == 1 else digest(found)
