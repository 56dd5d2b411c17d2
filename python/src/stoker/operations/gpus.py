"""Every GPU of the fleet: what it does, and for which job."""

from __future__ import annotations

import time
from dataclasses import dataclass

from stoker.errors import NodeError, UsageError
from stoker.operations.node_values import GpuList, Node, Quarantine
from stoker.operations.nodes import list_nodes
from stoker.operations.registry import operation
from stoker.operations.rounds import ask_nodes, make_round
from stoker.operations.session import Session
from stoker.operations.values import Freshness
from stoker.operations.views import quarantine_of


@dataclass(frozen=True)
class GpuReleased:
    """A GPU whose quarantine was ended. `was`: what it was, None where there was none."""

    node: str
    index: int
    uuid: str
    was: Quarantine | None


@operation("nodes", "gpus", "read", method="gpus")
def list_gpus(session: Session, on: str | None = None, *, live: bool = False, stored: bool = False) -> GpuList:
    """List every GPU: memory, load, temperature, power, clocks, why it is slowed down, and the jobs busy on it.

    All nodes are asked at once. One that is down costs the time that a connection may take, and hides no other.

    Args:
        on: Only this node or group.
        live: Ask the nodes first (the default).
        stored: Answer from the store.
    """
    if live and stored:
        raise UsageError("--live and --stored say the opposite of each other")
    names = session.inventory.match(on) if on is not None else [n.name for n in session.inventory.nodes]
    problems = () if stored else make_round(session, "observe", nodes=names, parts=("gpus",))
    nodes = [node for node in list_nodes(session).nodes if node.name in names]
    now = time.time()
    ages = [now - node.facts["gpus_at"] for node in nodes if "gpus_at" in node.facts and node.reachable]
    return GpuList(
        tuple(gpu for node in nodes if node.reachable for gpu in node.gpus or ()),
        {node.name: why for node in nodes if (why := _why_unknown(node))},
        Freshness("stored" if stored else "live", now, max(ages, default=None)),
        problems,
    )


def _why_unknown(node: Node) -> str | None:
    """Why nothing is listed of a node; None where its GPUs are known. What it told long ago says nothing of now."""
    if node.reachable is None:
        return "it was never asked"
    return node.gpus_unknown if node.reachable else "it cannot be reached"


@operation("nodes", "gpu release", "operate", method="release_gpu")
def release(session: Session, node: str, gpu: str) -> GpuReleased:
    """End the quarantine of a GPU that somebody has looked at, so that jobs get it again.

    What speaks against it now counts no more; one more error does.

    Args:
        node: The node that has it.
        gpu: Its index there, or its UUID.
    """
    name = session.inventory.node(node).name
    request = {"op": "gpu_release", "gpu": gpu, "quarantine_s": session.config.preflight.quarantine_s}
    answers, problems = ask_nodes(session, "stoker.fleet.request", {name: request}, [name])
    if name not in answers:
        told = problems[0] if problems else None
        raise NodeError(name, told.message if told else "did not answer", next_step=told.next_step if told else None)
    found = answers[name].res["reply"]["gpu"]
    return GpuReleased(name, found["index"], found["uuid"], quarantine_of(found["was"]))
