"""What the agent of a job used, in a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stoker.cli import format as fmt


def use(agent: Mapping[str, Any], used: Mapping[str, Any] | None) -> str:
    """What an agent was asked not to go beyond, and what it reported: `coder: 3 of 10 turns, 1,200 tokens`."""
    seen = used or {}
    told = [
        _part(what, seen.get(key), agent.get(limit))
        for what, key, limit in (
            ("turns", "turns", "max_turns"), ("tokens", "tokens", "max_tokens"), ("cost", "cost_usd", "max_cost_usd")
        )
    ]  # fmt: skip
    return fmt.one_line(f"{agent.get('name')}: {', '.join(told)}")


def _part(what: str, number: Any, limit: Any) -> str:
    if not isinstance(number, int | float):
        return f"{what} not reported" + ("" if limit is None else f" (at most {_amount(what, limit)})")
    said = _amount(what, number) + ("" if limit is None else f" of {_amount(what, limit)}")
    return said if what == "cost" else f"{said} {what}"


def _amount(what: str, number: float) -> str:
    return f"${number:.4g}" if what == "cost" else f"{number:,}"
