"""What was promised to attempts, which of them are still to be ended, how often jobs moved, and the nodes' clocks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("attempts", sa.Column("lease", sa.Text))
    op.add_column("attempts", sa.Column("stop_due", sa.Boolean))
    op.add_column("jobs", sa.Column("moves", sa.Integer))
    op.add_column("nodes", sa.Column("clock", sa.Text))
