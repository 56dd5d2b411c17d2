# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checkpoint of an attempt as it lies there now: complete or not, and what is in it.

A path without wildcards is one checkpoint, a file or a folder. With wildcards in its last part each match is one, and
the newest that is complete counts. Complete is what nobody has open for writing, what was not written to for a moment,
and what did not change while all of it was read. Names by which programs write first and rename then are left out.
What an attempt wrote to just before it was killed may be cut off, and does not count.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import stat
import time

from . import run_files
from .statedir import NodeError

# What was written to a moment ago may get its next file in a moment. Seconds.
SETTLE_S = 2.0
# A clock of a file system may be behind.
SLACK_S = 2.0
# What the kernel had not yet written when the machine went down is lost: it waits for 30 s, and looks every 5.
CRASH_S = 36.0
_SIGNS_OF_LIFE = ("out.log", "stdout.log", "stderr.log", "samples.jsonl", "state.json")
_POLL_S = 0.2
_TEMPORARY = re.compile(
    "|".join(
        fnmatch.translate(pattern)
        for pattern in ("*.tmp", "*.temp", "*.tmp.*", "*.part", "*.partial", "*.incomplete", "*.swp", "tmp-*", "*~")
    )
)
# Never moved by rsync here, so never part of one.
_LEFT = (".git", ".stoker-partial")
_STEP = re.compile(r"(?<![0-9])([0-9]{1,18})(?![0-9])")
_NAMED_STEP = re.compile(r"(?:step|iter|global_step|checkpoint|ckpt)[-_=.]?([0-9]{1,18})", re.IGNORECASE)


def look(backend, state, request):
    """What the newest complete checkpoint of an attempt is.

    ``state``: ``none`` (nothing that this attempt wrote), ``same`` (as ``mark`` says it was), ``unsteady`` (``why``;
    ``read``: after all of it was read), ``large`` (more bytes than ``room``; not read), or ``ready``. ``newer``: why a
    newer one does not count yet. ``after``: of a pattern what was last written to before that is none (Unix seconds).
    ``ask``: its processes get this signal first, and ``wait`` seconds to write a new one.
    """
    attempt = state.attempt(request["job"], request.get("attempt"))
    spec = attempt.read("spec.json") or {}
    path = request.get("path") or (spec.get("checkpoints") or {}).get("path")
    if not path:
        raise NodeError("bad_request", "the job {0} says no path of checkpoints".format(attempt.job))
    began = (attempt.read("state.json") or {}).get("started_at")
    if began is None:
        return {"checkpoint": {"state": "none", "why": "its command has not begun"}}
    top, over = os.path.join(run_files.folder_of(attempt), os.path.expanduser(path)), attempt.finished()
    asked = request.get("ask")
    if asked and not over:
        found = _asked(backend, attempt, top, began, asked, request)
    else:
        found = _newest(attempt, top, began, over, request)
    return {"checkpoint": found}


def _newest(attempt, top, began, over, request, seen=()):
    wanted = (request.get(name) for name in ("mark", "after", "room"))
    return newest(top, began, *wanted, over=over, cut=cut_since(attempt) if over else None, seen=seen)


def cut_since(attempt):
    """Since when what an attempt wrote may be cut off, Unix seconds by this clock; None: it ended by itself.

    Of one that is lost nobody saw the end: the last sign of life was before it.
    """
    record = attempt.read("exit.json") or {}
    code = record.get("code")
    # A shell ends with 128 and the number of the signal that killed what it ran.
    if code is not None and code < 128 and not record.get("oom"):
        return None
    ended = record.get("ended_at")
    if ended is None:
        ended = max((_moment(attempt.file(name)) for name in _SIGNS_OF_LIFE), default=0.0)
    return ended - (CRASH_S if record.get("lost") == "reboot" else SETTLE_S + SLACK_S)


def _moment(path):
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return 0.0


