"""Submitting: a new job, or an old one again."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Unpack

from stoker.errors import UsageError
from stoker.operations import (
    agent_options,
    datasets,
    environments,
    files,
    rented_pools,
    result_cache,
    results,
    selection,
)
from stoker.operations.find import job_row
from stoker.operations.options import JobOptions, Named, RunOptions, named_job, names_only, one_command
from stoker.operations.registry import Command, Short, operation
from stoker.operations.rounds import make_round
from stoker.operations.service import uninterrupted
from stoker.operations.session import Session
from stoker.operations.values import Job, Problem, Submitted
from stoker.operations.views import job_of, jobs_of
from stoker.pools import pool_of

if TYPE_CHECKING:
    from stoker.runner import InventoryNode
    from stoker.store import JobRow

PLACING_ROUNDS = 3
MOST_RANKS = 1000
_UNNAMED: Mapping[str, Any] = {
    "argv": None, "script": None, "env": {}, "timeout_s": None, "memory_bytes": None, "cpus": None,
    "checkpoint_signal": None, "split_output": False,
}  # fmt: skip


@operation("jobs", "run", "operate", follow=True)
def run(session: Session, argv: Command = (), **options: Unpack[RunOptions]) -> Submitted:
    """Run a command as a job on a node.

    The job goes on when this program ends, the connection breaks or this machine is shut down. Everything after `--`
    is the command, exactly as it is: no shell reads it.

    Args:
        argv: The command and its arguments.
    """
    began = time.monotonic()
    one_command(argv, options, "run")
    named = prepared(session, named_job(argv, options, title(argv, options)), options)
    return submit(session, named, began=began)


def prepared(session: Session, named: Named, options: RunOptions) -> Named:
    """Do what has to be done before a job is submitted. Raises StokerError when that failed: nothing is submitted."""
    snapshot, pull = options.get("snapshot", False), options.get("pull", ())
    # A rented machine goes, and what was not fetched goes with it.
    goes = (
        snapshot and not pull and pool_of(named.on if named.on is not None else session.config.defaults.on) is not None
    )
    spec, wanted = files.for_job(
        session, named.spec, named.on, snapshot=snapshot, sync=options.get("sync", False), pull=pull,
        auto_pull=options.get("auto_pull", False) or goes, project=options.get("project"),
    )  # fmt: skip
    if options.get("environment") and spec.get("snapshot"):
        # Its files come with it: the node installs what they say when it has them.
        environments.refuse_nothing(session, spec)
        spec = {**spec, "environment": True}
    elif options.get("environment"):
        spec = {**spec, "env": _activated(session, spec, named.on)}
    wants = named.wants
    if dataset := options.get("dataset"):
        spec = {**spec, "dataset": datasets.described(session, dataset)}
        # Nodes where a job ran with it have it.
        wants = {**(wants or {}), "data": {**((wants or {}).get("data") or {}), datasets.label(spec["dataset"]): 1}}
        datasets.brought(session, spec["dataset"], named.on)
    if options.get("force") and not options.get("cached"):
        raise UsageError("--force runs what --cached would not, and there is no --cached")
    cached = bool(options.get("cached")) and not options.get("force")
    return replace(named, spec=spec, results=wanted, ranks=ranks_of(options), cached=cached, wants=wants)


def ranks_of(options: RunOptions) -> int:
    """On how many nodes at once a job is to run. Raises UsageError for what is no such number."""
    ranks = options.get("nodes")
    if ranks is not None and not 1 <= ranks <= MOST_RANKS:
        raise UsageError(f"--nodes: {ranks} is not a number of 1 to {MOST_RANKS}")
    return ranks or 1


def submit(
    session: Session, named: Named, *, template: str | None = None, began: float, queue: str | None = None,
    priority: int = 0,
) -> Submitted:  # fmt: skip
    """Complete a spec of which a part was named, write the job down and offer it to the nodes.

    In a `queue` it waits for its turn: the rounds of others offer it.
    """
    spec, target, most = completed(session, named)
    wants = wants_of(named)
    more: dict[str, Any] = {"template": template, "retry_on": named.retry_on, "results": named.results, "wants": wants}
    selection.refuse_impossible(session, target, wants or {})
    if named.cached:
        _refuse_later(queue is not None)
        if (stored := result_cache.found(session, named, result_cache.key_of(spec, wants))) is not None:
            return Submitted(job_of(session, stored), time.monotonic() - began, cached=True)
    if queue is not None:
        row = _written(session, named.title, spec, target, most, queue=queue, priority=priority, **more)
        return Submitted(job_of(session, row), time.monotonic() - began)
    return _submit(session, named.title, spec, target, most, began, **more)


def submit_all(
    session: Session, jobs: Sequence[Named], queue: str | None
) -> tuple[tuple[Job, ...], tuple[Problem, ...]]:
    """Submit several jobs as one: none is written down before all are checked, and the same rounds offer them all."""
    _refuse_later(any(named.cached for named in jobs))
    done = [(named, *completed(session, named)) for named in jobs]
    for named, _, target, _ in done:
        selection.refuse_impossible(session, target, wants_of(named) or {})
    rows = [
        _written(
            session, named.title, spec, target, most, queue=queue, retry_on=named.retry_on, results=named.results,
            wants=wants_of(named),
        )
        for named, spec, target, most in done
    ]  # fmt: skip
    problems = () if queue is not None else _place(session, rows)
    return jobs_of(session, [job_row(session, row.id) for row in rows]), problems


def _refuse_later(later: bool) -> None:
    if later:
        raise UsageError("--cached is for a command that runs now", next_step="stoker run --snapshot --cached -- ...")


def wants_of(named: Named) -> dict[str, Any] | None:
    """What is stored of a job's place; `ranks`, where it is a gang. None: nothing was asked."""
    return {**(named.wants or {}), **({"ranks": named.ranks} if named.ranks > 1 else {})} or None


