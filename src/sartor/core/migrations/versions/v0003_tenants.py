"""Keys get a role, a tenant and a rate; answers and feedback get the tenant they belong to."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for table in ("predictions", "feedback", "api_keys"):
        op.add_column(table, sa.Column("tenant", sa.Text))
    op.add_column("api_keys", sa.Column("rate", sa.Text))
    op.add_column("api_keys", sa.Column("role", sa.Text, nullable=False, server_default="predict"))
    # Until now every key opened every route; those that exist go on doing so.
    op.execute("UPDATE api_keys SET role = 'admin'")
