"""Services: commands with a health endpoint, kept running on a node.

Each is a job; its state is what the endpoint says when it is asked.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from stoker.errors import NodeError, NotFound, StokerError, UsageError
from stoker.operations import jobs, quantities
from stoker.operations.containers import ask_one
from stoker.operations.find import near
from stoker.operations.logs import LogStream
from stoker.operations.logs import logs as job_logs
from stoker.operations.options import JobOptions, Named, named_job
from stoker.operations.registry import Command, Short, operation
from stoker.operations.rounds import ask_nodes
from stoker.operations.session import Session
from stoker.operations.submit import submit
from stoker.operations.values import Problem

if TYPE_CHECKING:
    from stoker.store import JobRow

Restart = Literal["no", "on-failure", "always"]
ServiceState = Literal["starting", "running", "unhealthy", "stopped", "failed"]
LONG_POLL_S = 10.0
_NAME = re.compile(r"^[a-z0-9][a-z0-9._-]{0,39}$")
_URL = re.compile(r"^https?://[^\s/]+\S*$")
# $1: when to start again, $2: how often at most (0: no end). Every end is told in the log.
_AGAIN = """policy=$1 most=$2 count=0 pause=1
shift 2
while :; do
    began=$(date +%s)
    "$@"
    code=$?
    if [ "$policy" = on-failure ] && [ "$code" -eq 0 ]; then exit 0; fi
    count=$((count + 1))
    if [ "$most" -gt 0 ] && [ "$count" -gt "$most" ]; then exit "$code"; fi
    if [ $(($(date +%s) - began)) -ge 60 ]; then pause=1; fi
    echo "stoker: the service ended with $code; it is started again ($count) in $pause s" >&2
    sleep "$pause"
    pause=$((pause * 2))
    if [ "$pause" -gt 60 ]; then pause=60; fi
