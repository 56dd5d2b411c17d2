# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bringing a version of the node side with care: tested before it counts, and the one before again where it fails."""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import shutil
import sys
import time
import zipfile

from .version_test import MARK, FailedError, end, health, self_test
from .versions import Place, RefusedError, digest, listed, look, processes, refuse, sync

# What a first contact, or a note, that was cut off leaves (plugin_utils/node_call, Place.keep). None takes so many
# seconds, and no lock says that none is under way.
_CUT_OFF = re.compile(r"[0-9a-f]{16}(\.kept)?\.[0-9]+\.(tmp|old)\Z")
_CUT_OFF_S = 3600.0


def bring(place, version, package, with_jobs):
    """Make ``version`` the one that is used here, or leave everything as it was. Returns what came of it.

    ``outcome``: updated, present (it was), put_back, put_back_failed. Raises RefusedError before anything is changed.
    """
    refuse(look(place, version), with_jobs)
    os.makedirs(place.bin, 0o700, exist_ok=True)
    with open(os.path.join(place.bin, ".update.lock"), "a", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RefusedError("another update is under way there") from None
        _sweep(place)
        seen = look(place, version)
        refuse(seen, with_jobs)
        told = {"version": version, "before": seen["used"], "reason": None, "back_reason": None}
        try:
            fresh = _bring(place, version, package, seen)
        except (FailedError, OSError, zipfile.BadZipFile) as problem:
            told.update(put_back(place, version, seen, str(problem)))
        else:
            told["outcome"] = "updated" if fresh else "present"
        finally:
            _sweep(place)
    return told


def _bring(place, version, package, seen):
    """True where the node used another version before. Raises FailedError, OSError."""
    target = place.folder(version)
    if seen["used"] == version and digest(target) == version:
        # It may have come by first contact, and nobody looked at it.
        self_test(place, target)
        health(place, target, seen["jobs"])
        return False
    trial = os.path.join(place.bin, ".trial-{0}-{1}".format(version, os.getpid()))
    _unpack(package, trial)
    if digest(trial) != version:
        raise FailedError("it did not come whole: its files give {0}".format(digest(trial)))
    self_test(place, trial)
    if os.path.isdir(target):
        os.rename(target, os.path.join(place.bin, ".gone-{0}-{1}".format(version, os.getpid())))
    os.rename(trial, target)
    sync(place.bin)
    health(place, target, seen["jobs"])
    if os.path.exists(place.note(version)):
        os.unlink(place.note(version))
        sync(place.bin)
    return True


def _unpack(package, target):
    zipfile.ZipFile(io.BytesIO(package)).extractall(target)
    for folder, _folders, names in os.walk(target, topdown=False):
        for path in [os.path.join(folder, name) for name in names] + [folder]:
            sync(path)


def put_back(place, version, seen, reason):
    """The version before is used again: this one goes, the other's files are hashed again, the node is looked at."""
    before = seen["used"] if seen["used"] != version else place.before(version, seen["versions"])
    wrong, kept = [], False
    if before is not None:
        try:
            place.keep(before, version, reason)
            kept = True
        except OSError as problem:
            words = "that it failed cannot be noted ({0}): the next command brings it again"
            wrong.append(words.format(problem.strerror))
    busy = [folder for folder, _role, _words in processes(place.bin) if os.path.basename(folder) == version]
    if not busy:
        shutil.rmtree(place.folder(version), ignore_errors=True)
    if os.path.isdir(place.folder(version)) and not kept:
        wrong.append("{0} could not be removed".format(place.folder(version)))
    if before is not None:
        got = digest(place.folder(before))
        if got != before:
            wrong.append("the version before, {0}, is not as it was: its files give {1}".format(before, got))
        else:
            try:
                health(place, place.folder(before), seen["jobs"])
            except (FailedError, OSError) as problem:
                wrong.append("the version before, {0}, does not work: {1}".format(before, problem))
    outcome = "put_back_failed" if wrong else "put_back"
    return {"outcome": outcome, "before": before, "reason": reason, "back_reason": "; ".join(wrong) or None}


def _sweep(place):
    """Remove what an update that was killed left behind; the lock says that none is under way."""
    for name in listed(place.bin):
        if name.startswith((".trial-", ".gone-", ".test-")):
            end(os.path.join(place.bin, name))
            shutil.rmtree(os.path.join(place.bin, name), ignore_errors=True)
        elif _CUT_OFF.match(name):
            _remove_old(os.path.join(place.bin, name))


def _remove_old(path):
    try:
        if time.time() - os.stat(path).st_mtime < _CUT_OFF_S:
            return
        if not os.path.isdir(path):
            os.unlink(path)
    except FileNotFoundError:
        return  # whoever was at it has come to the end
    shutil.rmtree(path, ignore_errors=True)


def main(ask, package):
    """Answer one request: ``look`` or ``bring``."""
    place = Place(ask["state_dir"], ask["settings"])
    reply = {"schema": "stoker.reply/1", "ok": True}
    try:
        if ask["op"] == "look":
            reply["look"] = look(place, ask["version"])
        else:
            reply["update"] = bring(place, ask["version"], package, ask["with_jobs"])
    except RefusedError as problem:
        reply.update(ok=False, error={"code": "conflict", "message": str(problem), "next": None})
    except OSError as problem:
        words = "{0} ({1})".format(problem.strerror or problem, problem.filename)
        reply.update(ok=False, error={"code": "internal", "message": words, "next": None})
    sys.stdout.write("\n" + MARK + json.dumps(reply) + "\n")
    sys.stdout.flush()
    return 0
