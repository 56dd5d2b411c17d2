# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of stoker.fleet.sync: files of a project to a node and back, by rsync over Ansible's own connection."""

from __future__ import annotations

import base64
import os
import platform
import zlib

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.text.formatters import human_to_bytes

from ansible_collections.stoker.fleet.plugins.module_utils import own_files, project_files
from ansible_collections.stoker.fleet.plugins.module_utils.project_files import shown
from ansible_collections.stoker.fleet.plugins.plugin_utils import rsync, rsync_place
from ansible_collections.stoker.fleet.plugins.plugin_utils.node_call import NodeAction

_NAMED = 5


class ActionModule(NodeAction):
    """See the module's documentation."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            argument_spec={
                "direction": {"type": "str", "choices": ["push", "pull"], "required": True},
                "local": {"type": "str", "required": True},
                "remote": {"type": "str"},
                "paths": {"type": "list", "elements": "str", "default": []},
                "delete": {"type": "bool", "default": False},
                "force": {"type": "bool", "default": False},
                "with_secrets": {"type": "bool", "default": False, "no_log": False},
                "max_size": {"type": "str", "default": "500M"},
                "progress": {"type": "path"},
                "settings": {"type": "path"},
            }
        )
        self._args, self._task_vars = args, task_vars
        self._dry_run = bool(self._task.check_mode)
        local = os.fsencode(self._loader.path_dwim(os.path.expanduser(args["local"])).rstrip("/") or "/")
        remote = args["remote"] or os.path.basename(os.fsdecode(local))
        self._check(remote)
        result.update(
            direction=args["direction"], local=shown(local), changed=False, changes=[], files=0, bytes=0, wire_bytes=0,
            left_out=[], kept=[], deleted=[], stale=[], notes=[], last_push=None,
        )  # fmt: skip
        try:
            step = self._send if args["direction"] == "push" else self._fetch
            step(local, remote, result)
        except project_files.ProjectError as problem:
            raise AnsibleActionFail(str(problem)) from problem
        except rsync.RsyncError as problem:
            # What was moved before stays, and the next run goes on from there; nothing is written down as pushed.
            result.update(failed=True, rc=problem.code, msg=str(problem))
        except OSError as problem:
            raise AnsibleActionFail("{0}: {1}".format(problem.filename, problem.strerror)) from problem
        return result

    # -- push --------------------------------------------------------------------------------------------------

    def _send(self, local, remote, result):
        chosen = project_files.choose(local, self._args["with_secrets"])
        if not chosen.names:
            why = "git ignores all of it" if chosen.git else "it is empty, or .stokerignore names all of it"
            raise project_files.ProjectError("there is nothing to send in {0}: {1}".format(shown(local), why))
        if not chosen.git:
            result["notes"].append(
                "{0} is no git repository: everything in it is sent but what .stokerignore names".format(shown(local))
            )
        result["left_out"] = [shown(name) for name in chosen.secrets]
        before = _marks(local, chosen.names)
        target, shell, folder = self._reach(remote, result, make=not self._dry_run)
        if _same(target, local, shell):
            raise AnsibleActionFail("{0} would be sent to itself: name another remote folder".format(shown(local)))
        self._guard_send(local, target, chosen.names, before, shell)
        moved = rsync.move(
            local + b"/", target + b"/", chosen.names, shell=shell, dry_run=self._dry_run, told=self._told()
        )
        _tell(moved, result)
        gone = [] if self._dry_run else self._unsteady(local, before, result)
        sent = [item.name for item in moved.items if item.change != "attributes"]
        self._write_down(local, folder, [name for name in chosen.names if name not in gone], sent, result)

    def _guard_send(self, local, target, names, before, shell):
        """Most projects are small altogether; only for a large one it is asked what is really missing over there."""
        if sum(mark[0] for mark in before.values()) > self._most():
            missing = rsync.move(local + b"/", target + b"/", names, shell=shell, dry_run=True)
            self._guard(missing.items, "sent", "name it in .gitignore or .stokerignore")

    def _unsteady(self, local, before, result):
        """Say which files went away or changed while they were sent; return those that went away."""
        after = _marks(local, list(before))
        gone = {name for name in before if name not in after}
        changed = [name for name, mark in after.items() if mark != before[name]]
        for name in sorted(gone):
            result["notes"].append("{0} went away before it was sent".format(shown(name)))
        for name in sorted(changed):
            result["notes"].append("{0} changed while it was sent: push again".format(shown(name)))
        return gone

    def _write_down(self, local, folder, names, sent, result):
        reply = self.asked(
            {
                "op": "sync_done",
                "folder": folder,
                "names": _packed(names),
                "moved": _packed(sent),
                "delete": self._args["delete"],
                "dry_run": self._dry_run,
                "source": "{0}:{1}".format(platform.node(), shown(local)),
            },
            self._task_vars,
        )
        deleted, stale, kept = (_unpacked(reply[name]) for name in ("deleted", "stale", "kept"))
        result.update(deleted=deleted, stale=[] if self._args["delete"] else stale, last_push=reply["last_push"])
        result["changed"] = result["changed"] or bool(deleted)
        result["notes"] += [
            "{0} was pushed earlier and changed on the node since: it stays there".format(name) for name in kept
        ]

    # -- pull --------------------------------------------------------------------------------------------------

    def _fetch(self, local, remote, result):
        paths = [_checked_path(path) for path in self._args["paths"]]
        source, shell, folder = self._reach(remote, result, make=False, paths=paths)
        if _same(source, local, shell):
            raise AnsibleActionFail("{0} would be fetched from itself: name another folder".format(shown(local)))
        present = [os.fsencode(path) for path in paths if path not in self._missing]
        result["notes"] += ["there is no {0} in {1} on the node".format(path, folder) for path in self._missing]
        if not self._exists:
            result["notes"].append("there is no folder {0} on the node".format(folder))
        if not self._exists or (paths and not present):
            return
        found = rsync.move(
            source + b"/", local + b"/", present or [b"."], shell=shell, dry_run=True, recursive=True
        ).items
        names, secrets = project_files.wanted([item.name for item in found], local, self._args["with_secrets"])
        own = self._own(names, local)
        names = [name for name in names if name not in own]
        result["notes"] += [
            "{0} is not fetched: what tells this machine what to do does not come from a node".format(shown(name))
            for name in sorted(own)[:_NAMED]
        ]
        newer = set() if self._args["force"] else self._newer(local, folder, found)
        take = set(names) - newer
        result["left_out"] = [shown(name) for name in secrets]
        result["kept"] = sorted(shown(name) for name in newer.intersection(names))
        chosen = [item for item in found if item.name in take]
        self._guard(chosen, "fetched", "name it in .stokerignore, or name the paths to fetch")
        if self._dry_run or not chosen:
            _tell(rsync.Moved(chosen, 0, []), result)
            return
        os.makedirs(local, exist_ok=True)
        names = sorted(take)
        update = not self._args["force"]
        moved = rsync.move(source + b"/", local + b"/", names, shell=shell, update=update, told=self._told())
        _tell(moved, result)

    def _own(self, names, local):
        """Which of these would change the settings or the inventory here."""
        sources = [os.fsencode(source) for source in self._task_vars.get("ansible_inventory_sources") or ()]
        there = [os.path.abspath(source) for source in sources if os.path.exists(source)]
        settings = os.fsencode(os.path.abspath(self._args["settings"])) if self._args["settings"] else None
        folder = os.path.abspath(local)
        return {name for name in names if own_files.is_own(os.path.join(folder, name), there, settings)}

    def _newer(self, local, folder, found):
        """Which of these are newer here. rsync tells whole seconds; the node is asked about what is of the same one."""
        ages = {item.name: _age(local, item) for item in found}
        newer = {name for name, age in ages.items() if age is not None and age > 0}
        doubtful = [name for name, age in ages.items() if age == 0]
        if doubtful:
            times = self.asked(
                {"op": "sync_look", "folder": folder, "paths": [], "make": False, "names": _packed(doubtful)},
                self._task_vars,
            )["times"]
            newer.update(
                name
                for name, there in zip(doubtful, times, strict=True)
                if there is not None and os.lstat(os.path.join(local, name)).st_mtime_ns > there
            )
        return newer

    # -- both --------------------------------------------------------------------------------------------------

    def _reach(self, remote, result, make, paths=()):
        """Where rsync finds the folder, by which shell, and its path on the node. Fails where it cannot get there."""
        look = self.asked({"op": "sync_look", "folder": remote, "paths": list(paths), "make": make}, self._task_vars)
        result.update(remote=look["folder"], last_push=look["last_push"])
        self._exists, self._missing = look["exists"], look["missing"]
        if not look["rsync"]:
            raise AnsibleActionFail("rsync is not installed on the node (next: install its package rsync there)")
        target, shell = rsync_place.reach(self._connection, look["folder"])
        return target, shell, look["folder"]

    def _told(self):
        """The file that shows how far rsync is; None where nobody looks."""
        folder = self._args["progress"]
        return os.path.join(folder, os.path.basename(self._task_vars["inventory_hostname"])) if folder else None

    def _check(self, remote):
        if not remote:
            raise AnsibleActionFail("say where on the node: remote")
        rsync_place.check(self._connection)
        self._most()

    def _most(self):
        try:
            return human_to_bytes(self._args["max_size"])
        except ValueError:
            raise AnsibleActionFail(
                "max_size: {0!r} is not a size (next: write it as 500M or 2G)".format(self._args["max_size"])
            ) from None

    def _guard(self, items, how, advice):
        total = sum(item.bytes for item in items)
        if total <= self._most():
            return
        biggest = sorted(items, key=lambda item: -item.bytes)[:_NAMED]
        named = ", ".join("{0} ({1})".format(shown(item.name), _size(item.bytes)) for item in biggest)
        raise AnsibleActionFail(
            "{0} would be {1}, more than the {2} that are allowed; the biggest: {3} (next: {4}, or allow "
            "more: max_size, --max-size)".format(_size(total), how, _size(self._most()), named, advice)
        )


def _tell(moved, result):
    result["changes"] = [{"name": shown(item.name), "change": item.change, "bytes": item.bytes} for item in moved.items]
    result.update(
        files=len(moved.items),
        bytes=sum(item.bytes for item in moved.items),
        wire_bytes=moved.wire_bytes,
        changed=bool(moved.items),
    )
    result["notes"] += moved.said


def _marks(folder, names):
    """Size and time of each file that is there."""
    found = {}
    for name in names:
        try:
            status = os.lstat(os.path.join(folder, name))
        except FileNotFoundError:
            continue
        found[name] = (status.st_size, status.st_mtime_ns)
    return found


def _age(folder, item):
    """By how many seconds what lies here is newer than the node's, whole seconds; None where there is nothing here."""
    try:
        status = os.lstat(os.path.join(folder, item.name))
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        # A file of ours lies where the node has a folder; rsync would put the folder in its place.
        return 1
    return status.st_mtime_ns // 10**9 - item.mtime


def _checked_path(path):
    clean = os.path.normpath(path)
    if os.path.isabs(clean) or clean.split("/")[0] == "..":
        raise AnsibleActionFail(
            "paths: {0} is not below the remote folder (next: set remote to another one)".format(path)
        )
    return clean


def _same(there, here, shell):
    """Whether the folder on a node that is this machine is the one here, perhaps by a link."""
    return shell is None and os.path.realpath(there) == os.path.realpath(here)


def _packed(names):
    return base64.b64encode(zlib.compress(b"\0".join(names))).decode("ascii")


def _unpacked(data):
    joined = zlib.decompress(base64.b64decode(data))
    return [shown(name) for name in joined.split(b"\0")] if joined else []


def _size(count):
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1024 or unit == "GB":
            return "{0} bytes".format(count) if unit == "bytes" else "{0:.1f} {1}".format(count, unit)
        count /= 1024
    return ""
