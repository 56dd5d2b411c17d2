"""The tables. Texts and documents are stored alike by SQLite and PostgreSQL; `migrations` makes them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.engine import Dialect

from stoker.errors import StokerError

# The newest migration, and all before it. Kept here so that opening a store that is up to date needs no Alembic.
REVISIONS = (
    "0001",
    "0002",
    "0003",
    "0004",
    "0005",
    "0007",
    "0008",
    "0009",
    "0010",
    "0011",
    "0012",
    "0013",
    "0014",
    "0015",
    "0016",
    "0017",
    "0018",
    "0019",
    "0020",
    "0021",
)
HEAD = REVISIONS[-1]
VERSION_TABLE = "stoker_version"


class Words(TypeDecorator[str]):
    """Text from outside. A NUL or half a surrogate, which PostgreSQL refuses, becomes a replacement character."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """The text as both databases take it."""
        if value is None:
            return None
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


class Document(TypeDecorator[Mapping[str, Any]]):
    """A JSON document with its schema. As text: a jsonb column would refuse a NUL inside a string.

    Reading one of another major version raises StokerError.
    """

    impl = Text
    cache_ok = True

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def process_bind_param(self, value: Mapping[str, Any] | None, dialect: Dialect) -> str | None:
        """The document as text."""
        if value is None:
            return None
        document = {"schema": f"{self.name}/1", **value}
        try:
            return json.dumps(document, allow_nan=False)
        except ValueError:
            return json.dumps(_finite(document), allow_nan=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Mapping[str, Any] | None:
        """The document of a text. Raises StokerError for a major version that is not understood."""
        if value is None:
            return None
        document: dict[str, Any] = json.loads(value)
        found = str(document.get("schema"))
        if found != f"{self.name}/1" and not found.startswith(f"{self.name}/1."):
            raise StokerError(
                f"the store holds a document of the schema {found!r}; this Stoker understands {self.name}/1",
                next_step="use the version of Stoker that wrote it",
            )
        return document


def _finite(value: Any) -> Any:
    """`value` with None, unknown, for each number that JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


