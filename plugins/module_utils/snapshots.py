# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots on a node: the files that jobs were submitted with, <state_dir>/snapshots/<digest>, and a job's own copy.

A snapshot gets its name only after everything in it was read and found to be what the name says. A job never works in
one: each attempt has a real copy, and that is read and compared, too.
"""

from __future__ import annotations

import os
import re
import shutil
import time

from .identity import boottime
from .statedir import NodeError, make_private, read_json, sync_folder, write_json

DIGEST = re.compile(r"^[0-9a-f]{64}$")
_DRAFT, _TRASH = ".new-", ".trash-"
# Field of a spec, and what people call it.
_KINDS = (("snapshot", "snapshot"), ("resume", "checkpoint"), ("dataset", "dataset"))
_COPIED = {"snapshot": "tree", "resume": "resume"}
# Somebody may be filling a draft, or may have looked for a snapshot and be about to use it.
LEAST_AGE_S = 600.0
_DRAFT_AGE_S = 7 * 86400.0


def place(state, digest):
    """Where the snapshot of this digest is, or would be."""
    if not DIGEST.match(digest):
        raise NodeError("bad_request", "{0!r} is not the digest of a snapshot".format(digest))
    return os.path.join(_root(state), digest)


def look(state, request):
    """Whether the snapshot is here; else where to put its files, and the newest one, to take over what is the same.

    ``free``: how many bytes there are for it; ``partial``: how many of files are here that broke off, and are gone on
    with. ``delete``: without what an earlier try left there. ``verify``: one that
    is not what its name says is not here; ``quick``: it is read only where sizes and times are not those of when it was
    complete.
    """
    digest = request["digest"]
    final, rsync = place(state, digest), shutil.which("rsync")
    if request.get("verify") or (request.get("quick") and not _untouched(state, digest)):
        _set_aside(state, digest)
    if os.path.isdir(final):
        # It is about to be used: no clearing away now.
        os.utime(final)
        return {"exists": True, "folder": final, "newest": None, "rsync": rsync, "free": None}
    draft = _draft(state, request)
    if request.get("delete"):
        shutil.rmtree(draft, ignore_errors=True)
    if rsync:
        make_private(draft)
    free = shutil.disk_usage(draft).free if rsync else None
    found = {"exists": False, "folder": draft, "newest": _newest(state), "rsync": rsync, "free": free}
    return dict(found, partial=_bytes_broken_off(draft))


def _bytes_broken_off(draft):
    from .project_files import PARTIAL_DIR

    folders = (folder for folder, _names, _files in os.walk(os.fsencode(draft)))
    return sum(_bytes_in(folder) for folder in folders if os.path.basename(folder) == PARTIAL_DIR)


def done(state, request):
    """Everything was brought: read all of it, and give it its name. ``complete``: it is what it should be."""
    digest = request["digest"]
    final, draft = place(state, digest), _draft(state, request)
    if os.path.isdir(final):
        shutil.rmtree(draft, ignore_errors=True)
        return {"complete": True}
    from . import tree  # hashlib costs every other call some milliseconds

    found = tree.digest(os.fsencode(draft))[0]
    if found != digest:
        return {"complete": False}
    os.utime(draft)
    try:
        os.rename(draft, final)
    except OSError:
        if not os.path.isdir(final):
            raise
        shutil.rmtree(draft, ignore_errors=True)  # another controller was faster
    if request.get("quick"):
        write_json(_mark_file(state, digest), {"mark": _mark(final)})
    sync_folder(_root(state))
    return {"complete": True}


def dataset_path(state, spec):
    """Where the data of a job lies, for all jobs that read it; None: it has none."""
    wanted = spec.get("dataset")
    return os.path.join(place(state, wanted["digest"]), wanted["name"]) if wanted else None


def _untouched(state, digest):
    """Whether sizes and times are as when it was complete. False, too, where nobody wrote that down."""
    final = place(state, digest)
    return not os.path.isdir(final) or read_json(_mark_file(state, digest)) == {"mark": _mark(final)}


def _mark_file(state, digest):
    return os.path.join(_root(state), "mark-{0}.json".format(digest))


def _mark(folder):
    import hashlib

    from . import tree

    total = hashlib.sha256()
    for name in sorted(tree.names(os.fsencode(folder))):
        status = os.lstat(os.path.join(os.fsencode(folder), name))
        total.update(b"%d %s\0%d %d\n" % (len(name), name, status.st_size, status.st_mtime_ns))
    return total.hexdigest()


def _set_aside(state, digest):
    """Take one away that was damaged since it came: it is brought again."""
    from . import tree

    final = place(state, digest)
    if not os.path.isdir(final):
        return
    if tree.digest(os.fsencode(final))[0] == digest:
        write_json(_mark_file(state, digest), {"mark": _mark(final)})
    else:
        trash = os.path.join(_root(state), "{0}{1}-{2}".format(_TRASH, digest[-12:], os.getpid()))
        os.rename(final, trash)
        shutil.rmtree(trash)


def require(state, spec):
    """Refuse a spec whose snapshot, or the checkpoint that it goes on from, is not here."""
    for field, what in _KINDS:
        wanted = spec.get(field)
        if wanted and not os.path.isdir(place(state, wanted["digest"])):
            raise NodeError(
                "conflict",
                "the {0} {1} is not on this node".format(what, wanted["digest"][:12]),
                "stoker dispatch on the machine that has it",
            )


def unpack(attempt, spec):
    """Give an attempt its own copies of its snapshot and of the checkpoint that it goes on from.

    Raises NodeError when one of them is not what it was when it was taken.
    """
    if not spec.get("snapshot") and not spec.get("resume"):
        return
    require(attempt.state_dir, spec)
    began = boottime()
    for field, what in _KINDS:
        if spec.get(field) and field in _COPIED:
            _unpack(attempt, spec[field]["digest"], what, attempt.file(_COPIED[field]))
    attempt.update_state(unpacked_s=round(boottime() - began, 3))


def _unpack(attempt, digest, what, target):
    from . import tree

    source = place(attempt.state_dir, digest)
    # What a supervisor that was killed left of it.
    shutil.rmtree(target, ignore_errors=True)
    try:
        tree.copy(os.fsencode(source), os.fsencode(target))
    except OSError:
        # A half is not to keep this disk full.
        shutil.rmtree(target, ignore_errors=True)
        raise
    found = tree.digest(os.fsencode(target))[0]
    if found != digest:
        raise NodeError(
            "conflict",
            "the {0} {1} on this node is not what was {2} any more (its files have the digest {3})".format(
                what, digest[:12], "submitted" if what == "snapshot" else "fetched", found[:12]
            ),
            "remove {0} there, and retry".format(source),
        )


def forget_copy(attempt):
    """Take away the copy of the checkpoint that an attempt went on from, which is over. Raises OSError."""
    if os.path.isdir(attempt.file("resume")):
        try:
            shutil.rmtree(attempt.file("resume"))
        except FileNotFoundError:
            pass  # another process is at it, too


def resume_path(attempt, spec):
    """Where the checkpoint lies that the attempt goes on from; None: it begins at the beginning."""
    wanted = spec.get("resume")
    return os.path.join(attempt.file("resume"), wanted["name"]) if wanted else None


def resolved(attempt, spec):
    """The spec as it is run: with a snapshot its folder is one in the attempt's own copy."""
    if not spec or not spec.get("snapshot"):
        return spec
    return dict(spec, workdir=os.path.normpath(os.path.join(attempt.file("tree"), spec.get("workdir") or ".")))