def completed(session: Session, named: Named) -> tuple[dict[str, Any], str | None, int]:
    """The whole spec of a job of which a part was named, where it is to run, and how often it is tried again.

    Raises UsageError for a node that is not there, and for a secret without a value.
    """
    settings, given = session.config.defaults, named.spec
    # Those that stoker.yml gives to an agent come with it, whoever asks.
    session.may_hand(given.get("secret_env") or ())
    if named.ranks > 1 and given.get("checkpoints"):
        raise UsageError(
            "--checkpoints are kept of one job, and --nodes makes several",
            next_step="have rank 0 write to a folder that all nodes share",
        )
    if given.get("agent"):
        given = {**given, **agent_options.completed(session.config.agents, given)}
    target = named.on if named.on is not None else settings.on
    pool = rented_pools.pool_named(session, target)
    if pool is not None:
        rented_pools.refuse_too_many(target, pool, named.ranks)
    patterns = [{"name": p.name, "regex": p.regex, "severity": p.severity} for p in session.config.log_patterns]
    spec = {
        "schema": "stoker.spec/1",
        **_UNNAMED,
        "gpus": settings.gpus,
        "grace_s": settings.grace_s,
        "log_patterns": patterns,
        **given,
        **rented_pools.of_pool(session, pool, given),
        "workdir": _workdir(given, _chosen(session, target)),
        "secret_env": _secrets(session, given.get("secret_env") or (), target),
        "metrics": _metrics(session, given.get("metrics") or ()),
    }
    spec |= _preflight(session, spec)
    if session.config.lease.policy is not None:
        spec.setdefault("lease", dict(vars(session.config.lease)))
    return spec, target, settings.retries if named.retries is None else named.retries


def _preflight(session: Session, spec: Mapping[str, Any]) -> dict[str, Any]:
    """What is looked at when the job takes its GPUs: what was named of it, and the settings."""
    named = spec.get("preflight") or {}
    if not spec["gpus"]:
        if named:
            raise UsageError(
                "--strict and --gpu-memory are about GPUs, and the job asks for none", next_step="--gpus 1"
            )
        return {}
    settings = {key: value for key, value in vars(session.config.preflight).items() if value is not None}
    if "busy_processes" in settings:
        settings["busy_processes"] = list(settings["busy_processes"])
    return {"preflight": {**settings, **named}}


