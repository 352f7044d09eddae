"""Long work: who does what, and is it alive; and which samples are looked at next."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Adds both tables."""
    op.create_table(
        "job",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("arguments", sa.JSON, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("heavy", sa.Boolean, nullable=False),
        sa.Column("created", sa.Float(53), nullable=False),
        sa.Column("host", sa.Text),
        sa.Column("claimed", sa.Float(53)),
        sa.Column("pid", sa.Integer),
        sa.Column("process_start", sa.Text),
        sa.Column("began", sa.Float(53)),
        sa.Column("heartbeat", sa.Float(53)),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("total", sa.Integer),
        sa.Column("words", sa.Text, nullable=False),
        sa.Column("subject", sa.Text),
        sa.Column("stop_by", sa.Text),
        sa.Column("ended", sa.Float(53)),
        sa.Column("outcome", sa.String(16)),
        sa.Column("result", sa.JSON),
        sa.Column("error", sa.Text),
    )
    op.create_index("job_outcome_created", "job", ["outcome", "created"])
    op.create_index("job_created", "job", ["created"])
    op.create_table(
        "wanted",
        sa.Column("sample_id", sa.String(16), primary_key=True),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
    )
    op.create_index("wanted_place", "wanted", ["place"])
