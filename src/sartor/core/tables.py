"""The store's tables, the same on SQLite and on Postgres.

`VERSION` names the schema below. `core/migrations` leads any older store here, and a test compares
the two, so a column added here without a migration fails.
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

VERSION = "0004"
"""Revision of the newest migration; a store of a later one is refused."""


class UtcTime(sa.types.TypeDecorator[datetime]):
    """An aware time in UTC: SQLite keeps no offset, so it is put back when read."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; the store keeps UTC")
        return value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("need", sa.Text, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("started", UtcTime, nullable=False),
    sa.Column("finished", UtcTime),
    sa.Column("summary", sa.JSON(none_as_null=True)),
)

assignments = sa.Table(
    "assignments",
    metadata,
    sa.Column("scope", sa.Text, primary_key=True),
    sa.Column("row_id", sa.Text, primary_key=True),
    sa.Column("split", sa.Text, nullable=False),
)

_LOOK = ("test_rows", "bundle", "criteria")

looks = sa.Table(
    "looks",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("test_rows", sa.Text, nullable=False, index=True),
    sa.Column("bundle", sa.Text, nullable=False),
    sa.Column("criteria", sa.Text, nullable=False),
    sa.Column("verdicts", sa.JSON, nullable=False),
    sa.Column("time", UtcTime, nullable=False),
    # Empty for looks from before rows were kept: those count for exactly their test rows.
    sa.Column("number", sa.Integer),
    sa.Index("ux_looks_test_rows_bundle_criteria", *_LOOK, unique=True),
)

look_rows = sa.Table(
    "look_rows",
    metadata,
    sa.Column("row", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("look", sa.Integer, sa.ForeignKey("looks.id"), primary_key=True, autoincrement=False),
)

predictions = sa.Table(
    "predictions",
    metadata,
    sa.Column("request_id", sa.Text, primary_key=True),
    sa.Column("row", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("bundle", sa.Text, nullable=False, index=True),
    sa.Column("time", UtcTime, nullable=False, index=True),
    sa.Column("label", sa.Text),
    sa.Column("confidence", sa.Float),
    sa.Column("answer", sa.JSON, nullable=False),
    sa.Column("text", sa.Text),
    sa.Column("user", sa.Text, index=True),
    sa.Column("segment", sa.Text),
    sa.Column("tenant", sa.Text),
)

_SERVED_ROW = ("predictions.request_id", "predictions.row")

feedback = sa.Table(
    "feedback",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("request_id", sa.Text, nullable=False, index=True),
    sa.Column("row", sa.Integer, nullable=False),
    sa.Column("time", UtcTime, nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("comment", sa.Text),
    sa.Column("user", sa.Text, index=True),
    sa.Column("segment", sa.Text),
    sa.Column("text", sa.Text),
    sa.Column("tenant", sa.Text),
    sa.ForeignKeyConstraint(["request_id", "row"], _SERVED_ROW, ondelete="CASCADE"),
)

audits = sa.Table(
    "audits",
    metadata,
    sa.Column("request_id", sa.Text, primary_key=True),
    sa.Column("row", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("drawn", UtcTime, nullable=False),
    sa.ForeignKeyConstraint(["request_id", "row"], _SERVED_ROW, ondelete="CASCADE"),
)

deletions = sa.Table(
    "deletions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("time", UtcTime, nullable=False),
    sa.Column("tenant", sa.Text),
    # What went, by kind. Whose it was is what had to go: it is not here.
    sa.Column("gone", sa.JSON, nullable=False),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False, unique=True),
    sa.Column("created", UtcTime, nullable=False),
    sa.Column("revoked", UtcTime),
    sa.Column("tenant", sa.Text),
    sa.Column("rate", sa.Text),
    # Whoever writes a row without a role gets the least.
    sa.Column("role", sa.Text, nullable=False, server_default="predict"),
)
