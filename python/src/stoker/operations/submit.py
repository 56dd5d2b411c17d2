"""Submitting: a new job, or an old one again."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from stoker.errors import UsageError
from stoker.operations import quantities
from stoker.operations.find import job_row
from stoker.operations.isolation import isolation_spec
from stoker.operations.registry import Command, FileText, Short, operation
from stoker.operations.rounds import make_round
from stoker.operations.session import Session
from stoker.operations.values import Problem, Submitted
from stoker.operations.views import job_of

if TYPE_CHECKING:
    from stoker.runner import InventoryNode
    from stoker.store import JobRow

PLACING_ROUNDS = 3
_UNNAMED: Mapping[str, Any] = {
    "argv": None, "script": None, "env": {}, "timeout_s": None, "memory_bytes": None, "cpus": None,
    "checkpoint_signal": None, "split_output": False,
}  # fmt: skip


@operation("jobs", "run", "operate", follow=True)
def run(
    session: Session,
    argv: Command = (),
    *,
    on: str | None = None,
    gpus: int | None = None,
    name: Annotated[str | None, Short("-n")] = None,
    env: Annotated[Mapping[str, str] | None, Short("-e")] = None,
    secret: Sequence[str] = (),
    workdir: str | None = None,
    timeout: float | str | None = None,
    memory: int | str | None = None,
    cpus: float | None = None,
    retries: int | None = None,
    grace: float | str | None = None,
    checkpoint_signal: str | None = None,
    metric: Mapping[str, str] | None = None,
    script: FileText = None,
    split_output: bool = False,
    container: str | None = None,
    mount: Sequence[str] = (),
    shm: int | str | None = None,
    engine: str | None = None,
    pull: str | None = None,
    network: str | None = None,
    user: str | None = None,
    sandbox: str | None = None,
) -> Submitted:
    """Run a command as a job on a node.

    The job goes on when this program ends, the connection breaks or this machine is shut down. Everything after `--`
    is the command, exactly as it is: no shell reads it.

    Args:
        argv: The command and its arguments.
        on: Node or group to run on; any idle node by default.
        gpus: How many GPUs the job gets for itself; it waits on the node until they are free.
        name: A name for the job; its id begins with it. The command's name by default.
        env: An environment variable, KEY=VALUE. Repeatable.
        secret: Name of a variable of the environment whose value the job gets without it being stored. Repeatable.
        workdir: Folder to run in. By default the current folder on this machine, the home folder on other nodes.
        timeout: Stop the job after this long (90s, 2h).
        memory: Most memory the job may use (8G), where the node can limit it.
        cpus: Most CPUs the job may use, where the node can limit it.
        retries: How often to start it again when it fails.
        grace: How long it may take to end after the signal to stop, before it is killed (10s).
        checkpoint_signal: Signal to send before a stop so that the job writes a checkpoint (USR1).
        metric: A number to take from the log, NAME=REGEX; the first group is the value. Repeatable.
        script: Run this text instead of a command, with /bin/sh or what its first line names. On the command line: a
            file, or -.
        split_output: Keep stdout and stderr in files of their own, too.
        container: Image of a container to run in, on the node's Podman or Docker. The folder to run in is mounted.
        mount: A folder or file of the node to mount in the container, SOURCE:TARGET or SOURCE:TARGET:ro. Repeatable.
        shm: Size of the container's shared memory (8G).
        engine: The container engine, podman or docker; by default what the node has.
        pull: When to fetch the image: missing (the default), never or always.
        network: Network of the container, such as host or none; the engine's own default otherwise.
        user: User of the node to run as, where its own one is root; in a container: user of the container.
        sandbox: bwrap or container: the job can write to its folder and to a /tmp of its own only.
    """
    began = time.monotonic()
    if (script is None) == (not argv):
        if script is None:
            raise UsageError("there is nothing to run", next_step="stoker run -- python train.py")
        raise UsageError("give either a command or a script, not both")
    named = named_spec(
        argv, script=script, env=env, secret=secret, workdir=workdir, gpus=gpus, timeout=timeout, memory=memory,
        cpus=cpus, grace=grace, checkpoint_signal=checkpoint_signal, metric=metric, split_output=split_output,
        isolation=isolation_spec(
            container=container, mount=mount, shm=shm, engine=engine, pull=pull, network=network, user=user,
            sandbox=sandbox,
        ),
    )  # fmt: skip
    return submit(session, named, on, retries, name if name is not None else _title(argv, script), began=began)


def named_spec(
    argv: Sequence[str], *, script: str | None, env: Mapping[str, str] | None, secret: Sequence[str],
    workdir: str | None, gpus: int | None, timeout: float | str | None, memory: int | str | None, cpus: float | None,
    grace: float | str | None, checkpoint_signal: str | None, metric: Mapping[str, str] | None, split_output: bool,
    isolation: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """What a caller named of a spec, and nothing else: the rest is for the settings of whoever submits it to say.

    Raises UsageError for a quantity that cannot be read, and for a secret that is not a name.
    """
    spec: dict[str, Any] = {
        "argv": list(argv) or None,
        "script": script,
        "workdir": workdir,
        "env": dict(env) if env else None,
        "secret_env": _names_only(secret) or None,
        "gpus": gpus,
        "timeout_s": quantities.seconds(timeout, "--timeout") if timeout is not None else None,
        "memory_bytes": quantities.size(memory, "--memory") if memory is not None else None,
        "cpus": cpus,
        "grace_s": quantities.seconds(grace, "--grace") if grace is not None else None,
        "checkpoint_signal": checkpoint_signal.upper().removeprefix("SIG") if checkpoint_signal else None,
        "split_output": split_output or None,
        "metrics": [{"name": name, "regex": regex, "keep": "series"} for name, regex in (metric or {}).items()] or None,
        **isolation,
    }
    return {key: value for key, value in spec.items() if value is not None}


def submit(
    session: Session, named: Mapping[str, Any], on: str | None, retries: int | None, title: str, *,
    template: str | None = None, began: float,
) -> Submitted:  # fmt: skip
    """Complete a spec of which a part was named, write the job down and offer it to the nodes."""
    settings = session.config.defaults
    target = on if on is not None else settings.on
    patterns = [{"name": p.name, "regex": p.regex, "severity": p.severity} for p in session.config.log_patterns]
    spec = {
        "schema": "stoker.spec/1",
        **_UNNAMED,
        "gpus": settings.gpus,
        "grace_s": settings.grace_s,
        "log_patterns": patterns,
        **named,
        "workdir": _workdir(named.get("workdir"), _chosen(session, target)),
        "secret_env": _secrets(session, named.get("secret_env") or (), target),
        "metrics": _metrics(session, named.get("metrics") or ()),
    }
    most = settings.retries if retries is None else retries
    if most < 0:
        raise UsageError(f"--retries: {most} is not a number of 0 or more")
    return _submit(session, title, spec, target, most, began, template=template)


@operation("jobs", "retry", "operate", follow=True)
def retry(session: Session, job: str, *, env: Annotated[Mapping[str, str] | None, Short("-e")] = None) -> Submitted:
    """Run a finished job again: same command, folder, environment and resources; a new job that names the old one.

    Args:
        job: Id of the job, or the beginning of it.
        env: An environment variable to set differently, KEY=VALUE. Repeatable.
    """
    began = time.monotonic()
    row = job_row(session, job)
    view = job_of(session, row)
    if not view.finished:
        what = f"is {view.state}" if view.next_attempt_at is None else "waits for its next attempt"
        raise UsageError(
            f"{row.id} {what}: it cannot be run again before it is over", next_step=f"stoker stop {row.id}"
        )
    spec = {key: value for key, value in row.spec.items() if key not in ("job", "uid")}
    spec["env"] = {**(spec.get("env") or {}), **(env or {})}
    _secrets(session, spec.get("secret_env") or (), row.target)
    return _submit(session, row.name, spec, row.target, row.max_retries, began, retry_of=row.id, template=row.template)


def _submit(
    session: Session,
    name: str,
    spec: dict[str, Any],
    target: str | None,
    retries: int,
    began: float,
    *,
    retry_of: str | None = None,
    template: str | None = None,
) -> Submitted:
    """Write the job down, then make rounds until it is on a node or the reason why not is known."""
    row = session.store.add_job(name, spec, target, retries, retry_of=retry_of, template=template)
    try:
        problems = _place(session, row)
    except KeyboardInterrupt:
        session.say(f"\nstoker: {row.id} is accepted: stoker job --live {row.id} shows, stoker stop {row.id} ends it")
        raise
    return Submitted(job_of(session, job_row(session, row.id)), time.monotonic() - began, problems)


def _place(session: Session, row: JobRow) -> tuple[Problem, ...]:
    problems: tuple[Problem, ...] = ()
    for _ in range(PLACING_ROUNDS):
        problems = make_round(session, "dispatch", jobs=[row.id])
        now = job_row(session, row.id)
        if now.state not in ("queued", "starting") or (
            now.state == "queued" and (now.reason or now.detail or problems)
        ):
            break
    return problems


def _chosen(session: Session, target: str | None) -> list[InventoryNode]:
    """The nodes that `target` means. Raises UsageError for a name that the inventory does not have."""
    if target is None:
        return list(session.inventory.nodes)
    return [session.inventory.node(name) for name in session.inventory.match(target)]


def _workdir(named: str | None, nodes: Sequence[InventoryNode]) -> str | None:
    """A relative folder means one of this machine, when the job can only run here."""
    here = bool(nodes) and all(node.vars.get("ansible_connection") == "local" for node in nodes)
    if named is None:
        return str(Path.cwd()) if here else None
    return str(Path(named).expanduser().absolute()) if here else named


def _names_only(names: Sequence[str]) -> list[str]:
    for name in names:
        if "=" in name:
            raise UsageError(
                f"--secret takes a name, not a value (others would see it in ps): {name.split('=')[0]}=...",
                next_step=f"export {name.split('=')[0]}, then --secret {name.split('=')[0]}",
            )
    return list(names)


def _secrets(session: Session, names: Sequence[str], target: str | None) -> list[str]:
    """The names. Raises UsageError for one that has no value here: not in the environment, in no `stoker_secrets`.

    Where these are encrypted as a whole only Ansible can tell; the node refuses the job when one is missing then.
    """
    missing = [name for name in _names_only(names) if name not in os.environ]
    kept = [node.secrets for node in _chosen(session, target)] if missing else []
    for name in missing:
        if not any(secrets is None or name in secrets for secrets in kept):
            raise UsageError(
                f"--secret {name}: there is no {name} in the environment, nor in stoker_secrets of the inventory",
                next_step=f"export {name}=...",
            )
    return list(names)


def _metrics(session: Session, named: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    settings = {m.name: {"name": m.name, "regex": m.regex, "keep": m.keep} for m in session.config.metrics}
    settings.update({metric["name"]: dict(metric) for metric in named})
    return list(settings.values())


def _title(argv: Sequence[str], script: str | None) -> str:
    """`train` for `python -u train.py`, `sleep` for `/bin/sleep 5`."""
    if script is not None or not argv:
        return "script"
    program = Path(argv[0]).name
    if program.startswith(("python", "bash", "sh", "perl", "node")):
        program = next(
            (Path(a).stem for a in argv[1:] if not a.startswith("-") and a.endswith((".py", ".sh", ".pl", ".js"))),
            program,
        )
    return re.sub(r"(?<=^python)[0-9.]+$", "", program) or "job"
