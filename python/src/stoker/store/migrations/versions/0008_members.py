"""Membership of nodes, when one is offline, and jobs that are put back into the queue."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make the table, and the columns of nodes and jobs."""
    op.create_table(
        "members",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("asked_at", sa.Double, nullable=False),
        sa.Column("asked_by", sa.Text),
        sa.Column("expires_at", sa.Double),
        sa.Column("decided_at", sa.Double),
        sa.Column("decided_by", sa.Text),
        sa.Column("drain_deadline", sa.Double),
    )
    op.add_column("nodes", sa.Column("missed_at", sa.Double))
    op.add_column("nodes", sa.Column("offline_since", sa.Double))
    op.add_column("jobs", sa.Column("put_back", sa.Text))
