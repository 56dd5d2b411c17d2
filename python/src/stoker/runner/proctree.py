"""End a process with everything it started. Linux: reads /proc."""

from __future__ import annotations

import os
import signal
import time


def descendants(pid: int) -> list[int]:
    """Processes started by `pid` and by those, without the ones whose parent has ended (daemons on their own)."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            parent = _parent(name)
            if parent is not None:
                children.setdefault(parent, []).append(int(name))
    found: list[int] = []
    todo = [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _parent(pid: str) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def kill_tree(pid: int) -> None:
    """Kill `pid` and all its descendants. They are stopped first, so that none can start another meanwhile."""
    frozen: set[int] = set()
    while fresh := {pid, *descendants(pid)} - frozen:
        for one in fresh:
            _signal(one, signal.SIGSTOP)
        frozen |= fresh
    for one in frozen:
        _signal(one, signal.SIGKILL)


def end(pid: int, *, grace_s: float) -> None:
    """Ask our child `pid` to end, and after `grace_s` seconds kill it with all it started. It is not reaped."""
    _signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return
        time.sleep(0.02)
    kill_tree(pid)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
