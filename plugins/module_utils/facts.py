# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a node is doing now: processors, memory, disks, network, GPUs, containers. Read, never guessed.

Sizes are bytes (of GPUs MiB, as their tools give them), times seconds, shares percent. A part that cannot be read is
None, and ``<part>_unknown`` says why; it is None where the part was read.
"""

from __future__ import annotations

import os
import time

from . import containers, disks, gpu_info
from .cgroups import memory_limit
from .statedir import NodeError

PARTS = ("cpu", "memory", "disks", "network", "gpus", "containers")
PROC = "/proc"
# The least time between two looks at the CPU counters, which count in hundredths of a second.
WINDOW_S = 0.2


def read(state, parts=None, proc=None):
    """Read ``parts`` (all by default). ``proc`` is another place of the machine's /proc, as a container may have it."""
    proc = proc or PROC
    wanted = PARTS if parts is None else parts
    began = time.monotonic()
    first = _attempt(lambda: _ticks(proc)) if "cpu" in wanted else None
    found = {}
    for part in wanted:
        if part != "cpu":
            value, why = _attempt(lambda part=part: _READERS[part](state, proc))
            found[part], found[part + "_unknown"] = value, why
    if "containers" in wanted and found["containers"] is not None:
        found["containers"], found["containers_unknown"] = found["containers"]
    if "cpu" in wanted:
        found["cpu"], found["cpu_unknown"] = _attempt(lambda: _cpu(proc, first, began))
    found["uptime_s"], found["uptime_s_unknown"] = _attempt(lambda: float(_text(proc, "uptime").split()[0]))
    return found


def _attempt(reader):
    """(value, None), or (None, why there is none)."""
    try:
        return reader(), None
    except NodeError as exc:
        return None, exc.message
    except OSError as exc:
        return None, "{0}: {1}".format(exc.filename or "the kernel", exc.strerror or exc)
    except (ValueError, KeyError, IndexError) as exc:
        return None, "it says something that is not understood: {0!r}".format(exc)


def _text(proc, *names):
    with open(os.path.join(proc, *names), encoding="utf-8", errors="replace") as handle:
        return handle.read()


# ---- processors ----


def _ticks(proc):
    """(busy, total) of all processors since boot, in ticks. Time waiting for a disk is idle time."""
    for line in _text(proc, "stat").splitlines():
        if line.startswith("cpu "):
            # user nice system idle iowait irq softirq steal; guest time is in user already
            counted = [int(word) for word in line.split()[1:9]]
            return sum(counted) - sum(counted[3:5]), sum(counted)
    raise ValueError("no line of all processors in stat")


def _cpu(proc, first, began):
    """Use over the time since ``first`` was read; since boot where the counters did not move."""
    before, why = first
    if before is None:
        raise NodeError("not_supported", why)
    time.sleep(max(0.0, began + WINDOW_S - time.monotonic()))
    busy, total = _ticks(proc)
    moved = total > before[1]
    part, whole = (busy - before[0], total - before[1]) if moved else (busy, total)
    loads = [float(word) for word in _text(proc, "loadavg").split()[:3]]
    return {
        "count": sum(line.startswith("cpu") and line[3:4].isdigit() for line in _text(proc, "stat").splitlines()),
        "usable": len(os.sched_getaffinity(0)),
        "load": loads,
        "used_pct": round(100.0 * max(0, part) / whole, 1) if whole else None,
        # Over how long: None is since boot.
        "window_s": round(time.monotonic() - began, 3) if moved else None,
    }


# ---- memory ----


def _memory(_state, proc):
    told = meminfo(proc)
    total = told["MemTotal"]
    # Linux before 3.14 does not estimate it.
    available = told["MemAvailable"] if "MemAvailable" in told else told["MemFree"] + told["Cached"]
    swap = told.get("SwapTotal", 0)
    return {
        "total": total,
        "available": available,
        "used": total - available,
        "used_pct": round(100.0 * (total - available) / total, 1),
        "swap_total": swap,
        "swap_used": swap - told.get("SwapFree", 0),
        "limit": memory_limit(total),
    }


def meminfo(proc=None):
    """/proc/meminfo in bytes."""
    found = {}
    for line in _text(proc or PROC, "meminfo").splitlines():
        name, _colon, rest = line.partition(":")
        words = rest.split()
        if words:
            found[name] = int(words[0]) * (1024 if words[1:] == ["kB"] else 1)
    return found


# ---- network ----


def _network(_state, proc):
    # "self" would be this process's own network, also in the /proc of another namespace.
    where = ("net", "dev") if proc == PROC else ("1", "net", "dev")
    found = []
    for line in _text(proc, *where).splitlines()[2:]:
        name, _colon, rest = line.partition(":")
        counts = [int(word) for word in rest.split()]
        found.append(
            {
                "name": name.strip(),
                "rx_bytes": counts[0],
                "rx_errors": counts[2],
                "tx_bytes": counts[8],
                "tx_errors": counts[10],
            }
        )
    return found


def _gpus(state, proc):
    return gpu_info.read(state, lambda: meminfo(proc))


_READERS = {
    "memory": _memory,
    "disks": lambda _state, proc: disks.read(),
    "network": _network,
    "gpus": _gpus,
    "containers": lambda _state, proc: containers.read(),
}
