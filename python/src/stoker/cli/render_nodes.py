"""Nodes on a terminal, and what `exec` brought back."""

from __future__ import annotations

import time

from stoker.cli import format as fmt
from stoker.cli import render_gpus, render_jobs
from stoker.cli.out import Out, Piece
from stoker.operations.node_values import Gpu, Node, NodeList, Status
from stoker.operations.values import CommandOutput, ExecReport, Written

# A figure that is older is shown with its age.
_FRESH_S = 30.0


def status(value: Status, out: Out) -> None:
    """`stoker status`."""
    _table(value.nodes, out)
    for node in value.nodes:
        _usage(node, value.freshness.asked_at, out)
        for gpu in node.gpus or ():
            out.line(f"  {node.name}  {_gpu(gpu)}")
        if node.gpus is None and node.gpus_unknown and "no nvidia-smi" not in node.gpus_unknown:
            out.line("  ", (node.name, "yellow"), f"  GPUs unknown: {fmt.one_line(node.gpus_unknown)}")
        _containers(node, out)
        if node.unreachable_message:
            out.line("  ", (node.name, "yellow"), f": {fmt.one_line(node.unreachable_message)}")
    if value.jobs:
        out.line()
        render_jobs.table(value.jobs, out, value.freshness.asked_at)
    else:
        out.line("no job runs or waits")
    out.line((fmt.freshness(value.freshness, "stoker status"), "dim"))


def _usage(node: Node, now: float, out: Out) -> None:
    """`n1  cpu 12% of 8  load 0.31  memory 3.1 of 24 GB  up 3 d 2 h`, once the node was asked for these."""
    facts = node.facts
    if "read_at" not in facts or not node.reachable:
        return
    cpu, memory, disks = facts.get("cpu"), facts.get("memory"), facts.get("disks")
    said = [f"cpu {_percent(cpu['used_pct'])} of {cpu['count']}  load {cpu['load'][0]:.2f}" if cpu else "cpu unknown"]
    said.append(f"memory {fmt.memory(memory['used'])} of {fmt.memory(memory['total'])}" if memory else "memory unknown")
    if memory and memory["limit"]:
        said.append(f"limited to {fmt.memory(memory['limit']['bytes'])}")
    if facts.get("uptime_s") is not None:
        said.append(f"up {fmt.age(facts['uptime_s'])}")
    age = now - facts["read_at"]
    out.line(f"  {node.name}  ", "  ".join(said), f"  ({fmt.age(age)} ago)" if age > _FRESH_S else "")
    for disk in disks or ():
        if disk["warn"] is not False:
            share = f"{_percent(disk['used_pct'])} full, {fmt.size(disk['free'])} free"
            why = disk["unknown"] and f"unknown: {disk['unknown']}"
            out.line(f"  {node.name}  ", (fmt.one_line(f"disk {disk['mount']}  {why or share}"), "yellow"))
    for part in ("cpu", "memory", "disks", "network"):
        if facts.get(f"{part}_unknown"):
            out.line(f"  {node.name}  ", (f"{part} unknown: {fmt.one_line(facts[f'{part}_unknown'])}", "yellow"))


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f}%"


def _containers(node: Node, out: Out) -> None:
    if not node.reachable:
        return  # what ran there once says nothing of now
    for container in node.containers or ():
        told = f"{container.name}  {container.state}  {container.image}  {container.status or ''}".rstrip()
        out.line(f"  {node.name}  container  {fmt.one_line(told)}")
    if node.containers_unknown and "no podman and no docker" not in node.containers_unknown:
        out.line("  ", (node.name, "yellow"), f"  containers unknown: {fmt.one_line(node.containers_unknown)}")


def node_list(value: NodeList, out: Out) -> None:
    """`stoker nodes`."""
    _table(value.nodes, out)
    source = value.inventory or "no inventory yet: this machine is the node · stoker init writes one"
    out.line((f"{source} · {fmt.freshness(value.freshness, 'stoker nodes --live')}", "dim"))


def _table(nodes: tuple[Node, ...], out: Out) -> None:
    now = time.time()
    rows = [
        (
            node.name, _reachable(node, now), node.address or "-", _count(node.cpus), fmt.memory(node.memory_total),
            _gpus(node), f"{node.running} running" + (f", {node.queued} waiting" if node.queued else ""),
        )
        for node in nodes
    ]  # fmt: skip
    out.table(("NODE", "STATE", "ADDRESS", "CPU", "MEMORY", "GPU", "JOBS"), rows)