@operation("jobs", "retry", "operate", follow=True)
def retry(
    session: Session, job: str, *, env: Annotated[Mapping[str, str] | None, Short("-e")] = None, fresh: bool = False
) -> Submitted:
    """Run a finished job again: same command, files, environment and resources; a new job that names the old one.

    One that did not succeed and has --checkpoints goes on from the newest one.

    Args:
        job: Id of the job, or the beginning of it.
        env: An environment variable to set differently, KEY=VALUE. Repeatable.
        fresh: Begin at the beginning, whatever checkpoints there are.
    """
    began = time.monotonic()
    row, spec, more = _again(session, job_row(session, job), env or {})
    more["fresh"] = fresh or row.state == "succeeded"
    if not more["fresh"]:
        _fetch_last(session, [row])
    return _submit(session, row.name, spec, row.target, row.max_retries, began, **more)


def retry_all(session: Session, rows: Sequence[JobRow]) -> tuple[tuple[Job, ...], tuple[Problem, ...]]:
    """Run finished jobs again, but none that is run again already; the same rounds offer them all.

    None is written down before all are checked.
    """
    checked = [_again(session, row, {}) for row in rows]
    for _, spec, _ in checked:
        files.refuse_missing(session, spec)
    _fetch_last(session, rows)
    with session.store.write() as transaction:
        # Somebody else may answer the same dead jobs at this moment.
        new = [
            _added(session, row.name, spec, row.target, row.max_retries, within=transaction, **more)
            for row, spec, more in checked
            if not transaction.run_again(row.id)
        ]
    for row in new:
        _use_files(session, row)
    problems = _place(session, new) if new else ()
    return jobs_of(session, [job_row(session, row.id) for row in new]), problems


def _fetch_last(session: Session, rows: Sequence[JobRow]) -> None:
    """Have here what these jobs wrote last: what goes on from them takes over what is kept when it is written down."""
    from stoker.operations.checkpoint_pulls import last

    for problem in last(session, [row.id for row in rows if row.spec.get("checkpoints")]):
        session.say(f"{problem.node}: {problem.message}" if problem.node else problem.message)


def _again(session: Session, row: JobRow, env: Mapping[str, str]) -> tuple[JobRow, dict[str, Any], dict[str, Any]]:
    """A finished job, the spec of the same one again, and what else is written of that. Raises UsageError."""
    view = job_of(session, row)
    if not view.finished:
        what = f"is {view.state}" if view.next_attempt_at is None else "waits for its next attempt"
        raise UsageError(
            f"{row.id} {what}: it cannot be run again before it is over", next_step=f"stoker stop {row.id}"
        )
    rented_pools.pool_named(session, row.target)
    spec = {key: value for key, value in row.spec.items() if key not in ("job", "uid")}
    spec["env"] = {**(spec.get("env") or {}), **env}
    agent = session.config.agents.get((spec.get("agent") or {}).get("name") or "")
    session.may_hand([name for name in spec.get("secret_env") or () if agent is None or name not in agent.secret])
    if spec.get("agent"):
        # What may run is for stoker.yml of today to say, not for that of the day it ran.
        spec |= agent_options.completed(session.config.agents, spec)
    _secrets(session, spec.get("secret_env") or (), row.target)
    return row, spec, {
        "retry_of": row.id, "template": row.template, "retry_on": row.retry_on,
        "results": results.again(row.results), "wants": row.wants, "queue": row.queue, "priority": row.priority,
    }  # fmt: skip


def _submit(
    session: Session, name: str, spec: dict[str, Any], target: str | None, retries: int, began: float,
    **more: Any,
) -> Submitted:  # fmt: skip
    """Write the job down, then make rounds until it is on a node or the reason why not is known."""
    row = None
    try:
        # Whoever interrupts is told of the job as soon as there is one.
        with uninterrupted():
            row = _written(session, name, spec, target, retries, **more)
        problems = _place(session, [row]) + results.fetch(session, [row.id])
    except KeyboardInterrupt:
        if row is None:
            raise
        session.say(f"\nstoker: {row.id} is accepted: stoker job --live {row.id} shows, stoker stop {row.id} ends it")
        raise
    return Submitted(job_of(session, job_row(session, row.id)), time.monotonic() - began, problems)


def _written(
    session: Session, name: str, spec: dict[str, Any], target: str | None, retries: int, **more: Any
) -> JobRow:
    """The row of a new job; the files that it was submitted with are kept as long as it needs them."""
    files.refuse_missing(session, spec)
    row = _added(session, name, spec, target, retries, **more)
    _use_files(session, row)
    return row


