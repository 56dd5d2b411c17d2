"""Checkpoints that are kept of jobs, who fetches them, which one an attempt goes on from; what decides a result."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Make the tables, and the column of attempts."""
    op.create_table(
        "checkpoints",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("job_id", sa.String(63), nullable=False),
        sa.Column("of_job", sa.String(63), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("mark", sa.String(64), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("step", sa.BigInteger),
        sa.Column("files", sa.Integer, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("written_at", sa.Double),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("damaged", sa.Text),
        sqlite_autoincrement=True,
    )
    op.create_index("checkpoints_by_job", "checkpoints", ["job_id"])
    op.create_table(
        "checkpoint_pulls",
        sa.Column("job_id", sa.String(63), primary_key=True),
        sa.Column("tried_at", sa.Double),
        sa.Column("next_at", sa.Double),
        sa.Column("until", sa.Double),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("settled", sa.Integer, nullable=False),
        sa.Column("problem", sa.Text),
    )
    op.add_column("attempts", sa.Column("resume", sa.Text))
    op.add_column("jobs", sa.Column("cache_key", sa.String(64)))
    op.create_index("jobs_by_cache_key", "jobs", ["cache_key"])
