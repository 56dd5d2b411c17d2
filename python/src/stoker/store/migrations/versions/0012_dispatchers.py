"""Dispatchers, and who fetches the results of a job at this moment."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Make the table, and the columns of jobs."""
    op.create_table(
        "dispatchers",
        sa.Column("id", sa.String(63), primary_key=True),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.BigInteger, nullable=False),
        sa.Column("lease_s", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("heartbeat_at", sa.Double, nullable=False),
        sa.Column("leader", sa.Boolean, nullable=False),
        sa.Column("epoch", sa.BigInteger),
        sa.Column("rounds", sa.BigInteger, nullable=False),
        sa.Column("round_at", sa.Double),
        sa.Column("round_s", sa.Double),
    )
    op.add_column("jobs", sa.Column("results_until", sa.Double))
    op.add_column("jobs", sa.Column("results_epoch", sa.Integer))
