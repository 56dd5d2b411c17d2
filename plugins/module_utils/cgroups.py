# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Control groups of an attempt: tracking, limits, freezing, killing. Version 2, version 1, or both (hybrid)."""

from __future__ import annotations

import errno
import os

from .statedir import NodeError


def _mounts():
    """Mounted hierarchies: {"v2": path, "memory": path, ..., "name=systemd": path}."""
    found = {}
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as handle:
        for line in handle:
            left, right = line.split(" - ", 1)
            kind, _source, options = right.split(None, 2)
            point = left.split()[4]
            if kind == "cgroup2":
                found.setdefault("v2", point)
            elif kind == "cgroup":
                for option in options.strip().split(","):
                    if option in ("memory", "cpu", "freezer", "pids", "name=systemd"):
                        found.setdefault(option, point)
    return found


def _own_paths(pid="self"):
    """Where a process is: {"v2": "/a/b", "memory": "/", ...}."""
    found = {}
    with open("/proc/{0}/cgroup".format(pid), encoding="utf-8", errors="surrogateescape") as handle:
        for line in handle:
            number, controllers, path = line.rstrip("\n").split(":", 2)
            if number == "0" and not controllers:
                found["v2"] = path
            for name in controllers.split(","):
                if name:
                    found[name] = path
    return found


def _make(parent, name):
    """Create a group; None where this user may not, or where the hierarchy is read-only."""
    path = os.path.join(parent, name)
    try:
        os.makedirs(path, exist_ok=True)
    except OSError:
        return None
    if not os.access(os.path.join(path, "cgroup.procs"), os.W_OK):
        _remove(path)
        return None
    return path


def _remove(path):
    try:
        for name in os.listdir(path):
            if os.path.isdir(os.path.join(path, name)):
                _remove(os.path.join(path, name))
        os.rmdir(path)
    except OSError as exc:
        if exc.errno not in (errno.ENOENT, errno.EBUSY, errno.ENOTEMPTY):
            raise


def _put(path, value):
    try:
        with open(path, "w", encoding="ascii") as handle:
            handle.write(str(value))
        return True
    except OSError:
        return False


def _number(path, key=None):
    try:
        with open(path, encoding="ascii") as handle:
            for line in handle:
                if key is None:
                    return int(line)
                words = line.split()
                if words and words[0] == key:
                    return int(words[1])
    except (OSError, ValueError):
        return None
    return None


# What version 1 shows where there is no limit: the largest number of whole pages.
_NO_LIMIT = 1 << 60


