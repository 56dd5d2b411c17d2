"""Templates, and which one a job was made from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table, and the column of jobs."""
    op.create_table(
        "templates",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("description", sa.Text),
        sa.Column("project", sa.Text),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
    )
    op.add_column("jobs", sa.Column("template", sa.String(63)))
