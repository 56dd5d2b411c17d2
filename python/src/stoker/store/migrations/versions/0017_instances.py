"""Rented machines."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "instances",
        sa.Column("id", sa.String(63), primary_key=True),
        sa.Column("label", sa.Text, nullable=False, unique=True),
        sa.Column("pool", sa.String(63), nullable=False),
        sa.Column("job", sa.String(63)),
        sa.Column("project", sa.Text),
        sa.Column("submitted_by", sa.Text),
        sa.Column("provider_id", sa.BigInteger),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("offer", sa.Text, nullable=False),
        sa.Column("why", sa.Text),
        sa.Column("machine_id", sa.BigInteger),
        sa.Column("price", sa.Double),
        sa.Column("gpu_rate", sa.Double),
        sa.Column("disk_rate", sa.Double),
        sa.Column("disk_gb", sa.Double, nullable=False),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("phase_since", sa.Double, nullable=False),
        sa.Column("evidence", sa.Text),
        sa.Column("problem", sa.Text),
        sa.Column("problem_since", sa.Double),
        sa.Column("host", sa.Text),
        sa.Column("port", sa.Integer),
        sa.Column("host_key", sa.Text),
        sa.Column("node", sa.Text),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("asked_at", sa.Double),
        sa.Column("seen_at", sa.Double),
        sa.Column("booted_at", sa.Double),
        sa.Column("ready_at", sa.Double),
        sa.Column("idle_since", sa.Double),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("lease_s", sa.Double, nullable=False),
        sa.Column("destroy_asked_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("replaces", sa.String(63)),
        sa.Column("epoch", sa.BigInteger),
    )
    op.create_index("instances_by_phase", "instances", ["phase"])
    op.create_index("instances_by_job", "instances", ["job"])
    op.create_table(
        "instance_intervals",
        sa.Column("instance", sa.String(63), sa.ForeignKey("instances.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("since", sa.Double, nullable=False),
        sa.Column("until", sa.Double),
        sa.Column("gpu_rate", sa.Double),
        sa.Column("disk_rate", sa.Double),
        sa.Column("up_gb", sa.Double),
        sa.Column("down_gb", sa.Double),
        sa.Column("up_rate", sa.Double),
        sa.Column("down_rate", sa.Double),
        sa.Column("pool", sa.String(63)),
        sa.Column("job", sa.String(63)),
        sa.Column("project", sa.Text),
        sa.Column("submitted_by", sa.Text),
    )
    op.create_index("instance_intervals_by_job", "instance_intervals", ["job"])
    op.create_table(
        "reservations",
        sa.Column("instance", sa.String(63), sa.ForeignKey("instances.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("dollars", sa.Double, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("job", sa.String(63)),
        sa.Column("project", sa.Text),
        sa.Column("settled", sa.Double),
        sa.Column("settled_at", sa.Double),
    )
    op.create_table(
        "machine_marks",
        sa.Column("machine_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("boots", sa.Integer, nullable=False),
        sa.Column("boot_s", sa.Double, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("losses", sa.Integer, nullable=False),
        sa.Column("run_s", sa.Double, nullable=False),
        sa.Column("failed_at", sa.Double),
    )
    op.create_table(
        "store_identity",
        sa.Column("one", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("id", sa.String(16), nullable=False),
    )
