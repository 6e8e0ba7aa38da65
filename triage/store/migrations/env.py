"""What alembic runs: `Database.migrate` hands over its connection, within its transaction."""

from alembic import context

from triage.store.schema import is_described, metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, include_name=is_described, render_as_batch=True
)
context.run_migrations()
