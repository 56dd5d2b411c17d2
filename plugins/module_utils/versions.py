# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Versions of the node side on a node: which lie there, which is used, what runs with them.

This, version_test and version_update are sent as text and run by themselves, from no version: what is brought is judged
from outside, by what it does. So they import each other and nothing else of the package.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import sys
import time

from .version_test import FailedError, ask

VERSION = re.compile(r"[0-9a-f]{16}\Z")
# What a version, its self-test and the note about a failure need on the disk, with room to spare.
NEEDED_BYTES = 32 * 1024 * 1024


class RefusedError(Exception):
    """The node cannot be updated as it is; nothing was changed."""


class Place:
    """The versions below the state folder of this node. ``settings`` are the fields of a request that it sets."""

    def __init__(self, state_dir, settings):
        self.state = os.path.abspath(os.path.expanduser(state_dir))
        self.bin = os.path.join(self.state, "bin")
        self.settings = settings

    def folder(self, version):
        return os.path.join(self.bin, version)

    def note(self, version):
        """The file that says which version is used instead of this one: plugin_utils/node_call reads its first line."""
        return self.folder(version) + ".kept"

    def there(self):
        """What lies there, the newest first."""
        names = [name for name in listed(self.bin) if VERSION.match(name) and os.path.isdir(self.folder(name))]
        found = [
            {
                "version": name,
                "brought_at": os.stat(self.folder(name)).st_mtime,
                "intact": digest(self.folder(name)) == name,
            }
            for name in names
        ]
        return sorted(found, key=lambda item: item["brought_at"], reverse=True)

    def kept(self, version):
        """{version, reason, at}: what is used in the place of ``version``, since that failed here; None: nothing is."""
        try:
            with open(self.note(version), encoding="utf-8", errors="replace") as handle:
                name, _newline, rest = handle.read().partition("\n")
        except (FileNotFoundError, IsADirectoryError):
            return None
        # As the shell of node_call has it: a version that is gone cannot be used.
        if not name or not os.path.isdir(self.folder(name)):
            return None
        try:
            noted = json.loads(rest)
        except ValueError:
            noted = None
        noted = noted if isinstance(noted, dict) else {}
        return {"version": name, "reason": noted.get("reason"), "at": noted.get("at")}

    def keep(self, before, version, reason):
        """From now on ``before`` is used in the place of ``version``."""
        text = "{0}\n{1}\n".format(before, json.dumps({"reason": reason, "at": time.time()}))
        temporary = "{0}.{1}.tmp".format(self.note(version), os.getpid())
        try:
            with open(temporary, "w", encoding="utf-8") as handle:
                handle.write(text)
                handle.flush()
                os.fsync(handle.fileno())
            os.rename(temporary, self.note(version))
        finally:
            if os.path.exists(temporary):
                os.unlink(temporary)
        sync(self.bin)

    def before(self, version, there):
        """What is used while ``version`` is not; None where nothing there is whole and did not fail itself."""
        whole = [item["version"] for item in there if item["intact"] and item["version"] != version]
        # One that failed may lie there still: a job that runs with it holds it.
        sound = [name for name in whole if not self.kept(name)]
        kept = self.kept(version)
        return kept["version"] if kept and kept["version"] in sound else (sound or [None])[0]

    def used(self, version, there):
        """Which one is used here: this one where it is there and did not fail, else what ``before`` says."""
        if version in [item["version"] for item in there] and not self.kept(version):
            return version
        return self.before(version, there)


def digest(folder):
    """The hash of the files of a version, by the rule of plugin_utils/bundle.py; None where they cannot be read."""
    inside, names = os.path.join(folder, "stoker_node"), []
    for place, folders, files in os.walk(inside):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        names += [os.path.join(place, name) for name in sorted(files) if name.endswith(".py")]
    # The backend of a package comes last there.
    names.sort(key=lambda name: os.path.basename(name).startswith("added_"))
    found = hashlib.sha256()
    try:
        for name in [os.path.join(folder, "__main__.py"), *names]:
            with open(name, "rb") as handle:
                data = handle.read()
            found.update(os.fsencode(os.path.relpath(name, folder)) + b"\0" + data + b"\0")
    except OSError:
        return None
    return found.hexdigest()[:16]


