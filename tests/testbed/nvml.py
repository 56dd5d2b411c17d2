# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's NVML: a library that the real ``pynvml`` loads, and a Python that has ``pynvml``."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .bed import MissingError, need_tools

SOURCE = Path(__file__).parent / "fake_gpu" / "nvml.c"
FIELDS = ("uuid", "name", "total", "used", "util", "mem_util", "temp", "power_mw", "limit_mw", "sm", "mem", "throttle",
          "ecc", "ecc_all", "lost", "bus", "remap_pending", "remap_failure", "recoveries")  # fmt: skip
GPU = {
    "uuid": "GPU-0", "name": "NVIDIA H100 80GB HBM3", "total": 81559 << 20, "used": 4 << 20, "util": 0, "mem_util": 0,
    "temp": 31, "power_mw": 71500, "limit_mw": 700000, "sm": 345, "mem": 2619, "throttle": 1, "ecc": 0, "ecc_all": 0,
    "lost": 0, "bus": "00000000:18:00.0", "remap_pending": 0, "remap_failure": 0, "recoveries": 0,
}  # fmt: skip


class FakeNvml:
    """``env`` is for the node's sessions, ``python`` its interpreter; ``show`` says what the library tells next."""

    def __init__(self, folder: Path, python: str) -> None:
        need_tools("gcc")
        folder.mkdir()
        library = folder / "libnvidia-ml.so.1"
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", library, SOURCE], check=True, timeout=180)
        self._state = folder / "nvml.state"
        self.env = {"LD_LIBRARY_PATH": str(folder), "FAKE_NVML_STATE": str(self._state)}
        self.python = python_with_pynvml(folder / "venv", python)
        self.show()

    def show(
        self,
        gpus: Iterable[Mapping[str, Any]] = (),
        processes: Iterable[tuple[int, int, int]] = (),
        graphics: Iterable[tuple[int, int, int]] = (),
        mode: str = "ok",
    ) -> None:
        """Each GPU changes fields of GPU (-1: not supported); a process is (index of the GPU, pid, bytes),
        one of `graphics` draws."""
        lines = [f"mode {mode}"]
        for change in gpus:
            gpu = {**GPU, **change}
            words = [f"{gpu[name]:x}" if name == "throttle" else str(gpu[name]).replace(" ", "_") for name in FIELDS]
            lines.append("gpu " + " ".join(words))
        lines += [f"process {gpu} {pid} {size} 0" for gpu, pid, size in processes]
        lines += [f"process {gpu} {pid} {size} 1" for gpu, pid, size in graphics]
        self._state.write_text("\n".join(lines) + "\n")


def python_with_pynvml(folder: Path, python: str) -> str:
    """The interpreter of a new environment that has the real pynvml, and nothing else."""
    found = importlib.util.find_spec("pynvml")
    if found is None or found.origin is None:
        raise MissingError("no pynvml in this environment (make venv)")
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True, timeout=180)
    (packages,) = folder.glob("lib/python*/site-packages")
    shutil.copy(found.origin, packages)
    return str(folder / "bin" / "python")
