"""What queues sort by, lineage, twins and reviews, in rows that are derived anew; looks.

The table of samples is made again rather than altered, so that the new columns lie before the bulky
ones: SQLite would have to walk through a sample's proposals to reach a column behind them. Its rows
are not copied, since `store.migrate` derives all of them from the events after the last step.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Makes the table of samples again, and two ways to read the log."""
    op.drop_table("sample")
    op.create_table(
        "sample",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("concept", sa.Text, nullable=False),
        sa.Column("identity", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("name_key", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("image_sha", sa.String(64)),
        sa.Column("width", sa.Integer),
        sa.Column("height", sa.Integer),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("caption", sa.Text, nullable=False),
        sa.Column("notes", sa.JSON, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("chosen", sa.Integer),
        sa.Column("mask_sha", sa.String(64)),
        sa.Column("picked_try", sa.Integer),
        sa.Column("score_d", sa.Float(53)),
        sa.Column("score_s", sa.Float(53)),
        sa.Column("variant", sa.String(32)),
        sa.Column("low", sa.Boolean),
        sa.Column("decided_by", sa.Text),
        sa.Column("decided_how", sa.String(16)),
        sa.Column("decided_event", sa.BigInteger),
        sa.Column("comment", sa.Text),
        sa.Column("updated_at", sa.String(32), nullable=False),
        sa.Column("clip_score", sa.Float(53)),
        sa.Column("clip_margin", sa.Float(53)),
        sa.Column("verdict", sa.String(8)),
        sa.Column("disagreement", sa.Float(53)),
        sa.Column("novelty", sa.Float(53)),
        sa.Column("decided_at", sa.String(32)),
        sa.Column("reviewed", sa.String(16)),
        sa.Column("reviewed_by", sa.Text),
        sa.Column("lineage", sa.JSON),
        sa.Column("twin_of", sa.String(16)),
        sa.Column("twin_number", sa.Integer),
        sa.Column("tries", sa.JSON, nullable=False),
        sa.Column("proposals", sa.JSON, nullable=False),
        sa.UniqueConstraint("concept", "identity", name="sample_concept_identity"),
        sa.UniqueConstraint("concept", "name_key", name="sample_concept_name"),
    )
    for name, columns in {
        "sample_seq": ["seq"],
        "sample_state_seq": ["state", "seq"],
        "sample_concept_seq": ["concept", "seq"],
        "sample_decided": ["decided_by", "decided_event"],
        "sample_twin": ["twin_of", "decided_by"],
        "sample_queue": [
            "state", "concept", "seq", "id", "name_key", "updated_at", "decided_by", "decided_how",
            "decided_event", "verdict", "low", "reviewed", "twin_of", "clip_score", "clip_margin",
            "score_d", "score_s", "disagreement", "novelty",
        ],
    }.items():  # fmt: skip
        op.create_index(name, "sample", columns)
    op.create_table(
        "look",
        sa.Column("concept", sa.Text, primary_key=True),
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("image_sha", sa.String(64), nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
    )
    op.create_index("event_actor", "event", ["actor", "id"])
    op.create_index("event_kind", "event", ["kind", "id"])
