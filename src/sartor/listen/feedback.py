"""What users said about the served answers, and what that does and does not show.

People correct what is wrong more often than they confirm what is right, so the agreement among
corrected answers understates the model. A random sample of served requests, labelled on purpose
(`draw_audit`), is the honest measurement; its agreement comes with a Clopper–Pearson interval.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from scipy.special import betaincinv

from sartor.core.errors import DataError
from sartor.core.store import Store
from sartor.core.strata import names_of
from sartor.core.tables import audits, feedback, now, predictions
from sartor.tasks._target.label_set import LabelSet
from sartor.tasks._target.passages import same_place
from sartor.tasks._target.spans import Spans

BIAS = (
    "People correct what is wrong more often than they confirm what is right: "
    "agreement here is lower than the truth. A random audit sample measures it."
)
_MOST = 20
_Which = tuple[str | None, str | None]
"""Of which bundle and which tenant; None for all."""
_PIECE = 5_000


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often the answer was what the user said.

    Args:
        name: A label, a segment, or "all".
        n: Answers with feedback.
        agreed: Those where the best label was the right one, or the number's interval held it.
    """

    name: str
    n: int
    agreed: int

    @property
    def share(self) -> float:
        """0 to 1; not a number without feedback."""
        return self.agreed / self.n if self.n else float("nan")


@dataclass(frozen=True, slots=True)
class Comment:
    """A user's own words."""

    time: datetime
    answered: str
    label: str
    comment: str


@dataclass(frozen=True, slots=True)
class Audit:
    """The random sample: rows drawn, those labelled, and the agreement with its 95 % interval."""

    drawn: int
    labelled: Agreement
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Summary:
    """What was served and what was said of it.

    Args:
        requests: Requests recorded.
        rows: Rows recorded.
        abstained: Rows answered with no label.
        said: Rows with feedback; the latest counts where a row has several.
        by_class: By the label that was answered, most feedback first.
        by_segment: By segment, most feedback first.
        confused: (answered, right, how often), most frequent first.
        new_labels: Right labels that no model served here knows, with counts.
        comments: Newest first.
        audit: None where no sample was drawn.
        note: Why the agreement is biased.
        distance: Mean distance of answers that are numbers from what users said; None without any.
    """

    requests: int
    rows: int
    abstained: int
    first: datetime | None
    last: datetime | None
    said: Agreement
    by_class: tuple[Agreement, ...]
    by_segment: tuple[Agreement, ...]
    confused: tuple[tuple[str, str, int], ...]
    new_labels: tuple[tuple[str, int], ...]
    comments: tuple[Comment, ...]
    audit: Audit | None
    note: str = BIAS
    distance: float | None = None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """A served row to be labelled."""

    request_id: str
    row: int
    text: str
    answered: str


@dataclass(frozen=True, slots=True)
class _Said:
    """The latest feedback on one row, beside the answer."""

    request_id: str
    row: int
    best: str
    label: str
    segment: str | None
    audited: bool
    several: bool
    outcome: bool
    coverage: float | None
    low: float | None
    high: float | None

    @property
    def number(self) -> bool:
        """Whether the answer is a number, which says how often its interval holds the truth."""
        return self.coverage is not None

    @property
    def agreed(self) -> bool:
        """Whether the answer was right; of a number, whether the truth lies in its interval."""
        if not self.number:
            return self.best == self.label or same_place(self.best, self.label)
        if self.low is None or self.high is None:
            return False
        return self.low <= float(self.label) <= self.high

    @property
    def labels(self) -> tuple[str, ...]:
        """What is right: one label, or those of the set; of a number, of parts of a text or of a
        product nothing, since an answer does not list the labels that it could have named."""
        if self.number or self.outcome:
            return ()
        if self.several:
            return () if _parts(self.label) else LabelSet().value(self.label)
        return (self.label,)


def _parts(text: str) -> bool:
    """Whether the text of an answer is one of labelled parts (`tasks._target.spans`)."""
    return text.startswith("[[")


def _shown(text: str) -> str:
    """The text of an answer as it is listed: of labelled parts their labels alone."""
    if not _parts(text):
        return text
    return ", ".join(names_of(Spans().value(text)))


