"""Samples of the nodes, and the alerts that are raised now."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "samples",
        sa.Column("node", sa.Text, primary_key=True),
        sa.Column("at", sa.Double, primary_key=True, autoincrement=False),
        sa.Column("node_at", sa.Double),
        sa.Column("cpu_pct", sa.Double),
        sa.Column("load", sa.Double),
        sa.Column("memory_used", sa.BigInteger),
        sa.Column("memory_total", sa.BigInteger),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_table(
        "alerts",
        sa.Column("node", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("since", sa.Double, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )
