"""Who may pass whom: small jobs go on while a big one waits for room, but not for ever. Pure.

A job that finds no room waits in the store. Whenever a later one gets a place on a node that it could have used, it was
passed. When that happened `pass_limit` times, or it has waited for `pass_s` seconds and was passed at all, the nodes on
which it will have room first are held for it: jobs behind it get no place there. Those before it, and of a higher
priority, are not held up, so that of all that wait the first one always moves on. So it is enough to count for the
first few.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from stoker.config import Placement
from stoker.store import JobRow

# For so many of those that wait it is counted how often they are passed.
COUNTED = 20


@dataclass
class _Waiting:
    job: JobRow
    nodes: frozenset[str]
    passed: int
    since: float


class Passing:
    """What waits for room while a round is planned."""

    def __init__(self, rules: Placement, now: float) -> None:
        self._rules, self._now = rules, now
        self._waiting: dict[str, _Waiting] = {}
        self._held: dict[str, str] = {}
        self._sought: set[str] = set()

    def wait(self, job: JobRow, nodes: Sequence[str], needs: int, shortage: Callable[[str], float]) -> bool:
        """`job` found no room on these nodes, and `needs` so many of them at once; whether some are held for it now."""
        self._sought.update(nodes)
        if len(self._waiting) >= COUNTED:
            return False
        since = self._now if job.blocked_since is None else job.blocked_since
        passed = job.passed or 0
        self._waiting[job.id] = _Waiting(job, frozenset(nodes), passed, since)
        if passed >= self._rules.pass_limit or (passed and self._now - since >= self._rules.pass_s):
            free = [node for node in nodes if node not in self._held]
            for node in sorted(free, key=lambda name: (shortage(name), name))[:needs]:
                times = "once" if passed == 1 else f"{passed} times"
                self._held[node] = f"{node} is held for {job.id}, which was passed {times}"
            return bool(free)
        return False

    def held(self, nodes: Sequence[str]) -> dict[str, str]:
        """Those of the nodes that are held for a job that came before, each with the reason."""
        return {node: self._held[node] for node in nodes if node in self._held}

    def sought(self, node: str) -> bool:
        """Whether a job that came before waits for room on `node`: nobody stands in line there before it does."""
        return node in self._sought

    def placed(self, node: str) -> None:
        """A later job got a place on `node`."""
        for waiting in self._waiting.values():
            if node in waiting.nodes:
                waiting.passed += 1

    def values(self, job: JobRow) -> dict[str, Any]:
        """What changed of the row of a job that goes on waiting."""
        waiting = self._waiting.get(job.id)
        if waiting is None:
            return {}
        now = {"passed": waiting.passed, "blocked_since": waiting.since}
        return {name: value for name, value in now.items() if getattr(job, name) != value}
