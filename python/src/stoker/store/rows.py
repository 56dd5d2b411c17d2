"""The rows of the store as values. Times are Unix seconds, durations seconds; None: not known, or not yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LIVE_STATES = ("queued", "starting", "running")
FINISHED_STATES = ("succeeded", "failed", "cancelled", "lost", "dead")
JOB_STATES = LIVE_STATES + FINISHED_STATES
# Why a rank is stopped when another one of its gang is over: to begin again with all of them, or for good.
GANG_AGAIN, GANG_OVER = "gang again", "gang over"
GANG_STOPS = (GANG_AGAIN, GANG_OVER)


@dataclass(frozen=True)
class JobRow:
    """One job: what somebody wants done, and how far it is.

    `target` is what the caller named (a node or a group), None: any node. `node` is where the attempt of now was
    placed; a job that is `queued` and has no node waits in the store, one that has a node waits there. `attempt` is the
    newest attempt's number, 0: there was none. `number` grows with each job of the store: the order in which they came.
    `stop_ordered_at` is when the node took the order to stop. `template` is the name of the one it was made from, which
    may have been changed or deleted since. `results` says where its results lie and where they go (see
    `stoker.operations.results`); `results_due`: they are to be fetched when it is over, and have not been. Until
    `results_until` somebody fetches them, under the `results_epoch`-th claim (`stoker.store.due`). `queue` is the one
    it stands in, None: none; `place` its place among jobs of one priority where that is not its `number`.
    `retry_on` are the failures that it is tried again for, with commas between (`stoker.dispatch.retry`), None: all.
    `wants` is what it asks of its place beyond its spec (`stoker.dispatch.demand`). The ranks of a gang are jobs with
    the same `gang`, which is the id of `rank` 0; `rank_env` is what its newest attempt finds in its environment of the
    others. `passed` counts later jobs that took room it waits for, `blocked_since` is when it first found none.
    `put_back`: why its attempt is stopped to be followed by another one elsewhere, None: it is not.
    `moves` is how often it went elsewhere because a lease ran out. Jobs with the same `cache_key` have the same result
    (`stoker.operations.result_cache`), None: that is not known.
    """

    id: str
    uid: str
    number: int
    name: str
    spec: Mapping[str, Any]
    target: str | None
    node: str | None
    attempt: int
    state: str
    reason: str | None
    detail: str | None
    max_retries: int
    retries_used: int
    not_before: float | None
    priority: int
    retry_of: str | None
    stop_requested: str | None
    stop_grace_s: float | None
    created_at: float
    updated_at: float
    started_at: float | None
    ended_at: float | None
    elapsed_s: float | None
    exit_code: int | None
    signal: int | None
    submitted_by: str | None
    stop_ordered_at: float | None = None
    template: str | None = None
    results: Mapping[str, Any] | None = None
    results_due: bool | None = None
    results_until: float | None = None
    results_epoch: int | None = None
    queue: str | None = None
    place: float | None = None
    retry_on: str | None = None
    wants: Mapping[str, Any] | None = None
    gang: str | None = None
    rank: int | None = None
    rank_env: Mapping[str, Any] | None = None
    passed: int | None = None
    blocked_since: float | None = None
    put_back: str | None = None
    moves: int | None = None
    cache_key: str | None = None

    @property
    def turn(self) -> tuple[int, float, int]:
        """Jobs come in this order: by priority, then as they were added, unless somebody moved them."""
        return -self.priority, float(self.number) if self.place is None else self.place, self.number

    @property
    def finished(self) -> bool:
        """Whether the job is over for good: no further attempt follows."""
        return self.state in FINISHED_STATES


@dataclass(frozen=True)
class AttemptRow:
    """One execution of a job on one node. `number` is the fencing token.

    `observation` is the newest that the node sent, None: it never told. `confirmed_at` is when the node first showed
    that it knows the attempt. The log copy holds the bytes [`log_start`, `log_end`) of the node's log.
    `lease` is what was promised to it (`stoker.dispatch.leases`), None: nothing. `stop_due`: the job went on without it
    while its node was away; when that answers again, what is left of the attempt is ended. `resume` is the checkpoint
    that it goes on from (as in its spec), None: it began at the beginning.
    """

    job_id: str
    number: int
    node: str
    state: str
    reason: str | None
    detail: str | None
    exit_code: int | None
    signal: int | None
    oom: bool | None
    claimed_at: float
    confirmed_at: float | None
    queued_at: float | None
    started_at: float | None
    ended_at: float | None
    elapsed_s: float | None
    observation: Mapping[str, Any] | None
    observed_at: float | None
    log_start: int
    log_end: int
    lease: Mapping[str, Any] | None = None
    stop_due: bool | None = None
    resume: Mapping[str, Any] | None = None

    @property
    def live(self) -> bool:
        """Whether the attempt may still be under way: nothing has proved its end."""
        return self.state in LIVE_STATES


@dataclass(frozen=True)
class CheckpointRow:
    """A checkpoint that came whole, kept for `job_id`.

    Attempt `attempt` of `of_job` wrote it on `node`. `place` is the machine and the folder that has its files; `name`
    the file or folder, `step` the training step that names tell. `mark` stands for how the files were on the node,
    `written_at` (by the node's clock) is when the newest was written, `at` when it was fetched. `damaged`: why it is of
    no use any more.
    """

    seq: int
    job_id: str
    of_job: str
    attempt: int
    node: str
    place: str
    digest: str
    mark: str
    name: str
    step: int | None
    files: int
    bytes: int
    written_at: float | None
    at: float
    damaged: str | None

    def resume(self) -> dict[str, Any]:
        """As the spec of an attempt that goes on from it says it."""
        return {
            "digest": self.digest, "name": self.name, "step": self.step, "job": self.of_job, "attempt": self.attempt,
        }  # fmt: skip


@dataclass(frozen=True)
class PullRow:
    """How fetching the checkpoints of a job stands.

    Until `until` somebody does it, under the `epoch`-th claim. The next try is due at `next_at`; of attempts up to
    `settled` nothing more is to be fetched. `problem` is why the newest try brought none.
    """

    job_id: str
    tried_at: float | None
    next_at: float | None
    until: float | None
    epoch: int
    settled: int
    problem: str | None


@dataclass(frozen=True)
class NodeRow:
    """What the store knows of a node.

    `unreachable_since` is the first miss after `last_seen`, `misses` how many were counted since (one in a probe
    interval, the newest at `missed_at`). `offline_since`: when there were too many of them; None: it is not offline.
    `clock` is what its clock showed in the last answer, and this machine's when that came (`stoker.dispatch.leases`).
    """

    name: str
    facts: Mapping[str, Any]
    last_seen: float | None
    unreachable_since: float | None
    unreachable_message: str | None
    misses: int
    clock: Mapping[str, Any] | None = None
    missed_at: float | None = None
    offline_since: float | None = None


@dataclass(frozen=True)
class MemberRow:
    """What was decided of a node. One that a person wrote into the inventory has no row as long as nothing was.

    `state`: pending, expired, active, draining, drained, removed. `source`, where it came from: inventory, added,
    announced. `asked_*` is when and by whom its membership was asked for, `expires_at` until when that can be approved,
    `decided_*` the newest decision. A node that is drained stops its jobs at `drain_deadline`.
    """

    name: str
    state: str
    source: str
    asked_at: float
    asked_by: str | None = None
    expires_at: float | None = None
    decided_at: float | None = None
    decided_by: str | None = None
    drain_deadline: float | None = None


@dataclass(frozen=True)
class QueueRow:
    """A line of jobs that start in order.

    `max_running` is how many of them may be under way at a time; None: on each node as many as it has GPUs, one where
    it has none. With `stop_on_failure` it is paused when a job of it fails for good. While `paused_at` is set nothing
    of it starts; `paused_reason` says why.
    """

    name: str
    max_running: int | None
    stop_on_failure: bool
    paused_at: float | None
    paused_reason: str | None
    created_at: float

    @property
    def paused(self) -> bool:
        """Whether nothing of it is started."""
        return self.paused_at is not None


@dataclass(frozen=True)
class WorkflowRow:
    """Jobs that depend on each other. `body` is what was submitted (see `stoker.dispatch.workflow`).

    `state` is running, succeeded, failed or cancelled. `resumed` counts how often it went on after it was over.
    """

    id: str
    number: int
    name: str
    body: Mapping[str, Any]
    state: str
    stop_requested: bool
    resumed: int
    created_at: float
    updated_at: float
    ended_at: float | None
    submitted_by: str | None


@dataclass(frozen=True)
class PartRow:
    """One job of a step of a workflow, made or to be made; a step without a matrix has one part.

    `state` is waiting, running, succeeded, failed, cancelled or skipped. `result` says how its job ended: job_state,
    reason, exit_code, signal, node, elapsed_s, outputs, stdout.
    """

    workflow_id: str
    step: str
    part: int
    state: str
    job_id: str | None
    detail: str | None
    result: Mapping[str, Any] | None
    updated_at: float

    @property
    def over(self) -> bool:
        """Whether nothing more becomes of it by itself."""
        return self.state not in ("waiting", "running")


@dataclass(frozen=True)
class EventRow:
    """One transition. `seq` grows in the order in which transitions were written, with gaps at most."""

    seq: int
    at: float
    type: str
    job_id: str | None
    attempt: int | None
    node: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True)
class TemplateRow:
    """A saved command. `body` holds what a job made from it gets, and the parameters; see `stoker.operations.template`.

    `project` is a word of the user's own, to find it by.
    """

    name: str
    description: str | None
    project: str | None
    body: Mapping[str, Any]
    created_at: float
    updated_at: float


@dataclass(frozen=True)
class SampleRow:
    """What a node did at one moment. A figure that was not asked, or not told, is None.

    `at` is when it came here by this machine's clock, `node_at` when it was taken by the node's. Memory is in bytes.
    `detail`: `disks` [{mount, used_pct, free, total}], `network` [{name, rx_bytes, tx_bytes}] since the node's boot,
    `gpus` [{index, uuid, util_pct, mem_used_mib, mem_total_mib, temp_c, power_w}].
    """

    node: str
    at: float
    node_at: float | None
    cpu_pct: float | None
    load: float | None
    memory_used: int | None
    memory_total: int | None
    detail: Mapping[str, Any]


@dataclass(frozen=True)
class AlertRow:
    """A figure of a node that is past its limit since then. `key` tells what: memory, disk:/data, gpu:UUID ..."""

    node: str
    key: str
    since: float
    text: str


@dataclass(frozen=True)
class JobOutcome:
    """What statistics need of a job: `elapsed_s` is that of its newest attempt, by its node's clock."""

    template: str | None
    node: str | None
    state: str
    elapsed_s: float | None


@dataclass(frozen=True)
class TokenRow:
    """A bearer token: who has it and what it may, never the token itself. Times are seconds of the epoch."""

    name: str
    digest: str
    role: str
    created_at: float
    created_by: str | None
    expires_at: float | None


@dataclass(frozen=True)
class CallRow:
    """One call. `outcome`: running, ok, error, cancelled, asked (it waits for a confirmation) or denied.

    `process` is what makes it (see `stoker.store.callers`); None for one that was over when it was written down.
    """

    seq: int
    at: float
    ended_at: float | None
    via: str
    who: str
    role: str
    operation: str
    arguments: Mapping[str, Any]
    outcome: str
    detail: str | None
    key: str | None
    digest: str | None
    answer: str | None
    process: str | None


@dataclass(frozen=True)
class NoticeRow:
    """A message to people: of the event `seq`, for one target.

    `state`: due, sent, failed (given up) or left_out (the same was told a moment before). `claimed_until`: somebody is
    sending it. `node` is that whose state it tells; `held_until`: it waits for the end of a cool-down or of a silence,
    and is left out when it is no longer so by then. Times are seconds of the epoch.
    """

    seq: int
    target: str
    at: float
    topic: str
    title: str
    body: str
    mood: str
    urgent: bool
    state: str
    tries: int
    claimed_until: float | None
    ended_at: float | None
    detail: str | None
    read_at: float | None
    archived_at: float | None
    node: str | None = None
    held_until: float | None = None


@dataclass(frozen=True)
class SquelchRow:
    """The alerts of the nodes that `pattern` names are silenced, `since` to `until` (seconds of the epoch)."""

    pattern: str
    since: float
    until: float


@dataclass(frozen=True)
class NoticeTargetRow:
    """How far a target was told of the events (`seen` is a number), and whether it takes what it is sent."""

    name: str
    seen: int
    sent_at: float | None
    failing_since: float | None
    failures: int
    next_try: float | None
    detail: str | None