def summary(store: Store, bundle: str | None = None, tenant: str | None = None) -> Summary:
    """Counts, agreement by class and segment, confused pairs, comments and the audit.

    Args:
        store: Where feedback was recorded.
        bundle: Content id of one bundle; all of them when None.
        tenant: Whose answers; everybody's when None.
    """
    which = (bundle, tenant)
    with store.read() as connection:
        served = connection.execute(_served_query(which)).one()
        said = _latest(connection, which)
        known = _labels(connection, which)
        comments = _comments(connection, which)
        drawn = connection.scalar(_of(_DRAWN, which)) or 0
    named = [one for one in said if not one.number]
    apart = [abs(float(one.best) - float(one.label)) for one in said if one.number and one.best]
    wrong = Counter((_shown(one.best), _shown(one.label)) for one in named if not one.agreed)
    new = Counter(label for one in said for label in one.labels if label not in known)
    return Summary(
        requests=served.requests,
        rows=served.rows,
        abstained=served.abstained or 0,
        first=served.first,
        last=served.last,
        said=_agreement("all", said),
        by_class=_grouped(named, lambda one: _shown(one.best)),
        by_segment=_grouped((s for s in said if s.segment is not None), lambda s: str(s.segment)),
        confused=tuple((a, b, n) for (a, b), n in wrong.most_common(_MOST)),
        new_labels=tuple(new.most_common(_MOST)),
        comments=comments,
        audit=_audit(drawn, [one for one in said if one.audited]) if drawn else None,
        distance=sum(apart) / len(apart) if apart else None,
    )


def draw_audit(store: Store, n: int, seed: int, bundle: str | None = None) -> list[AuditRow]:
    """Draw served rows at random for labelling, and remember that they were drawn.

    Only rows whose text was kept can be drawn. Every one of them is equally likely, whether
    somebody gave feedback on it or not.

    Args:
        store: Where answers were recorded.
        n: How many; fewer are drawn where fewer are left.
        seed: The same seed draws the same rows from the same store.
        bundle: Content id of one bundle; all of them when None.

    Raises:
        DataError: If no served row with its text is left.
    """
    fresh = sa.and_(predictions.c.text.is_not(None), audits.c.request_id.is_(None))
    key = (predictions.c.request_id, predictions.c.row)
    query = sa.select(*key).select_from(_WITH_AUDITS).where(fresh).order_by(*key)
    with store.write() as connection:
        rows = connection.execute(_of(query, (bundle, None))).all()
        if not rows:
            raise DataError(
                f"{store.where} holds no served text that was not drawn already.",
                fix="serve with texts kept (`sartor serve --store-texts`), then draw again.",
            )
        chosen = random.Random(seed).sample(rows, min(n, len(rows)))
        drawn = [{"request_id": request, "row": row, "drawn": now()} for request, row in chosen]
        if drawn:
            connection.execute(sa.insert(audits), drawn)
        return _audit_rows(connection, [(request, row) for request, row in chosen])


def _audit_rows(connection: sa.Connection, chosen: Sequence[tuple[str, int]]) -> list[AuditRow]:
    found: dict[tuple[str, int], AuditRow] = {}
    query = sa.select(predictions.c.request_id, predictions.c.row, predictions.c.text, _BEST)
    requests = sorted({request for request, _ in chosen})
    for start in range(0, len(requests), _PIECE):
        piece = predictions.c.request_id.in_(requests[start : start + _PIECE])
        for one in connection.execute(query.where(piece)):
            found[one[0], one[1]] = AuditRow(*one)
    return [found[key] for key in chosen]


