"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("need", sa.Text, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("started", _TIME, nullable=False),
        sa.Column("finished", _TIME),
        sa.Column("summary", sa.JSON),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
    )
    op.create_table(
        "assignments",
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("row_id", sa.Text, nullable=False),
        sa.Column("split", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("scope", "row_id", name="pk_assignments"),
    )
    op.create_table(
        "looks",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("test_rows", sa.Text, nullable=False),
        sa.Column("bundle", sa.Text, nullable=False),
        sa.Column("criteria", sa.Text, nullable=False),
        sa.Column("verdicts", sa.JSON, nullable=False),
        sa.Column("time", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_looks"),
    )
    op.create_index("ix_looks_test_rows", "looks", ["test_rows"])
    _served()
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("created", _TIME, nullable=False),
        sa.Column("revoked", _TIME),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("hash", name="uq_api_keys_hash"),
    )


def _served() -> None:
    op.create_table(
        "predictions",
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("row", sa.Integer, nullable=False),
        sa.Column("bundle", sa.Text, nullable=False),
        sa.Column("time", _TIME, nullable=False),
        sa.Column("label", sa.Text),
        sa.Column("confidence", sa.Float),
        sa.Column("answer", sa.JSON, nullable=False),
        sa.Column("text", sa.Text),
        sa.Column("user", sa.Text),
        sa.Column("segment", sa.Text),
        sa.PrimaryKeyConstraint("request_id", "row", name="pk_predictions"),
    )
    for column in ("bundle", "time", "user"):
        op.create_index(f"ix_predictions_{column}", "predictions", [column])
    op.create_table(
        "feedback",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("row", sa.Integer, nullable=False),
        sa.Column("time", _TIME, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("comment", sa.Text),
        sa.Column("user", sa.Text),
        sa.Column("segment", sa.Text),
        sa.Column("text", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_feedback"),
        _served_row("feedback"),
    )
    for column in ("request_id", "user"):
        op.create_index(f"ix_feedback_{column}", "feedback", [column])
    op.create_table(
        "audits",
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("row", sa.Integer, nullable=False),
        sa.Column("drawn", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("request_id", "row", name="pk_audits"),
        _served_row("audits"),
    )


def _served_row(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["request_id", "row"],
        ["predictions.request_id", "predictions.row"],
        name=f"fk_{table}_predictions",
        ondelete="CASCADE",
    )