def _asked(backend, attempt, top, began, name, request):
    """Send the signal, and wait until something new is complete; what is there where nothing comes."""
    before = _marks(top, began)
    backend.signal(attempt.job, attempt.number, name)
    end = time.monotonic() + (request.get("wait") or 0.0)
    while True:
        over = attempt.finished()
        if over or time.monotonic() >= end:
            return _newest(attempt, top, began, over, request)
        # What was there before is not read again and again.
        found = _newest(attempt, top, began, over, request, before)
        if found["state"] in ("ready", "large"):
            return found
        time.sleep(_POLL_S)


def _marks(top, began):
    found = set()
    for path in _candidates(top, began, None):
        try:
            found.add(_mark(_entries(path)))
        except OSError:
            continue  # it went away meanwhile
    return found


def newest(top, began, mark=None, after=None, room=None, over=False, cut=None, seen=()):
    """The newest complete checkpoint at ``top`` that was written to since ``began`` (Unix seconds by this clock).

    ``over``: its processes are gone. ``cut``: they were killed, and what was written to since then may be cut off.
    ``seen``: the marks of those that are not meant. The others as for ``look``.
    """
    refused = None
    for path in _candidates(top, began, after):
        found = _judge(path, mark, room, over, cut, seen)
        if found is None:
            continue
        if found["state"] != "unsteady":
            return dict(found, newer=refused["why"] if refused else None)
        refused = refused or found
    return refused or {"state": "none", "why": "there is nothing at {0} that this attempt wrote".format(top)}


def step_of(names):
    """The training step that names tell: the highest ``step-300``, ``checkpoint_300``; None where none tells one."""
    named = [int(number) for name in names for number in _NAMED_STEP.findall(name)]
    if not named and len(names) == 1:
        named = [int(number) for number in _STEP.findall(names[0])]
    return max(named, default=None)


def _candidates(top, began, after):
    """The paths that may be the checkpoint, the newest first."""
    above, last = os.path.split(top.rstrip("/") or "/")
    if not glob.has_magic(last):
        return [os.path.realpath(top)] if _written(os.path.realpath(top)) >= began - SLACK_S else []
    try:
        names = [name for name in os.listdir(above) if fnmatch.fnmatchcase(name, last) and not _TEMPORARY.match(name)]
    except FileNotFoundError:
        return []
    # A link, such as ``last.ckpt``, is another name of one of them.
    paths = [path for path in (os.path.join(above, name) for name in names) if not os.path.islink(path)]
    dated = [(written, _order(path), path) for path in paths for written in [_written(path)]]
    first = began - SLACK_S
    # Older than the one that is kept is no newer one, also where that is gone and the next is not complete. Where that
    # was written in the future this clock was set back, and says nothing of which is older.
    if after is not None and after <= time.time() + SLACK_S:
        first = max(first, after)
    return [
        path for written, _step, path in sorted(dated, key=lambda one: (one[1], one[0]), reverse=True)
        if written >= first
    ]  # fmt: skip


def _order(path):
    step = step_of([os.path.basename(path)])
    return -1 if step is None else step


def _written(path):
    """When the newest file of it was written, Unix seconds; -1 where there is none."""
    try:
        return max((status.st_mtime for _name, status in _entries(path)), default=-1.0)
    except OSError:
        return -1.0


def _entries(path):
    """(name relative to the folder above ``path``, status) of each file and link of it, sorted."""
    above = os.path.dirname(path)
    if not os.path.isdir(path):
        return [(os.path.basename(path), os.lstat(path))]
    found = []

    def stop(problem):
        raise problem

    for folder, folders, files in os.walk(path, onerror=stop):
        folders[:] = [name for name in folders if name not in _LEFT and not _TEMPORARY.match(name)]
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in files + links:
            if name not in _LEFT and not _TEMPORARY.match(name):
                full = os.path.join(folder, name)
                found.append((os.path.relpath(full, above), os.lstat(full)))
    return sorted(found, key=lambda entry: entry[0])


