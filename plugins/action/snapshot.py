# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of stoker.fleet.snapshot: have a snapshot on a node, whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import platform
import stat

from ansible.errors import AnsibleActionFail

from ansible_collections.stoker.fleet.plugins.module_utils import tree
from ansible_collections.stoker.fleet.plugins.plugin_utils import rsync, rsync_place
from ansible_collections.stoker.fleet.plugins.plugin_utils.node_call import NodeAction

# The connection went, or somebody ended rsync: the next round may do better.
_PASSING = (10, 12, 20, 30, 35, 255)
_FULL = os.strerror(errno.ENOSPC)
# Left free on the node's disk beside data and checkpoints, in bytes: jobs write there.
_ROOM = 64 * 1024 * 1024


class _DamagedError(Exception):
    """What is here is not what it was when it was taken."""


def _bytes_of(folder, names):
    found = (os.lstat(os.path.join(folder, name)) for name in names)
    return sum(status.st_size for status in found if stat.S_ISREG(status.st_mode))


def _no_room(needed, look, kept_free):
    return AnsibleActionFail(
        "{0:,} bytes of it are not there, and {1:,} are free at {2}{3} (next: free some there)".format(
            needed,
            look["free"],
            os.path.dirname(look["folder"]),
            "; {0:,} stay free".format(kept_free) if kept_free else "",
        )
    )


