"""Containers of the nodes: which there are, starting and stopping them, making them."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from stoker.errors import NodeError, UsageError
from stoker.operations import quantities
from stoker.operations.registry import Command, Short, operation
from stoker.operations.rounds import ask_nodes
from stoker.operations.session import Session
from stoker.operations.values import Problem

Engine = Literal["podman", "docker"]
DEFAULT_TAIL = 200


@dataclass(frozen=True)
class Container:
    """A container as its engine tells of it. `state` is the engine's own word: created, running, exited, paused ...

    `gpus` is `("all",)`, indexes or UUIDs, empty for none, and None where the engine does not tell. `env` holds names
    only. `interrupted`: it is the old one of a replacement that was cut short; the next change puts it back.
    """

    node: str
    name: str
    engine: Engine
    state: str
    image: str
    image_id: str | None
    id: str
    exit_code: int | None
    started_at: str | None
    error: str | None
    command: tuple[str, ...]
    workdir: str
    env: tuple[str, ...]
    ports: tuple[str, ...]
    mounts: tuple[str, ...]
    gpus: tuple[str, ...] | None
    restart: str
    network: str
    interrupted: bool


@dataclass(frozen=True)
class ContainerList:
    """The containers of the nodes that answered. `unknown`: by node, the engine that is there and did not answer."""

    containers: tuple[Container, ...]
    unknown: Mapping[str, str]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Drift:
    """A field that a container does not have as wanted."""

    field: str
    wanted: str
    actual: str


@dataclass(frozen=True)
class ContainerChange:
    """What became of one container. `actions` were done, or would be with `dry_run`; none: it was so already.

    `drift` is what is still not as wanted. `container` is None where there is none (yet). `notes`: engines that did not
    answer, and may have another container of that name.
    """

    node: str
    name: str
    changed: bool
    actions: tuple[str, ...]
    drift: tuple[Drift, ...]
    container: Container | None
    dry_run: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ContainerLog:
    """The last lines of a container's log, both streams. `truncated`: it was longer than what a node sends."""

    node: str
    name: str
    text: str
    truncated: bool


@operation("containers", "container list", "read", method="list")
def list_containers(session: Session, on: str | None = None, *, name: Sequence[str] = ()) -> ContainerList:
    """List the containers of the nodes, also those that do not run.

    Args:
        on: Only this node or group.
        name: Only the container of this name. Repeatable.
    """
    names = session.inventory.match(on) if on is not None else [n.name for n in session.inventory.nodes]
    request = {"op": "containers", "which": list(name) or None}
    answers, problems = ask_nodes(session, "stoker.fleet.request", {"*": request}, names)
    replies = {node: answers[node].res["reply"] for node in names if node in answers}
    found = [container_of(node, item) for node, reply in replies.items() for item in reply["containers"]]
    unknown = {node: reply["containers_unknown"] for node, reply in replies.items() if reply["containers_unknown"]}
    return ContainerList(tuple(found), unknown, problems)


@operation("containers", "container logs", "read")
def logs(session: Session, node: str, name: str, *, tail: int = DEFAULT_TAIL) -> ContainerLog:
    """Show the last lines that a container wrote.

    Args:
        node: The node.
        name: The container.
        tail: How many lines; 0 for all that a node sends (1 MiB).
    """
    if tail < 0:
        raise UsageError(f"--tail: {tail} is not a number of 0 or more", next_step="0 shows all")
    reply = ask_one(session, node, {"op": "container", "action": "logs", "container": name, "tail": tail or None})
    text = zlib.decompress(base64.b64decode(reply["log"])).decode("utf-8", "replace")
    return ContainerLog(node, name, text, reply["truncated"])


@operation("containers", "container start", "operate")
def start(session: Session, node: str, name: str) -> ContainerChange:
    """Start a container that is there. One that runs is left as it is.

    Args:
        node: The node.
        name: The container.
    """
    return _change(session, node, {"name": name, "state": "started", "dry_run": False})


@operation("containers", "container stop", "operate", destroys=True)
def stop(session: Session, node: str, name: str, *, grace: float | str | None = None) -> ContainerChange:
    """Stop a container. One that does not run is left as it is.

    Args:
        node: The node.
        name: The container.
        grace: How long it may take to end before it is killed (10s).
    """
    request: dict[str, Any] = {"name": name, "state": "stopped", "dry_run": False}
    if grace is not None:
        request["grace"] = quantities.seconds(grace, "--grace")
    return _change(session, node, request)