def _added(session: Session, name: str, spec: dict[str, Any], target: str | None, retries: int, **more: Any) -> JobRow:
    wants = more.get("wants") or {}
    key = result_cache.key_of(spec, wants)
    return session.store.add_job(name, spec, target, retries, ranks=int(wants.get("ranks") or 1), cache_key=key, **more)


def _use_files(session: Session, row: JobRow) -> None:
    if snapshot := row.spec.get("snapshot"):
        session.store.snapshots.use(snapshot["digest"], session.store.url, row.id)
    if row.retry_of is not None and row.spec.get("checkpoints"):
        from stoker.operations.checkpoint_pulls import use

        use(session, row.id)


def _place(session: Session, rows: Sequence[JobRow]) -> tuple[Problem, ...]:
    problems: tuple[Problem, ...] = ()
    for _ in range(PLACING_ROUNDS):
        problems = make_round(session, "dispatch", jobs=[row.id for row in rows])
        if all(_settled(job_row(session, row.id), problems) for row in rows):
            break
    return problems


def _settled(now: JobRow, problems: Sequence[Problem]) -> bool:
    """Whether another round at once would bring a job no further. What a round asked the nodes for, the next knows."""
    asked = now.node is None and (now.detail or "").startswith("asking ") and not problems
    return now.state not in ("queued", "starting") or (
        now.state == "queued" and not asked and bool(now.reason or now.detail or problems)
    )


def place_wishes(row: JobRow) -> dict[str, Any]:
    """What a job asked of its place, without being a gang: for another job like it."""
    return {name: value for name, value in (row.wants or {}).items() if name not in ("ranks", "schema")}


def _activated(session: Session, named: Mapping[str, Any], on: str | None) -> dict[str, str]:
    """The environment variables of a job that runs in its project's environment, which is installed where it is not.

    Raises StokerError when that failed: nothing is submitted then.
    """
    nodes = _chosen(session, on if on is not None else session.config.defaults.on)
    if len(nodes) != 1:
        raise UsageError(f"--environment needs one node, and {len(nodes)} are meant", next_step="name it with --on")
    folder = _workdir(named, nodes)
    if folder is None:
        raise UsageError("--environment needs the project's folder on the node", next_step="--sync, or --workdir proj")
    active, env = environments.ready(session, nodes[0].name, folder), dict(named.get("env") or {})
    if "PATH" in env:
        env["PATH"] = os.pathsep.join((active["PATH"].partition(os.pathsep)[0], env["PATH"]))
    return {**active, **env}


def _chosen(session: Session, target: str | None) -> list[InventoryNode]:
    """The nodes that `target` means. Raises UsageError for a name that the inventory does not have."""
    inventory = session.whole_inventory
    return [inventory.node(name) for name in inventory.meant(target)]


def _workdir(spec: Mapping[str, Any], nodes: Sequence[InventoryNode]) -> str | None:
    """A relative folder means one of this machine, when the job can only run here; one of the snapshot, with one."""
    named: str | None = spec.get("workdir")
    if spec.get("snapshot"):
        return named
    here = bool(nodes) and all(node.vars.get("ansible_connection") == "local" for node in nodes)
    if named is None:
        return str(Path.cwd()) if here else None
    return str(Path(named).expanduser().absolute()) if here else named


def _secrets(session: Session, names: Sequence[str], target: str | None) -> list[str]:
    """The names. Raises UsageError for one that has no value here: not in the environment, in no `stoker_secrets`.

    Where these are encrypted as a whole only Ansible can tell; the node refuses the job when one is missing then.
    """
    missing = [name for name in names_only(names) if name not in os.environ]
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


def title(argv: Sequence[str], options: JobOptions) -> str:
    """What a job is called: its --name; else `train` for `python -u train.py`, `sleep` for `/bin/sleep 5`."""
    if (name := options.get("name")) is not None:
        return name
    if (agent := options.get("agent")) is not None:
        return agent
    if options.get("script") is not None or not argv:
        return "script"
    program = Path(argv[0]).name
    if program.startswith(("python", "bash", "sh", "perl", "node")):
        program = next(
            (Path(a).stem for a in argv[1:] if not a.startswith("-") and a.endswith((".py", ".sh", ".pl", ".js"))),
            program,
        )
    return re.sub(r"(?<=^python)[0-9.]+$", "", program) or "job"
