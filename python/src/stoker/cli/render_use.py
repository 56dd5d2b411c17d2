"""What the agent of a job used, in a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stoker.cli import format as fmt


def use(agent: Mapping[str, Any], used: Mapping[str, Any] | None) -> str:
    """What an agent was asked not to go beyond, and what it reported: `coder: 3 of 10 turns, 1,200 tokens`."""
    seen = used or {}
    told = [
        f"{_amount(seen.get(what), dollars=False)}{_of(agent.get(limit), dollars=False)} {what}"
        for limit, what in (("max_turns", "turns"), ("max_tokens", "tokens"))
    ]
    most = agent.get("max_cost_usd")
    if isinstance(cost := seen.get("cost_usd"), int | float):
        told.append(f"{_amount(cost, dollars=True)}{_of(most, dollars=True)}")
    else:
        told.append("cost not reported" + ("" if most is None else f" (at most {_amount(most, dollars=True)})"))
    return fmt.one_line(f"{agent.get('name')}: {', '.join(told)}") + ("" if used else "  (nothing reported yet)")


def _amount(number: Any, *, dollars: bool) -> str:
    if not isinstance(number, int | float):
        return "?"
    return f"${number:.4g}" if dollars else f"{number:,}"


def _of(limit: Any, *, dollars: bool) -> str:
    return "" if limit is None else f" of {_amount(limit, dollars=dollars)}"