def _reachable(node: Node, now: float) -> Piece:
    if node.membership in ("pending", "expired", "removed"):
        return node.membership, "yellow"
    text, style = _heard(node, now)
    return (text, style) if node.membership == "active" else (f"{node.membership}, {text}", "yellow")


def _heard(node: Node, now: float) -> tuple[str, str]:
    if not node.in_inventory:
        return "not in the inventory", "yellow"
    if node.offline_since is not None:
        return f"offline {fmt.age(now - (node.unreachable_since or node.offline_since))}", "yellow"
    if node.reachable is None:
        return "never asked", "dim"
    if node.unreachable_since is not None:
        return f"unreachable {fmt.age(now - node.unreachable_since)}", "yellow"
    return "reachable", "green"


def _count(value: int | None) -> str:
    return "-" if value is None else str(value)


def _gpus(node: Node) -> str:
    if node.gpus is None:
        absent = "no nvidia-smi" in (node.gpus_unknown or "")
        return "none seen" if absent else "unknown" if node.gpus_unknown else "-"
    if not node.gpus:
        return "none"
    names = {gpu.name or "unknown" for gpu in node.gpus}
    return f"{len(node.gpus)} x {fmt.one_line(', '.join(sorted(names)))}"


def _gpu(gpu: Gpu) -> str:
    """`GPU 0  NVIDIA GB10  memory 12 of 24 GB  load 97%  61 °C  train-9x2a`; a figure not given is unknown."""
    load = "unknown" if gpu.utilisation is None else f"{gpu.utilisation:.0f}%"
    heat = "unknown" if gpu.temperature is None else f"{gpu.temperature:.0f} C"
    held = f"  {gpu.held_by}" if gpu.held_by else ""
    name = fmt.one_line(gpu.name or "unknown")
    return f"GPU {_count(gpu.index)}  {name}  memory {render_gpus.memory(gpu)}  load {load}  temperature {heat}{held}"


def exec_report(value: ExecReport, out: Out) -> None:
    """`stoker exec`: on one node the command's own streams; on several each line with its node, then a summary."""
    for output in value.outputs:
        if output.problem is not None:
            continue  # said on standard error with the others
        if value.single:
            _streams(output.stdout, output.stderr, out)
        else:
            _prefixed(output.node, output.stdout, out)
            _prefixed(output.node, output.stderr, out)
        if output.truncated:
            out.note(f"{output.node}: the output was too long and is cut; stoker run keeps all of it")
        if output.timed_out:
            out.note(f"{output.node}: killed after {fmt.duration(output.elapsed_s)}, by --timeout")
        elif output.signal is not None:
            out.note(f"{output.node}: ended by {fmt.signal_name(output.signal)}")
    if not value.single:
        _summary(value, out)
    for output in value.outputs:
        if output.problem is not None:
            out.note(fmt.one_line(f"{output.node}: {output.problem.message}"))
            if output.problem.next_step:
                out.note(fmt.one_line(f"  next: {output.problem.next_step}"))


def _summary(value: ExecReport, out: Out) -> None:
    """A line for each node, and one for all of them."""
    for output in value.outputs:
        out.note(f"{output.node}: {_ended(output)}")
    away = sum(output.problem is not None for output in value.outputs)
    well = sum(output.problem is None and output.exit_code == 0 for output in value.outputs)
    failed = len(value.outputs) - well - away
    told = [f"{well} of {len(value.outputs)} nodes: exit 0"]
    told += [f"{failed} failed"] if failed else []
    told += [f"{away} could not be asked"] if away else []
    out.note(", ".join(told))


def _ended(output: CommandOutput) -> str:
    if output.problem is not None:
        return "could not be asked"
    return f"exit {output.exit_code}" if output.signal is None else fmt.signal_name(output.signal)


def _streams(stdout: bytes, stderr: bytes, out: Out) -> None:
    if out.is_terminal:
        out.text(fmt.safe(stdout))
    else:
        out.bytes(stdout)
    if out.stderr.isatty():
        out.stderr.write(fmt.safe(stderr))
    else:
        out.stderr.flush()
        out.stderr.buffer.write(stderr)
    out.stderr.flush()


def _prefixed(node: str, data: bytes, out: Out) -> None:
    for line in fmt.safe(data).splitlines():
        out.line((f"{node} | ", "dim"), line)


def written(value: Written, out: Out) -> None:
    """`stoker init`."""
    out.line(f"wrote {', '.join(value.files[:-1])}{' and ' * (len(value.files) > 1)}{value.files[-1]}")
    out.line(f"  next: put your machines into inventory.yml    ·    stoker nodes --live    ·    {value.next_step}")
