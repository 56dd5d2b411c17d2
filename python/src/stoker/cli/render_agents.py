"""Agents and their tasks on a terminal."""

from __future__ import annotations

import time

from stoker.cli import format as fmt
from stoker.cli import render_jobs
from stoker.cli.out import Out
from stoker.operations.agents import AgentList, AgentTasks


def agent_list(value: AgentList, out: Out) -> None:
    """`stoker agent list`."""
    if not value.agents:
        out.line("no agent may run: agents of stoker.yml names those that may")
        return
    rows = [
        (
            fmt.one_line(agent.name), _limit(agent.max_turns), _limit(agent.max_tokens),
            "-" if agent.max_cost is None else f"${agent.max_cost:g}", ", ".join(agent.secret) or "-",
            fmt.command_text(agent.argv, None),
        )
        for agent in value.agents
    ]  # fmt: skip
    out.table(("AGENT", "TURNS", "TOKENS", "COST", "SECRETS", "COMMAND"), rows)


def tasks(value: AgentTasks, out: Out) -> None:
    """`stoker agent run`."""
    render_jobs.table(value.jobs, out, time.time())
    if value.queue is not None:
        out.line(f"they start in turn: stoker queue start {value.queue}, or stoker dispatch --loop")
    out.line(f"next: stoker job {value.jobs[0].id} --live    ·    stoker logs --stream stdout {value.jobs[0].id}")


def _limit(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"
