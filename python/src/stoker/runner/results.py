"""What came back from one playbook run, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

TaskStatus = Literal["ok", "failed", "unreachable", "skipped"]


@dataclass(frozen=True)
class Event:
    """One step of a run, told while it happens. ``kind`` is ``play``, ``task`` (began) or ``result`` (one host's).

    ``res`` is Ansible's own result of that host.
    """

    kind: Literal["play", "task", "result"]
    host: str | None = None
    task: str | None = None
    status: TaskStatus | None = None
    message: str | None = None
    res: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskResult:
    """One task's result on one host. ``res`` is Ansible's own result; ``message`` one line, None when there is none.

    ``ignored`` is true when the playbook went on in spite of the failure (``ignore_errors``, ``ignore_unreachable``).
    """

    host: str
    task: str
    action: str
    status: TaskStatus
    res: dict[str, Any]
    message: str | None = None
    ignored: bool = False


@dataclass(frozen=True)
class PlayResult:
    """One finished run. ``rc`` is ansible-playbook's exit code: 0 all well, 2 a task failed, 4 a host unreachable.

    ``unreachable`` and ``failed`` hold one line per host, in the node's own words, for ignored failures too.
    ``next_steps`` says per host what to try, where a way is known. ``elapsed_s`` is wall time in seconds.
    """

    rc: int
    results: list[TaskResult] = field(default_factory=list)
    unreachable: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    next_steps: dict[str, str] = field(default_factory=dict)
    elapsed_s: float = 0.0

    def of_task(self, action: str) -> Mapping[str, TaskResult]:
        """The last result per host of the tasks whose action is `action` (fully qualified or its last part)."""
        return {r.host: r for r in self.results if r.action == action or r.action.rsplit(".", 1)[-1] == action}
