"""Environments on a terminal."""

from __future__ import annotations

from stoker.cli import format as fmt
from stoker.cli.out import Out
from stoker.operations.environments import Environment, EnvironmentList, EnvironmentReport, KeptEnvironment

_LINES = 10


def report(value: EnvironmentReport, out: Out) -> None:
    """`stoker environment`: each node's, and what the installer said where it failed."""
    for made in value.environments:
        out.line(fmt.one_line(_summary(made)))
        if made.state == "failed":
            for line in made.lines[-_LINES:]:
                out.note(fmt.one_line(f"  {line}"))
            out.note(fmt.one_line(f"  next: stoker exec {made.node} -- cat {made.log}"))


def _summary(made: Environment) -> str:
    what = f"{made.source} with {made.tool}" + ("" if made.tool == "conda" else f", Python {made.python}")
    if made.state == "failed":
        return f"{made.node}: the install of {what} {made.reason}: {made.command or 'nothing is ready'}"
    if made.state == "missing":
        return f"{made.node}: {what} is not installed"
    took = f"installed in {fmt.duration(made.elapsed_s)}" if made.changed else "was there already"
    return f"{made.node}: {what} {took} · {made.folder}"


def listing(value: EnvironmentList, out: Out) -> None:
    """`stoker environments`."""
    if value.kept:
        columns = ("NODE", "ENVIRONMENT", "STATE", "USED", "JOBS", "PYTHON", "FROM")
        out.table(columns, [_row(entry, value.at) for entry in value.kept])
    elif not value.removed:
        out.line("no environments")
    for entry in value.removed:
        verb = "would be removed" if value.dry_run else "removed"
        out.line(f"{entry.node}: {entry.name} {verb}, unused for {fmt.age(value.at - entry.used_at)}")


def _row(entry: KeptEnvironment, now: float) -> list[str]:
    used = f"{fmt.age(max(0.0, now - entry.used_at))} ago" if entry.used_at else "-"
    state = entry.state if entry.exit_code is None else f"{entry.state} ({entry.exit_code})"
    source = f"{entry.project}/{entry.source}" if entry.project else "-"
    return [
        entry.node, entry.name, state, used, ", ".join(entry.used_by) or "-", entry.python or "-", fmt.one_line(source)
    ]  # fmt: skip
