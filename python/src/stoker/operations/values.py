"""What operations answer: frozen dataclasses. Times are Unix seconds, durations seconds, sizes bytes.

None means not known, or that there is none; it never stands for zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from stoker.operations.rented_values import Instance

FINAL = frozenset({"succeeded", "failed", "cancelled", "lost", "dead"})


@dataclass(frozen=True)
class Problem:
    """Something that could not be asked or done. `node` is None when it is about no one node."""

    node: str | None
    message: str
    next_step: str | None = None
    kind: Literal["unreachable", "failed"] = "failed"


@dataclass(frozen=True)
class Freshness:
    """How old an answer is. `age_s`: of its oldest part that still matters, None when nothing was ever observed."""

    source: Literal["stored", "live"]
    asked_at: float
    age_s: float | None


@dataclass(frozen=True)
class Metric:
    """The values that one named regex found in the log. `series` holds (line, value), thinned by the node."""

    count: int
    first: float | None = None
    last: float | None = None
    min: float | None = None
    max: float | None = None
    series: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Finding:
    """A log line that an error pattern found. `line` counts from 1, `offset` is its first byte."""

    line: int
    offset: int
    name: str
    severity: str
    text: str


@dataclass(frozen=True)
class Results:
    """Where the results of a job lie and where they go: `paths` (none: all that differs) of `remote` to `local` here.

    `host` is the machine of `local`. `asked`: they are fetched when a controller there sees the end; `fetched_at` is
    when that was done, with how many files and bytes, `problem` why it failed the last time. `command` fetches them by
    hand.
    """

    paths: tuple[str, ...]
    local: str
    host: str
    remote: str | None
    asked: bool
    fetched_at: float | None
    files: int | None
    bytes: int | None
    problem: str | None
    command: str | None


@dataclass(frozen=True)
class Tracker:
    """Where `tracker` (wandb or mlflow) keeps a run, as it said itself in the job's log.

    `url` is the run's page. A run that W&B wrote offline has none yet: `folder` is on the node, for `wandb sync`.
    """

    tracker: str
    url: str | None
    folder: str | None


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that came whole: attempt `attempt` of `job` wrote it on `node`.

    `name` is the file or folder, `step` the training step that names tell. `path` is where it lies, on the machine
    `host`; `fetched_at` when it came. `damaged`: why it is of no use any more.
    """

    name: str
    step: int | None
    files: int
    bytes: int
    digest: str
    job: str
    attempt: int
    node: str
    host: str
    path: str
    written_at: float | None
    fetched_at: float
    damaged: str | None


@dataclass(frozen=True)
class Kept:
    """What is kept of the checkpoints that a job writes to `path`, newest first.

    They are fetched each `every_s` seconds. `resumed` is the one that its newest attempt went on from (name, step, job,
    attempt, digest); None: it began at the beginning. `tried_at` is when it was last looked for one, `problem` why that
    brought none.
    """

    path: str
    every_s: float
    newest: tuple[Checkpoint, ...]
    resumed: Mapping[str, Any] | None
    tried_at: float | None
    problem: str | None


@dataclass(frozen=True)
class Job:
    """A job as far as it is known.

    `state` is queued, starting, running, succeeded, failed, cancelled, lost or dead. `elapsed_s` counts by the node's
    own clock to the end, or to now while the job runs (to the last observation while its node cannot be reached: then
    `unreachable_since` is set and `state` is what was last seen). `observed_at` is when the node last told.
    `confirmed`: the node has shown that it has the newest attempt; until then it was only offered. `snapshot`: which
    files it runs with (digest, files, bytes, commit, changes, folder, host). `preflight` is what was odd about its GPUs
    when it took them, one sentence each. `container` is the image that was asked for, None where it is the node's own
    or none. `lease_s`: it goes elsewhere when its node was away for so long (policy move); None: it is kept there. A
    rank of a gang has the id of rank 0 as `gang`, its number, and how many `ranks` there are. `agent` are the name and
    the limits of an agent task (max_turns, max_tokens, max_cost_usd), `usage` what it reported up to now (turns,
    tokens, cost_usd). `trackers` is where W&B and MLflow said that they keep its runs. `checkpoints` are those that are
    kept of it; None: nobody said where it writes any.
    """

    id: str
    name: str
    state: str
    reason: str | None
    detail: str | None
    evidence: str | None
    node: str | None
    target: str | None
    attempt: int
    max_attempts: int
    next_attempt_at: float | None
    exit_code: int | None
    signal: int | None
    oom: bool | None
    argv: tuple[str, ...] | None
    script: str | None
    workdir: str | None
    gpus_asked: int
    gpus: tuple[str, ...]
    gpu_indexes: tuple[int | None, ...]
    elapsed_s: float | None
    created_at: float
    started_at: float | None
    ended_at: float | None
    observed_at: float | None
    unreachable_since: float | None
    unreachable_message: str | None
    stopping: bool
    stop_requested: str | None
    retry_of: str | None
    template: str | None
    submitted_by: str | None
    waiting: Mapping[str, Any] | None
    last_line: str | None
    log_size: int | None
    metrics: Mapping[str, Metric]
    findings: tuple[Finding, ...]
    finding_counts: Mapping[str, int]
    sample: Mapping[str, Any] | None
    rung: str | None
    left_behind: int | None
    confirmed: bool
    snapshot: Mapping[str, Any] | None = None
    results: Results | None = None
    preflight: tuple[str, ...] = ()
    container: str | None = None
    sandbox: str | None = None
    user: str | None = None
    gang: str | None = None
    rank: int | None = None
    ranks: int | None = None
    lease_s: float | None = None
    agent: Mapping[str, Any] | None = None
    usage: Mapping[str, Any] | None = None
    trackers: tuple[Tracker, ...] = ()
    checkpoints: Kept | None = None

    @property
    def finished(self) -> bool:
        """Whether the job is over for good: no attempt runs and none will follow."""
        return self.state in FINAL and self.next_attempt_at is None


