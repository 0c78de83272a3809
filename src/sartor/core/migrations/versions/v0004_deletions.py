"""That a user was deleted is written down, without their name."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "deletions",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tenant", sa.Text),
        sa.Column("gone", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deletions"),
    )
