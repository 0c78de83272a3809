"""Looks keep their rows, and no look is stored twice."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_LOOK = ("test_rows", "bundle", "criteria")


def upgrade() -> None:
    op.add_column("looks", sa.Column("number", sa.Integer))
    # Two processes could store the same look: the first one's verdicts are those that were given.
    same = " AND ".join(f"first.{column} = looks.{column}" for column in _LOOK)
    op.execute(
        f"DELETE FROM looks WHERE EXISTS "
        f"(SELECT 1 FROM looks AS first WHERE {same} AND first.id < looks.id)"
    )
    op.create_index("ux_looks_test_rows_bundle_criteria", "looks", _LOOK, unique=True)
    op.create_table(
        "look_rows",
        sa.Column("row", sa.BigInteger, nullable=False),
        sa.Column("look", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("row", "look", name="pk_look_rows"),
        sa.ForeignKeyConstraint(["look"], ["looks.id"], name="fk_look_rows_looks"),
    )
