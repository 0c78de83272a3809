"""A user's own head beside the one that all share: fitted on one half of the user's rows, tried on
the other.

What a silent answer counts for is the hard part. People correct what is wrong and pass over what is
right, so among rows with feedback the shared model looks worse than it is, and whatever answers
otherwise looks better. With `silence="agrees"` an answer that the user let stand counts as right:
it can only speak against a head of their own. With `silence="nothing"` only rows with feedback
count, which is fair where the application asks about every answer, or about random ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from sartor.core.errors import DataError
from sartor.core.near import near_miss
from sartor.core.protocols import Floats
from sartor.judge.paired import Pairs
from sartor.listen.by_user import Row
from sartor.search.personal_record import Open
from sartor.search.personal_rows import Halves
from sartor.tune.personal import PersonalHead, Said, Shared, fit_personal

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

    @property
    def head(self) -> Shared:
        """The last layer, in float32."""
        ...

    def read(self, texts: Sequence[str]) -> tuple[Floats, Floats]:
        """(texts, features), what the head reads, and (texts, outputs), the logits as served."""
        ...

    def best(self, logits: Floats) -> list[str]:
        """The forced answer of each row, by the bundle's decision rule."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What came of it.

    Args:
        head: The user's own; None where there was too little to fit one.
        held: Rows that judge, with the label that counts as right.
        pairs: The user's head beside the shared one on `held`.
        corrections: Rows, of both halves, on which the user said that the shared model is wrong.
        confirmed: Rows of `held` on which the shared model is right.
        open: Silent rows of `held` that the user's head would answer otherwise.
        features: (held, features).
        shared: The shared model's answers on `held`.
    """

    head: PersonalHead | None
    held: tuple[tuple[Row, str], ...]
    pairs: Pairs
    corrections: int
    confirmed: int
    open: tuple[Open, ...]
    features: Floats
    shared: tuple[str, ...]

    def beside_shared(self, weight: Floats, bias: Floats, model: SharedModel) -> Pairs:
        """Another head beside the shared one on the same rows."""
        return _pairs(self.held, self.shared, _answers(self.features, weight, bias, model))


def attempt(rows: Halves, model: SharedModel, silence: Silence) -> Trial:
    """Fit a user's head on one half of the rows and try it on the other.

    Args:
        rows: Of one user.
        model: What all share.
        silence: See above.

    Raises:
        DataError: If the user gave a label that the model does not have.
    """
    _refuse_unknown([*rows.train, *rows.held], model.outputs)
    train, held = (_counted(part, model, silence) for part in (rows.train, rows.held))
    said = [row for row in train.rows if row.label is not None]
    head = _fit(train, model) if len(said) > 1 else None
    judged = tuple((row, row.label or row.best) for row in held.rows)
    if head is None or not judged:
        own = held.shared
    else:
        own = _answers(held.features, head.weight, head.bias, model)
    return Trial(
        head=head,
        held=judged,
        pairs=_pairs(judged, held.shared, own),
        corrections=train.corrected + held.corrected,
        confirmed=sum(truth == best for (_, truth), best in zip(judged, held.shared, strict=True)),
        open=tuple(_open(held, own))[:_ASKED],
        features=held.features,
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
    otherwise than the shared model would: by an earlier bundle, or by a head of the user's own,
    which must not speak for itself."""
    some = [row for row in rows if row.label is not None or silence == "agrees"]
    if not some:
        return _Counted((), np.zeros((0, model.head.weight.shape[1]), np.float32), ())
    features, logits = model.read([row.text for row in some])
    best = model.best(logits)
    kept = [at for at, row in enumerate(some) if row.label is not None or row.best == best[at]]
    return _Counted(tuple(some[at] for at in kept), features[kept], tuple(best[at] for at in kept))


def _fit(train: _Counted, model: SharedModel) -> PersonalHead:
    place = {name: at for at, name in enumerate(model.outputs)}
    labels = [place[row.label or row.best] for row in train.rows]
    weights = [SILENT if row.label is None else 1.0 for row in train.rows]
    said = Said(train.features, np.array(labels, np.int64), np.array(weights))
    return fit_personal(model.head, said)


def _answers(features: Floats, weight: Floats, bias: Floats, model: SharedModel) -> tuple[str, ...]:
    return tuple(model.best(features @ weight.T + bias)) if len(features) else ()


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
            " again: a head of one user's own has the labels of the shared one.",
        )
