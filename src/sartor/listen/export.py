"""Feedback as a dataset, and forgetting a user.

A correction can be learnt from only where its text is known: kept by the server, or sent along
with the feedback. Rows of an audit sample are marked, since they alone are a fair sample: they may
join the test set, while the others go to training only.
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypedDict

import sqlalchemy as sa

from sartor.core.durable import write_durably
from sartor.core.errors import DataError
from sartor.core.store import Store
from sartor.core.tables import (
    audits,
    deletions,
    feedback,
    look_rows,
    looks,
    now,
    predictions,
)
from sartor.listen.by_user import Who

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Correction(TypedDict):
    """A text with the label a user gave it."""

    text: str
    label: str
    user: str | None
    segment: str | None
    time: str
    """ISO 8601, UTC."""
    request_id: str
    row: int
    audit: bool
    """Whether the row belongs to a random audit sample."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a deletion removed.

    Args:
        predictions: Answers, with their texts.
        feedback: What the user said, and what was said of their texts.
        looks: Comparisons of a model of their own with the one that all share.
        adapters: Such models.
    """

    predictions: int
    feedback: int
    looks: int = 0
    adapters: int = 0


def corrections(
    store: Store, bundle: str | None = None, tenant: str | None = None
) -> list[Correction]:
    """What users said, oldest first; the latest counts where a row has several.

    Confirmations are included: a confirmed answer is a labelled text too.

    Args:
        store: Where feedback was recorded.
        bundle: Content id of one bundle; all of them when None.
        tenant: Whose; everybody's when None.
    """
    same = sa.and_(
        predictions.c.request_id == feedback.c.request_id, predictions.c.row == feedback.c.row
    )
    drawn = sa.and_(audits.c.request_id == feedback.c.request_id, audits.c.row == feedback.c.row)
    text = sa.func.coalesce(feedback.c.text, predictions.c.text)
    query = sa.select(
        text.label("text"),
        feedback.c.label,
        sa.func.coalesce(feedback.c.user, predictions.c.user).label("user"),
        sa.func.coalesce(feedback.c.segment, predictions.c.segment).label("segment"),
        feedback.c.time,
        feedback.c.request_id,
        feedback.c.row,
        audits.c.request_id.is_not(None).label("audit"),
    )
    query = query.select_from(feedback.join(predictions, same).outerjoin(audits, drawn))
    query = query.where(text.is_not(None)).order_by(feedback.c.id)
    if bundle is not None:
        query = query.where(predictions.c.bundle == bundle)
    if tenant is not None:
        query = query.where(predictions.c.tenant == tenant)
    latest: dict[tuple[str, int], Correction] = {}
    with store.read() as connection:
        for one in connection.execute(query):
            key = (one.request_id, one.row)
            latest.pop(key, None)
            latest[key] = Correction(
                text=one.text,
                label=one.label,
                user=one.user,
                segment=one.segment,
                time=one.time.isoformat(timespec="milliseconds"),
                request_id=one.request_id,
                row=one.row,
                audit=bool(one.audit),
            )
    return list(latest.values())


def write_dataset(rows: Sequence[Correction], path: Path) -> None:
    """Write corrections as a dataset, in one step.

    In .csv a cell that a spreadsheet would run as a formula gets a leading apostrophe; .jsonl
    keeps every character as it was.

    Raises:
        DataError: If the file's ending is neither .jsonl nor .csv.
        WorkspaceError: If the disk is full.
    """
    if path.suffix == ".jsonl":
        content = "".join(_line(row) for row in rows)
    elif path.suffix == ".csv":
        content = _csv(rows)
    else:
        raise DataError(
            f"{path.name!r} ends in neither .jsonl nor .csv.",
            fix="name the file corrections.jsonl.",
        )
    write_durably(path, content.encode("utf-8", "replace"))


def delete_user(
    store: Store, user: str, tenant: str | None = None, adapters: Sequence[str | None] = ()
) -> Deleted:
    """Delete everything of a user: answers, texts and what was said, by them or about their texts.

    The rows are overwritten on disk, not only unlinked; backups are not reached. That something was
    deleted, when, and how much is written down, without whose it was.

    Args:
        store: Where answers and feedback were recorded.
        user: As requests named them.
        tenant: Only their rows under this tenant; under every one when None, since two tenants may
            mean two people by the same name.
        adapters: The tenant of each model of their own that was deleted just before.
    """
    served_to, said_by = predictions.c.user == user, feedback.c.user == user
    if tenant is not None:
        served_to = sa.and_(served_to, predictions.c.tenant == tenant)
        said_by = sa.and_(said_by, feedback.c.tenant == tenant)
    theirs = sa.select(predictions.c.request_id).where(served_to)
    about = sa.or_(said_by, feedback.c.request_id.in_(theirs))
    with store.write() as connection:
        under = {tenant, *adapters}
        under.update(connection.scalars(sa.select(predictions.c.tenant).where(served_to)))
        under.update(connection.scalars(sa.select(feedback.c.tenant).where(said_by)))
        said = connection.execute(sa.delete(feedback).where(about)).rowcount
        served = connection.execute(sa.delete(predictions).where(served_to)).rowcount
        looked = sum(_forget_looks(connection, Who(each, user)) for each in under)
        gone = Deleted(served, said, looked, len(adapters))
        if any(asdict(gone).values()):
            line = {"time": now(), "tenant": tenant, "gone": asdict(gone)}
            connection.execute(sa.insert(deletions).values(line))
    store.scrub()
    return gone


def _forget_looks(connection: sa.Connection, who: Who) -> int:
    """Marks of the user's texts and how their model fared on them; how many looks went."""
    theirs = sa.select(looks.c.id).where(looks.c.bundle.startswith(who.book, autoescape=True))
    connection.execute(sa.delete(look_rows).where(look_rows.c.look.in_(theirs)))
    return connection.execute(sa.delete(looks).where(looks.c.id.in_(theirs))).rowcount


def _line(row: Correction) -> str:
    text = json.dumps(row, ensure_ascii=False)
    # Legal inside JSON, but many readers take these for the end of a line.
    for odd in ("\x85", "\u2028", "\u2029"):
        text = text.replace(odd, f"\\u{ord(odd):04x}")
    return text + "\n"


def _csv(rows: Sequence[Correction]) -> str:
    text = io.StringIO(newline="")
    # The default line ending, \r\n, is also what makes the writer quote a lone \r in a text.
    writer = csv.DictWriter(text, list(Correction.__annotations__))
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _harmless(value) for key, value in row.items()})
    return text.getvalue()


def _harmless(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return value
