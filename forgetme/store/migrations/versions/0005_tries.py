"""The tries of a sample's other masks, which come back with them; rows are derived anew."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Adds the column."""
    op.add_column("sample", sa.Column("other_tries", sa.JSON))
