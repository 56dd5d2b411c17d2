"""Containers on a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from stoker.cli import format as fmt
from stoker.cli.out import Out
from stoker.operations.container_images import Installed, UpdateList
from stoker.operations.containers import Container, ContainerChange, ContainerList, ContainerLog


def container_list(value: ContainerList, out: Out) -> None:
    """`stoker container list`."""
    if not value.containers and not value.problems and not value.unknown:
        out.line("no containers · stoker container create NODE NAME --image IMAGE makes one")
    elif value.containers:
        rows = [(c.node, c.name, _state(c), _gpus(c), ", ".join(c.ports) or "-", c.image) for c in value.containers]
        shown = [tuple(map(fmt.one_line, row)) for row in rows]
        out.table(("NODE", "CONTAINER", "STATE", "GPU", "PORTS", "IMAGE"), shown)
    _unknown(value.unknown, out)
    for container in value.containers:
        if container.interrupted:
            out.note(
                fmt.one_line(f"{container.node}: {container.name} is the old one of a replacement that was cut short: ")
                + "the next change of it goes on from there"
            )


def _unknown(unknown: Mapping[str, str], out: Out) -> None:
    for node, why in unknown.items():
        out.note(fmt.one_line(f"{node}: containers of another engine are unknown: {why}"))


def _state(container: Container) -> str:
    ended = f" ({container.exit_code})" if container.exit_code else ""
    return container.state + ended


def _gpus(container: Container) -> str:
    if container.gpus is None:
        return "unknown"
    return ", ".join(container.gpus) or "-"


def container_change(value: ContainerChange, out: Out) -> None:
    """`stoker container start`, `stop`, `create`, `upgrade`: what was done, and what is still not as wanted."""
    state = _state(value.container) if value.container else "not there"
    did = ", ".join(value.actions) if value.actions else "nothing to do"
    did = f"would be {did}" if value.dry_run and value.actions else did
    out.line((value.name, "bold"), fmt.one_line(f"  {state} on {value.node}  {did}"))
    for note in value.notes:
        out.note(fmt.one_line(f"{value.node}: an engine that may have {value.name}, too, did not answer: {note}"))
    for item in value.drift:
        out.line(fmt.one_line(f"  {item.field} is {item.actual}, wanted {item.wanted}"))
    if value.drift and not value.dry_run:
        out.line("  next: the same with --recreate makes it anew; what is not on a mount is lost then")


def container_log(value: ContainerLog, out: Out) -> None:
    """`stoker container logs`."""
    if value.truncated:
        out.note("the beginning was left out: a node sends 1 MiB of a container's log")
    out.text(fmt.safe(value.text))


def update_list(value: UpdateList, out: Out) -> None:
    """`stoker container check-updates`."""
    for update in value.updates:
        words = [f"{update.name} on {update.node}  {update.image}  "]
        if update.unknown:
            words.append(f"newer versions unknown: {update.unknown}")
        elif update.newer:
            count = len(update.newer)
            words.append(f"{count} newer: {', '.join(image.rpartition(':')[2] for image in update.newer[:5])}")
        else:
            words.append("the newest of its kind")
        out.line(fmt.one_line("".join(words)))
    first = next((update for update in value.updates if update.newer), None)
    if first is not None:
        out.line(fmt.one_line(f"  next: stoker container upgrade {first.node} {first.name} -- HEALTH-COMMAND"))
    if not value.updates and not value.problems and not value.unknown:
        out.line("no containers")
    _unknown(value.unknown, out)


def installed(value: Installed, out: Out) -> None:
    """`stoker container install`: what changed; a tool that failed, with its own words on standard error."""
    for package in value.packages:
        before, after = package.before or "new", package.after or "removed"
        out.line(fmt.one_line(f"  {package.manager}  {package.name}  {before} -> {after}"))
    count = f"{len(value.packages)} packages changed" if value.packages else "nothing changed"
    if value.failed is not None:
        out.note(fmt.safe(value.output).rstrip())
        out.note(fmt.one_line(f"stoker: {value.name} on {value.node}: {value.failed} ended with {value.code}"))
    out.line(fmt.one_line(f"{value.name} on {value.node}: {count}"))
