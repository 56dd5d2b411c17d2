"""The values of a round: what it was asked, what it knows, what it decides, what came back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

from stoker.config import Placement, Weights
from stoker.dispatch.leases import Clock
from stoker.dispatch.membership import Rules
from stoker.errors import UsageError
from stoker.store import AttemptRow, CheckpointRow, JobRow, MemberRow, NodeRow, PullRow, QueueRow, SampleRow

Mode = Literal["dispatch", "observe", "adopt"]
LOG_KEEP_BYTES = 1024 * 1024
# How long a job waits for the fetching of what its last attempt wrote, when nobody begins with it. Seconds.
LAST_PULL_S = 60.0


@dataclass(frozen=True)
class NodeInfo:
    """A node as the inventory has it: its groups, its variables that begin with `stoker_`, and `ansible_host`."""

    name: str
    groups: tuple[str, ...] = ()
    vars: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RoundRequest:
    """What a round is for.

    `dispatch` starts, stops and retries; `observe` only asks; `adopt` reads jobs back that the store does not know. All
    but `adopt` renew the leases on the nodes that they ask, and end there what jobs went on without.
    `nodes` and `jobs` None: all that matter. `wait_s` lets a node hold its answer until something changes (only when
    few nodes are asked). Of each log the last `log_keep_bytes` are copied. `parts` of the nodes themselves are read
    too (cpu, memory, disks, network, gpus, containers), with `busy_processes` (patterns of names; None: the node's own)
    and `quarantine_s` for the GPUs. `telemetry` and `membership` are the settings of that name, as far as they are not
    the defaults; `placement` are all of that name. `probe`: nodes that were not heard of for a while are asked, too.
    `epoch` is that of the dispatcher that leads, where it makes the round. `pools` says of each pool of rented machines
    why it has no node for a job now, `unpaid` of jobs by id why they may spend nothing more: they do not start.
    """

    mode: Mode = "dispatch"
    nodes: tuple[str, ...] | None = None
    jobs: tuple[str, ...] | None = None
    wait_s: float = 0.0
    log_keep_bytes: int = LOG_KEEP_BYTES
    parts: tuple[str, ...] = ()
    busy_processes: tuple[str, ...] | None = None
    quarantine_s: float | None = None
    telemetry: Mapping[str, float] = field(default_factory=dict)
    membership: Rules = field(default_factory=Rules)
    probe: bool = False
    epoch: int | None = None
    placement: Placement = field(default_factory=Placement)
    pools: Mapping[str, str] = field(default_factory=dict)
    unpaid: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, asked: Mapping[str, Any]) -> RoundRequest:
        """A request from plain data (an extra variable). Raises UsageError for what it does not understand."""
        unknown = sorted(set(asked) - set(cls.__dataclass_fields__))
        if unknown:
            raise UsageError(f"stoker_round: there is no {unknown[0]!r} (known: {', '.join(cls.__dataclass_fields__)})")
        mode = asked.get("mode") or "dispatch"
        if mode not in get_args(Mode):
            raise UsageError(f"stoker_round.mode: {mode!r} is not one of {', '.join(get_args(Mode))}")
        keep = asked.get("log_keep_bytes")
        try:
            return cls(
                cast(Mode, mode),
                _names(asked.get("nodes"), "nodes"),
                _names(asked.get("jobs"), "jobs"),
                max(0.0, float(asked.get("wait_s") or 0.0)),
                LOG_KEEP_BYTES if keep is None else max(0, int(keep)),
                _names(asked.get("parts"), "parts") or (),
                _names(asked.get("busy_processes"), "busy_processes"),
                None if asked.get("quarantine_s") is None else float(asked["quarantine_s"]),
                {str(key): float(value) for key, value in (asked.get("telemetry") or {}).items()},
                Rules.of(asked.get("membership") or {}),
                bool(asked.get("probe")),
                None if asked.get("epoch") is None else int(asked["epoch"]),
                placement_of(asked.get("placement") or {}),
                {str(name): str(told) for name, told in (asked.get("pools") or {}).items()},
                {str(job): str(why) for job, why in (asked.get("unpaid") or {}).items()},
            )
        except (TypeError, ValueError):
            raise UsageError(
                "stoker_round: wait_s, log_keep_bytes, quarantine_s, epoch, and the values of telemetry and placement,"
                " are numbers"
            ) from None


def _names(value: Any, field_name: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise UsageError(f"stoker_round.{field_name}: has to be a list of names")
    return tuple(str(item) for item in value)


def placement_of(asked: Mapping[str, Any]) -> Placement:
    """The settings of placement from plain data; what is not named is as by default. Raises UsageError."""
    weights = asked.get("weights") or {}
    for known, named, where in ((Placement, asked, "placement"), (Weights, weights, "placement.weights")):
        if unknown := sorted(set(named) - set(known.__dataclass_fields__)):
            raise UsageError(f"stoker_round.{where}: there is no {unknown[0]!r}")
    plain = Placement()
    return Placement(
        Weights(**{str(name): float(value) for name, value in weights.items()}),
        {str(group): int(most) for group, most in (asked.get("group_limits") or {}).items()},
        int(asked.get("pass_limit", plain.pass_limit)),
        float(asked.get("pass_s", plain.pass_s)),
        float(asked.get("gang_start_s", plain.gang_start_s)),
    )


def wishes(request: RoundRequest) -> dict[str, Any]:
    """The fields of a node's request for what is to be read of the node itself."""
    if not request.parts:
        return {}
    told: dict[str, Any] = {"parts": list(request.parts)}
    if request.busy_processes is not None:
        told["busy_processes"] = list(request.busy_processes)
    if request.quarantine_s is not None:
        told["quarantine_s"] = request.quarantine_s
    return told


@dataclass(frozen=True)
class State:
    """All that the planner looks at.

    Jobs that are not over, their newest attempts by job id, the inventory, by name what is known of the nodes, how the
    queues run and what was decided of nodes, and the digests of the snapshots on this machine. `clock` is this
    machine's; `left` are attempts that their jobs went on without and that may be alive on nodes that were away.
    `samples` are the two newest of each node, the older one first; `ran_with` says where jobs ran with which files,
    image or data (`stoker.dispatch.score`). `checkpoints` are those of use of jobs that wait, newest first, `pulls` how
    fetching them stands; `place` is this machine and its folder of them, `kept` the digests in it, `data` the digests
    of data that was read on this machine.
    """

    jobs: tuple[JobRow, ...]
    attempts: Mapping[str, AttemptRow]
    nodes: tuple[NodeInfo, ...]
    known: Mapping[str, NodeRow] = field(default_factory=dict)
    request: RoundRequest = field(default_factory=RoundRequest)
    snapshots: frozenset[str] = frozenset()
    queues: Mapping[str, QueueRow] = field(default_factory=dict)
    samples: Mapping[str, Sequence[SampleRow]] = field(default_factory=dict)
    ran_with: Mapping[str, frozenset[str]] = field(default_factory=dict)
    members: Mapping[str, MemberRow] = field(default_factory=dict)
    clock: Clock | None = None
    left: tuple[AttemptRow, ...] = ()
    checkpoints: Mapping[str, Sequence[CheckpointRow]] = field(default_factory=dict)
    pulls: Mapping[str, PullRow] = field(default_factory=dict)
    place: str = ""
    kept: frozenset[str] = frozenset()
    data: frozenset[str] = frozenset()

    def left_on(self, job: JobRow) -> dict[str, int]:
        """The nodes where an older attempt of `job` may be alive, with its number: no other one starts there."""
        return {attempt.node: attempt.number for attempt in self.left if attempt.job_id == job.id}

    def lacks_files(self, job: JobRow) -> str | None:
        """Why a round of this machine cannot start `job`: its snapshot or its checkpoint is not here. None: it can."""
        wanted = job.spec.get("snapshot")
        if not wanted or wanted["digest"] in self.snapshots:
            data = job.spec.get("dataset") or {}
            host = data.get("host") if data.get("digest") not in self.data else None
            if host and self.place and host != self.place.partition(":")[0]:
                return f"its dataset is not on this machine but on {host}, where it was submitted: dispatch there"
            found = self.newest_checkpoint(job)
            if found is None or found.digest in self.kept or found.place == self.place:
                return None
            host = found.place.partition(":")[0]
            return f"its checkpoint {found.name} is not on this machine but on {host}: dispatch there, or retry --fresh"
        where = f" but on {wanted['host']}, where it was submitted" if wanted.get("host") else ""
        return f"its snapshot {wanted['digest'][:12]} is not on this machine{where}: dispatch there"

    def newest_checkpoint(self, job: JobRow) -> CheckpointRow | None:
        """The checkpoint that the next attempt of `job` goes on from; None: it begins at the beginning.

        Where the one before began from the newest and failed before it wrote another, the fault may be in that one.
        """
        sound = [row for row in self.checkpoints.get(job.id, ()) if row.damaged is None]
        last = self.attempts.get(job.id)
        if sound and last is not None and last.resume is not None and last.state == "failed":
            by_itself = last.reason in ("code", "signal")
            if by_itself and last.resume["digest"] == sound[0].digest:
                sound = sound[1:]
        return next(iter(sound), None)

    def last_pull(self, job: JobRow, now: float) -> str | None:
        """Why a next attempt of `job` has to wait: what the one before wrote last is being fetched. None: none has.

        Where nobody does that it waits for `LAST_PULL_S`.
        """
        wanted = job.spec.get("checkpoints") or job.results_due
        attempt = self.attempts.get(job.id) if wanted else None
        if attempt is None or attempt.live or attempt.started_at is None or attempt.stop_due:
            return None
        pull = self.pulls.get(job.id)
        if pull is not None and pull.settled >= attempt.number:
            return None
        under_way = pull is not None and (pull.until or 0.0) > now
        if not under_way and now - (attempt.observed_at or now) > LAST_PULL_S:
            return None
        return f"what attempt {attempt.number} wrote is being fetched from {attempt.node}"

    def live_attempt(self, job: JobRow) -> AttemptRow | None:
        """The attempt of `job` that may be under way on a node; None: the job waits in the store."""
        attempt = self.attempts.get(job.id)
        return attempt if attempt is not None and attempt.live and attempt.number == job.attempt else None


@dataclass(frozen=True)
class Change:
    """One transition of one job, applied whole or not at all, and only while the job is as it was `seen`.

    `attempt_values` go to the row of `attempt`, which is inserted first with `claim`. Without `event` nothing happened
    that history should tell (a newer observation of the same state).
    """

    seen: JobRow
    values: Mapping[str, Any] = field(default_factory=dict)
    attempt: int | None = None
    attempt_values: Mapping[str, Any] = field(default_factory=dict)
    claim: bool = False
    event: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What a round does.

    `orders` by node, `observe` the jobs to ask each node about, `gpus` the nodes to ask for their GPUs, `parts` those
    to ask for their CPU, memory and disks.

    Every node that is to be asked is a key of `observe`. `waiting` says of each job that stays in the store why.
    `wait_s`: how long a node may hold its answer.
    """

    orders: Mapping[str, Sequence[Mapping[str, Any]]]
    observe: Mapping[str, Sequence[str]]
    gpus: frozenset[str]
    changes: Sequence[Change]
    waiting: Mapping[str, str]
    wait_s: float = 0.0
    parts: frozenset[str] = frozenset()


@dataclass(frozen=True)
class NodeResult:
    """What came of asking one node: its `reply`, or why there is none, in its own or Ansible's words.

    `request` is what it was asked: without it, silence about a job says nothing. `wrong`: it was not asked, because its
    variables in the inventory are wrong; `failed` says how.
    """

    reply: Mapping[str, Any] | None = None
    unreachable: str | None = None
    failed: str | None = None
    request: Mapping[str, Any] | None = None
    wrong: bool = False


@dataclass
class RoundSummary:
    """What a round found and did. `changed` has one entry for each transition; the others are by node or job.

    `again`: another round now would bring a job further (it waited for what this round asked).
    """

    changed: list[dict[str, Any]] = field(default_factory=list)
    unreachable: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    adopted: list[str] = field(default_factory=list)
    conflicts: dict[str, str] = field(default_factory=dict)
    again: bool = False