def clear(state, unused_s, dry_run=False):
    """Remove snapshots that no job folder here names and nobody looked for within ``unused_s``; those removed."""
    used = _used(state)
    limit = time.time() - max(unused_s, LEAST_AGE_S)
    removed = []
    for name in _listed(state):
        path = os.path.join(_root(state), name)
        draft = name.startswith((_DRAFT, _TRASH))
        if name in used or _age_mark(path) > (time.time() - _DRAFT_AGE_S if draft else limit):
            continue
        size = _bytes_in(path)
        if not dry_run:
            trash = os.path.join(_root(state), "{0}{1}-{2}".format(_TRASH, name[-12:], os.getpid()))
            os.rename(path, trash)
            shutil.rmtree(trash)
            if os.path.exists(_mark_file(state, name)):
                os.unlink(_mark_file(state, name))
        if not draft:
            removed.append({"digest": name, "bytes": size})
    return removed


def _used(state):
    used = set()
    for job in state.jobs():
        for attempt in state.attempts(job):
            spec = attempt.read("spec.json") or {}
            used.update(spec[field]["digest"] for field, _what in _KINDS if spec.get(field))
    return used


def _root(state):
    return os.path.join(state.path, "snapshots")


def _draft(state, request):
    # One of its own for each controller: two that fill the same folder would find each other's halves in it.
    by = request.get("source") or "controller"
    return os.path.join(
        _root(state), "{0}{1}-{2}".format(_DRAFT, re.sub(r"[^A-Za-z0-9]", "", by)[:32], request["digest"])
    )


def _listed(state):
    try:
        found = os.listdir(_root(state))
    except FileNotFoundError:
        return []
    return [name for name in found if DIGEST.match(name) or name.startswith((_DRAFT, _TRASH))]


def _newest(state):
    paths = [os.path.join(_root(state), name) for name in _listed(state) if DIGEST.match(name)]
    return max(paths, key=_age_mark, default=None)


def _age_mark(path):
    return os.stat(path).st_mtime


def _bytes_in(path):
    """What removing it frees: a file that another snapshot has, too, frees nothing."""
    total = 0
    for folder, _names, files in os.walk(path):
        for name in files:
            status = os.lstat(os.path.join(folder, name))
            total += status.st_size if status.st_nlink == 1 else 0
    return total