def _judge(path, mark, room, over, cut, others):
    """Whether it is complete, and all that is in it; read only where that differs from what ``mark`` says.

    None: its mark is one of ``others``.
    """
    name, entries = os.path.basename(path), None
    try:
        before = _entries(path)
        if not before:
            return {"state": "none", "why": "{0} is empty".format(path)}
        seen = _mark(before)
        if seen in others:
            return None
        if seen == mark:
            return {"state": "same", "mark": seen, "name": name}
        total = sum(status.st_size for _name, status in before if stat.S_ISREG(status.st_mode))
        if room is not None and total > room:
            return {"state": "large", "mark": seen, "name": name, "bytes": total}
        why = _cut_off(path, before, cut) if over else _unsettled(path, before)
        entries = None if why else _read(os.path.dirname(path), before)
        if why is None and (_entry_marks(_entries(path)) != _entry_marks(before)):
            why = "{0} changed while it was read".format(_changed(before, _entries(path)))
        if why is None and not over:
            why = _open_for_writing(path, before)
    except OSError as problem:
        why = "{0}: {1}".format(problem.filename or path, problem.strerror or problem)
    if why:
        return {"state": "unsteady", "why": why, "name": name, "read": entries is not None}
    return _told(path, seen, before, entries)


def _told(path, seen, before, entries):
    from . import tree

    total = tree.Digest()
    for entry, mode, content, _size in entries:
        total.add(os.fsencode(entry), mode, content)
    return {
        "state": "ready", "name": os.path.basename(path), "folder": os.path.dirname(path), "mark": seen,
        "digest": total.hex(), "files": len(entries), "bytes": sum(entry[3] for entry in entries),
        "step": step_of([entry[0] for entry in entries]),
        "written_at": _latest(before), "entries": entries,
    }  # fmt: skip


def _cut_off(path, entries, cut):
    if cut is None or _latest(entries) < cut:
        return None
    return "{0} was written to just before its processes were killed, and may be cut off".format(os.path.basename(path))


def _latest(entries):
    return max(status.st_mtime for _name, status in entries)


def _unsettled(path, entries):
    written = _latest(entries)
    age = time.time() - written
    if 0 <= age < SETTLE_S:
        return "{0} was written to {1:.1f} s ago".format(os.path.basename(path), age)
    return _open_for_writing(path, entries)


def _open_for_writing(path, entries):
    """Which of the files a process has open for writing, as far as this user may see that; None: none."""
    known = {(status.st_dev, status.st_ino): name for name, status in entries}
    for pid in (name for name in os.listdir("/proc") if name.isdigit()):
        folder = "/proc/{0}/fd".format(pid)
        try:
            numbers = os.listdir(folder)
        except OSError:
            continue  # it ended, or it is another user's
        for number in numbers:
            try:
                # By the file itself: in a container its path is another one.
                status = os.stat("{0}/{1}".format(folder, number))
                name = known.get((status.st_dev, status.st_ino))
                if name and _writes("/proc/{0}/fdinfo/{1}".format(pid, number)):
                    return "{0} is being written by process {1}".format(name, pid)
            except OSError:
                continue
    return None


def _writes(info):
    with open(info, encoding="ascii") as lines:
        for line in lines:
            if line.startswith("flags:"):
                return int(line.split()[1], 8) & (os.O_WRONLY | os.O_RDWR) != 0
    return False


def _read(above, entries):
    """[name, mode, SHA-256, bytes] of each."""
    from . import tree

    found = []
    for name, status in entries:
        full = os.fsencode(os.path.join(above, name))
        mode = tree.mode_of(status)
        if mode is None:
            raise OSError(0, "is neither a file nor a link", os.fsdecode(full))
        content, size = (tree.content_of_link(full), 0) if mode == "link" else tree.content_of_file(full)
        found.append([name, mode, content, size])
    return found


def _entry_marks(entries):
    return {
        name: (status.st_size, status.st_mtime_ns, status.st_ino, stat.S_IFMT(status.st_mode))
        for name, status in entries
    }


def _changed(before, after):
    old, new = _entry_marks(before), _entry_marks(after)
    names = sorted(name for name in {**old, **new} if old.get(name) != new.get(name))
    return ", ".join(names[:3])


def _mark(entries):
    """A word for how the files are, without reading them."""
    import hashlib

    return hashlib.sha256(repr(sorted(_entry_marks(entries).items())).encode("utf-8", "surrogateescape")).hexdigest()
