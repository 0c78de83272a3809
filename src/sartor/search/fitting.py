"""A group of candidates fitted: what each left, or the error that ended it."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from sartor.core.errors import Diverged, NothingToTune, SettingError, WorkerDied
from sartor.core.events import Emit, Note
from sartor.core.protocols import Floats
from sartor.core.strata import strata
from sartor.core.types import Candidate, Examples
from sartor.data.prepare import Prepared
from sartor.models.encode import TextEncoder
from sartor.search.folds import FOLDS, Folds
from sartor.search.ladder import Scored
from sartor.search.pruning import NO_BAR, Bar
from sartor.tune.api import METHODS
from sartor.tune.fit import Tuner
from sartor.tune.looped import Source

STEPPED_OVER = (Diverged, NothingToTune, SettingError, MemoryError, WorkerDied)
"""What ends a candidate and not the search."""
_NO_MEMORY = ("out of memory", "can't allocate memory")


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """What a fit works with, whoever does it.

    Args:
        tuner: Fits, or finds what it has fitted.
        train: Rows to learn from.
        validation: Rows that choose and stop.
        folds: Where validation rows are few: heads answer the training rows too, fold by fold.
        bar: What ends a fit before its end.
    """

    tuner: Tuner
    train: Examples
    validation: Examples
    folds: Folds | None = None
    bar: Bar = NO_BAR


@contextmanager
def memory_errors() -> Generator[None]:
    """torch's words for a lack of memory as the error that Python has for it.

    Raises:
        MemoryError: Where there was too little, on whatever device.
    """
    try:
        yield
    except RuntimeError as error:
        # torch has no error of its own for a CPU that is out of memory, and one for each device.
        if not any(words in str(error) for words in _NO_MEMORY):
            raise
        raise MemoryError("out of memory: " + str(error).splitlines()[0]) from error


HeadOn = Callable[[Candidate, Sequence[int]], Floats]
"""A head candidate and indices of training rows to logits, (validation rows, outputs)."""


def heads_on(tuner: Tuner, rows: Prepared) -> HeadOn:
    """Fits heads on some of the training rows; nothing is written."""

    def fit(candidate: Candidate, part: Sequence[int]) -> Floats:
        (head,) = tuner.heads([candidate], rows.train.take(part), rows.validation)
        return head.validation_logits

    return fit


def part_of(train: Examples, share: float, seed: int) -> Examples:
    """So many of the training rows, each label in its share; the same ones for the same seed."""
    rng = np.random.default_rng(seed)
    kinds: dict[str, list[int]] = {}
    stratum = strata(train.target)
    for row in rng.permutation(len(train)).tolist():
        kinds.setdefault(stratum[row], []).append(row)
    return train.take(sorted(r for rows in kinds.values() for r in rows[: ceil(share * len(rows))]))


def fit_group(bench: Bench, group: Sequence[Candidate], emit: Emit) -> list[Scored | Exception]:
    """Fit candidates of one method: heads of one grid together, the others one by one.

    Args:
        bench: Rows, and who fits on them.
        group: Candidates that share a method; more than one only where it reads activations.
        emit: Progress.

    Returns:
        One a candidate; errors of `STEPPED_OVER` in place of what they ended.
    """
    try:
        with memory_errors():
            return _fit(bench, group, emit)
    except STEPPED_OVER as error:
        found: Exception = error
    if len(group) == 1:
        return [found]
    # One candidate that cannot be fitted must not end those that shared its work.
    return [each for candidate in group for each in fit_group(bench, [candidate], emit)]


def _fit(bench: Bench, group: Sequence[Candidate], emit: Emit) -> list[Scored | Exception]:
    method: Any = METHODS.get(group[0].method)
    tuner = bench.tuner
    source = tuner.encoder_for(tuner.backbones[group[0].backbone])
    before = _kept(source)
    if method.reads == "activations":
        began = time.monotonic()
        fits = tuner.heads(group, bench.train, bench.validation)
        held: Sequence[Floats | None] = [None] * len(group)
        if bench.folds is not None:
            held = bench.folds.logits(
                lambda train, out: [f.validation_logits for f in tuner.heads(group, train, out)]
            )
        each = (time.monotonic() - began) / len(group)
        once = (_kept(source) - before) / len(group)
        return [
            Scored(f.validation_logits, f.train_logits, each, folds=by_fold, encoding=once)
            for f, by_fold in zip(fits, held, strict=True)
        ]
    (candidate,) = group
    fitted = tuner(candidate, bench.train, bench.validation, emit, bench.bar.halts)
    by_fold = None
    if bench.folds is not None and fitted.cut is None and tuner.closed(candidate):
        by_fold = _by_fold(bench, bench.folds, candidate, emit)
    return [
        Scored(
            fitted.validation_logits,
            fitted.train_logits,
            fitted.seconds,
            fitted.history,
            fitted.cut,
            folds=by_fold,
            pruned=fitted.pruned,
            encoding=_kept(source) - before,
        )
    ]


def _kept(source: Source) -> float:
    """Seconds that an encoder has spent so far on what is not encoded again."""
    return source.kept_seconds if isinstance(source, TextEncoder) else 0.0


def _by_fold(bench: Bench, folds: Folds, candidate: Candidate, emit: Emit) -> Floats | None:
    """(training rows, outputs), each row by a fit that did not see it; None where time ran out."""
    emit(Note(f"{candidate.label()}: fitted {FOLDS} times more, each without a fold of the rows."))
    pieces: list[Floats] = []
    for train, out in folds.parts():
        if (found := bench.tuner.answers(candidate, train, out, emit)) is None:
            return None
        pieces.append(found)
    return folds.together(pieces)