@operation("containers", "container create", "operate", destroys=("recreate",))
def create(
    session: Session,
    node: str,
    name: str,
    argv: Command = (),
    *,
    image: str,
    gpus: str | None = None,
    mount: Sequence[str] | None = None,
    port: Sequence[str] | None = None,
    env: Annotated[Mapping[str, str] | None, Short("-e")] = None,
    secret: Sequence[str] = (),
    workdir: str | None = None,
    restart: str | None = None,
    network: str | None = None,
    ipc: Literal["host", "private"] | None = None,
    shm_size: int | str | None = None,
    engine: Engine | None = None,
    recreate: bool = False,
    dry_run: bool = False,
) -> ContainerChange:
    """Make a container and start it, or say how the one that is there differs.

    Everything after `--` is its command. What is not named is left to the image, and is not compared.

    Args:
        node: The node.
        name: The container.
        argv: Its command and arguments.
        image: Its image; pulled when it is not on the node.
        gpus: all, none, or indexes or UUIDs with commas between.
        mount: A folder or volume, SOURCE:/TARGET or SOURCE:/TARGET:ro. Repeatable.
        port: A port, HOST:CONTAINER or IP:HOST:CONTAINER. Repeatable.
        env: An environment variable, KEY=VALUE. Repeatable.
        secret: Name of a variable of the environment whose value the container gets without it being shown. Repeatable.
        workdir: Folder to run in.
        restart: no, always, unless-stopped, on-failure or on-failure:N.
        network: host, none, or the name of a network.
        ipc: host shares the memory segments of the node.
        shm_size: Size of /dev/shm (8G).
        engine: The engine, on a node that has both.
        recreate: Make one that differs anew. What was written into it, and not to a mount, is lost.
        dry_run: Only say what would be done.
    """
    if bad := [entry for entry in secret if "=" in entry]:
        raise UsageError(
            f"--secret takes a name, not a value (others would see it in ps): {bad[0].split('=')[0]}=...",
            next_step=f"export {bad[0].split('=')[0]}, then --secret {bad[0].split('=')[0]}",
        )
    session.may_hand(secret)
    request = {
        "name": name, "state": "started", "image": image, "command": list(argv) or None, "gpus": _listed(gpus),
        "mounts": _list(mount), "ports": _list(port), "env": dict(env) if env else None,
        "secret_env": list(secret) or None, "workdir": workdir, "restart": restart, "network": network, "ipc": ipc,
        "shm_size": str(quantities.size(shm_size, "--shm-size")) if shm_size is not None else None, "engine": engine,
        "recreate": recreate, "dry_run": dry_run,
    }  # fmt: skip
    session.say(f"stoker: {name} on {node} (an image that has to be fetched may take long)")
    return _change(session, node, {key: value for key, value in request.items() if value is not None})


def _list(values: Sequence[str] | None) -> list[str] | None:
    return list(values) if values else None


def _listed(gpus: str | None) -> list[str] | None:
    return None if gpus is None else [part.strip() for part in gpus.split(",") if part.strip()]


def _change(session: Session, node: str, request: Mapping[str, Any]) -> ContainerChange:
    name = _one(session, node)
    answers, problems = ask_nodes(session, "stoker.fleet.container", {"*": request}, [name])
    if name not in answers:
        raise _refused(name, problems)
    res = answers[name].res
    told = res["container"]
    return ContainerChange(
        name, request["name"], bool(res["changed"]), tuple(res["actions"]),
        tuple(Drift(**item) for item in res["drift"]), None if told is None else container_of(name, told),
        bool(request["dry_run"]), tuple(res["notes"]),
    )  # fmt: skip


def ask_one(session: Session, node: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """One node's reply. Raises UsageError where `node` is several, NodeError where it did not answer or refused."""
    name = _one(session, node)
    answers, problems = ask_nodes(session, "stoker.fleet.request", {"*": request}, [name])
    if name not in answers:
        raise _refused(name, problems)
    reply: dict[str, Any] = answers[name].res["reply"]
    return reply


def _one(session: Session, node: str) -> str:
    names = session.inventory.match(node)
    if len(names) != 1:
        raise UsageError(f"{node} is {len(names)} nodes", next_step="name one of them")
    return names[0]


def _refused(node: str, problems: Sequence[Problem]) -> NodeError:
    for problem in problems:
        if problem.node == node:
            return NodeError(node, problem.message, next_step=problem.next_step)
    return NodeError(node, "did not answer")


def container_of(node: str, told: Mapping[str, Any]) -> Container:
    """A container of `node` from what its node side told."""
    return Container(
        node, told["name"], told["engine"], told["state"], told["image"], told["image_id"], told["id"],
        told["exit_code"], told["started_at"], told["error"], tuple(told["command"]), told["workdir"],
        tuple(told["env"]), tuple(told["ports"]), tuple(told["mounts"]),
        tuple(told["gpus"]) if told["gpus"] is not None else None, told["restart"], told["network"],
        told["before_swap"],
    )  # fmt: skip
