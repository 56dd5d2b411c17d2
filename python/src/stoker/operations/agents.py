"""Agent tasks: which agents may run, and one of them with several prompts at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

from stoker.errors import NotFound, UsageError
from stoker.operations.options import Named, RunOptions, named_job
from stoker.operations.registry import operation
from stoker.operations.session import Session
from stoker.operations.submit import prepared, submit_all
from stoker.operations.values import Job, Problem


@dataclass(frozen=True)
class AgentEntry:
    """An agent of stoker.yml, and the most that a task of it may use; None: whoever submits one says it."""

    name: str
    argv: tuple[str, ...]
    secret: tuple[str, ...]
    max_turns: int | None
    max_tokens: int | None
    max_cost: float | None


@dataclass(frozen=True)
class AgentList:
    """The agents that may run, by name."""

    agents: tuple[AgentEntry, ...]
    file: str | None


@dataclass(frozen=True)
class AgentTasks:
    """Jobs that were just submitted, one for each prompt, in that order."""

    jobs: tuple[Job, ...]
    queue: str | None
    problems: tuple[Problem, ...] = ()

    @property
    def exit_code(self) -> int:
        """0: they are accepted. What nodes could not be asked is told beside it."""
        return 0


@operation("agents", "agent list", "read", method="list")
def list_agents(session: Session) -> AgentList:
    """List the agents that may run: those of stoker.yml, and no others."""
    config = session.config
    return AgentList(
        tuple(
            AgentEntry(name, agent.argv, agent.secret, agent.max_turns, agent.max_tokens, agent.max_cost)
            for name, agent in sorted(config.agents.items())
        ),
        None if config.file is None else str(config.file),
    )


@operation("agents", "agent run", "operate")
def run(
    session: Session, /, which: str, *prompts: str, to: str | None = None, **options: Unpack[RunOptions]
) -> AgentTasks:
    """Run an agent once for each prompt: a job for each, all at a time, or one after the other in a queue.

    Each is named after the file of its prompt. stoker run --agent, stoker queue add --agent and a workflow do the same
    with one.

    Args:
        which: The agent, one of stoker.yml.
        prompts: Files, each with what it is to do.
        to: Put them into this queue.
    """
    for option in ("agent", "prompt", "script"):
        if options.get(option) is not None:
            raise UsageError(f"--{option} is for stoker run", next_step=f"stoker agent run {which} FILE...")
    if not prompts:
        raise UsageError(f"{which} is asked to do nothing", next_step=f"stoker agent run {which} FILE...")
    asked = [_named(which, prompt, options) for prompt in prompts]
    shared = prepared(session, asked[0], options)
    files = {key: shared.spec[key] for key in ("env", "workdir", "snapshot") if key in shared.spec}
    jobs, problems = submit_all(
        session,
        [replace(one, spec={**one.spec, **files}, results=shared.results, ranks=shared.ranks) for one in asked],
        to,
    )
    return AgentTasks(jobs, to, problems)


def _named(agent: str, prompt: str, options: RunOptions) -> Named:
    given: RunOptions = {**options, "agent": agent, "prompt": _text(prompt)}
    return named_job((), given, options.get("name") or Path(prompt).stem or agent)


def _text(prompt: str) -> str:
    try:
        return Path(prompt).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"there is no file {prompt}") from None
    except (OSError, UnicodeDecodeError, ValueError) as problem:
        raise UsageError(f"{prompt} cannot be read as a text: {problem}") from None
