# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Samples of a running attempt, one JSON line each: what its processes and its GPUs do."""

from __future__ import annotations

import json
import os
import time

from . import gpus, identity, processes
from .gpu_info import FIELDS, throttle_words
from .statedir import NodeError

# About a month of one GPU at 10 s. Older lines are thinned to every second one when it is reached.
LIMIT_BYTES = 48 * 1024 * 1024
_FIELDS = dict(gpus.FIELDS, throttle=FIELDS["throttle"])


class Sampler:
    """Appends to samples.jsonl when ``interval_s`` has passed."""

    def __init__(self, attempt, interval_s, gpu_uuids, folder=None):
        self.path = attempt.file("samples.jsonl")
        self.interval_s = interval_s
        self.gpu_uuids = gpu_uuids
        self.folder = folder or attempt.path
        self.next_at = time.monotonic() + 1.0  # the command itself, not what it was before its exec
        self.before = None

    def tick(self, family):
        """Take a sample when it is due. Returns it, or None."""
        clock = time.monotonic()
        if clock < self.next_at:
            return None
        self.next_at = clock + self.interval_s
        members = family.members()
        cpu_s, rss = processes.usage(members)
        sample = {
            "t": identity.now(),
            "boot_s": identity.boottime(),
            "processes": len(members),
            "rss_bytes": rss,
            "cpu_pct": self._percent(clock, cpu_s),
        }
        sample.update(self._disk())
        if self.gpu_uuids:
            sample.update(self._gpus())
        self._append(sample)
        return sample

    def _percent(self, clock, cpu_s):
        """CPU use since the last sample, 100 for one core; None for the first, or when processes that counted ended."""
        before, self.before = self.before, (clock, cpu_s)
        if before is None or cpu_s < before[1] or clock <= before[0]:
            return None
        return round(100.0 * (cpu_s - before[1]) / (clock - before[0]), 1)

    def _disk(self):
        """Room where the command runs, and the share of the last ten seconds in which something waited for a disk."""
        try:
            usage = os.statvfs(self.folder)
            room = {
                "disk_free_bytes": usage.f_bavail * usage.f_frsize,
                "disk_total_bytes": usage.f_blocks * usage.f_frsize,
            }
        except OSError:
            room = {}  # the folder is gone; the field is then missing, and not zero
        return dict(room, io_pct=_pressure())

    def _gpus(self):
        try:
            found = _query()
        except NodeError as exc:
            return {"gpus": None, "gpus_unknown": exc.message}
        except OSError as exc:
            return {"gpus": None, "gpus_unknown": str(exc)}
        found = [gpu for gpu in found if gpu["uuid"] in self.gpu_uuids]
        for gpu in found:
            gpu["throttle"] = throttle_words(gpu.get("throttle"), gpu["unknown"])
        return {"gpus": found}

    def _append(self, sample):
        with open(self.path, "a", encoding="ascii", opener=_private) as handle:
            handle.write(json.dumps(sample) + "\n")
            size = handle.tell()
        if size > LIMIT_BYTES:
            self._thin()

    def _thin(self):
        temporary = self.path + ".tmp"
        with open(self.path, encoding="ascii") as old, open(temporary, "w", encoding="ascii", opener=_private) as new:
            new.writelines(line for number, line in enumerate(old) if number % 2)
        os.rename(temporary, self.path)


def _query():
    try:
        return gpus.query(timeout_s=5.0, fields=_FIELDS)
    except NodeError as exc:
        if "not a valid field" not in exc.message:
            raise
        return gpus.query(timeout_s=5.0)  # a driver that tells no reasons


def _pressure():
    """Percent of the last 10 s in which some process of the machine waited for a disk; None: not told."""
    try:
        with open("/proc/pressure/io", encoding="ascii") as handle:
            return float(handle.readline().partition("avg10=")[2].split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _private(path, flags):
    return os.open(path, flags, 0o600)


def newest(attempt):
    """The newest whole sample of an attempt; None where there is none."""
    try:
        with open(attempt.file("samples.jsonl"), "rb") as handle:
            handle.seek(0, os.SEEK_END)
            handle.seek(max(0, handle.tell() - 65536))
            lines = handle.read().splitlines()
    except FileNotFoundError:
        return None
    for line in reversed(lines):
        try:
            return json.loads(line)
        except ValueError:
            continue  # the line that is being written, or the one that the seek cut
    return None
