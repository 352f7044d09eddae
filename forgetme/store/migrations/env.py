"""Alembic runs the versions on the connection that `store.migrate` hands over."""

from alembic import context

from forgetme.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite cannot alter most columns in place
)
context.run_migrations()
