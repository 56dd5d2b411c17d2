# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""GPUs of this node, as nvidia-smi tells them. What it does not tell stays unknown, with its own word for why."""

from __future__ import annotations

import csv
import shutil
import subprocess

from .processes import OWN_TOOLS
from .statedir import NodeError

TIMEOUT_S = 10.0
# Our name -> nvidia-smi's field (nvidia-smi --help-query-gpu). Memory in MiB, temperature in degrees C, power in W.
FIELDS = {
    "index": "index",
    "uuid": "uuid",
    "name": "name",
    "mem_total_mib": "memory.total",
    "mem_used_mib": "memory.used",
    "util_pct": "utilization.gpu",
    "temp_c": "temperature.gpu",
    "power_w": "power.draw",
}
_TEXT = ("uuid", "name", "throttle", "bus", "remap_pending", "remap_failure")


def run_bounded(argv, timeout_s, called=None):
    """Run a tool that may hang. Returns (exit code, stdout, stderr); raises NodeError when it takes too long.

    ``called`` is its name in that error, by default its path.

    A process that does not even die by SIGKILL (a driver call that never returns) is left behind, not waited for.
    """
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    OWN_TOOLS.add(process.pid)
    try:
        out, err = process.communicate(timeout=timeout_s)
        OWN_TOOLS.discard(process.pid)
    except subprocess.TimeoutExpired:
        process.kill()
        raise NodeError(
            "not_supported",
            "{0} gave no answer within {1:g} s".format(called or argv[0], timeout_s),
            "look at the GPU driver of the node (dmesg, nvidia-smi)",
        ) from None
    return process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")


def query(timeout_s=TIMEOUT_S, fields=None):
    """All GPUs, one dict each with the keys of FIELDS; a value that is not told is None, its reason in ``unknown``.

    Raises NodeError where nvidia-smi is missing, fails or hangs: that is not the same as no GPU.
    """
    fields = fields or FIELDS
    return parse(ask(["--query-gpu=" + ",".join(fields.values()), "--format=csv,noheader,nounits"], timeout_s), fields)


def ask(argv, timeout_s=TIMEOUT_S):
    """What nvidia-smi prints; nothing where it finds no device. Raises NodeError as ``query`` does."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        raise NodeError(
            "not_supported", "there is no nvidia-smi on this node", "install the NVIDIA driver, or run without --gpus"
        )
    code, out, err = run_bounded([tool, *argv], timeout_s)
    if code != 0 and "No devices were found" in out + err:
        return ""
    if code != 0:
        words = " ".join((out + " " + err).split())[:300]
        raise NodeError(
            "not_supported", "nvidia-smi ended with {0}: {1}".format(code, words), "run nvidia-smi on the node"
        )
    return out


def parse(text, fields=None):
    """Read nvidia-smi's CSV (no header, no units)."""
    fields, found = fields or FIELDS, []
    for row in csv.reader(text.splitlines(), skipinitialspace=True):
        if not row:
            continue
        if len(row) != len(fields):
            raise NodeError(
                "not_supported", "nvidia-smi gave {0} fields where {1} were asked".format(len(row), len(fields))
            )
        gpu = {"unknown": {}}
        for key, value in zip(fields, (item.strip() for item in row)):
            gpu[key] = value if key in _TEXT else number(value)
            if gpu[key] is None:
                gpu["unknown"][key] = value
        found.append(gpu)
    return found


def number(value):
    """A number of nvidia-smi; None for [N/A], [Not Supported], [Unknown Error], [GPU is lost] ..."""
    try:
        told = float(value)
    except ValueError:
        return None
    return int(told) if told.is_integer() else told
