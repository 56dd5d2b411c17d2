# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The environments of a node: made once for what a project needs, found again by its hash, removed when unused.

In ``environments/``, for an environment NAME::

    NAME.json          it is ready: written last, by a rename. Names the folder
    NAME.failed.json   how the newest install failed
    NAME.log           what the installer said
    NAME.lock          held by flock while one installs
    NAME-<build>/      the environment itself, which cannot be moved; without a NAME.json that names it, it is rubbish
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import uuid

from . import environment_files
from .launch import ACTIVE, clean_environment, working_directory
from .statedir import Lock, is_locked, make_private, read_json, write_json

TIMEOUT_S = 3600.0
LINES = 20
_TAIL_BYTES = 65536
_POLL_S = 0.1


def ensure(state, entry, request):
    """Say whether the environment of a project is ready; install it where it is not and ``make`` says so.

    The install goes on when this call ends. ``build`` names the one that an earlier call started: then none is started
    again when that one has failed. Waits at most ``wait`` seconds for the end.
    """
    project = working_directory(request["folder"])
    plan = environment_files.plan(project, request.get("file"), request.get("python"), request.get("tool"))
    place = Place(state, plan.name)
    build, started = request.get("build"), False
    if request.get("make") and not build and not place.ready():
        build = _start(place, plan, entry, request.get("timeout_s") or TIMEOUT_S)
        started = build is not None
        # Of somebody else: his install is waited for, and how it ends is told here, too.
        build = build or place.building()
    deadline = time.monotonic() + (request.get("wait") or 0.0)
    while place.installing() and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return {"environment": _told(place, plan, build, started)}


class Place:
    """Where one environment lies."""

    def __init__(self, state, name):
        self.folder = os.path.join(state.path, "environments")
        self.name = name
        make_private(self.folder)

    def file(self, suffix):
        return os.path.join(self.folder, self.name + suffix)

    def installing(self):
        return is_locked(self.file(".lock"))

    def ready(self):
        """The record of an environment that is whole; None where there is none, or its Python went away."""
        record = read_json(self.file(".json"))
        if record is None:
            return None
        inside = record["folder"] if record["tool"] == "conda" else os.path.join(record["folder"], "bin", "python")
        return record if os.access(inside, os.X_OK) else None

    def building(self):
        """The name of the build that is under way; None before it is known."""
        return ((read_json(self.file(".order")) or {}).get("record") or {}).get("build")

    def failed(self):
        return read_json(self.file(".failed.json"))

    def lines(self, count=LINES):
        """The last lines that the installer said."""
        try:
            with open(self.file(".log"), "rb") as handle:
                handle.seek(max(0, os.fstat(handle.fileno()).st_size - _TAIL_BYTES))
                return handle.read().decode("utf-8", "replace").splitlines()[-count:]
        except FileNotFoundError:
            return []

    def sweep(self):
        """Remove the folders that no record names; for whoever holds the lock."""
        kept = (read_json(self.file(".json")) or {}).get("folder")
        for name in os.listdir(self.folder):
            path = os.path.join(self.folder, name)
            if name.startswith(self.name + "-") and path != kept:
                shutil.rmtree(path, ignore_errors=True)


