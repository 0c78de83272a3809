"""What one user was answered and what they said of it: the rows that a model of their own learns
from.

An answer with no word on it is a row too. Silence is weak evidence that it was right, and whoever
leaves it out of a comparison lets the model be tried only where it was wrong: `Row.label` is None
there, and who reads decides what that counts for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from sartor.core.hashing import digest
from sartor.core.store import Store
from sartor.core.tables import feedback, predictions

MOST_ROWS = 2_000
"""The newest rows of a user that are read: one who floods the store costs no more than that."""
MOST_CHARS = 20_000_000


@dataclass(frozen=True, slots=True)
class Who:
    """A user within a tenant; two tenants may mean two people by the same name."""

    tenant: str | None
    user: str

    @property
    def name(self) -> str:
        """Stands for the user where no name may stand: in file names and in looks."""
        return digest("user", self.tenant, self.user)[:32]

    @property
    def book(self) -> str:
        """Looks at the user's rows: what was looked at is called this and something more."""
        return f"personal/{self.name}/"


@dataclass(frozen=True, slots=True)
class Row:
    """One answer to a user.

    Args:
        best: The label that was served, forced where the answer was none.
        label: What the user said is right; None where they said nothing.
        named: Whether the request named the user, so that their silent answers are known as well.
    """

    request_id: str
    row: int
    text: str
    best: str
    label: str | None
    named: bool
    time: datetime


@dataclass(frozen=True, slots=True)
class Heard:
    """All that is known of one user.

    Args:
        rows: Newest first, those whose text is kept.
        hidden: Answers without a kept text, since the first that has one.
    """

    rows: tuple[Row, ...]
    hidden: int


def users(store: Store, tenant: str | None = None) -> list[Who]:
    """Who ever sent feedback, or had some sent on their texts; in a fixed order.

    Args:
        store: Where feedback was recorded.
        tenant: Only under this one; under all when None.
    """
    columns = (predictions.c.tenant, _speaker.label("user"))
    query = sa.select(*columns).select_from(_SAID).where(_speaker.is_not(None)).distinct()
    if tenant is not None:
        query = query.where(predictions.c.tenant == tenant)
    with store.read() as connection:
        found = [Who(*one) for one in connection.execute(query)]
    return sorted(found, key=lambda who: (who.tenant or "", who.user))


def heard(store: Store, who: Who, most: int = MOST_ROWS) -> Heard:
    """What a user was answered and said, the newest rows first; the latest word on a row counts.

    Args:
        store: Where answers and feedback were recorded.
        who: None as the tenant is the tenant without a name, not all of them.
        most: Rows.
    """
    text = sa.func.coalesce(feedback.c.text, predictions.c.text)
    query = sa.select(
        *(predictions.c.request_id, predictions.c.row, text.label("text")),
        predictions.c.answer["best"].as_string().label("best"),
        feedback.c.label,
        (predictions.c.user == who.user).label("named"),
        predictions.c.time,
    ).select_from(_ALL)
    theirs = _theirs(who)
    order = (predictions.c.time.desc(), predictions.c.request_id, predictions.c.row)
    kept = query.where(theirs, text.is_not(None)).order_by(*order, feedback.c.id.desc())
    with store.read() as connection:
        rows = _rows(connection.execute(kept), most)
        hidden = 0
        if rows:
            unseen = sa.and_(theirs, text.is_(None), predictions.c.time >= rows[-1].time)
            count = sa.select(sa.func.count()).select_from(_ALL).where(unseen)
            hidden = connection.scalar(count) or 0
    return Heard(tuple(rows), hidden)


def tenants_of(store: Store, user: str) -> list[str | None]:
    """Tenants under which anything is recorded of a user of that name."""
    query = sa.select(predictions.c.tenant).select_from(_ALL).where(_speaker == user).distinct()
    with store.read() as connection:
        return sorted(connection.scalars(query), key=lambda name: name or "")


_SAME = sa.and_(
    predictions.c.request_id == feedback.c.request_id, predictions.c.row == feedback.c.row
)
_SAID = feedback.join(predictions, _SAME)
_ALL = predictions.outerjoin(feedback, _SAME)
_speaker = sa.func.coalesce(feedback.c.user, predictions.c.user)
"""Who speaks, or who asked where the feedback names nobody."""


def _theirs(who: Who) -> sa.ColumnElement[bool]:
    # Who speaks is found in two tables, which no index spans: first the requests, by one each.
    asked = sa.select(predictions.c.request_id).where(predictions.c.user == who.user)
    spoke = sa.select(feedback.c.request_id).where(feedback.c.user == who.user)
    return sa.and_(
        predictions.c.request_id.in_(sa.union(asked, spoke)),
        predictions.c.tenant.is_not_distinct_from(who.tenant),
        _speaker == who.user,
    )


def _rows(found: Any, most: int) -> Sequence[Row]:
    """The first `most` places; of one that comes several times, the latest word is first."""
    rows: dict[tuple[str, int], Row] = {}
    chars = 0
    for one in found:
        key = (one.request_id, one.row)
        if key in rows:
            continue
        chars += len(one.text)
        if len(rows) == most or chars > MOST_CHARS:
            break
        rows[key] = Row(
            request_id=one.request_id,
            row=one.row,
            text=one.text,
            best=one.best,
            label=one.label,
            named=bool(one.named),
            time=one.time,
        )
    return list(rows.values())
