"""Nodes: which there are, how they are, and a command on them."""

from __future__ import annotations

import base64
import time
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from stoker.errors import UsageError
from stoker.operations import quantities
from stoker.operations.files import files_of_exec
from stoker.operations.node_values import Node, NodeList, Status
from stoker.operations.registry import Command, FileText, Short, operation
from stoker.operations.rounds import ask_nodes, make_round
from stoker.operations.session import Session
from stoker.operations.values import CommandOutput, ExecReport, Freshness, Job, Problem
from stoker.operations.views import containers_of, gpus_of, jobs_of, why_unreachable

if TYPE_CHECKING:
    from stoker.runner import InventoryNode
    from stoker.store import NodeRow


# What `status` reads of the nodes themselves.
PARTS = ("cpu", "memory", "disks", "network", "gpus", "containers")


@operation("nodes", "status", "read")
def status(
    session: Session, on: str | None = None, *, live: bool = False, stored: bool = False, strict: bool = False
) -> Status:
    """Show the fleet at a glance: which nodes answer, their load, GPUs and containers, and the jobs that are not over.

    All nodes are asked at once. One that is down costs the time that a connection may take, and hides no other.

    Args:
        on: Only this node or group.
        live: Ask the nodes first (the default).
        stored: Answer from the store.
        strict: Exit with 4 when a node cannot be reached.
    """
    if live and stored:
        raise UsageError("--live and --stored say the opposite of each other")
    names = session.whole_inventory.match(on) if on is not None else [n.name for n in session.whole_inventory.nodes]
    problems = () if stored else make_round(session, "observe", nodes=names, parts=PARTS)
    jobs = _open_jobs(session)
    nodes = tuple(node for node in _nodes(session, jobs) if node.name in names)
    shown = tuple(job for job in jobs if on is None or job.node in names)
    return Status(nodes, shown, _inventory(session), _freshness(nodes, live=not stored), problems, strict)


@operation("nodes", "nodes", "read", method="list")
def list_nodes(session: Session, on: str | None = None, *, live: bool = False, stored: bool = False) -> NodeList:
    """List the nodes of the inventory, with what was last heard of them.

    Args:
        on: Only this node or group.
        live: Ask the nodes first.
        stored: Answer from the store (the default).
    """
    if live and stored:
        raise UsageError("--live and --stored say the opposite of each other")
    names = session.whole_inventory.match(on) if on is not None else None
    asked = names or [n.name for n in session.whole_inventory.nodes]
    problems = make_round(session, "observe", nodes=asked) if live else ()
    nodes = tuple(node for node in _nodes(session, _open_jobs(session)) if names is None or node.name in names)
    return NodeList(nodes, _inventory(session), _freshness(nodes, live=live), problems)


@operation("nodes", "exec", "operate", method="execute")
def execute(
    session: Session,
    node: str | None = None,
    argv: Command = (),
    *,
    all: bool = False,  # noqa: A002
    script: FileText = None,
    workdir: str | None = None,
    env: Annotated[Mapping[str, str] | None, Short("-e")] = None,
    timeout: float | str | None = None,
    sync: bool = False,
    pull: Sequence[str] = (),
    auto_pull: bool = False,
    project: str | None = None,
) -> ExecReport:
    """Run a command on a node now, and give back what it said and its exit code.

    The command ends with this call; for something that takes long use `stoker run`. Everything after `--` is the
    command, exactly as it is: no shell reads it. On one node the exit code is the command's own; on several, 1 if any
    was not 0.

    Args:
        node: Node or group.
        argv: The command and its arguments.
        all: On every node of the inventory.
        script: Run this text instead of a command. On the command line: a file, or -.
        workdir: Folder to run in; the home folder by default.
        env: An environment variable, KEY=VALUE. Repeatable.
        timeout: Kill it after this long (90s, 2h).
        sync: Push the project first, and run in its folder there. Where the push fails, nothing is run.
        pull: Fetch this file or folder of the project's folder there afterwards, also when the command failed.
            Repeatable.
        auto_pull: Fetch everything there that differs afterwards.
        project: The project: a folder, or the name of one that was named before. It is remembered.
    """
    if (node is None) == (not all):
        raise UsageError("name a node or group, or say --all", next_step="stoker exec NODE -- nvidia-smi")
    if (script is None) == (not argv):
        raise UsageError(
            "give a command after --, or a script (one of the two)", next_step="stoker exec NODE -- nvidia-smi"
        )
    _refuse_bytes([*argv, *(env or {}).values()])
    names = [n.name for n in session.inventory.nodes] if node is None else session.inventory.match(node)
    files = files_of_exec(session, names, sync=sync, pull=pull, auto_pull=auto_pull, project=project)
    if files is not None:
        workdir = files.workdir(workdir)
    request = {
        "argv": list(argv) or None,
        "script": script,
        "workdir": workdir,
        "env": dict(env or {}),
        "timeout_s": quantities.seconds(timeout, "--timeout") if timeout is not None else None,
    }
    request = {key: value for key, value in request.items() if value is not None}
    answers, problems = ask_nodes(session, "stoker.fleet.exec", {"*": request}, names)
    told = {problem.node: problem for problem in problems}
    outputs = tuple(_output(name, answers[name].res if name in answers else None, told.get(name)) for name in names)
    after = files.fetch(outputs) if files is not None else ()
    return ExecReport(outputs, single=len(names) == 1 and names == [node], problems=after)


