"""Environments: what a project needs, installed once on a node, and found again."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stoker.config import working_folder
from stoker.errors import StokerError, UsageError
from stoker.operations import quantities
from stoker.operations.registry import operation
from stoker.operations.rounds import ask_nodes
from stoker.operations.session import Session
from stoker.operations.values import Problem

Tool = Literal["uv", "pip", "conda"]
# How long the nodes hold one answer while they install, in seconds: how often progress is said.
_WAIT_S = 2.0
# Characters of a line of progress.
_SHOWN = 150


@dataclass(frozen=True)
class Environment:
    """A project's environment on one node.

    `state` is ready, failed, or missing (it was only asked for). `changed`: this call installed it, in `elapsed_s`.
    `activate` are the variables that make it the active one. Of a failed install, `exit_code` is the installer's (None:
    it was ended), `lines` are the last it said; `log` is the file on the node with all of it.
    """

    node: str
    state: str
    changed: bool
    name: str
    project: str
    source: str
    tool: str
    python: str
    folder: str | None
    activate: Mapping[str, str] | None
    elapsed_s: float | None
    exit_code: int | None
    command: str | None
    reason: str | None
    log: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class EnvironmentReport:
    """The environments of a project, one for each node."""

    environments: tuple[Environment, ...]
    problems: tuple[Problem, ...] = ()

    @property
    def exit_code(self) -> int:
        """1 when one failed, or a node could not be asked."""
        return int(bool(self.problems) or any(e.state == "failed" for e in self.environments))


@dataclass(frozen=True)
class KeptEnvironment:
    """An environment that lies on a node. `state` is ready, installing, failed or interrupted.

    `used_at` (Unix seconds) is when it was last asked for, `used_by` are the jobs in it that are not over.
    """

    node: str
    name: str
    state: str
    project: str | None
    source: str | None
    tool: str | None
    python: str | None
    folder: str | None
    used_at: float
    used_by: tuple[str, ...]
    exit_code: int | None
    reason: str | None
    log: str


@dataclass(frozen=True)
class EnvironmentList:
    """The environments of nodes: those that are there, and those that were removed (or would be, with `dry_run`)."""

    kept: tuple[KeptEnvironment, ...]
    removed: tuple[KeptEnvironment, ...]
    dry_run: bool
    at: float
    problems: tuple[Problem, ...] = ()


@operation("environments", "environment", "operate", method="ensure")
def environment(
    session: Session,
    on: str,
    *,
    project: str | None = None,
    file: str | None = None,
    python: str | None = None,
    tool: Tool | None = None,
    timeout: float | str = "1h",
    dry_run: bool = False,
) -> EnvironmentReport:
    """Install what a project needs on a node, in an environment of its own; nothing when it is there.

    The first of uv.lock, pylock.toml, requirements.txt, pyproject.toml and environment.yml in the project's folder on
    the node says what. The same content, Python and machine is not installed again. `stoker run --environment` does
    this first.

    Args:
        on: Node or group.
        project: The folder there, relative to the home folder; by default of the same name as here.
        file: Another file that says what is needed, relative to the project (requirements-gpu.txt).
        python: Version of Python (3.11); by default the one that Ansible uses there.
        tool: What installs; by default uv where the node has it, else pip, and conda for environment.yml.
        timeout: End the install after this long (90s, 2h).
        dry_run: Only say whether it is there.
    """
    names = session.inventory.match(on)
    request = _request(session, names, project, file, python, tool, timeout) | {"make": not dry_run}
    return ensure(session, request, names)


def ensure(session: Session, request: Mapping[str, Any], names: Sequence[str]) -> EnvironmentReport:
    """Ask the nodes until no install is under way, and say how far they are."""
    told: dict[str, dict[str, Any]] = {}
    problems: tuple[Problem, ...] = ()
    asked: dict[str, Mapping[str, Any]] = dict.fromkeys(names, request)
    said = ""
    try:
        while asked:
            answers, new = ask_nodes(session, "stoker.fleet.request", asked, list(asked))
            problems += new
            for node, answer in answers.items():
                found = answer.res["reply"]["environment"]
                told[node] = {**found, "started": found["started"] or told.get(node, {}).get("started", False)}
            asked = {
                node: {**request, "build": told[node]["build"]}
                for node in asked
                if node in answers and told[node]["state"] == "installing"
            }
            said = _progress(session, {node: told[node] for node in asked}, said)
    except KeyboardInterrupt:
        session.say("\nstoker: the install goes on on the node; the same command comes back to it")
        raise
    return EnvironmentReport(tuple(_environment(n, told[n]) for n in names if n in told), problems)


def ready(session: Session, node: str, project: str) -> Mapping[str, str]:
    """The variables that activate the environment of `project` on one node, installed when that is needed.

    Raises StokerError, with the installer's exit code, last words and log, when there is none.
    """
    report = ensure(session, _request(session, [node], project, None, None, None, "1h") | {"make": True}, [node])
    for problem in report.problems:
        raise StokerError(f"{node}: {problem.message}: no job was submitted", next_step=problem.next_step)
    (made,) = report.environments
    if made.activate is None:
        last = next((line.strip() for line in reversed(made.lines) if line.strip()), "it said nothing")
        raise StokerError(
            f"{node}: the install of {made.source} {made.reason}: {last}; no job was submitted",
            next_step=f"stoker exec {node} -- cat {made.log}",
        )
    return made.activate


def refuse_nothing(session: Session, spec: Mapping[str, Any]) -> None:
    """Raise UsageError where a job's files say nowhere what it needs: its node would only find that out later.

    Of files that are not on this machine, and of a folder on a node, nothing is known here.
    """
    from ansible_collections.stoker.fleet.plugins.module_utils.environment_files import ORDER

    snapshot = spec.get("snapshot")
    if not snapshot or snapshot["digest"] not in session.store.snapshots.here():
        return
    tree = session.store.snapshots.tree(snapshot["digest"])
    if not any((place / name).is_file() for place in (tree / (spec.get("workdir") or "."), tree) for name in ORDER):
        raise UsageError(
            f"the project says nowhere what it needs: none of {', '.join(ORDER)} is among its files",
            next_step="write a requirements.txt, or run it without --environment (of a pool: environment: false)",
        )


def folder_of(session: Session, node: str, project: str) -> str:
    """The folder of the environment of `project` that is ready on one node. Raises StokerError when there is none."""
    report = ensure(session, _request(session, [node], project, None, None, None, "1h") | {"make": False}, [node])
    for problem in report.problems:
        raise StokerError(f"{node}: {problem.message}", next_step=problem.next_step)
    (found,) = report.environments
    if found.folder is None:
        raise StokerError(
            f"{node}: {project} has no environment there", next_step=f"stoker environment {node} --project {project}"
        )
    return found.folder


@operation("environments", "environments", "operate", method="list", destroys=("remove_unused",))
def environments(
    session: Session, on: str | None = None, *, remove_unused: float | str | None = None, dry_run: bool = False
) -> EnvironmentList:
    """List the environments on the nodes, and remove old ones when asked to.

    Args:
        on: Only this node or group.
        remove_unused: Remove those that nobody asked for in this long (30d) and no job uses; queued ones count.
        dry_run: Only say what would be removed.
    """
    names = session.inventory.match(on) if on is not None else [n.name for n in session.inventory.nodes]
    request: dict[str, Any] = {"op": "environments", "dry_run": dry_run, "keep": _wanted(session)}
    if remove_unused is not None:
        request["older_than_s"] = quantities.seconds(remove_unused, "--remove-unused")
    answers, problems = ask_nodes(session, "stoker.fleet.request", {"*": request}, names)

    def entries(field: str) -> tuple[KeptEnvironment, ...]:
        return tuple(_kept(n, e) for n in names if n in answers for e in answers[n].res["reply"][field])

    return EnvironmentList(entries("environments"), entries("removed_environments"), dry_run, time.time(), problems)


def _wanted(session: Session) -> dict[str, list[str]]:
    """The jobs of the store that are not over, by the folder of their environment: one that is queued needs it, too."""
    from ansible_collections.stoker.fleet.plugins.module_utils.launch import ACTIVE
    from stoker.store import LIVE_STATES

    found: dict[str, list[str]] = {}
    for row in session.store.jobs(states=LIVE_STATES):
        env = row.spec.get("env") or {}
        for folder in {env[name] for name in ACTIVE if env.get(name)}:
            found.setdefault(folder, []).append(row.id)
    return found


def _request(
    session: Session, names: Sequence[str], project: str | None, file: str | None, python: str | None,
    tool: str | None, timeout: float | str,
) -> dict[str, Any]:  # fmt: skip
    here = working_folder()
    local = all(session.inventory.node(name).vars.get("ansible_connection") == "local" for name in names)
    folder = str(here / Path(project or ".").expanduser()) if local else project or here.resolve().name
    if not folder:
        raise UsageError(f"{here} has no name to take for the folder on the node", next_step="say --project FOLDER")
    if python is not None and not all(part.isdigit() for part in python.split(".")):
        raise UsageError(f"--python: {python!r} is no version", next_step="write it as 3.11")
    return {
        "op": "environment", "folder": folder, "file": file, "python": python, "tool": tool, "wait": _WAIT_S,
        "timeout_s": quantities.seconds(timeout, "--timeout"),
    }  # fmt: skip


def _progress(session: Session, installing: Mapping[str, Mapping[str, Any]], said: str) -> str:
    """Say what the installers say, when it is something new; returns it."""
    from ansible_collections.stoker.fleet.plugins.module_utils.terminal_text import safe_text

    for node, told in installing.items():
        last = next((line.strip() for line in reversed(told["lines"]) if line.strip()), "")
        text = f"{node}: installing {told['source']} with {told['tool']}: {last.removeprefix('$ ')}"
        text = safe_text(text, _SHOWN)
        if text != said:
            session.say(text)
            said = text
    return said


def _environment(node: str, told: Mapping[str, Any]) -> Environment:
    return Environment(
        node, told["state"], bool(told["started"]) and told["state"] == "ready", told["name"], told["project"],
        told["source"], told["tool"], told["python"], told["folder"], told["activate"], told["elapsed_s"],
        told["exit_code"], told["command"], told["reason"], told["log"], tuple(told["lines"]),
    )  # fmt: skip


def _kept(node: str, entry: Mapping[str, Any]) -> KeptEnvironment:
    fields = {name: entry[name] for name in KeptEnvironment.__dataclass_fields__ if name != "node"}
    return KeptEnvironment(node=node, **{**fields, "used_by": tuple(entry["used_by"])})
