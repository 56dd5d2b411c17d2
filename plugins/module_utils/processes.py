# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finding and ending every process of an attempt.

Three kinds of evidence are joined, since each has its hole: control groups (not everywhere), descent (lost when both
of our processes were killed), and a token in the environment (a process can clear it).
"""

from __future__ import annotations

import os
import signal
import time

from . import identity
from .cgroups import Groups

TOKEN_VARIABLE = "STOKER_TOKEN"
# Nothing may be found this many times in a row before an attempt counts as gone: a fork can race one look.
CLEAN_LOOKS = 3
LOOK_INTERVAL_S = 0.05
KILL_LIMIT_S = 20.0


def _pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _parents():
    """pid -> (parent, state, start) of every process."""
    table = {}
    for pid in _pids():
        fields = identity.stat_fields(pid)
        if fields:
            table[pid] = (int(fields[1]), fields[0], int(fields[19]))
    return table


def _descendants(table, roots, not_theirs):
    """All below ``roots``, without those (and what is below them) that are ours."""
    children = {}
    for pid, (parent, _state, _start) in table.items():
        children.setdefault(parent, []).append(pid)
    found, todo = set(), list(roots)
    while todo:
        for child in children.get(todo.pop(), ()):
            if child not in found and child not in not_theirs:
                found.add(child)
                todo.append(child)
    return found


def carries(pid, token):
    """Whether a process has the token of an attempt in its environment; False where that cannot be read."""
    needle = "\0{0}={1}\0".format(TOKEN_VARIABLE, token).encode("ascii")
    try:
        with open("/proc/{0}/environ".format(pid), "rb") as handle:
            return needle in b"\0" + handle.read()
    except OSError:
        return False  # gone, or another user's: ours are readable to us


# Tools that this very process runs for itself (nvidia-smi); they are children, and not the job's.
OWN_TOOLS = set()


class Family:
    """All processes of one attempt, without the supervisor, the recorder and their tools."""

    def __init__(self, attempt):
        self.attempt = attempt

    @property
    def groups(self):
        return Groups.from_record((self.attempt.read("state.json") or {}).get("groups"))

    def members(self):
        """pid -> start time of each living process of the attempt; zombies are not counted."""
        state = self.attempt.read("state.json") or {}
        if state.get("boot") != identity.boot_identity():
            return {}
        table = _parents()
        own = {}
        for role in ("supervisor", "recorder", "pump"):
            item = state.get(role)
            if item and item["pid"] in table and table[item["pid"]][2] == item["start"]:
                own[role] = item["pid"]
        not_theirs = set(own.values()) | OWN_TOOLS | {os.getpid()}
        # The recorder is a child of the supervisor, or the other way round: only the recorder's children are the
        # job's while it lives, and it must not take the supervisor's tools for such.
        roots = (
            {own["recorder"]} if own.get("recorder") == os.getpid() else {own[role] for role in own if role != "pump"}
        )
        found = set()
        if not state.get("container"):
            # A container is the engine's: of what descends from us its monitor and helpers are not the job's.
            found |= set(Groups.from_record(state.get("groups")).pids())
            found |= _descendants(table, roots, not_theirs)
        command = state.get("command")
        if identity.is_alive(command):
            found.add(command["pid"])
            found |= _descendants(table, [command["pid"]], not_theirs)
        if state.get("token"):
            found |= {pid for pid in table if pid not in found and carries(pid, state["token"])}
        found -= not_theirs
        # In order, parents mostly first: a shell that outlives its child by a signal would write of its death.
        return {pid: table[pid][2] for pid in sorted(found) if pid in table and table[pid][1] not in (b"Z", b"X", b"x")}

    def send(self, number, without=frozenset()):
        """Send a signal to every member, not to the pids ``without``. Returns how many members there were."""
        members = self.members()
        for pid, start in members.items():
            if pid not in without:
                send_signal(pid, start, number)
        return len(members)

    def send_to_catchers(self, number):
        """Send a signal to those members that handle it: to the others it would be the end."""
        sent = 0
        for pid, start in self.members().items():
            if _catches(pid, number):
                send_signal(pid, start, number)
                sent += 1
        return sent

    def kill(self, between_looks):
        """Freeze, then KILL until nothing is found CLEAN_LOOKS times running.

        ``between_looks`` is called after each look (it reaps). Returns the members that would not die, {} normally.
        """
        deadline = time.monotonic() + KILL_LIMIT_S
        clean = 0
        left = self.members()
        while clean < CLEAN_LOOKS and time.monotonic() < deadline:
            if left:
                clean = 0
                groups = self.groups
                if not groups.freeze(True):
                    for pid, start in left.items():
                        send_signal(pid, start, signal.SIGSTOP)
                groups.kill()
                for pid, start in self.members().items():
                    send_signal(pid, start, signal.SIGKILL)
                groups.freeze(False)  # version 1 delivers no signal to a frozen group
            else:
                clean += 1
            between_looks()
            time.sleep(LOOK_INTERVAL_S)
            left = self.members()
        return left


def send_signal(pid, start, number):
    """Signal a process if it still is the one that was seen; a reused number is left alone."""
    if not hasattr(os, "pidfd_open"):
        if identity.start_time(pid) == start:
            _kill(pid, number)
        return
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except OSError:
        if identity.start_time(pid) == start:
            _kill(pid, number)
        return
    try:
        if identity.start_time(pid) == start:
            signal.pidfd_send_signal(handle, number)
    except (ProcessLookupError, PermissionError):
        return
    finally:
        os.close(handle)


def _kill(pid, number):
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _catches(pid, number):
    try:
        with open("/proc/{0}/status".format(pid), encoding="ascii", errors="replace") as handle:
            for line in handle:
                if line.startswith("SigCgt:"):
                    return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return False


def usage(members):
    """CPU seconds and resident bytes of the members, for samples."""
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    seconds = memory = 0
    for pid in members:
        fields = identity.stat_fields(pid)
        if fields:
            seconds += (int(fields[11]) + int(fields[12])) / tick
            memory += int(fields[21]) * page
    return seconds, memory
