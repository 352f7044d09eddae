"""Events, the samples derived from them, and leases."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_row_id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Makes the first tables."""
    op.create_table(
        "event",
        sa.Column("id", _row_id, primary_key=True, autoincrement=True),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("sample_id", sa.String(16), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.UniqueConstraint("sample_id", "version", name="event_sample_version"),
        sqlite_autoincrement=True,
    )
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
        sa.Column("tries", sa.JSON, nullable=False),
        sa.Column("proposals", sa.JSON, nullable=False),
        sa.UniqueConstraint("concept", "identity", name="sample_concept_identity"),
        sa.UniqueConstraint("concept", "name_key", name="sample_concept_name"),
    )
    for name, columns in {
        "sample_seq": ["seq"],
        "sample_state_seq": ["state", "seq"],
        "sample_concept_state_seq": ["concept", "state", "seq"],
        "sample_concept_seq": ["concept", "seq"],
        "sample_decided": ["decided_by", "decided_event"],
    }.items():
        op.create_index(name, "sample", columns)
    op.create_table(
        "lease",
        sa.Column("sample_id", sa.String(16), primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("until", sa.Float(53), nullable=False),
    )
    op.create_index("lease_holder", "lease", ["holder"])
