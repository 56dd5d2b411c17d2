# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who a process is, and which boot this is: what tells a living attempt from a reused number."""

from __future__ import annotations

import ctypes
import os
import time

PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36


def now():
    """Wall clock, Unix seconds: for display only, it may jump."""
    return time.time()


def boottime():
    """Seconds since this machine booted, suspended time included. It never jumps back."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_identity():
    """The boot id with the start time of PID 1.

    Containers share the kernel's boot id, so a restarted container shows only in the start time of its PID 1.
    """
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as handle:
        boot = handle.read().strip()
    return {"boot_id": boot, "init_start": start_time(1)}


def machine():
    """What tells this machine from another one that shares its home folder: the machine id, else the host name."""
    try:
        with open("/etc/machine-id", encoding="ascii") as handle:
            found = handle.read().strip()
    except OSError:
        found = ""
    return found or os.uname().nodename


def stat_fields(pid):
    """Fields of /proc/<pid>/stat after the command name, or None where there is no such process."""
    try:
        with open("/proc/{0}/stat".format(pid), "rb") as handle:
            text = handle.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(b")") + 2 :].split()


def start_time(pid):
    """Start of a process in clock ticks since boot: with the pid, its identity. None where there is none."""
    fields = stat_fields(pid)
    return int(fields[19]) if fields else None


def is_alive(identity):
    """Whether the very process of ``{"pid", "start"}`` still runs; a zombie does not."""
    if not identity or not identity.get("pid"):
        return False
    fields = stat_fields(identity["pid"])
    return bool(fields) and int(fields[19]) == identity["start"] and fields[0] not in (b"Z", b"X", b"x")


def identify(pid):
    """The identity of a process: ``{"pid", "start"}``."""
    return {"pid": pid, "start": start_time(pid)}


def _prctl(option, argument):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, argument, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def become_subreaper():
    """From now on orphaned descendants become children of this process, whatever sessions they made."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def set_process_name(name):
    """The short name that ps and top show, 15 bytes."""
    _prctl(PR_SET_NAME, ctypes.c_char_p(name.encode("ascii")[:15]))
