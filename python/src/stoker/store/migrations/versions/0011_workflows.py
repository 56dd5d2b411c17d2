"""Workflows, and the parts of their steps: one for each job that they make."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "workflows",
        sa.Column("id", sa.String(63), primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("stop_requested", sa.Boolean, nullable=False),
        sa.Column("resumed", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("submitted_by", sa.Text),
    )
    op.create_index("workflows_by_state", "workflows", ["state"])
    op.create_index("workflows_by_number", "workflows", ["number"])
    op.create_table(
        "workflow_parts",
        sa.Column("workflow_id", sa.String(63), sa.ForeignKey("workflows.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("step", sa.String(63), primary_key=True),
        sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("job_id", sa.String(63)),
        sa.Column("detail", sa.Text),
        sa.Column("result", sa.Text),
        sa.Column("updated_at", sa.Double, nullable=False),
    )
