# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program of its own: all GPUs by NVML, as one line of JSON. Run with ``site``, so that it finds pynvml.

It imports nothing of this package. A figure that NVML refuses is None, its reason in ``unknown``; a GPU that is lost
does not hide the others.
"""

from __future__ import annotations

import importlib
import json
import os
import sys

_MIB = 1024 * 1024


def main():
    # By name: the package runs on the standard library, and this part of it only where pynvml is.
    nvml = importlib.import_module("pynvml")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as exc:
        answer = {"error": "NVML does not start: {0}".format(exc)}
    else:
        answer = {"gpus": [_gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]}
    sys.stdout.write(json.dumps(answer) + "\n")


def _gpu(nvml, index):
    unknown = {}
    gpu = {"index": index, "source": "nvml", "unknown": unknown}

    def ask(key, reader):
        try:
            gpu[key] = _text(reader())
        except nvml.NVMLError as exc:
            gpu[key], unknown[key] = None, str(exc)

    try:
        handle, lost = nvml.nvmlDeviceGetHandleByIndex(index), None
    except nvml.NVMLError as exc:
        handle, lost = None, exc
    for key, reader in _readers(nvml, handle).items():
        if lost is None:
            ask(key, reader)
        else:
            gpu[key], unknown[key] = None, str(lost)
    memory = gpu.pop("memory")
    for place, key in enumerate(("mem_total_mib", "mem_used_mib", "mem_free_mib")):
        gpu[key] = memory and memory[place]
        if memory is None:
            unknown[key] = unknown["memory"]
    unknown.pop("memory", None)
    remapped = gpu.pop("remapped")
    for place, key in ((2, "remap_pending"), (3, "remap_failure")):
        gpu[key] = remapped and bool(remapped[place])
        if remapped is None:
            unknown[key] = unknown["remapped"]
    unknown.pop("remapped", None)
    return gpu


def _readers(nvml, handle):
    throttle = getattr(nvml, "nvmlDeviceGetCurrentClocksThrottleReasons", None)
    throttle = throttle or nvml.nvmlDeviceGetCurrentClocksEventReasons
    uncorrected = nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED
    return {
        "uuid": lambda: nvml.nvmlDeviceGetUUID(handle),
        "name": lambda: nvml.nvmlDeviceGetName(handle),
        "memory": lambda: _memory(nvml, handle),
        "util_pct": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
        "mem_util_pct": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).memory,
        "temp_c": lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
        "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000.0,
        "power_limit_w": lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000.0,
        "clock_sm_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
        "clock_mem_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM),
        "throttle": lambda: hex(throttle(handle)),
        "ecc_uncorrected": lambda: nvml.nvmlDeviceGetTotalEccErrors(handle, uncorrected, nvml.NVML_VOLATILE_ECC),
        "ecc_uncorrected_total": lambda: nvml.nvmlDeviceGetTotalEccErrors(handle, uncorrected, nvml.NVML_AGGREGATE_ECC),
        "remapped": lambda: nvml.nvmlDeviceGetRemappedRows(handle),
        "nvlink_recoveries": lambda: _link_recoveries(nvml, handle),
        "bus": lambda: nvml.nvmlDeviceGetPciInfo(handle).busId,
        "processes": lambda: _processes(nvml, handle),
    }


def _link_recoveries(nvml, handle):
    """How often one of its NVLinks had to recover; never, without NVLink."""
    count = 0
    for link in range(nvml.NVML_NVLINK_MAX_LINKS):
        try:
            if nvml.nvmlDeviceGetNvLinkState(handle, link):
                count += nvml.nvmlDeviceGetNvLinkErrorCounter(handle, link, nvml.NVML_NVLINK_ERROR_DL_RECOVERY)
        except (nvml.NVMLError_InvalidArgument, nvml.NVMLError_NotSupported):
            if link == 0 and not _has_links(nvml, handle):
                return 0
            if link == 0:
                raise
            break  # it has fewer links
    return count


def _has_links(nvml, handle):
    try:
        return bool(nvml.nvmlDeviceGetNvLinkState(handle, 0))
    except (nvml.NVMLError_InvalidArgument, nvml.NVMLError_NotSupported):
        return False


def _memory(nvml, handle):
    """(total, used, free) as nvidia-smi counts: without what the driver keeps for itself."""
    version = getattr(nvml, "nvmlMemory_v2", None)
    try:
        told = nvml.nvmlDeviceGetMemoryInfo(handle, version) if version else nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError_FunctionNotFound:
        told = nvml.nvmlDeviceGetMemoryInfo(handle)
    return told.total // _MIB, told.used // _MIB, told.free // _MIB


def _processes(nvml, handle):
    found = {}
    graphics = []
    try:
        graphics = nvml.nvmlDeviceGetGraphicsRunningProcesses(handle)
    except nvml.NVMLError:
        pass  # a card that cannot draw
    for item in [*graphics, *nvml.nvmlDeviceGetComputeRunningProcesses(handle)]:
        memory = item.usedGpuMemory
        found[item.pid] = {
            "pid": item.pid,
            "name": _name(nvml, item.pid),
            "mem_mib": None if memory is None else memory // _MIB,
            "unknown": {} if memory is not None else {"mem_mib": "not told by NVML"},
        }
    return list(found.values())


def _name(nvml, pid):
    try:
        return _text(nvml.nvmlSystemGetProcessName(pid))
    except nvml.NVMLError:
        pass  # of another namespace, or gone
    try:
        return os.readlink("/proc/{0}/exe".format(pid))
    except OSError:
        return None


def _text(value):
    """Older versions of pynvml answer with bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


if __name__ == "__main__":
    main()