def look(place, version):
    """What lies on this node, what is used, what runs, and what speaks against an update (``ill``). Changes nothing."""
    there, running = place.there(), runs(place)
    used = place.used(version, there)
    ill = faults(place)
    if not ill and used is not None and used != version:
        try:
            ask(place, place.folder(used), "info", parts=[])
        except FailedError as problem:
            ill.append("the version that is used there, {0}, does not answer: {1}".format(used, problem))
    for item in there:
        item["jobs"] = sorted(job for job, by in running.items() if by == item["version"])
    return {
        "python": "{0}.{1}.{2}".format(*sys.version_info[:3]),
        "state_dir": place.state,
        "used": used,
        "kept": place.kept(version),
        "versions": there,
        "jobs": sorted(running),
        "ill": ill,
    }


def refuse(seen, with_jobs):
    """Raise RefusedError for a node that has to stay as it is, with every reason."""
    reasons = list(seen["ill"])
    if seen["jobs"] and not with_jobs:
        reasons.append("jobs run there: {0}".format(", ".join(seen["jobs"])))
    if reasons:
        raise RefusedError("; ".join(reasons))


def faults(place):
    """Why nothing could be brought here, as sentences."""
    at = place.bin
    while not os.path.exists(at) and at != os.path.dirname(at):
        at = os.path.dirname(at)
    if not os.path.isdir(at):
        return ["{0} is no folder".format(at)]
    if os.path.isdir(place.state) and os.stat(place.state).st_uid != os.geteuid():
        return ["{0} belongs to uid {1}, not to uid {2}".format(place.state, os.stat(place.state).st_uid, os.geteuid())]
    if not os.access(at, os.W_OK | os.X_OK):
        return ["{0} cannot be written to".format(at)]
    room = os.statvfs(at)
    free = room.f_bavail * room.f_frsize
    if free < NEEDED_BYTES:
        return ["{0} MB are free in {1}, {2} are needed".format(free >> 20, at, NEEDED_BYTES >> 20)]
    return []


def runs(place):
    """What runs on this node: job -> the version that it runs with (None: nobody knows, its supervisor was killed)."""
    found = {}
    jobs = os.path.join(place.state, "jobs")
    for job in listed(jobs):
        for attempt in listed(os.path.join(jobs, job)):
            path = os.path.join(jobs, job, attempt)
            if attempt.isdigit() and not os.path.exists(os.path.join(path, "exit.json")) and _is_locked(path):
                found[job] = None
    for folder, role, words in processes(place.bin):
        # Not those of a self-test, which has a state folder of its own.
        if role == b"supervise" and len(words) > 2 and _same(words[0], place.state):
            found[os.fsdecode(words[2])] = os.path.basename(folder)
    return found


def processes(bin_folder):
    """(folder of the version, role, words after it) of what runs from there, supervisors and installs."""
    bin_folder = os.path.realpath(bin_folder)
    for pid in listed("/proc"):
        if not pid.isdigit():
            continue
        try:
            with open("/proc/{0}/cmdline".format(pid), "rb") as handle:
                words = handle.read().split(b"\0")
        except OSError:
            continue  # it has ended
        for at, word in enumerate(words[:-1]):
            folder = os.fsdecode(word)
            if words[at + 1] in (b"supervise", b"install") and _lies_in(folder, bin_folder):
                yield folder, words[at + 1], words[at + 2 :]


def _lies_in(folder, bin_folder):
    return bool(VERSION.match(os.path.basename(folder))) and os.path.realpath(os.path.dirname(folder)) == bin_folder


def _same(path, other):
    return os.path.realpath(os.fsdecode(path)) == os.path.realpath(other)


def _is_locked(attempt):
    """Whether processes of an attempt live: they hold this lock."""
    try:
        fd = os.open(os.path.join(attempt, "alive.lock"), os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def listed(folder):
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def sync(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