metadata = MetaData()
_Counter = BigInteger().with_variant(Integer, "sqlite")

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(63), primary_key=True),
    Column("uid", String(64), nullable=False, unique=True),
    Column("number", _Counter, nullable=False),
    Column("name", Words, nullable=False),
    Column("spec", Document("stoker.spec"), nullable=False),
    Column("target", Words),
    Column("node", Words),
    Column("attempt", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Words),
    Column("detail", Words),
    Column("max_retries", Integer, nullable=False),
    Column("retries_used", Integer, nullable=False),
    Column("not_before", Double),
    Column("priority", Integer, nullable=False),
    Column("retry_of", String(63)),
    Column("stop_requested", Words),
    Column("stop_grace_s", Double),
    Column("stop_ordered_at", Double),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("elapsed_s", Double),
    Column("exit_code", Integer),
    Column("signal", Integer),
    Column("submitted_by", Words),
    # A name, not a reference: a job outlives the template that it was made from.
    Column("template", String(63)),
    Column("queue", String(63)),
    Column("place", Double),
    Column("retry_on", Words),
    Column("moves", Integer),
    Column("results", Document("stoker.results")),
    Column("results_due", Boolean),
    Column("results_until", Double),
    Column("results_epoch", Integer),
    Column("wants", Document("stoker.wants")),
    Column("gang", String(63)),
    Column("rank", Integer),
    Column("rank_env", Document("stoker.rank_env")),
    Column("passed", Integer),
    Column("blocked_since", Double),
    Column("put_back", Words),
    Column("cache_key", String(64)),
    Index("jobs_by_state", "state"),
    Index("jobs_by_number", "number"),
    Index("jobs_by_gang", "gang"),
    Index("jobs_by_cache_key", "cache_key"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("job_id", String(63), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("node", Words, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Words),
    Column("detail", Words),
    Column("exit_code", Integer),
    Column("signal", Integer),
    Column("oom", Boolean),
    Column("claimed_at", Double, nullable=False),
    Column("confirmed_at", Double),
    Column("queued_at", Double),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("elapsed_s", Double),
    Column("observation", Document("stoker.observation")),
    Column("observed_at", Double),
    Column("log_start", BigInteger, nullable=False),
    Column("log_end", BigInteger, nullable=False),
    Column("lease", Document("stoker.lease")),
    Column("stop_due", Boolean),
    Column("resume", Document("stoker.resume")),
)

# Of each job the newest ones that came whole. `place` is the machine and the folder that has the files, `of_job` whose
# attempt wrote it: a job that is run again takes over those of the one before.
checkpoints = Table(
    "checkpoints",
    metadata,
    Column("seq", _Counter, primary_key=True, autoincrement=True),
    Column("job_id", String(63), nullable=False),
    Column("of_job", String(63), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("node", Words, nullable=False),
    Column("place", Words, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("mark", String(64), nullable=False),
    Column("name", Words, nullable=False),
    Column("step", BigInteger),
    Column("files", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("written_at", Double),
    Column("at", Double, nullable=False),
    Column("damaged", Words),
    Index("checkpoints_by_job", "job_id"),
    sqlite_autoincrement=True,
)

# How fetching the checkpoints of a job stands. `settled`: up to which attempt nothing more is to be fetched.
checkpoint_pulls = Table(
    "checkpoint_pulls",
    metadata,
    Column("job_id", String(63), primary_key=True),
    Column("tried_at", Double),
    Column("next_at", Double),
    Column("until", Double),
    Column("epoch", Integer, nullable=False),
    Column("settled", Integer, nullable=False),
    Column("problem", Words),
)

nodes = Table(
    "nodes",
    metadata,
    Column("name", Words, primary_key=True),
    Column("facts", Document("stoker.facts"), nullable=False),
    Column("last_seen", Double),
    Column("unreachable_since", Double),
    Column("unreachable_message", Words),
    Column("misses", Integer, nullable=False),
    Column("clock", Document("stoker.clock")),
    Column("missed_at", Double),
    Column("offline_since", Double),
)

members = Table(
    "members",
    metadata,
    Column("name", Words, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("source", String(16), nullable=False),
    Column("asked_at", Double, nullable=False),
    Column("asked_by", Words),
    Column("expires_at", Double),
    Column("decided_at", Double),
    Column("decided_by", Words),
    Column("drain_deadline", Double),
)

events = Table(
    "events",
    metadata,
    Column("seq", _Counter, primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("type", String(63), nullable=False),
    Column("job_id", String(63)),
    Column("attempt", Integer),
    Column("node", Words),
    Column("data", Document("stoker.event_data"), nullable=False),
    Index("events_by_job", "job_id", "seq"),
    # A number is never given twice, even after the newest row went.
    sqlite_autoincrement=True,
)

templates = Table(
    "templates",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("description", Words),
    Column("project", Words),
    Column("body", Document("stoker.template"), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
)

queues = Table(
    "queues",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("max_running", Integer),
    Column("stop_on_failure", Boolean, nullable=False),
    Column("paused_at", Double),
    Column("paused_reason", Words),
    Column("created_at", Double, nullable=False),
)

workflows = Table(
    "workflows",
    metadata,
    Column("id", String(63), primary_key=True),
    Column("number", _Counter, nullable=False),
    Column("name", Words, nullable=False),
    Column("body", Document("stoker.workflow"), nullable=False),
    Column("state", String(16), nullable=False),
    Column("stop_requested", Boolean, nullable=False),
    Column("resumed", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("submitted_by", Words),
    Index("workflows_by_state", "state"),
    Index("workflows_by_number", "number"),
)

workflow_parts = Table(
    "workflow_parts",
    metadata,
    Column("workflow_id", String(63), ForeignKey("workflows.id", ondelete="CASCADE"), primary_key=True),
    Column("step", String(63), primary_key=True),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),
    # A name, not a reference: what became of the job stays in `result` when the job is cleared away.
    Column("job_id", String(63)),
    Column("detail", Words),
    Column("result", Document("stoker.part_result")),
    Column("updated_at", Double, nullable=False),
)

benchmarks = Table(
    "benchmarks",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("at", Double, nullable=False),
    Column("node", Words, nullable=False),
    Column("name", String(63), nullable=False),
    Column("device", Words),
    Column("kernel", Words, nullable=False),
    Column("unit", String(16), nullable=False),
    Column("value", Double, nullable=False),
    Column("spread_pct", Double, nullable=False),
    Column("busy", Boolean, nullable=False),
)

# An epoch is the number of the event that tells of its beginning: it is never given twice.
dispatchers = Table(
    "dispatchers",
    metadata,
    Column("id", String(63), primary_key=True),
    Column("host", Words, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("lease_s", Double, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("heartbeat_at", Double, nullable=False),
    Column("leader", Boolean, nullable=False),
    Column("epoch", BigInteger),
    Column("rounds", BigInteger, nullable=False),
    Column("round_at", Double),
    Column("round_s", Double),
)

samples = Table(
    "samples",
    metadata,
    Column("node", Words, primary_key=True),
    Column("at", Double, primary_key=True),
    Column("node_at", Double),
    Column("cpu_pct", Double),
    Column("load", Double),
    Column("memory_used", BigInteger),
    Column("memory_total", BigInteger),
    Column("detail", Document("stoker.sample"), nullable=False),
)

# Those that are raised now; what was raised and cleared before is told by the events.
alerts = Table(
    "alerts",
    metadata,
    Column("node", Words, primary_key=True),
    Column("key", Words, primary_key=True),
    Column("since", Double, nullable=False),
    Column("text", Words, nullable=False),
)

# Who may ask over the network. The token itself is nowhere: a digest is enough for one of 256 random bits.
tokens = Table(
    "tokens",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", Words),
    Column("expires_at", Double),
)

# Each call of an assistant, and each one that was denied to anybody. `key` is the caller's own, for a call that must
# not happen twice; `answer` what that one said.
calls = Table(
    "calls",
    metadata,
    Column("seq", _Counter, primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("ended_at", Double),
    Column("via", String(16), nullable=False),
    Column("who", Words, nullable=False),
    Column("role", String(16), nullable=False),
    Column("operation", String(63), nullable=False),
    Column("arguments", Document("stoker.call_arguments"), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("detail", Words),
    Column("key", String(128)),
    Column("digest", String(64)),
    Column("answer", Words),
    Column("process", Words),
    Index("calls_by_key", "who", "via", "key", unique=True),
    sqlite_autoincrement=True,
)

# Messages to people, one for an event and a target, ever. `due` until it is sent, given up or left out.
notices = Table(
    "notices",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("target", String(63), primary_key=True),
    Column("at", Double, nullable=False),
    Column("topic", Words, nullable=False),
    Column("title", Words, nullable=False),
    Column("body", Words, nullable=False),
    Column("mood", String(16), nullable=False),
    Column("urgent", Boolean, nullable=False),
    Column("state", String(16), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("claimed_until", Double),
    Column("ended_at", Double),
    Column("detail", Words),
    Column("read_at", Double),
    Column("archived_at", Double),
    Column("node", Words),
    Column("held_until", Double),
    Index("notices_by_state", "state", "target"),
)

# Nodes, by patterns, whose alerts are silenced until then.
squelches = Table(
    "squelches",
    metadata,
    Column("pattern", Words, primary_key=True),
    Column("since", Double, nullable=False),
    Column("until", Double, nullable=False),
)

# How far each target was told of the events, and whether it takes what it is sent.
notice_targets = Table(
    "notice_targets",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("seen", BigInteger, nullable=False),
    Column("sent_at", Double),
    Column("failing_since", Double),
    Column("failures", Integer, nullable=False),
    Column("next_try", Double),
    Column("detail", Words),
)
