"""The tables of rented machines: what became of each, what it cost when, what was put aside, and how hosts do."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, Integer, String, Table

from stoker.store.schema import Document, Words, metadata

# Rows stay for good: they say what was spent. Jobs are names, not references: those may be cleared away.
instances = Table(
    "instances",
    metadata,
    Column("id", String(63), primary_key=True),
    Column("label", Words, nullable=False, unique=True),
    Column("pool", String(63), nullable=False),
    Column("job", String(63)),
    Column("project", Words),
    Column("submitted_by", Words),
    Column("provider_id", BigInteger),
    Column("kind", String(16), nullable=False),
    Column("offer", Document("stoker.offer"), nullable=False),
    Column("why", Words),
    Column("machine_id", BigInteger),
    Column("price", Double),
    Column("gpu_rate", Double),
    Column("disk_rate", Double),
    Column("disk_gb", Double, nullable=False),
    Column("phase", String(16), nullable=False),
    Column("phase_since", Double, nullable=False),
    Column("evidence", Words),
    Column("problem", Words),
    Column("problem_since", Double),
    Column("host", Words),
    Column("port", Integer),
    Column("host_key", Words),
    Column("node", Words),
    Column("created_at", Double, nullable=False),
    Column("asked_at", Double),
    Column("seen_at", Double),
    Column("booted_at", Double),
    Column("ready_at", Double),
    Column("idle_since", Double),
    Column("expires_at", Double, nullable=False),
    Column("lease_s", Double, nullable=False),
    Column("destroy_asked_at", Double),
    Column("ended_at", Double),
    Column("replaces", String(63)),
    Column("epoch", BigInteger),
    Column("account", BigInteger),
    Column("wish", String(8)),
    Index("instances_by_phase", "phase"),
    Index("instances_by_job", "job"),
)

instance_intervals = Table(
    "instance_intervals",
    metadata,
    Column("instance", String(63), ForeignKey("instances.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),
    Column("since", Double, nullable=False),
    Column("until", Double),
    Column("gpu_rate", Double),
    Column("disk_rate", Double),
    Column("up_gb", Double),
    Column("down_gb", Double),
    Column("up_rate", Double),
    Column("down_rate", Double),
    Column("pool", String(63)),
    Column("job", String(63)),
    Column("project", Words),
    Column("submitted_by", Words),
    Index("instance_intervals_by_job", "job"),
)

reservations = Table(
    "reservations",
    metadata,
    Column("instance", String(63), ForeignKey("instances.id", ondelete="CASCADE"), primary_key=True),
    Column("dollars", Double, nullable=False),
    Column("at", Double, nullable=False),
    Column("job", String(63)),
    Column("project", Words),
    Column("settled", Double),
    Column("settled_at", Double),
)

machine_marks = Table(
    "machine_marks",
    metadata,
    Column("machine_id", BigInteger, primary_key=True, autoincrement=False),
    Column("boots", Integer, nullable=False),
    Column("boot_s", Double, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("losses", Integer, nullable=False),
    Column("run_s", Double, nullable=False),
    Column("failed_at", Double),
)

# One row: the name by which the provider's labels tell what is of this store. A copy of the store has the same one.
identity = Table(
    "store_identity",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("id", String(16), nullable=False),
)
