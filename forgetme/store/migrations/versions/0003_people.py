"""People, their sessions and preferences, saved views."""

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds them."""
