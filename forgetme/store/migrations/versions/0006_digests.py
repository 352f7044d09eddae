"""What each event said when it was written, as a hash; `store.migrate` fills it for older ones."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Adds the column."""
    op.add_column("event", sa.Column("digest", sa.String(64)))
