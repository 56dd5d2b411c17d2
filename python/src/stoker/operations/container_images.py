"""What containers are made of: newer images, the change to one, and packages inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from stoker.errors import NodeError, StokerError, UsageError
from stoker.operations import quantities
from stoker.operations.containers import ContainerChange, ContainerList, ask_one, container_of, list_containers
from stoker.operations.registry import Command, Short, operation
from stoker.operations.session import Session
from stoker.operations.values import Problem


@dataclass(frozen=True)
class ImageUpdate:
    """A container and the tags of its image that are newer, the newest first. `unknown`: why they are not known."""

    node: str
    name: str
    image: str
    newer: tuple[str, ...]
    unknown: str | None = None


@dataclass(frozen=True)
class UpdateList:
    """One entry for each container. `unknown`: by node, the engine that is there and did not answer.

    The exit code is 1 when a registry, a node or an engine did not tell.
    """

    updates: tuple[ImageUpdate, ...]
    problems: tuple[Problem, ...] = ()
    failed: bool = False
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 when all were asked and told."""
        return int(self.failed or bool(self.problems) or bool(self.unknown))


@dataclass(frozen=True)
class PackageChange:
    """A package that is another than before. `before` None: it is new, `after` None: it is gone."""

    manager: str
    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Installed:
    """What an installation changed. `failed` is the tool that failed (None: none did), with its code and its output."""

    node: str
    name: str
    changed: bool
    packages: tuple[PackageChange, ...]
    failed: str | None
    code: int
    output: str

    @property
    def exit_code(self) -> int:
        """0 when everything that was asked for is there."""
        return int(self.failed is not None)


@operation("containers", "container check-updates", "read")
def check_updates(session: Session, on: str | None = None, *, name: Sequence[str] = ()) -> UpdateList:
    """List newer versions of the images of containers, as their registries have them.

    Newer is a higher version with the same suffix: 25.04-py3 for 25.03-py3. This machine asks the registries, with
    the login of `docker login` or `podman login` where it has one.

    Args:
        on: Only this node or group.
        name: Only the container of this name. Repeatable.
    """
    from stoker.images import reference, registry, versions

    listed = list_containers(session, on, name=name)
    told: dict[str, list[str] | StokerError] = {}
    updates, failed = [], False
    for container in listed.containers:
        found = reference.parse(container.image)
        if found is None or found.tag is None or versions.parts(found.tag) is None:
            why = "made on the node" if found is None else "its tag is no version"
            updates.append(ImageUpdate(container.node, container.name, container.image, (), why))
            continue
        if found.prefix not in told:
            session.say(f"stoker: asking {found.registry} for {found.repository}")
            try:
                told[found.prefix] = registry.tags(found)
            except StokerError as problem:
                told[found.prefix] = problem
        answer = told[found.prefix]
        if isinstance(answer, StokerError):
            failed = True
            updates.append(ImageUpdate(container.node, container.name, container.image, (), answer.message))
        else:
            newer = tuple(f"{found.prefix}:{tag}" for tag in versions.newer(found.tag, answer))
            updates.append(ImageUpdate(container.node, container.name, container.image, newer))
    return UpdateList(tuple(updates), listed.problems, failed, listed.unknown)


@operation("containers", "container upgrade", "operate", destroys=True)
def upgrade(
    session: Session,
    node: str,
    name: str,
    health: Command = (),
    *,
    to: str | None = None,
    health_url: str | None = None,
    timeout: float | str = 60.0,
    grace: Annotated[float | str | None, Short("-g")] = None,
    no_pull: bool = False,
) -> ContainerChange:
    """Put a container of a newer image in the place of the present one: same ports, mounts, environment, GPUs.

    Refused while jobs run on the node. The old container is kept until the new one is healthy, and put back when it
    does not get there. A command after `--` is run in the container: it is healthy when that ends with 0.

    Args:
        node: The node.
        name: The container.
        health: A command that ends with 0 when all is well.
        to: The image, or its tag; by default the newest version that check-updates finds.
        health_url: Address that answers 200 to 399 when all is well, as seen from the node.
        timeout: How long it may take to be healthy; without a check it has to live for 3 s.
        grace: How long the old one may take to end before it is killed (10s).
        no_pull: Take the image that is on the node.
    """
    if health and health_url:
        raise UsageError("a health command and --health-url are two checks: give one of them")
    image = _image(session, node, name, to)
    check = {"url": health_url, "command": list(health) or None}
    check = {key: value for key, value in check.items() if value}
    request = {
        "op": "container", "action": "upgrade", "container": name, "image": image, "pull": not no_pull,
        "grace_s": quantities.seconds(grace, "--grace") if grace is not None else None,
        "health": {**check, "timeout_s": quantities.seconds(timeout, "--timeout")} if check else None,
    }  # fmt: skip
    session.say(f"stoker: {name} on {node} becomes {image} (fetching it may take long)")
    reply = ask_one(session, node, request)
    now = container_of(node, reply["container"])
    return ContainerChange(node, name, bool(reply["changed"]), tuple(reply["actions"]), (), now)


@operation("containers", "container install", "operate")
def install(
    session: Session,
    node: str,
    name: str,
    *,
    apt: Sequence[str] = (),
    pip: Sequence[str] = (),
    timeout: float | str = 3600.0,
) -> Installed:
    """Install packages in a container that runs. What is there already is left as it is.

    What is installed is gone when the container is made anew.

    Args:
        node: The node.
        name: The container.
        apt: A Debian package, NAME or NAME=VERSION. Repeatable.
        pip: A Python package as pip takes it, such as numpy>=2. Repeatable.
        timeout: How long each tool may take.
    """
    request = {
        "op": "container", "action": "install", "container": name, "apt": list(apt), "pip": list(pip),
        "timeout_s": quantities.seconds(timeout, "--timeout"),
    }  # fmt: skip
    session.say(f"stoker: installing {', '.join([*apt, *pip]) or 'nothing'} in {name} on {node}")
    reply = ask_one(session, node, request)
    packages = tuple(PackageChange(**item) for item in reply["packages"])
    return Installed(node, name, reply["changed"], packages, reply["failed"], reply["code"], reply["output"])


def _image(session: Session, node: str, name: str, to: str | None) -> str:
    """The image that is meant: a whole name as it is, a tag with the present image's name, the newest for None."""
    if to is not None and ("/" in to or ":" in to):
        return to
    if to is None:
        found = check_updates(session, node, name=[name])
        if not found.updates:
            raise _none(node, name, found)
        update = found.updates[0]
        if update.unknown:
            raise StokerError(f"{name}: newer images are not known: {update.unknown}", next_step="name one: --to TAG")
        return update.newer[0] if update.newer else update.image
    present = list_containers(session, node, name=[name])
    if not present.containers:
        raise _none(node, name, present)
    head, _, last = present.containers[0].image.partition("@")[0].rpartition("/")
    return f"{head}/{last.partition(':')[0]}:{to}".lstrip("/")


def _none(node: str, name: str, told: ContainerList | UpdateList) -> StokerError:
    """Why no container of that name was found: that there is none is said only where everything was asked."""
    for problem in told.problems:
        return NodeError(problem.node or node, problem.message, next_step=problem.next_step)
    for where, why in told.unknown.items():
        return NodeError(where, f"whether there is a container {name!r} is not known: {why}")
    return UsageError(f"there is no container {name!r} on {node}", next_step=f"stoker container list {node}")
