"""Jobs, attempts, nodes, events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    counter = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(63), primary_key=True),
        sa.Column("uid", sa.String(64), nullable=False, unique=True),
        sa.Column("number", counter, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("target", sa.Text),
        sa.Column("node", sa.Text),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("detail", sa.Text),
        sa.Column("max_retries", sa.Integer, nullable=False),
        sa.Column("retries_used", sa.Integer, nullable=False),
        sa.Column("not_before", sa.Double),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("retry_of", sa.String(63)),
        sa.Column("stop_requested", sa.Text),
        sa.Column("stop_grace_s", sa.Double),
        sa.Column("stop_ordered_at", sa.Double),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("elapsed_s", sa.Double),
        sa.Column("exit_code", sa.Integer),
        sa.Column("signal", sa.Integer),
        sa.Column("submitted_by", sa.Text),
    )
    op.create_index("jobs_by_state", "jobs", ["state"])
    op.create_index("jobs_by_number", "jobs", ["number"])
    op.create_table(
        "attempts",
        sa.Column("job_id", sa.String(63), sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("detail", sa.Text),
        sa.Column("exit_code", sa.Integer),
        sa.Column("signal", sa.Integer),
        sa.Column("oom", sa.Boolean),
        sa.Column("claimed_at", sa.Double, nullable=False),
        sa.Column("confirmed_at", sa.Double),
        sa.Column("queued_at", sa.Double),
        sa.Column("started_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("elapsed_s", sa.Double),
        sa.Column("observation", sa.Text),
        sa.Column("observed_at", sa.Double),
        sa.Column("log_start", sa.BigInteger, nullable=False),
        sa.Column("log_end", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "nodes",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("last_seen", sa.Double),
        sa.Column("unreachable_since", sa.Double),
        sa.Column("unreachable_message", sa.Text),
        sa.Column("misses", sa.Integer, nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("seq", counter, primary_key=True, autoincrement=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("type", sa.String(63), nullable=False),
        sa.Column("job_id", sa.String(63)),
        sa.Column("attempt", sa.Integer),
        sa.Column("node", sa.Text),
        sa.Column("data", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("events_by_job", "events", ["job_id", "seq"])
