# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every GPU of this node with all that its driver tells, and the jobs that are busy on it.

From NVML where the node's Python has ``pynvml``, else from nvidia-smi. Memory in MiB, temperature in degrees C, power
in W, clocks in MHz. What is not told is None, with the driver's own word for why in ``unknown``.
"""

from __future__ import annotations

import glob
import json
import os
import re
import sys
import sysconfig

from . import gpu_queue, gpus, identity, kernel_log, nvml_reader
from .processes import Family
from .statedir import NodeError

FIELDS = dict(
    gpus.FIELDS,
    bus="pci.bus_id",
    mem_free_mib="memory.free",
    mem_util_pct="utilization.memory",
    power_limit_w="power.limit",
    clock_sm_mhz="clocks.current.sm",
    clock_mem_mhz="clocks.current.memory",
    throttle="clocks_throttle_reasons.active",
    ecc_uncorrected="ecc.errors.uncorrected.volatile.total",
    ecc_uncorrected_total="ecc.errors.uncorrected.aggregate.total",
    remap_pending="remapped_rows.pending",
    remap_failure="remapped_rows.failure",
)
_YES_NO = {"yes": True, "no": False}
_NO_SUCH_FIELD = re.compile(r'Field "([^"]+)" is not a valid field')
# These have no memory of their own: they use the machine's.
_UNIFIED = re.compile(r"\b(GB10|Thor|Orin|Xavier|Tegra)\b")
_FIRST_PID_NAMESPACE = 0xEFFFFFFC
THROTTLE = {
    0x1: "idle",
    0x2: "clocks set by application",
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
    0x100: "display clocks",
}


def read(state, meminfo):
    """All GPUs. Raises NodeError where neither NVML nor nvidia-smi tells. ``meminfo()`` is the machine's memory."""
    found, why = _by_nvml(state)
    if found is None:
        found = _by_tool()
    survivors = gpu_queue.survivors_by_gpu(state)
    owner = _owners(state) if any(gpu["processes"] for gpu in found) else None
    for gpu in found:
        gpu["not_by_nvml"] = why
        gpu["throttle"] = throttle_words(gpu["throttle"], gpu["unknown"])
        gpu["held_by"] = gpu_queue.holders(state, [gpu["uuid"]], survivors) if gpu["uuid"] else []
        gpu["unified_memory"] = _unified(meminfo) if _UNIFIED.search(gpu["name"] or "") else None
        for process in gpu["processes"] or ():
            process["job"] = owner(process["pid"])
    return found


def throttle_words(bits, unknown):
    """The reasons in words for why the clocks are not higher, from the driver's bit mask ("0x24"); None: not told."""
    try:
        mask = int(bits, 16)
    except (TypeError, ValueError):
        unknown.setdefault("throttle", "not told" if bits is None else bits)
        return None
    known = [word for bit, word in THROTTLE.items() if mask & bit]
    rest = mask & ~sum(THROTTLE)
    return known + (["reason {0:#x}".format(rest)] if rest else [])


def _unified(meminfo):
    told = meminfo()
    mib = 1024 * 1024
    total, available = told["MemTotal"], told["MemAvailable"]
    return {
        "total_mib": total // mib,
        "used_mib": (total - available) // mib,
        "available_mib": available // mib,
        "source": "/proc/meminfo",
    }


# ---- by NVML ----


def _by_nvml(state):
    """(GPUs, None), or (None, why not): pynvml is not there, or there is no NVML that it could load.

    Raises NodeError when the driver hangs: nvidia-smi would ask the same library.
    """
    python = _python_with_pynvml(state)
    if python is None:
        return None, "no pynvml in the node's Python"
    argv = [python, "-I", nvml_reader.__file__]
    code, out, err = gpus.run_bounded(argv, gpus.TIMEOUT_S, "NVML (pynvml)")
    lines = out.splitlines()
    if code != 0 or not lines:
        return None, "pynvml ended with {0}: {1}".format(code, (err.strip().splitlines() or ["no words"])[-1][:300])
    told = json.loads(lines[-1])
    if "error" in told:
        return None, told["error"]
    return told["gpus"], None


def _python_with_pynvml(state):
    """The node's own Python where it has pynvml, else that in the state folder's ``nvml``; None where neither has."""
    if any(os.path.isfile(os.path.join(folder, "pynvml.py")) for folder in _package_folders()):
        return sys.executable
    own = os.path.join(state.path, "nvml")
    if glob.glob(os.path.join(glob.escape(own), "lib", "python3*", "site-packages", "pynvml.py")):
        return os.path.join(own, "bin", "python")
    return None


def _package_folders():
    """Where this Python finds packages once it is started with ``site``; it was started without, to be quick."""
    version = "python{0}.{1}".format(*sys.version_info[:2])
    prefix = os.path.dirname(os.path.dirname(sys.executable))
    return {
        sysconfig.get_path("purelib"),
        os.path.join(prefix, "lib", version, "site-packages"),
        os.path.join(prefix, "local", "lib", version, "dist-packages"),
        "/usr/lib/python3/dist-packages",
    }


# ---- by nvidia-smi ----


