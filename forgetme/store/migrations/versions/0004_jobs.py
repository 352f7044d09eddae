"""Long work: who does what, and is it alive."""

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Adds them."""
