"""What to fetch from a node when a job is over."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns of jobs."""
    op.add_column("jobs", sa.Column("results", sa.Text))
    op.add_column("jobs", sa.Column("results_due", sa.Boolean))
