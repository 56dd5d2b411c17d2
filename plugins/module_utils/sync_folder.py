# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The node's side of a sync: where the folder is, what earlier pushes put into it, and taking that away again.

Of each folder that was pushed to, <state_dir>/sync/<hash of its path>/ holds manifest.json (name, size and time of
every file that a push put there) and last_push.json. A file counts as ours only while it still is as the push left it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import stat
import zlib

from . import identity
from .statedir import Lock, NodeError, make_private, read_json, write_json


def look(state, request):
    """Where the folder lies, whether it is there, which of ``paths`` are not; ``make`` creates it.

    ``times`` are those of ``names``, nanoseconds since 1970; None for one that is not there.
    """
    folder = _folder(request)
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise NodeError("bad_request", "{0} is not a folder".format(folder), "name another one")
    rsync = shutil.which("rsync")
    if request.get("make") and rsync:
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as exc:
            raise NodeError("no_permission", "{0} cannot be made: {1}".format(folder, exc.strerror)) from exc
    exists = os.path.isdir(folder)
    paths = request.get("paths") or []
    missing = [path for path in paths if not os.path.lexists(os.path.join(folder, path))] if exists else paths
    return {
        "folder": folder,
        "exists": exists,
        "missing": missing,
        "rsync": rsync,
        "times": [(_mark(folder, name) or [0, None])[1] for name in _unpacked(request.get("names") or _packed([]))],
        "last_push": read_json(os.path.join(_place(state, folder), "last_push.json")),
    }


def done(state, request):
    """After a push of ``names``: write down what is ours now. With ``delete``, take away what no longer belongs to it.

    Ours is what the push ``moved``, and of the rest what an earlier push moved; not what was there by itself.
    With ``dry_run`` nothing is changed. A file of an earlier push that was changed on the node since is kept.
    """
    folder = _folder(request)
    names, moved = set(_unpacked(request["names"])), set(_unpacked(request["moved"]))
    dry_run, delete = bool(request.get("dry_run")), bool(request.get("delete"))
    place = _place(state, folder)
    if dry_run and not os.path.isdir(place):
        return {"stale": _packed([]), "deleted": _packed([]), "kept": _packed([]), "last_push": None}
    make_private(place)
    with Lock(os.path.join(place, "lock")):
        ours = (read_json(os.path.join(place, "manifest.json")) or {}).get("files") or {}
        there = {name: _mark(folder, name) for name in sorted(set(ours) - names)}
        stale = [name for name, mark in there.items() if mark == ours[name] and _inside(folder, name)]
        kept = [name for name, mark in there.items() if mark is not None and name not in stale]
        if not dry_run:
            if delete:
                _take_away(folder, stale)
            files = {name: _mark(folder, name) for name in names}
            files = {name: mark for name, mark in files.items() if name in moved or mark == ours.get(name)}
            if not delete:
                files.update((name, ours[name]) for name in stale)
            last = _write(place, folder, request, files, len(names))
        else:
            last = read_json(os.path.join(place, "last_push.json"))
    deleted = stale if delete else []
    return {"stale": _packed(stale), "deleted": _packed(deleted), "kept": _packed(kept), "last_push": last}


def _write(place, folder, request, files, count):
    """The manifest first: a push is only said to be done when everything of it is written down."""
    files = {name: mark for name, mark in files.items() if mark is not None}
    write_json(os.path.join(place, "manifest.json"), {"schema": "stoker.manifest/1", "folder": folder, "files": files})
    last = {
        "schema": "stoker.last_push/1",
        "folder": folder,
        "source": request.get("source"),
        "at": identity.now(),
        "files": count,
    }
    write_json(os.path.join(place, "last_push.json"), last)
    return last


def _take_away(folder, names):
    for name in names:
        path = os.path.join(folder, name)
        os.unlink(path)
        parent = os.path.dirname(path)
        # An empty folder that is left would still be a package to Python.
        while parent != folder and not os.listdir(parent):
            os.rmdir(parent)
            parent = os.path.dirname(parent)


def _inside(folder, name):
    """Whether the file really lies in the folder: somebody may have put a link in the place of a folder."""
    parent = os.path.realpath(os.path.dirname(os.path.join(folder, name)))
    root = os.path.realpath(folder)
    return parent == root or parent.startswith(root.rstrip("/") + "/")


def _mark(folder, name):
    """Size and time of the file or link, None where there is none."""
    try:
        found = os.lstat(os.path.join(folder, name))
    except OSError:
        return None
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
        return None
    return [found.st_size, found.st_mtime_ns]


def _folder(request):
    return os.path.normpath(os.path.join(os.path.expanduser("~"), os.path.expanduser(request["folder"])))


def _place(state, folder):
    digest = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:16]
    return os.path.join(state.path, "sync", digest)


def _packed(names):
    return base64.b64encode(zlib.compress(b"\0".join(os.fsencode(name) for name in names))).decode("ascii")


def _unpacked(data):
    joined = zlib.decompress(base64.b64decode(data))
    return [os.fsdecode(name) for name in joined.split(b"\0")] if joined else []
