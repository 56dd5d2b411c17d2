"""Whose process a call is; and keys that are of a caller by one way."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add the column, and the way to the key."""
    op.add_column("calls", sa.Column("process", sa.Text))
    op.drop_index("calls_by_key", "calls")
    op.create_index("calls_by_key", "calls", ["who", "via", "key"], unique=True)
