"""What nodes were measured at."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "benchmarks",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("device", sa.Text),
        sa.Column("kernel", sa.Text, nullable=False),
        sa.Column("unit", sa.String(16), nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("spread_pct", sa.Double, nullable=False),
        sa.Column("busy", sa.Boolean, nullable=False),
    )
