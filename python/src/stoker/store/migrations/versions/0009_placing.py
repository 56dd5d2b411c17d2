"""What a job asks of its place, the gang it is a rank of, and how often it was passed while it waited for room."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make the columns of jobs."""
    op.add_column("jobs", sa.Column("wants", sa.Text))
    op.add_column("jobs", sa.Column("gang", sa.String(63)))
    op.add_column("jobs", sa.Column("rank", sa.Integer))
    op.add_column("jobs", sa.Column("rank_env", sa.Text))
    op.add_column("jobs", sa.Column("passed", sa.Integer))
    op.add_column("jobs", sa.Column("blocked_since", sa.Double))
    op.create_index("jobs_by_gang", "jobs", ["gang"])
