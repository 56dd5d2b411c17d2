# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files of metrics are an attempt's: those that its processes have open, and those written while it ran."""

from __future__ import annotations

import os
import stat
import time

from . import run_named, sandbox, snapshots
from .processes import Family
from .readers import kinds, sqlite_store, trainer_state

# A folder that is larger is looked through so far, and that is said.
MOST_FILES, MOST_SECONDS = 50000, 10.0
_MOST_NOTES = 20
# A clock of a file system may be behind, and a writer may close its file after the end.
SLACK_S = 2.0
_STORES = ("trackio", "mlflow")
_WRITES = os.O_WRONLY | os.O_RDWR


class Source:
    """A file of metrics: `place` is what it is called, `run` which one it is of a file that holds several.

    `held` is the process of the job that has it open for writing, None where none was seen.
    """

    def __init__(self, kind, path, place, run=None, held=None):
        self.kind = kind
        self.path = path
        self.place = place
        self.run = run
        self.held = held

    @property
    def key(self):
        return self.path if self.run is None else "{0}#{1}".format(self.path, self.run)


class Stamp:
    """When the files behind a path were written last (Unix seconds), their bytes, and what differs after each write.

    Raises OSError where there is no such path.
    """

    def __init__(self, path):
        first = os.stat(path)
        found = [first]
        for other in kinds.files_of(path)[1:]:
            try:
                found.append(os.stat(other))
            except FileNotFoundError:
                continue  # SQLite has a log at times
        self.changed = max(status.st_mtime for status in found)
        self.bytes = sum(status.st_size for status in found)
        newest = max(status.st_mtime_ns for status in found)
        self.mark = [first.st_dev, first.st_ino, len(found), newest, self.bytes]


def folder_of(attempt):
    """The folder that the attempt's command runs in."""
    spec = snapshots.resolved(attempt, attempt.read("spec.json") or {})
    return sandbox.workdir(spec, sandbox.person(spec))


def sources(attempt, state, wanted, known, notes):
    """(its folder, the sources of an attempt, or those at the path `wanted`, relative to its folder).

    `known` are paths of its sources that were seen before; `notes` gets remarks. Raises NodeError where there is no
    such path, or it is none of the attempt's.
    """
    folder, found = _sources(attempt, state, wanted, known, notes)
    states = trainer_state.newest(source.path for source in found if source.kind == "trainer_state")
    return folder, [source for source in found if source.kind != "trainer_state" or source.path in states]


def _sources(attempt, state, wanted, known, notes):
    folder = folder_of(attempt)
    held = _held(attempt, notes)
    if wanted is not None:
        top = run_named.path_of(wanted, folder, attempt, state, {*held, *known})
        if not os.path.isdir(top):
            return folder, list(_of_file(top, os.path.basename(top), held, notes, named=True))
        return folder, list(_in_folder(top, held, notes, lambda path: True, state.path))
    began, ended = _span(attempt)
    if began is None:
        return folder, []

    def its_own(path):
        changed = Stamp(path).changed
        return path in held or (changed >= began - SLACK_S and (ended is None or changed <= ended + SLACK_S))

    inside = os.path.isdir(folder)
    found = list(_in_folder(folder, held, notes, its_own, state.path)) if inside else []
    for path in sorted(set(held) - {source.path for source in found}):
        found += _of_file(path, os.path.basename(path), held, notes)
    if not any(source.kind != "log" for source in found):
        return folder, found or _own_log(attempt)
    return folder, [source for source in found if source.kind != "log"]


def _own_log(attempt):
    """What the command printed, where it wrote nothing better."""
    names = ("out.log", "stdout.log")
    paths = [attempt.file(name) for name in names if os.path.isfile(attempt.file(name))]
    return [Source("log", path, os.path.basename(path)) for path in paths[:1]]


def _span(attempt):
    """(when its command began, when it ended), by the clock of the node; None where it did not."""
    began = (attempt.read("state.json") or {}).get("started_at")
    return began, (attempt.read("exit.json") or {}).get("ended_at")


def _in_folder(top, held, notes, its_own, state_path):
    """The sources in a folder and below it; hidden folders and the state folder are left out, unless it is there."""
    end, seen = time.monotonic() + MOST_SECONDS, 0
    for folder, names, files in os.walk(top, onerror=lambda problem: unreadable(problem.filename, problem, notes)):
        names[:] = sorted(
            name
            for name in names
            if name not in kinds.NEVER and not name.startswith(".") and os.path.join(folder, name) != state_path
        )
        seen += len(files) + len(names)
        if seen > MOST_FILES or time.monotonic() > end:
            notes.append("{0} is large: it was not looked through to its end; name the run's own file".format(top))
            return
        for name in sorted(files):
            path = os.path.join(folder, name)
            try:
                # Whoever opens a pipe waits for its writer.
                if stat.S_ISREG(os.stat(path).st_mode) and its_own(path):
                    yield from _of_file(path, os.path.relpath(path, top), held, notes)
            except OSError as problem:
                unreadable(path, problem, notes)


def unreadable(path, problem, notes):
    """Say in `notes` that a file could not be read, unless it went away meanwhile: one must not hide the others."""
    if isinstance(problem, FileNotFoundError):
        return
    if len(notes) < _MOST_NOTES:
        notes.append("{0} cannot be read: {1}".format(path, problem.strerror or problem))
    elif len(notes) == _MOST_NOTES:
        notes.append("... and more that cannot be read")


def _of_file(path, place, held, notes, named=False):
    try:
        kind = run_named.kind_of(path) if named else kinds.kind_of(path)
        if kind in _STORES and os.path.basename(path) != "meta.yaml":
            for run in sqlite_store.runs_of(kind, path):
                yield Source(kind, path, place + "/" + run, run, held.get(path))
        elif kind is not None:
            yield Source(kind, path, place, None, held.get(path))
    except OSError as problem:
        unreadable(path, problem, notes)


def _held(attempt, notes):
    """path -> pid of the files that processes of the attempt have open for writing, as far as they can be seen."""
    found = {}
    if attempt.finished():
        return found
    for pid in Family(attempt).members():
        try:
            _open_files(pid, found, notes)
        except OSError:
            continue  # it has ended, or is another user's
    return {path: pid for path, pid in found.items() if not path.startswith(attempt.path + os.sep)}


def _open_files(pid, found, notes):
    for number in os.listdir("/proc/{0}/fd".format(pid)):
        link = "/proc/{0}/fd/{1}".format(pid, number)
        try:
            path, status = os.readlink(link), os.stat(link)
            with open("/proc/{0}/fdinfo/{1}".format(pid, number)) as handle:
                flags = int(handle.read().partition("flags:")[2].split()[0], 8)
        except FileNotFoundError:
            continue  # closed meanwhile
        if not (flags & _WRITES and path.startswith("/") and stat.S_ISREG(status.st_mode) and status.st_nlink):
            continue
        place = _from_here(pid, path, status)
        if place is not None:
            found[place] = pid
        elif kinds.may_be(path) and len(notes) < _MOST_NOTES:
            notes.append(
                "{0} is open in a sandbox or a container of the job, and cannot be read from here".format(path)
            )


def _from_here(pid, path, status):
    """Where a file that a process has open is found from here, None where it is not.

    In a sandbox or a container its path is another file here, or none at all.
    """
    for place in (path, "/proc/{0}/root{1}".format(pid, path)):
        try:
            other = os.stat(place)
        except OSError:
            continue
        if (other.st_dev, other.st_ino) == (status.st_dev, status.st_ino):
            return place
    return None
