"""What queues sort by, lineage and reviews."""

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds them."""