class ActionModule(NodeAction):
    """See the module's documentation."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            argument_spec={
                "snapshots": {"type": "dict", "required": True},
                "checkpoints": {"type": "list", "elements": "str", "default": []},
                "datasets": {"type": "list", "elements": "str", "default": []},
                "locks": {"type": "path"},
                "progress": {"type": "path"},
                "wait": {"type": "bool", "default": False},
            },
        )
        self._task_vars, self._args, self._checkpoints = task_vars, args, frozenset(args["checkpoints"])
        self._datasets = frozenset(args["datasets"])
        result.update(changed=False, staged={})
        if not self._task.check_mode:
            rsync_place.check(self._connection)
            for digest, folder in sorted(args["snapshots"].items()):
                result["staged"][digest] = told = self._stage(digest, os.fsencode(folder))
                result["changed"] = result["changed"] or told["bytes"] is not None
        wrong = [told["message"] for told in result["staged"].values() if not told["ok"]]
        if wrong:
            result.update(failed=True, msg=wrong[0])
        return result

    def _stage(self, digest, folder):
        """What became of one.

        ``bytes`` went over the connection (None: it was there); ``again``: the next round may have more luck;
        ``damaged``: what is here is not what it was when it was taken.
        """
        told = {"ok": False, "bytes": None, "message": None, "again": False, "damaged": False}
        what = "checkpoint" if digest in self._checkpoints else "dataset" if digest in self._datasets else "snapshot"
        try:
            told["bytes"] = self._bring(digest, folder)
            told["ok"] = True
        except rsync.RsyncError as problem:
            text = "its {0} could not be brought to the node: {1}".format(what, problem)
            told.update(message=text, again=problem.code < 0 or problem.code in _PASSING)
        except BlockingIOError:
            told.update(message="its {0} is being brought to the node".format(what), again=True)
        except _DamagedError as problem:
            told.update(message="its {0} is damaged: {1}".format(what, problem), damaged=True)
        except AnsibleActionFail as problem:
            told.update(message="its {0} could not be brought to the node: {1}".format(what, problem.message))
        except OSError as problem:
            place = os.fsdecode(problem.filename or folder)
            told.update(message="its {0} cannot be read here: {1}: {2}".format(what, place, problem.strerror))
            told["damaged"] = problem.errno in (errno.ENOENT, errno.ENOTDIR, errno.EIO)
        return told

    def _bring(self, digest, folder):
        with open(self._lock_file(digest, folder), "w") as lock:
            # Two rounds of this machine fill the same folder over there: one after the other. Data may take long, and
            # no round waits for what another process brings.
            patient = digest not in self._datasets or self._args["wait"]
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if patient else fcntl.LOCK_NB))
            look = self._look(digest, folder, verify=digest in self._checkpoints)
            if look["exists"]:
                return None
            if not look["rsync"]:
                raise AnsibleActionFail(rsync_place.NOT_THERE)
            wire = self._move(digest, folder, look)
            if self._asked_about(digest, folder, "snapshot_done")["complete"]:
                return wire
            # Files of one size and time may differ, and a killed run leaves a half behind: anew, and by contents.
            wire += self._move(digest, folder, self._look(digest, folder, delete=True), checksum=True)
            if self._asked_about(digest, folder, "snapshot_done")["complete"]:
                return wire
        # Nobody goes on from it, and it takes room.
        self._look(digest, folder, delete=True)
        if self._digest_of(folder, digest) == digest:
            # What is whole here is not to be called damaged: the jobs that need it would begin without it.
            raise AnsibleActionFail(
                "what came there is not what was sent, twice: {0} does not keep the names, modes or contents of files "
                "(next: stoker_state_dir on another disk)".format(os.path.dirname(look["folder"]))
            )
        taken = "fetched" if digest in self._checkpoints else "submitted"
        raise _DamagedError(
            "what came there is not what was {0}: {1} was changed here".format(taken, os.fsdecode(folder))
        )

    def _names(self, digest, folder):
        """(the folder, names in it) of what is brought."""
        if digest in self._datasets:
            # It lies under its own name, so that a file is one, too.
            return os.path.dirname(folder), tree.beside(folder)
        return folder, list(tree.names(folder))

    def _digest_of(self, folder, digest):
        """What it is now, as it is read here."""
        total, (above, names) = tree.Digest(), self._names(digest, folder)
        for name in names:
            path = os.path.join(above, name)
            mode = tree.mode_of(os.lstat(path))
            content = tree.content_of_link(path) if mode == "link" else tree.content_of_file(path)[0] if mode else ""
            total.add(name, mode or "other", content)
        return total.hex()

    def _move(self, digest, own, look, checksum=False):
        target, shell = rsync_place.reach(self._connection, look["folder"])
        told, (folder, names) = None, self._names(digest, own)
        if self._args["progress"]:
            told = os.path.join(self._args["progress"], os.path.basename(self._task_vars["inventory_hostname"]))
        options = {"shell": shell, "link_dest": look["newest"], "checksum": checksum}
        kept_free = _ROOM if digest in self._datasets or digest in self._checkpoints else 0
        # A node that is kept back on a version of before does not say what is free.
        if look.get("free") is not None and _bytes_of(folder, names) > look["free"] - kept_free:
            # What is there is not sent: how much of it that is rsync says. It counts a file that broke off as a whole.
            items = rsync.move(folder + b"/", target + b"/", names, dry_run=True, **options).items
            needed = max(0, sum(item.bytes for item in items) - look.get("partial", 0))
            if needed > look["free"] - kept_free:
                # A half is not to keep that disk full.
                self._look(digest, own, delete=True)
                raise _no_room(needed, look, kept_free)
        try:
            return rsync.move(folder + b"/", target + b"/", names, told=told, **options).wire_bytes
        except rsync.RsyncError as problem:
            if _FULL in str(problem):
                # A half is not to keep that disk full.
                self._look(digest, own, delete=True)
            raise

    def _look(self, digest, folder, delete=False, verify=False):
        return self._asked_about(digest, folder, "snapshot_look", delete=delete, verify=verify)

    def _asked_about(self, digest, folder, op, **more):
        above = os.path.dirname(self._place_of_locks(digest, folder))
        more = dict(more, quick=True) if digest in self._datasets else more
        # A word for this machine and its state folder.
        source = hashlib.sha256(platform.node().encode() + above).hexdigest()[:16]
        return self.asked(dict(more, op=op, digest=digest, source=source), self._task_vars)

    def _lock_file(self, digest, folder):
        host = hashlib.sha256(self._task_vars["inventory_hostname"].encode()).hexdigest()[:16]
        if digest in self._datasets:
            host = "{0}-{1}".format(host, digest[:16])
        return os.path.join(self._place_of_locks(digest, folder), "stage-{0}.lock".format(host).encode())

    def _place_of_locks(self, digest, folder):
        """A folder of Stoker's own: beside the files of a snapshot; data lies where its user has it."""
        return os.fsencode(self._args["locks"]) if digest in self._datasets else os.path.dirname(folder)
