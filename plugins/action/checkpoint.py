# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of stoker.fleet.checkpoint: the newest complete checkpoint of a job to the controller, whole or not at all."""

from __future__ import annotations

import os
import re
import shutil

from ansible.errors import AnsibleActionFail

from ansible_collections.stoker.fleet.plugins.module_utils import tree
from ansible_collections.stoker.fleet.plugins.plugin_utils import rsync, rsync_place
from ansible_collections.stoker.fleet.plugins.plugin_utils.node_call import NodeAction

# Left free on the controller's disk, in bytes.
_ROOM = 64 * 1024 * 1024
_NAMED = 3
_DIGEST = re.compile("[0-9a-f]{64}")
_MODE = re.compile("link|[0-7]{1,3}")
_UNKNOWN = "unknown field"


class ActionModule(NodeAction):
    """See the module's documentation."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            argument_spec={
                "job": {"type": "str", "required": True},
                "attempt": {"type": "int"},
                "folder": {"type": "path", "required": True},
                "alone": {"type": "bool", "default": False},
                "near": {"type": "path"},
                "mark": {"type": "str"},
                "after": {"type": "float"},
                "ask": {"type": "str"},
                "wait": {"type": "float", "default": 30.0},
            }
        )
        result.update(changed=False, fetched=False, refused=None, wire_bytes=0)
        found = self._look(args, task_vars)
        if found["state"] == "large" and args["alone"] and not self._task.check_mode:
            _emptied(args["folder"])  # a half is not to keep this disk full
        entries = found.pop("entries", None)
        result["checkpoint"] = found
        if found["state"] == "unsteady":
            result["refused"] = found["why"]
        elif found["state"] == "large":
            result["refused"] = _no_room(args["folder"], found["bytes"])
        elif found["state"] == "ready" and not self._task.check_mode:
            _refuse_odd(found, entries)
            self._fetch(found, entries, args, result)
        return result

    def _look(self, args, task_vars):
        # What an earlier try left is gone on with, or taken away.
        left = _bytes_in(args["folder"]) if args["alone"] else 0
        room = max(0, _free(args["folder"])[0] + left - _ROOM)
        request = {"op": "checkpoint_look", "job": args["job"], "mark": args["mark"], "room": room}
        request.update((name, args[name]) for name in ("attempt", "after") if args[name] is not None)
        if args["ask"] and not self._task.check_mode:
            request.update(ask=args["ask"], wait=args["wait"])
        reply = self.ask(request, task_vars)
        if _UNKNOWN in ((reply.get("error") or {}).get("message") or ""):
            # A node that is kept back on a version of before.
            known = {name: value for name, value in request.items() if name not in ("room", "after")}
            reply = self.ask(known, task_vars)
        found = self.unrefused(reply)["checkpoint"]
        return dict(found, state="large") if found["state"] == "ready" and found["bytes"] > room else found

    def _fetch(self, found, entries, args, result):
        os.makedirs(args["folder"], mode=0o700, exist_ok=True)
        refused = self._move(found, entries, args, result)
        result.update(refused=refused, fetched=refused is None, changed=refused is None)

    def _move(self, found, entries, args, result):
        """Bring the files and compare them with what the node read; why they do not count, None where they do."""
        folder, names = os.fsencode(args["folder"]), [os.fsencode(entry[0]) for entry in entries]
        rsync_place.check(self._connection)
        source, shell = rsync_place.reach(self._connection, found["folder"])
        largest = max(entry[3] for entry in entries)
        for near in (args["near"], None):
            try:
                # What an earlier try or a damaged one left may have the same size and time: then by contents.
                moved = rsync.move(
                    source + b"/",
                    folder + b"/",
                    names,
                    shell=shell,
                    copy_dest=near,
                    checksum=near is None,
                    most=largest,
                )
            except rsync.RsyncError as problem:
                if args["alone"] and _free(args["folder"])[0] < _ROOM:
                    _emptied(args["folder"])  # a half is not to keep this disk full
                return "it did not come whole: {0}".format(problem)
            except OSError as problem:
                raise AnsibleActionFail("{0}: {1}".format(problem.filename, problem.strerror)) from problem
            result["wire_bytes"] += moved.wire_bytes
            if args["alone"]:
                _only(folder, set(names))
            differs = sorted(_differing(folder, entries))
            if not differs:
                break
        if differs:
            more = ", ..." if len(differs) > _NAMED else ""
            return "{0}{1} changed while it was fetched, or came in part".format(", ".join(differs[:_NAMED]), more)
        return None


def _refuse_odd(found, entries):
    """Fail for what no node of ours says: a name or a digest that leads to another folder of this machine."""
    names = [entry[0] for entry in entries]
    listed = set(names)
    # What lies below a link would lie where that leads.
    odd = [name for name in names if not _inside(name) or listed.intersection(_above(name))]
    if not _inside(found["name"]) or "/" in found["name"]:
        odd.append(found["name"])
    if odd:
        raise AnsibleActionFail("the node names {0!r}, which is no file of a checkpoint".format(odd[0][:200]))
    total = tree.Digest()
    for name, mode, content, _size in entries:
        if not (_DIGEST.fullmatch(content) and _MODE.fullmatch(mode)):
            raise AnsibleActionFail("the node says a digest or a mode of {0!r} that is none".format(name[:200]))
        total.add(os.fsencode(name), mode, content)
    if total.hex() != found["digest"]:
        raise AnsibleActionFail("the node says a digest that is not that of the files which it names")


def _inside(name):
    parts = name.split("/")
    return "\0" not in name and not {"", ".", ".."}.intersection(parts)


def _above(name):
    """The folders that it is in."""
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _free(folder):
    """How many bytes are free where ``folder`` is or will be, and the folder that is there."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(os.path.abspath(folder))
    return shutil.disk_usage(folder).free, folder


def _no_room(folder, needed):
    free, place = _free(folder)
    return "it has {0:,} bytes, and {1:,} are free in {2}; {3:,} stay free".format(needed, free, place, _ROOM)


def _emptied(folder):
    """Take away all that is in the folder."""
    if os.path.isdir(folder):
        _only(os.fsencode(folder), ())


def _bytes_in(folder):
    place = os.fsencode(folder)
    return sum(os.lstat(os.path.join(place, name)).st_size for name in tree.names(place)) if os.path.isdir(place) else 0


def _only(folder, names):
    """Take away what an earlier try left that is none of this one."""
    for name in list(tree.names(folder)):
        if name not in names:
            os.unlink(os.path.join(folder, name))


def _differing(folder, entries):
    """The files that are not, byte for byte and mode for mode, what the node read; the others are on the disk now."""
    for name, mode, content, _size in entries:
        path = os.path.join(folder, os.fsencode(name))
        try:
            if _found(path) != (mode, content):
                yield os.fsdecode(name)
        except FileNotFoundError:
            yield os.fsdecode(name)


def _found(path):
    mode = tree.mode_of(os.lstat(path))
    if mode == "link":
        return mode, tree.content_of_link(path)
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    return mode, tree.content_of_file(path)[0]