def _start(place, plan, entry, timeout_s):
    """Start an install and return the name of this build; None where another one is under way or was faster."""
    lock = Lock(place.file(".lock"), inheritable=True)
    if not lock.acquire():
        return None
    try:
        if place.ready():
            return None
        record = read_json(place.file(".json"))
        if record is not None:
            os.unlink(place.file(".json"))
        place.sweep()
        build = uuid.uuid4().hex[:8]
        folder = place.file("-" + build)
        order = {
            "project": plan.project,
            "steps": plan.steps(folder),
            "timeout_s": timeout_s,
            "log": place.file(".log"),
            "ready": place.file(".json"),
            "failed": place.file(".failed.json"),
            "record": {
                "name": plan.name, "build": build, "folder": folder, "project": plan.project, "source": plan.source,
                "tool": plan.tool, "python": plan.version, "started_at": time.time(),
            },
        }  # fmt: skip
        os.close(os.open(place.file(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        write_json(place.file(".order"), order)
        subprocess.Popen(
            [sys.executable, "-I", "-S", entry, "install", place.file(".order"), str(lock.fd)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
            pass_fds=(lock.fd,), start_new_session=True,
        )  # fmt: skip
        return build
    finally:
        lock.release()


def _told(place, plan, build, started):
    told = {
        "name": plan.name, "project": plan.project, "source": plan.source, "tool": plan.tool, "python": plan.version,
        "started": started, "build": build, "folder": None, "activate": None, "elapsed_s": None, "exit_code": None,
        "command": None, "reason": None, "log": place.file(".log"), "lines": [],
    }  # fmt: skip
    # In this order: an install that ends in between is then seen as under way, never as one that left nothing.
    installing, record, failed = place.installing(), place.ready(), place.failed()
    if record is not None:
        # When it was last asked for: what old environments are found by.
        os.utime(place.file(".json"))
        return dict(
            told, state="ready", folder=record["folder"], activate=activation(record), elapsed_s=record["elapsed_s"]
        )
    if installing:
        return dict(told, state="installing", lines=place.lines())
    if build and failed is not None and failed["build"] == build:
        fields = {name: failed[name] for name in ("elapsed_s", "exit_code", "command", "reason")}
        return dict(told, state="failed", lines=place.lines(), **fields)
    if build:
        return dict(told, state="failed", lines=place.lines(), reason="was interrupted: its process is gone")
    return dict(told, state="missing")


def activation(record):
    """The variables that make an environment the active one for a command on this node."""
    path = clean_environment(os.environ).get("PATH", os.defpath)
    name = "CONDA_PREFIX" if record["tool"] == "conda" else "VIRTUAL_ENV"
    return {name: record["folder"], "PATH": os.path.join(record["folder"], "bin") + os.pathsep + path}


def listed(state, request):
    """All environments of this node. Those unused for ``older_than_s`` are removed first, where that is given.

    ``keep``: jobs by the folder of their environment, that a controller knows of and that may not have come here yet.
    """
    older, dry_run = request.get("older_than_s"), bool(request.get("dry_run"))
    removed, kept = [], []
    used = _in_use(state, request.get("keep") or {})
    for name in _names(state):
        place = Place(state, name)
        told = _entry(place, used)
        if older is None or not _removable(told, older):
            kept.append(told)
        elif dry_run or _remove(place):
            removed.append(told)
        else:
            kept.append(_entry(place, used))
    return {"environments": kept, "removed_environments": removed}


def _names(state):
    folder = os.path.join(state.path, "environments")
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted({name.split(".")[0].split("-")[0] for name in names if not name.endswith(".lock")})


def _entry(place, used):
    """One environment, as it is told."""
    # The same order as in _told, for the same reason.
    installing, record, failed = place.installing(), place.ready(), place.failed()
    known = record or failed or {}
    state = "ready" if record else "installing" if installing else "failed" if failed else "interrupted"
    told = {
        field: known.get(field) for field in ("project", "source", "tool", "python", "folder", "exit_code", "reason")
    }
    moment = os.stat(place.file(".json")).st_mtime if record else known.get("ended_at") or 0.0
    jobs = sorted(used.get(known.get("folder"), ())) if record else []
    return dict(told, name=place.name, state=state, used_at=moment, used_by=jobs, log=place.file(".log"))


def _in_use(state, keep):
    """The jobs that are not over, by the folder of the environment that they run in."""
    used = {folder: set(jobs) for folder, jobs in keep.items()}
    for job in state.jobs():
        for attempt in state.attempts(job):
            if not attempt.finished():
                env = (attempt.read("spec.json") or {}).get("env") or {}
                own = (attempt.read("state.json") or {}).get("environment")
                for folder in [own, *(env.get(name) for name in ACTIVE)]:
                    used.setdefault(folder, set()).add(job)
    return used


def _removable(told, older_than_s):
    idle = time.time() - told["used_at"] >= older_than_s
    return idle and told["state"] != "installing" and not told["used_by"]


def _remove(place):
    lock = Lock(place.file(".lock"))
    if not lock.acquire():
        return False
    try:
        # The lock stays: two that hold two files of one name would not exclude each other.
        for suffix in (".json", ".failed.json", ".log", ".order"):
            if os.path.exists(place.file(suffix)):
                os.unlink(place.file(suffix))
        place.sweep()
    finally:
        lock.release()
    return True
