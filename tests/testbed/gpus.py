# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the fake ``nvidia-smi`` of a node shows, and how a test changes it while the node runs."""

from __future__ import annotations

import json
import shlex
import shutil
import uuid
from pathlib import Path
from typing import Any, Literal

PROGRAM = Path(__file__).parent / "fake_gpu" / "nvidia-smi"

Mode = Literal["ok", "no_devices", "lost", "unknown_error", "mismatch", "no_driver", "hang"]

H100: dict[str, Any] = {
    "name": "NVIDIA H100 80GB HBM3",
    "compute_cap": "9.0",
    "memory.total": 81559,
    "memory.base": 4,
    "memory.reserved": 551,
    "utilization.gpu": 0,
    "utilization.memory": 0,
    "temperature.gpu": 31,
    "temperature.memory": 38,
    "power.draw": 71.5,
    "power.limit": 700.0,
    "clocks.current.sm": 345,
    "clocks.current.memory": 2619,
    "compute_mode": "Default",
    "persistence_mode": "Enabled",
    "pstate": "P0",
    "mig.mode.current": "Disabled",
    "mig.mode.pending": "Disabled",
    "ecc.mode.current": "Enabled",
    "ecc.errors.corrected.volatile.total": 0,
    "ecc.errors.uncorrected.volatile.total": 0,
    "ecc.errors.corrected.aggregate.total": 0,
    "ecc.errors.uncorrected.aggregate.total": 0,
    "remapped_rows.correctable": 0,
    "remapped_rows.uncorrectable": 0,
    "remapped_rows.pending": "No",
    "remapped_rows.failure": "No",
    "clocks_throttle_reasons.active": "0x0000000000000001",
    "gpu_recovery_action": "None",
    "serial": "1650123456789",
    "nvlink.links": 18,
    "nvlink.recovery": 0,
}

# The GB10 shares the machine's memory: the tool says so by [N/A] where others give a number.
GB10: dict[str, Any] = {
    "name": "NVIDIA GB10",
    "compute_cap": "12.1",
    "memory.total": "[N/A]",
    "memory.reserved": "[N/A]",
    "utilization.gpu": 0,
    "utilization.memory": 0,
    "temperature.gpu": 38,
    "power.draw": 4.2,
    "power.limit": "[N/A]",
    "clocks.current.sm": 208,
    "fan.speed": "[N/A]",
    "compute_mode": "Default",
    "persistence_mode": "Enabled",
    "pstate": "P8",
    "mig.mode.current": "[N/A]",
    "ecc.mode.current": "[N/A]",
    "ecc.errors.uncorrected.volatile.total": "[N/A]",
    "temperature.memory": "[Not Supported]",
    "clocks_throttle_reasons.active": "0x0000000000000001",
}


class FakeGpus:
    """The GPUs of one node. Each change is written at once and atomically; the next call of nvidia-smi sees it."""

    def __init__(self, gpus: list[dict[str, Any]], *, driver: str = "580.95.05", cuda: str = "13.0") -> None:
        self._file: Path | None = None
        self._state: dict[str, Any] = {
            "mode": "ok",
            "delay_s": 0,
            "bad_gpu": 0,
            "driver_version": driver,
            "cuda_version": cuda,
            "gpus": gpus,
            "processes": [],
        }

    @classmethod
    def h100(cls, count: int = 8) -> FakeGpus:
        """So many H100 of 80 GB."""
        return cls([_gpu(index, f"00000000:{0x18 + 0x11 * index:02X}:00.0", H100) for index in range(count)])

    @classmethod
    def gb10(cls) -> FakeGpus:
        """The one GPU of a DGX Spark, with memory shown as [N/A]."""
        return cls([_gpu(0, "0000000F:01:00.0", GB10)])

    @property
    def uuids(self) -> list[str]:
        """The GPUs' UUIDs, in order of index."""
        return [gpu["uuid"] for gpu in self._state["gpus"]]

    def install(self, folder: Path, python: str) -> None:
        """Put ``nvidia-smi`` and its state into a folder that is on the node's PATH."""
        self._file = folder / "nvidia-smi.json"
        self._write()
        # The interpreter is named here, since a job may well change PATH.
        script = folder / "nvidia-smi"
        # A copy: a node with a /tmp of its own does not see a checkout that lies in this machine's.
        program = shutil.copy(PROGRAM, folder / "nvidia-smi.py")
        words = shlex.join([python, "-I", "-S", str(program)])
        script.write_text(f'#!/bin/sh\nFAKE_NVIDIA_SMI_STATE={shlex.quote(str(self._file))} exec {words} "$@"\n')
        script.chmod(0o755)

    def set(self, index: int, fields: dict[str, Any]) -> None:
        """Override query fields of one GPU: numbers get their unit, texts such as "[N/A]" are shown as they are."""
        self._state["gpus"][index].update(fields)
        self._write()

    def mode(self, mode: Mode, *, gpu: int = 0, delay_s: float = 0.0) -> None:
        """What the tool does from now on; ``gpu`` is the one that is lost. ``delay_s``: it answers so much later."""
        self._state.update(mode=mode, bad_gpu=gpu, delay_s=delay_s)
        self._write()

    def add_process(self, index: int, pid: int, memory_mib: int, name: str = "python3", *, ghost: bool = False,
                    kind: Literal["C", "G"] = "C") -> None:  # fmt: skip
        """Have a process hold memory of a GPU. It is shown while the pid lives; a ghost is shown for ever.

        One of the kind G draws (a game, a desktop): the tool lists it elsewhere.
        """
        uuid_ = self.uuids[index]
        entry = {"uuid": uuid_, "pid": pid, "memory_mib": memory_mib, "name": name, "ghost": ghost, "type": kind}
        self._state["processes"].append(entry)
        self._write()

    def clear_processes(self) -> None:
        """Forget every process."""
        self._state["processes"].clear()
        self._write()

    def remove(self, index: int) -> None:
        """Take a GPU away, as when it falls off the bus and the driver is loaded again: later ones move up."""
        del self._state["gpus"][index]
        for position, gpu in enumerate(self._state["gpus"]):
            gpu["index"] = position
        self._write()

    def xid_line(self, index: int, xid: int, text: str = "GPU has fallen off the bus.") -> str:
        """The line that the kernel logs for an Xid error of this GPU, without time stamp."""
        bus = self._state["gpus"][index]["pci.bus_id"][4:].rpartition(".")[0]
        return f"NVRM: Xid (PCI:{bus}): {xid}, pid='<unknown>', name=<unknown>, {text}"

    def _write(self) -> None:
        if self._file is None:
            return
        temporary = self._file.with_suffix(".new")
        temporary.write_text(json.dumps(self._state, indent=1))
        temporary.replace(self._file)


def _gpu(index: int, bus_id: str, preset: dict[str, Any]) -> dict[str, Any]:
    gpu = {"index": index, "uuid": f"GPU-{uuid.uuid4()}", "pci.bus_id": bus_id, **preset}
    if preset is GB10:
        gpu["processes.memory"] = True
    return gpu