def _refuse_bytes(texts: Sequence[str]) -> None:
    """Ansible's filters take no text that is not UTF-8; a job's command does not go through them."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"{text.encode(errors='surrogateescape')!r} is not UTF-8", next_step="stoker run takes any bytes"
            ) from None


def _output(name: str, res: Mapping[str, Any] | None, problem: Problem | None) -> CommandOutput:
    if res is None:
        return CommandOutput(name, None, None, b"", b"", False, None, problem or Problem(name, "did not answer"))
    return CommandOutput(
        name, res.get("code"), res.get("signal"), _unpacked(res.get("stdout")), _unpacked(res.get("stderr")),
        bool(res.get("truncated")), res.get("elapsed_s"), timed_out=bool(res.get("timed_out")),
    )  # fmt: skip


def _unpacked(packed: str | None) -> bytes:
    return zlib.decompress(base64.b64decode(packed)) if packed else b""


def _open_jobs(session: Session) -> tuple[Job, ...]:
    return jobs_of(session, session.store.jobs(states=["queued", "starting", "running"]))


def _nodes(session: Session, jobs: Sequence[Job]) -> list[Node]:
    """The nodes of the inventory in its order, then those it lacks that still have a job that is not over."""
    from stoker.dispatch.membership import standing

    rows = {row.name: row for row in session.store.nodes()}
    running = Counter(job.node for job in jobs if job.state in ("starting", "running"))
    queued = Counter(job.node for job in jobs if job.state == "queued" and job.node)
    listed = {node.name: node for node in session.whole_inventory.nodes}
    members, now = {row.name: row for row in session.store.members.list()}, time.time()
    others = [name for name in rows if name not in listed and (running[name] or queued[name])]
    held = {uuid: job.id for job in jobs for uuid in job.gpus}
    found = [_node(n, listed.get(n), rows.get(n), running[n], queued[n], held) for n in [*listed, *others]]
    return [
        replace(
            node, membership=standing(listed[node.name].vars if node.in_inventory else {}, members.get(node.name), now)
        )
        for node in found
    ]


def _node(
    name: str, listed: InventoryNode | None, row: NodeRow | None, running: int, queued: int, held: Mapping[str, str]
) -> Node:
    facts = (row.facts if row else None) or {}
    known = row is not None and (row.last_seen is not None or row.unreachable_since is not None)
    address = listed.vars.get("ansible_host") if listed else None
    if address is None and listed and listed.vars.get("ansible_connection") == "local":
        address = "this machine"
    return Node(
        name=name,
        groups=listed.groups if listed else (),
        address=str(address) if address is not None else None,
        reachable=(row.unreachable_since is None) if row is not None and known else None,
        last_seen=row.last_seen if row else None,
        unreachable_since=row.unreachable_since if row else None,
        unreachable_message=why_unreachable(row),
        gpus=gpus_of(row, held),
        gpus_unknown=facts.get("gpus_unknown"),
        cpus=facts.get("cpus"),
        memory_total=facts.get("memory_bytes"),
        running=running,
        queued=queued,
        facts=facts,
        in_inventory=listed is not None,
        containers=containers_of(row),
        containers_unknown=facts.get("containers_unknown"),
        offline_since=row.offline_since if row else None,
    )


def _inventory(session: Session) -> str | None:
    return str(session.inventory_path) if session.inventory_path else None


def _freshness(nodes: Sequence[Node], *, live: bool) -> Freshness:
    now = time.time()
    nodes = [node for node in nodes if node.membership not in ("pending", "expired", "removed")]
    if any(node.last_seen is None and node.unreachable_since is None for node in nodes):
        return Freshness("live" if live else "stored", now, None)
    ages = [now - node.last_seen for node in nodes if node.last_seen is not None and node.unreachable_since is None]
    return Freshness("live" if live else "stored", now, max(ages, default=None))