def _by_tool():
    fields, refused = dict(FIELDS), {}
    while True:
        try:
            found = gpus.query(fields=fields)
            break
        except NodeError as exc:
            # Drivers learn and forget fields; one that this driver does not know costs only itself.
            match = _NO_SUCH_FIELD.search(exc.message)
            named = [key for key, field in fields.items() if match and field == match.group(1)]
            if not named or named[0] in gpus.FIELDS:
                raise
            refused[named[0]] = "this nvidia-smi has no field " + fields.pop(named[0])
    processes, why = _tool_processes() if found else ({}, None)
    graphics = _tool_graphics() if processes is not None else {}
    links, why_no_links = _tool_links() if found else ({}, None)
    for gpu in found:
        gpu["source"] = "nvidia-smi"
        gpu.update(dict.fromkeys(refused))
        gpu["unknown"].update(refused)
        for key in ("remap_pending", "remap_failure"):
            if key not in refused:
                gpu["unknown"].update({} if gpu[key].lower() in _YES_NO else {key: gpu[key]})
                gpu[key] = _YES_NO.get(gpu[key].lower())
        gpu["nvlink_recoveries"] = None if links is None else links.get(gpu["uuid"])
        if gpu["nvlink_recoveries"] is None:
            gpu["unknown"]["nvlink_recoveries"] = why_no_links or "not told"
        gpu["processes"] = None if processes is None else processes.get(gpu["uuid"], [])
        if why:
            gpu["unknown"]["processes"] = why
        elif gpu["processes"] is not None:
            known = {process["pid"] for process in gpu["processes"]}
            more = graphics.get(kernel_log.bus(gpu["bus"]), [])
            gpu["processes"] += [process for process in more if process["pid"] not in known]
    return found


def _tool_processes():
    """(GPU -> processes, None), or (None, why not)."""
    argv = ["--query-compute-apps=gpu_uuid,pid,used_memory,process_name", "--format=csv,noheader,nounits"]
    try:
        out = gpus.ask(argv)
    except NodeError as exc:
        return None, exc.message
    found = {}
    for line in out.splitlines():
        # The name comes last: it may hold commas, and nvidia-smi quotes nothing.
        words = [word.strip() for word in line.split(",", 3)]
        if len(words) == 4 and words[1].isdigit():
            memory = gpus.number(words[2])
            found.setdefault(words[0], []).append(
                {
                    "pid": int(words[1]),
                    "name": words[3],
                    "mem_mib": memory,
                    "unknown": {} if memory is not None else {"mem_mib": words[2]},
                }
            )
    return found, None


def _tool_graphics():
    """bus -> processes that draw (games, desktops), which the list of compute processes lacks."""
    try:
        out = gpus.ask(["-q", "-d", "PIDS"])
    except NodeError:
        return {}  # what computes is known all the same
    found, where, process = {}, None, {}
    for line in out.splitlines():
        heading = re.match(r"GPU ([0-9A-Fa-f:.]+)\s*$", line)
        if heading:
            where = kernel_log.bus(heading.group(1))
        key, value = (part.strip() for part in line.partition(":")[::2])
        if key == "Process ID" and value.isdigit():
            process = {"pid": int(value), "name": None, "mem_mib": None, "unknown": {}}
        elif key == "Type" and "G" in value and process:
            found.setdefault(where, []).append(process)
        elif key == "Name" and process:
            process["name"] = value
        elif key == "Used GPU Memory" and process:
            process["mem_mib"] = gpus.number(value.split(" ")[0])
            process["unknown"] = {} if process["mem_mib"] is not None else {"mem_mib": value}
    return found


def _tool_links():
    """(GPU -> how often one of its NVLinks had to recover, None), or (None, why not). Without NVLink that is never."""
    try:
        out = gpus.ask(["nvlink", "-e"])
    except NodeError as exc:
        return None, exc.message
    found, uuid = {}, None
    for line in out.splitlines():
        heading = re.match(r"GPU \d+: .*\(UUID: ([^)]+)\)", line)
        if heading:
            uuid = heading.group(1)
            found[uuid] = 0
        counted = re.match(r"\s*Link \d+: Recovery Errors: (\d+)", line)
        if counted and uuid:
            found[uuid] += int(counted.group(1))
    return found, None


# ---- whose process ----


def _owners(state):
    """A function from the pid that a driver tells to the job of that process; None where it is nobody's here."""
    if os.stat("/proc/self/ns/pid").st_ino != _FIRST_PID_NAMESPACE:
        # Drivers number processes as the machine does, and here they have other numbers.
        return lambda pid: None
    members = {}
    for job in state.jobs():
        for attempt in state.attempts(job):
            if not attempt.finished():
                members.update(dict.fromkeys(Family(attempt).members(), job))
    return lambda pid: members.get(pid) or _named_in_environment(pid)


def _named_in_environment(pid):
    """The job that a process says it is of: one of another state folder, or one that outlived its job."""
    if not identity.stat_fields(pid):
        return None
    try:
        with open("/proc/{0}/environ".format(pid), "rb") as handle:
            words = handle.read().split(b"\0")
    except OSError:
        return None  # another user's
    named = dict(word.split(b"=", 1) for word in words if word.startswith((b"STOKER_JOB=", b"STOKER_TOKEN=")))
    return named[b"STOKER_JOB"].decode("utf-8", "replace") if len(named) == 2 else None