# An answer of several labels is no text of its own: what was said is kept beside it.
_OUTCOME = predictions.c.answer["outcome"].as_string()
_BEST = sa.func.coalesce(
    _OUTCOME, predictions.c.answer["best"].as_string(), predictions.c.label, ""
).label("best")
_SEVERAL = predictions.c.answer["best"].as_string().is_(None)
_WITH_AUDITS = predictions.outerjoin(
    audits,
    sa.and_(audits.c.request_id == predictions.c.request_id, audits.c.row == predictions.c.row),
)
_SAID = feedback.join(
    predictions,
    sa.and_(predictions.c.request_id == feedback.c.request_id, predictions.c.row == feedback.c.row),
)
_DRAWN = sa.select(sa.func.count()).select_from(
    audits.join(
        predictions,
        sa.and_(predictions.c.request_id == audits.c.request_id, predictions.c.row == audits.c.row),
    )
)


def _of(query: sa.Select[*tuple[Any, ...]], which: _Which) -> sa.Select[*tuple[Any, ...]]:
    bundle, tenant = which
    if bundle is not None:
        query = query.where(predictions.c.bundle == bundle)
    return query if tenant is None else query.where(predictions.c.tenant == tenant)


def _served_query(which: _Which) -> sa.Select[*tuple[Any, ...]]:
    unsure = sa.case((predictions.c.label.is_(None), 1), else_=0)
    query = sa.select(
        sa.func.count(predictions.c.request_id.distinct()).label("requests"),
        sa.func.count().label("rows"),
        sa.func.sum(unsure).label("abstained"),
        sa.func.min(predictions.c.time).label("first"),
        sa.func.max(predictions.c.time).label("last"),
    )
    return _of(query.select_from(predictions), which)


def _latest(connection: sa.Connection, which: _Which) -> list[_Said]:
    """One entry a row: what was said of it last."""
    query = sa.select(
        feedback.c.request_id,
        feedback.c.row,
        _BEST,
        feedback.c.label,
        sa.func.coalesce(feedback.c.segment, predictions.c.segment),
        audits.c.request_id.is_not(None),
        _SEVERAL,
        _OUTCOME.is_not(None),
        *(predictions.c.answer[key].as_float() for key in ("coverage", "low", "high")),
    ).select_from(
        _SAID.outerjoin(
            audits,
            sa.and_(audits.c.request_id == feedback.c.request_id, audits.c.row == feedback.c.row),
        )
    )
    found = connection.execute(_of(query, which).order_by(feedback.c.id))
    return list({(one[0], one[1]): _Said(*one) for one in found}.values())


def _labels(connection: sa.Connection, which: _Which) -> set[str]:
    """Labels that the bundles know, read off one answer of each."""
    one_each = _of(sa.select(sa.func.min(predictions.c.request_id)), which)
    one_each = one_each.group_by(predictions.c.bundle)
    query = sa.select(predictions.c.answer).where(predictions.c.request_id.in_(one_each))
    found: set[str] = set()
    for answer in connection.scalars(query):
        found.update(answer.get("probabilities") or ())
        found.update(str(entry["id"]) for entry in answer.get("documents") or ())
    return found


def _comments(connection: sa.Connection, which: _Which) -> tuple[Comment, ...]:
    query = sa.select(feedback.c.time, _BEST, feedback.c.label, feedback.c.comment)
    spoken = sa.and_(feedback.c.comment.is_not(None), feedback.c.comment != "")
    query = query.select_from(_SAID).where(spoken).order_by(feedback.c.id.desc()).limit(_MOST)
    return tuple(Comment(*found) for found in connection.execute(_of(query, which)))


def _agreement(name: str, said: Sequence[_Said]) -> Agreement:
    return Agreement(name, len(said), sum(one.agreed for one in said))


def _grouped(said: Iterable[_Said], key: Callable[[_Said], str]) -> tuple[Agreement, ...]:
    groups: dict[str, list[_Said]] = {}
    for one in said:
        groups.setdefault(key(one), []).append(one)
    found = [_agreement(name, members) for name, members in groups.items()]
    return tuple(sorted(found, key=lambda group: (-group.n, group.name)))


def _audit(drawn: int, labelled: Sequence[_Said]) -> Audit:
    agreement = _agreement("audit", labelled)
    k, n = agreement.agreed, agreement.n
    low = float(betaincinv(k, n - k + 1, 0.025)) if k else 0.0
    high = float(betaincinv(k + 1, n - k, 0.975)) if k < n else 1.0
    return Audit(drawn, agreement, low, high)