@dataclass(frozen=True)
class Attempt:
    """One execution. A lower number can never change what a higher one showed."""

    number: int
    node: str
    state: str
    reason: str | None
    exit_code: int | None
    signal: int | None
    started_at: float | None
    ended_at: float | None
    elapsed_s: float | None


@dataclass(frozen=True)
class JobDetail:
    """One job with its attempts and the spec it was submitted with (secrets as names only).

    `placement` says how its newest attempt got its node: `why` (named, the only node, score, no other has room), and
    with a score `chosen` and `others`, each with node, score and parts. `gang` are all ranks of its gang. `rented` are
    the machines that it ran on, or waits for, where they are rented; `spent` of each is what it cost for this job.
    """

    job: Job
    attempts: tuple[Attempt, ...]
    spec: Mapping[str, Any]
    freshness: Freshness
    problems: tuple[Problem, ...] = ()
    placement: Mapping[str, Any] | None = None
    gang: tuple[Job, ...] = ()
    rented: tuple[Instance, ...] = ()


@dataclass(frozen=True)
class JobList:
    """Jobs, newest first. `total` counts those that a limit left out, too."""

    jobs: tuple[Job, ...]
    freshness: Freshness
    problems: tuple[Problem, ...] = ()
    left_out: int = 0


@dataclass(frozen=True)
class Submitted:
    """A job that was just written to the store, after the round that offered it to the nodes.

    `cached`: none was; this one ended well before, with the same files, command, environment and data.
    """

    job: Job
    elapsed_s: float
    problems: tuple[Problem, ...] = ()
    cached: bool = False


@dataclass(frozen=True)
class Ended:
    """A job that was waited for. `timed_out`: the wait ended before the job did."""

    job: Job
    timed_out: bool = False
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class StopResult:
    """What became of a stop.

    `stopping`: asked, not yet seen to end; `unreachable`: to be asked when it can be; `given_up`: called lost instead.
    """

    job: Job
    outcome: Literal["stopped", "already_over", "stopping", "unreachable", "given_up"]
    message: str


@dataclass(frozen=True)
class StopList:
    """One `StopResult` for each job named."""

    stopped: tuple[StopResult, ...]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Signalled:
    """A signal that the processes of a job which handle it have got."""

    job: str
    attempt: int
    node: str
    signal: str


@dataclass(frozen=True)
class Removed:
    """A finished job whose folders are gone. `bytes` were freed on the node."""

    job: str
    node: str | None
    attempts: int
    bytes: int


@dataclass(frozen=True)
class CleanReport:
    """What was really deleted. `kept`: finished jobs that stayed: too recent, or their node did not answer.

    Of these `unfetched` (job ids) wait for their results to be fetched. `snapshots` went here, `node_snapshots` on
    the nodes, `checkpoints` here.
    """

    removed: tuple[Removed, ...]
    kept: int
    dry_run: bool
    problems: tuple[Problem, ...] = ()
    unfetched: tuple[str, ...] = ()
    snapshots: int = 0
    node_snapshots: int = 0
    checkpoints: int = 0


@dataclass(frozen=True)
class AdoptReport:
    """Jobs that were read back from nodes: `adopted` are new to the store, `known` were there already."""

    adopted: tuple[Job, ...]
    known: int
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class WatchReport:
    """What a job did since the last look. `new_log` are bytes [start, end) of its log, none repeated, none lost."""

    job: Job
    new_log: bytes
    start: int
    end: int
    log_source: Literal["node", "copy", "none"]
    freshness: Freshness
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class CommandOutput:
    """One node's answer to `exec`: the streams as they were, and the command's own exit code or signal."""

    node: str
    exit_code: int | None
    signal: int | None
    stdout: bytes
    stderr: bytes
    truncated: bool
    elapsed_s: float | None
    problem: Problem | None = None
    timed_out: bool = False


@dataclass(frozen=True)
class ExecReport:
    """The answers of all nodes asked. `single` says that the caller named exactly one node.

    `problems`: results that could not be fetched afterwards.
    """

    outputs: tuple[CommandOutput, ...]
    single: bool
    problems: tuple[Problem, ...] = ()

    @property
    def exit_code(self) -> int:
        """The command's code on a single node (128 + n for signal n); for several, 0 if all gave 0, else 1.

        1 also where the command gave 0 and its results could not be fetched.
        """
        codes = [
            o.exit_code if o.exit_code is not None else 128 + (o.signal or 0) for o in self.outputs if not o.problem
        ]
        if any(o.problem for o in self.outputs):
            return 1
        code = codes[0] if self.single and codes else int(any(codes))
        return code or int(bool(self.problems))


@dataclass(frozen=True)
class Change:
    """One thing that a round brought about: a job reached a state."""

    at: float
    type: str
    job: str | None
    attempt: int | None
    node: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True)
class RoundReport:
    """One dispatch round. `waiting` is how many jobs are still queued after it."""

    changes: tuple[Change, ...]
    waiting: int
    running: int
    elapsed_s: float
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Written:
    """Files that `stoker init` wrote, and the command to go on with."""

    files: tuple[str, ...]
    next_step: str
