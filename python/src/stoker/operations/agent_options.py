"""Agent tasks: from what a caller and stoker.yml say of an agent to the command, and the limits it is held to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stoker.errors import UsageError

if TYPE_CHECKING:
    from stoker.config import Agent
    from stoker.operations.options import JobOptions

_LARGEST_PROMPT = 256 * 1024
# The options, the names in a spec, and what they are in words.
_LIMITS = (("max_turns", "max_turns", "turns"), ("max_tokens", "max_tokens", "tokens"),
           ("max_cost", "max_cost_usd", "cost"))  # fmt: skip
ENABLE = "agents of stoker.yml names those that may run, see docs/agents.md"


def named_agent(options: JobOptions) -> dict[str, Any] | None:
    """What a caller named of an agent task; None: it is another job. Raises UsageError for what cannot be meant."""
    said = {option: options.get(option) for option in ("prompt", *(name for name, _, _ in _LIMITS))}
    agent = options.get("agent")
    if agent is None:
        if given := [name for name, value in said.items() if value is not None]:
            raise UsageError(f"{_flag(given[0])} is for an agent, and none is named", next_step="--agent NAME")
        return None
    prompt = options.get("prompt")
    if prompt is None or not prompt.strip():
        raise UsageError(f"--agent {agent} is asked to do nothing", next_step="--prompt FILE, a text")
    if "\0" in prompt or len(prompt.encode("utf-8", "surrogateescape")) > _LARGEST_PROMPT:
        raise UsageError(f"--prompt: a text of at most {_LARGEST_PROMPT // 1024} KiB without NUL is meant")
    for name, _, _ in _LIMITS:
        limit = options.get(name)
        if limit is not None and not 0 < limit < 10**12:  # type: ignore[operator]
            raise UsageError(f"{_flag(name)}: {limit} is not a number above 0")
    limits = {field: said[name] for name, field, _ in _LIMITS if said[name] is not None}
    return {"name": agent, "prompt": prompt, **limits}


def completed(agents: Mapping[str, Agent], spec: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a spec that make its `agent` run: command, environment, secrets, limits.

    Raises UsageError for an agent that the settings do not have, one without a limit, and a limit beyond theirs.
    """
    from stoker.operations.find import near

    asked = spec["agent"]
    agent = agents.get(asked["name"])
    if agent is None:
        hint = near(asked["name"], list(agents))
        which = f"there is no agent {asked['name']!r}.{hint}" if agents else "no agent may run here"
        raise UsageError(f"--agent: {which}", next_step=ENABLE)
    if spec.get("script"):
        raise UsageError("--agent: there is a script already", next_step="a job has a command, a script or an agent")
    if spec.get("container"):
        raise UsageError("--agent: an agent does not run in a container of a job", next_step="--sandbox bwrap")
    limits = _limits(asked, agent)
    words = [word for flag, value in zip(_flags(agent), limits.values(), strict=True) if flag and value is not None
             for word in (flag, f"{value:g}" if isinstance(value, float) else str(value))]  # fmt: skip
    names = [*spec.get("secret_env", ()), *(name for name in agent.secret if name not in spec.get("secret_env", ()))]
    return {
        "argv": [*agent.argv, *words], "env": {**agent.env, **(spec.get("env") or {})}, "secret_env": names,
        "split_output": True, "agent": {"name": asked["name"], "prompt": asked["prompt"], **limits},
    }  # fmt: skip


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"


def _flags(agent: Agent) -> tuple[str | None, ...]:
    return agent.flags.turns, agent.flags.tokens, agent.flags.cost


def _limits(asked: Mapping[str, Any], agent: Agent) -> dict[str, Any]:
    """By their names in a spec: what the caller named, else what the settings say, which nobody goes beyond."""
    limits: dict[str, Any] = {}
    for option, name, what in _LIMITS:
        most, wanted = getattr(agent, option), asked.get(name)
        if most is not None and wanted is not None and wanted > most:
            raise UsageError(
                f"{_flag(option)}: {asked['name']} may use at most {most:g} ({what}), by {option} in stoker.yml",
                next_step=f"{_flag(option)} {most:g}, or less",
            )
        limits[name] = most if wanted is None else wanted
    if all(limit is None for limit in limits.values()):
        raise UsageError(
            f"--agent: nothing limits what {asked['name']} may use", next_step="--max-turns, --max-tokens or --max-cost"
        )
    return limits
