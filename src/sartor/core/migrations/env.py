"""Run by alembic: migrates over the connection that `upgrade` was given."""

from alembic import context

from sartor.core.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
# The caller holds the transaction, so that a migration that fails leaves the store as it was.
context.run_migrations()
