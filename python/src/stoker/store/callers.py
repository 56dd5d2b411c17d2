"""Which process makes a call, so that it can be told later whether it still does."""

from __future__ import annotations

import os
import platform

_BOOT = "/proc/sys/kernel/random/boot_id"


def this_process() -> str:
    """The host, its boot, where its process ids count, the id, and when it began: no other process is called so."""
    return " ".join((*_here(), str(os.getpid()), _began(os.getpid()) or "?"))


def is_gone(process: str) -> bool:
    """Whether it has surely ended. One of another machine or container is not known to have."""
    host, boot, space, number, began = process.split(" ")
    here = _here()
    if host != here[0]:
        return False
    if boot != here[1]:
        return True
    return space == here[2] and _began(int(number)) != began


def _here() -> tuple[str, str, str]:
    with open(_BOOT, encoding="ascii") as handle:
        boot = handle.read().strip()
    return platform.node().replace(" ", "_") or "?", boot, os.readlink("/proc/self/ns/pid")


def _began(number: int) -> str | None:
    """When the process began, in ticks since boot; None: there is none, or only its exit code is left."""
    try:
        with open(f"/proc/{number}/stat", "rb") as handle:
            state, *rest = handle.read().rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in (b"Z", b"X") else rest[18].decode()