def memory_limit(total):
    """The tightest memory limit on this process below ``total``: {"bytes", "used", "group"}; None where there is none.

    ``used`` counts everything in the group that sets it, caches too.
    """
    mounts, own = _mounts(), _own_paths()
    tightest = None
    for hierarchy, limit_file, used_file in (
        ("v2", "memory.max", "memory.current"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        if hierarchy not in mounts:
            continue
        mount = mounts[hierarchy].rstrip("/")
        folder = os.path.normpath(os.path.join(mount, own.get(hierarchy, "/").lstrip("/")))
        while folder.startswith(mount):
            # "max" is no number, and the root group has no such file.
            limit = _number(os.path.join(folder, limit_file))
            if limit is not None and limit < min(total, _NO_LIMIT) and (not tightest or limit < tightest["bytes"]):
                used = _number(os.path.join(folder, used_file))
                tightest = {"bytes": limit, "used": used, "group": folder[len(mount) :] or "/"}
            folder = os.path.dirname(folder)
    return tightest


class Groups:
    """The groups that hold the command of one attempt: role -> folder. Roles: v2, v1, memory, cpu, freezer."""

    def __init__(self, folders=None):
        self.folders = dict(folders or {})

    @classmethod
    def from_record(cls, record):
        return cls(record)

    def record(self):
        return dict(self.folders)

    @property
    def kind(self):
        """``cgroup-v2`` or ``cgroup-v1``; None where nothing tracks."""
        return "cgroup-v2" if "v2" in self.folders else "cgroup-v1" if "v1" in self.folders else None

    def _tracking(self):
        return self.folders.get("v2") or self.folders.get("v1")

    def pids(self):
        """Every process in the tracking group and below it."""
        top = self._tracking()
        found = []
        for folder, _names, _files in os.walk(top) if top else ():
            try:
                with open(os.path.join(folder, "cgroup.procs"), encoding="ascii") as handle:
                    found.extend(int(line) for line in handle)
            except OSError:
                continue  # removed while we looked: it had no process
        return found

    def enter(self, pid):
        """Move a process into every group. Raises OSError where the kernel refuses."""
        for folder in self.folders.values():
            with open(os.path.join(folder, "cgroup.procs"), "w", encoding="ascii") as handle:
                handle.write(str(pid))

    def freeze(self, on):
        """Stop (or let go) all members at once. False where no hierarchy can."""
        if "v2" in self.folders and _put(os.path.join(self.folders["v2"], "cgroup.freeze"), 1 if on else 0):
            return True
        if "freezer" in self.folders:
            return _put(os.path.join(self.folders["freezer"], "freezer.state"), "FROZEN" if on else "THAWED")
        return False

    def kill(self):
        """Ask the kernel to kill the whole group (Linux 5.14 and later). False where it cannot."""
        return "v2" in self.folders and _put(os.path.join(self.folders["v2"], "cgroup.kill"), 1)

    def oom_kills(self):
        """How many processes the kernel killed here for want of memory; None where it does not say."""
        if "v2" in self.folders:
            count = _number(os.path.join(self.folders["v2"], "memory.events"), "oom_kill")
            if count is not None:
                return count
        if "memory" in self.folders:
            return _number(os.path.join(self.folders["memory"], "memory.oom_control"), "oom_kill")
        return None

    def limit(self, memory_bytes, cpus):
        """Set limits; raises NodeError where one cannot be enforced, since an unenforced limit would be a lie."""
        if memory_bytes and not self._limit_memory(memory_bytes):
            raise NodeError(
                "not_supported",
                "a memory limit was asked for, and no writable memory control group is at hand here",
                "run without --memory, or let the node's administrator delegate the memory controller",
            )
        if cpus and not self._limit_cpus(cpus):
            raise NodeError(
                "not_supported",
                "a CPU limit was asked for, and no writable cpu control group is at hand here",
                "run without --cpus, or let the node's administrator delegate the cpu controller",
            )

    def _limit_memory(self, size):
        size = int(size) // 4096 * 4096
        if "v2" in self.folders and _put(os.path.join(self.folders["v2"], "memory.max"), size):
            _put(os.path.join(self.folders["v2"], "memory.swap.max"), 0)
            _put(os.path.join(self.folders["v2"], "memory.oom.group"), 0)
            return True
        folder = self.folders.get("memory")
        return bool(folder) and _put(os.path.join(folder, "memory.limit_in_bytes"), size)

    def _limit_cpus(self, cpus):
        period = 100000
        quota = max(1000, int(cpus * period))
        if "v2" in self.folders and _put(os.path.join(self.folders["v2"], "cpu.max"), "{0} {1}".format(quota, period)):
            return True
        folder = self.folders.get("cpu")
        return bool(folder) and _put(os.path.join(folder, "cpu.cfs_quota_us"), quota)

    def remove(self):
        for folder in self.folders.values():
            _remove(folder)


def memory_groups_of(pid):
    """The groups that count the memory of a process of somebody else's making; empty Groups where none is seen."""
    try:
        mounts, places = _mounts(), _own_paths(pid)
    except OSError:
        return Groups()
    found = {
        role: mounts[role].rstrip("/") + places[role] for role in ("v2", "memory") if role in mounts and role in places
    }
    return Groups({role: folder for role, folder in found.items() if places[role] != "/" and os.path.isdir(folder)})


def create(name, below_own=False):
    """Create the groups of an attempt, as many as this user may; empty Groups where none.

    ``below_own``: inside a systemd unit the groups lie below the unit's own, so that systemd still sees them.
    """
    mounts, own = _mounts(), _own_paths()
    groups = Groups()
    if below_own and "v2" in mounts:
        # A group with processes of its own cannot hand controllers down: step aside, into a leaf.
        leaf = _make(os.path.join(mounts["v2"], own.get("v2", "/").lstrip("/")), "supervisor")
        if leaf:
            _put(os.path.join(leaf, "cgroup.procs"), os.getpid())
    for role, hierarchy in (
        ("v2", "v2"),
        ("memory", "memory"),
        ("cpu", "cpu"),
        ("freezer", "freezer"),
        ("v1", "name=systemd"),
    ):
        if hierarchy not in mounts or (role == "v1" and "v2" in groups.folders):
            continue
        folder = _create_in(mounts[hierarchy], own.get(hierarchy, "/"), name, below_own)
        if folder:
            groups.folders[role] = folder
            if role == "v2":
                _delegate(os.path.dirname(folder), mounts["v2"])
    if "v2" not in groups.folders and "v1" not in groups.folders:
        # Limits alone are no tracking: take any hierarchy that we could write to.
        for role in ("freezer", "memory", "cpu"):
            if role in groups.folders:
                groups.folders["v1"] = groups.folders[role]
                break
    return groups


def _create_in(mount, own, name, below_own):
    inside = os.path.join(mount, own.lstrip("/"))
    places = [inside] if below_own else [os.path.join(mount, "stoker"), inside]
    for place in places:
        if place.endswith("/stoker") and not below_own and not os.path.isdir(place) and not os.access(mount, os.W_OK):
            continue
        folder = _make(place, name)
        if folder:
            return folder
    return None


def _delegate(folder, mount):
    """Switch on the controllers for the groups below ``folder``, from the mount point down, where allowed."""
    steps = [folder]
    while steps[-1] != mount and len(steps[-1]) > len(mount):
        steps.append(os.path.dirname(steps[-1]))
    for step in reversed(steps):
        for controller in ("memory", "cpu", "pids"):
            _put(os.path.join(step, "cgroup.subtree_control"), "+" + controller)
