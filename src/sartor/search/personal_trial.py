"""A user's own model beside the one that all share: fitted on one half of the user's rows, tried on
the other.

What a silent answer counts for is the hard part. People correct what is wrong and pass over what is
right, so among rows with feedback the shared model looks worse than it is, and whatever answers
otherwise looks better. With `silence="agrees"` an answer that the user let stand counts as right:
it can only speak against a model of their own. With `silence="nothing"` only rows with feedback
count, which is fair where the application asks about every answer, or about random ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from sartor.bundle.adapter import Kind
from sartor.bundle.tensors import Tensors
from sartor.core.errors import DataError
from sartor.core.near import near_miss
from sartor.core.protocols import Floats
from sartor.judge.paired import Pairs
from sartor.listen.by_user import Row
from sartor.search.personal_own import Lesson, Own, Tuning, best_of
from sartor.search.personal_record import Open
from sartor.search.personal_rows import Halves

Silence = Literal["agrees", "nothing"]
SILENT = 0.25
"""What a silent row weighs in the fit beside 1 for one that was spoken on: most hold, and those
that the user did not bother to correct must not outvote the corrections."""
_ASKED = 20
"""Answers to ask the user about, at most."""


class SharedModel(Protocol):
    """What all users share, and how its answers are read."""

    @property
    def outputs(self) -> Sequence[str]:
        """Labels, in the order of the logits."""
        ...

    def read(self, texts: Sequence[str]) -> tuple[Floats, Floats]:
        """(texts, features), what the head reads, and (texts, outputs), the logits as served."""
        ...

    def under(self, kind: Kind, tensors: Tensors, texts: Sequence[str]) -> Floats:
        """(texts, outputs), the logits as served to a user who has this adapter."""
        ...

    def best(self, logits: Floats) -> list[str]:
        """The forced answer of each row, by the bundle's decision rule."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What came of it.

    Args:
        own: The user's own model; None where there was too little to fit one.
        held: Rows that judge, with the label that counts as right.
        pairs: The user's model beside the shared one on `held`.
        corrections: Rows, of both halves, on which the user said that the shared model is wrong.
        confirmed: Rows of `held` on which the shared model is right.
        open: Silent rows of `held` that the user's model would answer otherwise.
        shared: The shared model's answers on `held`.
    """

    own: Own | None
    held: tuple[tuple[Row, str], ...]
    pairs: Pairs
    corrections: int
    confirmed: int
    open: tuple[Open, ...]
    shared: tuple[str, ...]

    def beside_shared(self, kind: Kind, tensors: Tensors, model: SharedModel) -> Pairs:
        """Another model of the user's own beside the shared one on the same rows."""
        return _pairs(self.held, self.shared, _answers(self.held, kind, tensors, model))


def attempt(
    rows: Halves, model: SharedModel, silence: Silence, tunings: tuple[Tuning, ...]
) -> Trial:
    """Fit a user's own model on one half of the rows and try it on the other.

    Args:
        rows: Of one user.
        model: What all share.
        silence: See above.
        tunings: What is fitted, cheapest first; which of them is tried, the rows that it is fitted
            on decide alone.

    Raises:
        DataError: If the user gave a label that the model does not have.
    """
    _refuse_unknown([*rows.train, *rows.held], model.outputs)
    train, held = (_counted(part, model, silence) for part in (rows.train, rows.held))
    said = [row for row in train.rows if row.label is not None]
    own = best_of(tunings, _lesson(train, model)) if len(said) > 1 else None
    judged = tuple((row, row.label or row.best) for row in held.rows)
    if own is None or own.shared:
        answers = held.shared
    else:
        answers = _answers(judged, own.kind, own.tensors, model)
    return Trial(
        own=own,
        held=judged,
        pairs=_pairs(judged, held.shared, answers),
        corrections=train.corrected + held.corrected,
        confirmed=sum(truth == best for (_, truth), best in zip(judged, held.shared, strict=True)),
        open=tuple(_open(held, answers))[:_ASKED],
        shared=held.shared,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Counted:
    """Rows that count, with what the shared model makes of them now."""

    rows: tuple[Row, ...]
    features: Floats
    shared: tuple[str, ...]

    @property
    def corrected(self) -> int:
        pairs = zip(self.rows, self.shared, strict=True)
        return sum(row.label is not None and row.label != best for row, best in pairs)


def _counted(rows: Sequence[Row], model: SharedModel, silence: Silence) -> _Counted:
    """Without silent rows where silence counts for nothing, and without those that were answered
    otherwise than the shared model would: by an earlier bundle, or by a model of the
    user's own, which must not speak for itself."""
    some = [row for row in rows if row.label is not None or silence == "agrees"]
    if not some:
        return _Counted((), np.zeros((0, 0), np.float32), ())
    features, logits = model.read([row.text for row in some])
    best = model.best(logits)
    kept = [at for at, row in enumerate(some) if row.label is not None or row.best == best[at]]
    return _Counted(tuple(some[at] for at in kept), features[kept], tuple(best[at] for at in kept))


def _lesson(train: _Counted, model: SharedModel) -> Lesson:
    place = {name: at for at, name in enumerate(model.outputs)}
    labels = [place[row.label or row.best] for row in train.rows]
    weights = [SILENT if row.label is None else 1.0 for row in train.rows]
    return Lesson(
        tuple(row.text for row in train.rows),
        train.features,
        np.array(labels, np.int64),
        np.array(weights),
        train.corrected,
    )


def _answers(
    held: Sequence[tuple[Row, str]], kind: Kind, tensors: Tensors, model: SharedModel
) -> tuple[str, ...]:
    texts = [row.text for row, _ in held]
    return tuple(model.best(model.under(kind, tensors, texts))) if texts else ()


def _pairs(held: Sequence[tuple[Row, str]], shared: Sequence[str], own: Sequence[str]) -> Pairs:
    right = [
        (mine == truth, theirs == truth)
        for (_, truth), mine, theirs in zip(held, own, shared, strict=True)
    ]
    return Pairs(len(right), right.count((True, False)), right.count((False, True)))


def _open(held: _Counted, own: Sequence[str]) -> list[Open]:
    return [
        Open(row.request_id, row.row, theirs, mine)
        for row, theirs, mine in zip(held.rows, held.shared, own, strict=True)
        if row.label is None and mine != theirs
    ]


def _refuse_unknown(rows: Sequence[Row], outputs: Sequence[str]) -> None:
    known = set(outputs)
    odd = [row for row in rows if row.label is not None and row.label not in known]
    if odd:
        raise DataError(
            f"The user gave the label {odd[0].label!r:.200} ({len(odd)} of their rows have labels"
            " that this bundle lacks).",
            fix=f"{near_miss(str(odd[0].label), outputs)} Or add the label to the need and run it"
            " again: a model of one user's own has the labels of the shared one.",
        )
