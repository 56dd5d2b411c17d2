"""Queues, which one a job stands in, and where; and the failures that a job is tried again for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0005"


def upgrade() -> None:
    """Make the table, and the columns of jobs."""
    op.create_table(
        "queues",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("max_running", sa.Integer),
        sa.Column("stop_on_failure", sa.Boolean, nullable=False),
        sa.Column("paused_at", sa.Double),
        sa.Column("paused_reason", sa.Text),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.add_column("jobs", sa.Column("queue", sa.String(63)))
    op.add_column("jobs", sa.Column("place", sa.Double))
    op.add_column("jobs", sa.Column("retry_on", sa.Text))