done
"""


@dataclass(frozen=True)
class Service:
    """A service as its node told at `asked_at` (Unix seconds, this machine's clock).

    `running` is said only when the endpoint `url` answered well at that very time (`evidence`). `healthy_age_s`: how
    long ago it did so last, by the node's clock, None when it never did. `job` is the id of the job that it is;
    `others` are older jobs of that name that are not over: two controllers started it at once.
    """

    node: str
    name: str
    state: ServiceState
    evidence: str
    url: str
    job: str
    others: tuple[str, ...]
    healthy_age_s: float | None
    elapsed_s: float | None
    last_line: str | None
    gpus: tuple[str, ...]
    asked_at: float


@dataclass(frozen=True)
class ServiceList:
    """The services of the nodes that answered. `named`: one of them was asked for by its name."""

    services: tuple[Service, ...]
    problems: tuple[Problem, ...] = ()
    named: bool = False

    @property
    def exit_code(self) -> int:
        """1 when a node did not answer, or a service is not running; one that was stopped counts when it is named."""
        well = {"running"} if self.named else {"running", "stopped"}
        return int(bool(self.problems) or any(service.state not in well for service in self.services))


@dataclass(frozen=True)
class ServiceChange:
    """What became of one service. `wanted` is `running` or `stopped`."""

    service: Service
    changed: bool
    wanted: Literal["running", "stopped"]
    problems: tuple[Problem, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 when the service is as wanted."""
        over = self.service.state in ("stopped", "failed")
        return int(not over if self.wanted == "stopped" else self.service.state != "running")


@operation("services", "service start", "operate")
def start(
    session: Session,
    node: str,
    name: str,
    argv: Command = (),
    *,
    health: str | None = None,
    container: str | None = None,
    gpus: int | None = None,
    env: Annotated[Mapping[str, str] | None, Short("-e")] = None,
    secret: Sequence[str] = (),
    workdir: str | None = None,
    restart: Restart = "on-failure",
    restarts: int = 0,
    start_period: float | str = 60.0,
    wait: float | str | None = None,
) -> ServiceChange:
    """Start a service, and wait until its health endpoint answers. One that runs is left as it is.

    Everything after `--` is the command, exactly as it is. It goes on when this program ends. Without a command and
    health endpoint: what was started under that name before.

    Args:
        node: The node.
        name: The service.
        argv: The command and its arguments.
        health: Address that answers 200 to 399 when all is well, as seen from the node: http://127.0.0.1:8000/health.
        container: Run the command inside this container of the node.
        gpus: How many GPUs the service gets for itself; it waits on the node until they are free.
        env: An environment variable, KEY=VALUE. Repeatable.
        secret: Name of a variable of the environment whose value the service gets without it being stored. Repeatable.
        workdir: Folder to run in.
        restart: When the node starts the command again: no, on-failure, always. After 1, 2, 4 ... s, 60 s at most.
        restarts: How often at most; 0 for no end.
        start_period: How long it may take until it is healthy for the first time; then it is unhealthy.
        wait: Wait this long for it; by default the start period.
    """
    where = _check(session, node, name)
    patience = quantities.seconds(start_period if wait is None else wait, "--wait")
    session.may_hand(secret)
    before = _one(session, where, name)
    if before is not None and before.state not in ("stopped", "failed"):
        return ServiceChange(_healthy(session, before, patience), False, "running")
    if (waiting := _waiting(session, where, name)) is not None:
        raise StokerError(
            f"{name} was submitted already, as {waiting.id}, and waits for {where}",
            next_step=f"stoker job {waiting.id} says why; stoker service stop {where} {name} takes it back",
        )
    if not argv and health is None and before is not None:
        return _again(session, where, name, before, patience)
    if not argv or health is None:
        raise UsageError(
            f"{name} was never started on {where}: it needs a command and --health",
            next_step=f"stoker service start {where} {name} --health http://127.0.0.1:8000/health -- COMMAND",
        )
    if not _URL.match(health):
        raise UsageError(f"--health: {health!r} is not an http address", next_step="http://127.0.0.1:8000/health")
    if restarts < 0:
        raise UsageError(f"--restarts: {restarts} is not a number of 0 or more")
    command = _inside(session, where, container, argv, [*(env or {}), *secret], workdir) if container else list(argv)
    if restart != "no":
        command = ["/bin/sh", "-c", _AGAIN, name, restart, str(restarts), *command]
    options: JobOptions = {
        "env": env, "secret": secret, "gpus": gpus, "workdir": None if container else workdir, "on": where,
        "retries": 0, "lease": "keep",
    }  # fmt: skip
    named = named_job(command, options, name)
    seconds = quantities.seconds(start_period, "--start-period")
    labels = {"stoker.service": name, "stoker.health": health, "stoker.start_s": f"{seconds:g}"}
    submitted = submit(session, replace(named, spec={**named.spec, "labels": labels}), began=time.monotonic())
    return _started(session, where, name, patience, submitted.problems)


@operation("services", "service stop", "operate", destroys=True)
def stop(session: Session, node: str, name: str, *, grace: float | str | None = None) -> ServiceChange:
    """Stop a service: its own processes, wherever they went, and no others.

    Args:
        node: The node.
        name: The service.
        grace: How long it may take to end before it is killed (10s).
    """
    where = _check(session, node, name)
    if (waiting := _waiting(session, where, name)) is not None:
        jobs.stop(session, waiting.id, grace=grace)
        session.say(f"stoker: {waiting.id} waited for {where} and was taken back")
    before = _one(session, where, name)
    if before is None and waiting is not None:
        return ServiceChange(_taken_back(_row(session, where, waiting.id), where, name), True, "stopped")
    if before is None:
        raise _unknown(session, where, name, [where])
    open_ones = [] if before.state in ("stopped", "failed") else [before.job]
    open_ones += before.others
    if not open_ones:
        return ServiceChange(before, False, "stopped")
    stopped = jobs.stop(session, *(_row(session, where, job).id for job in open_ones), grace=grace)
    return ServiceChange(_known(session, where, name), True, "stopped", stopped.problems)


@operation("services", "service restart", "operate", destroys=True)
def restart(
    session: Session, node: str, name: str, *, grace: float | str | None = None, wait: float | str | None = None
) -> ServiceChange:
    """Stop a service and start it again, with the same command.

    Args:
        node: The node.
        name: The service.
        grace: How long it may take to end before it is killed (10s).
        wait: Wait this long for it to be healthy; by default its start period.
    """
    if (known := _one(session, _check(session, node, name), name)) is not None:
        # Before it is stopped: one that may not be started again goes on.
        session.may_hand(_row(session, known.node, known.job).spec.get("secret_env") or ())
    stopped = stop(session, node, name, grace=grace)
    if stopped.exit_code:
        return ServiceChange(stopped.service, stopped.changed, "running", stopped.problems)
    patience = None if wait is None else quantities.seconds(wait, "--wait")
    return _again(session, stopped.service.node, name, stopped.service, patience)


@operation("services", "service status", "read")
def status(session: Session, on: str | None = None, name: str | None = None) -> ServiceList:
    """Show the services: the nodes look at the health endpoints now.

    Ends with 1 when one is not running that was not stopped, or that was named.

    Args:
        on: Only this node or group.
        name: Only this service.
    """
    names = session.inventory.match(on) if on is not None else [n.name for n in session.inventory.nodes]
    found, problems = _look(session, names, name)
    if name is not None and not found and not problems:
        raise _unknown(session, on or "", name, names)
    return ServiceList(found, problems, name is not None)


@operation("services", "service logs", "read")
def logs(
    session: Session,
    node: str,
    name: str,
    *,
    follow: Annotated[bool, Short("-f")] = False,
    tail: int | None = None,
) -> LogStream:
    """Show what a service wrote, its restarts among it.

    Args:
        node: The node.
        name: The service.
        follow: Go on until it ends; Ctrl-C leaves it running.
        tail: How many of the last lines (200).
    """
    where = _check(session, node, name)
    return job_logs(session, _row(session, where, _known(session, where, name).job).id, follow=follow, tail=tail)


# -- looking ---------------------------------------------------------------------------------------------------


def _look(
    session: Session, nodes: Sequence[str], name: str | None, wait_s: float = 0.0
) -> tuple[tuple[Service, ...], tuple[Problem, ...]]:
    request = {"op": "services", "which": None if name is None else [name], "wait": wait_s}
    answers, problems = ask_nodes(session, "stoker.fleet.request", {"*": request}, nodes)
    replies = {node: answers[node].res["reply"] for node in nodes if node in answers}
    return tuple(_service(node, item, r["now"]) for node, r in replies.items() for item in r["services"]), problems


def _service(node: str, told: Mapping[str, Any], now: float) -> Service:
    seen = told["observation"]
    age = None if told["healthy_at"] is None else max(0.0, now - told["healthy_at"])
    return Service(
        node, told["name"], told["state"], told["evidence"], told["url"], told["job"],
        tuple(told["others"]), age, seen["elapsed_s"],
        seen["last_line"], tuple(seen["gpus"] or ()), time.time(),
    )  # fmt: skip


def _one(session: Session, node: str, name: str, wait_s: float = 0.0) -> Service | None:
    """The service as the node tells now; None where it has none of that name. Raises NodeError."""
    found, problems = _look(session, [node], name, wait_s)
    if problems:
        raise NodeError(node, problems[0].message, next_step=problems[0].next_step)
    return found[0] if found else None


def _known(session: Session, node: str, name: str) -> Service:
    service = _one(session, node, name)
    if service is None:
        raise _unknown(session, node, name, [node])
    return service


def _unknown(session: Session, on: str, name: str, nodes: Sequence[str]) -> NotFound:
    others = {service.name for service in _look(session, nodes, None)[0]}
    where = f" on {on}" if on else ""
    return NotFound(f"there is no service {name!r}{where}.{near(name, others)}", next_step="stoker service status")


def _check(session: Session, node: str, name: str) -> str:
    """The one node that is meant. Raises UsageError for a name that can be none of a service."""
    if not _NAME.match(name):
        raise UsageError(
            f"{name!r} is no name for a service", next_step="up to 40 of a-z 0-9 . _ -, a letter or digit first"
        )
    names = session.inventory.match(node)
    if len(names) != 1:
        raise UsageError(f"{node} is {len(names)} nodes", next_step="name one of them")
    return names[0]


# -- starting --------------------------------------------------------------------------------------------------


def _started(
    session: Session, node: str, name: str, patience_s: float, problems: tuple[Problem, ...] = ()
) -> ServiceChange:
    service = _one(session, node, name)
    if service is None:
        first = problems[0] if problems else None
        raise StokerError(
            f"{name} has not reached {node}" + (f": {first.message}" if first else ""),
            next_step=first.next_step if first and first.next_step else "stoker jobs shows it; it starts when it can",
        )
    return ServiceChange(_healthy(session, service, patience_s), True, "running", problems)


def _healthy(session: Session, service: Service, patience_s: float) -> Service:
    """Wait on the node until it is no longer starting, or the patience is over."""
    end = time.monotonic() + patience_s
    while service.state == "starting" and (left := end - time.monotonic()) > 0:
        session.say(f"stoker: {service.name} is starting on {service.node}: {service.evidence}")
        found = _one(session, service.node, service.name, min(left, LONG_POLL_S))
        if found is None:
            break
        service = found
    return service


def _again(session: Session, node: str, name: str, service: Service, patience_s: float | None) -> ServiceChange:
    """Start what was started before: a new job of the same spec."""
    row = _row(session, node, service.job)
    labels = row.spec.get("labels") or {}
    named = {key: value for key, value in row.spec.items() if key not in ("schema", "job", "uid") and value is not None}
    submitted = submit(session, Named(named, node, 0, None, name), began=time.monotonic())
    patience = float(labels.get("stoker.start_s") or 60.0) if patience_s is None else patience_s
    return _started(session, node, name, patience, submitted.problems)


def _row(session: Session, node: str, job: str) -> JobRow:
    """A service's job in the store; read back from the node where another controller started it."""
    row = session.store.job(job)
    if row is None:
        jobs.adopt(session, node)
        row = session.store.job(job)
    if row is None:
        raise NodeError(node, f"the job {job} cannot be read back", next_step="stoker adopt")
    return row


def _waiting(session: Session, node: str, name: str) -> JobRow | None:
    """A job of this service that no node has yet: it was submitted while the node was away."""
    for row in session.store.jobs(states=["queued"]):
        if row.target == node and row.node is None and (row.spec.get("labels") or {}).get("stoker.service") == name:
            return row
    return None


def _taken_back(row: JobRow, node: str, name: str) -> Service:
    """A service that never reached its node, which was asked and has none of that name."""
    url = str((row.spec.get("labels") or {}).get("stoker.health", ""))
    words = "it was taken back before it reached the node" if row.finished else "it is asked to stop, and not over yet"
    return Service(
        node, name, "stopped" if row.finished else "starting", words, url, row.id, (), None, None, None, (), time.time()
    )


def _inside(
    session: Session, node: str, container: str, argv: Sequence[str], names: Sequence[str], workdir: str | None
) -> list[str]:
    """The command that runs `argv` in a container, so that its processes are still known as the job's there."""
    reply = ask_one(session, node, {"op": "containers", "which": [container]})
    found = next(iter(reply["containers"]), None)
    if found is None and reply["containers_unknown"]:
        raise NodeError(node, f"whether there is a container {container!r} is not known: {reply['containers_unknown']}")
    if found is None:
        raise NotFound(f"there is no container {container!r} on {node}", next_step=f"stoker container list {node}")
    if found["state"] != "running":
        raise StokerError(
            f"{container} is {found['state']} on {node}", next_step=f"stoker container start {node} {container}"
        )
    if found["engine"] == "docker" and reply["user_id"] != 0:
        raise StokerError(
            f"{node}: what Docker runs belongs to root: its processes could not be stopped by this user",
            next_step="log in as root there, or use Podman",
        )
    # Names only: the engine's command line takes the values from its own environment, which is the job's.
    known = ["STOKER_JOB", "STOKER_ATTEMPT", "STOKER_TOKEN", *names]
    words = [word for name in known for word in ("--env", name)]
    return [found["engine"], "exec", *words, *(["--workdir", workdir] if workdir else []), container, *argv]
