"""Alerts that are silenced for a time, and messages that wait until a cool-down or a silence is over."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Make the table, and add the columns."""
    op.create_table(
        "squelches",
        sa.Column("pattern", sa.Text, primary_key=True),
        sa.Column("since", sa.Double, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
    )
    op.add_column("notices", sa.Column("node", sa.Text))
    op.add_column("notices", sa.Column("held_until", sa.Double))
