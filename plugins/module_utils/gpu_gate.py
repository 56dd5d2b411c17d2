# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The look at GPUs at the moment when a job takes them: which are quiet, which are in use, which cannot be trusted."""

from __future__ import annotations

import fnmatch
import re
import time

from . import facts, gpu_health, gpu_info, gpu_record
from .statedir import NodeError

BUSY_LOAD_PCT = 50.0
COOLDOWN_S = 30.0
# Games, as Steam and Proton start them. Desktops (Xorg, gnome-shell) only where somebody asks: many nodes have one.
BUSY_PROCESSES = ("*/steamapps/*", "*\\steamapps\\*", "*.exe", "gamescope*")
# How long one look is good for while a job waits, in seconds.
LOOK_S = 2.0
# A driver's load is an average: that of a job that has just ended is gone after this long.
SETTLE_S = 1.0
_MIB = 1024 * 1024


class Refused(NodeError):
    """A strict job does not get the GPUs that are free."""


def busy_process(gpu, patterns):
    """The first process on it that is in the list of busy ones and no job of ours; None: there is none."""
    for process in gpu["processes"] or ():
        name = process["name"] or ""
        last = re.split(r"[/\\]", name)[-1]
        if not process["job"] and any(
            fnmatch.fnmatchcase(word.lower(), pattern.lower()) for pattern in patterns for word in (name, last)
        ):
            return process
    return None


def note_busy(state, found, patterns, cooldown_s):
    """Add ``busy`` to each GPU: {"name", "ago_s"} of a listed process on it, now or within the cool-down; or None."""
    for gpu in found:
        gpu["busy"] = None
        if not gpu["uuid"]:
            continue
        process = busy_process(gpu, patterns)
        if process:
            gpu_record.saw_busy(state, gpu["uuid"], process)
        last = gpu_record.busy(state, gpu["uuid"])
        if last and last[1] < cooldown_s:
            gpu["busy"] = {"name": last[0], "ago_s": 0.0 if process else round(last[1], 1)}


class Gate:
    """The gate of one job. ``settings`` is ``preflight`` of its spec, and what its node says in place of some of it."""

    def __init__(self, state, settings):
        self.state = state
        self.strict = bool(settings.get("strict"))
        self.memory_bytes = settings.get("gpu_memory_bytes")
        self.load_pct = settings.get("busy_load_pct", BUSY_LOAD_PCT)
        self.patterns = settings.get("busy_processes")
        self.patterns = BUSY_PROCESSES if self.patterns is None else self.patterns
        self.cooldown_s = settings.get("cooldown_s", COOLDOWN_S)
        self.quarantine_s = settings.get("quarantine_s", gpu_health.QUARANTINE_S)
        self._looked = (None, 0.0, None)

    def rank(self, uuids, count):
        """(those of ``uuids`` that the job may have, the quietest first; why not the others, one sentence each).

        Raises Refused where a strict job would get its ``count`` but not quiet ones.
        """
        seen = self._look(uuids)
        closed = {uuid: seen[uuid]["closed"] for uuid in uuids if seen[uuid]["closed"]}
        usable = [uuid for uuid in uuids if uuid not in closed]
        quiet = [uuid for uuid in usable if not any(item["blocks"] for item in seen[uuid]["findings"])]
        if self.strict and len(usable) >= count > len(quiet):
            said = [item["text"] for uuid in usable for item in seen[uuid]["findings"] if item["blocks"]]
            raise Refused(
                "conflict",
                "its GPUs are not quiet, and it is strict: {0}".format("; ".join(said)),
                "wait, choose another node, or run it without --strict",
            )
        others = [] if self.strict else [uuid for uuid in usable if uuid not in quiet]
        return quiet + others, list(closed.values())

    def findings(self, uuids):
        """What was found on GPUs at the last look: {"gpu", "index", "kind", "blocks", "text"} each."""
        seen = self._looked[2] or {}
        return [item for uuid in uuids for item in seen.get(uuid, {"findings": []})["findings"]]

    def _look(self, uuids):
        asked, at, seen = self._looked
        if asked != uuids or time.monotonic() - at > LOOK_S:
            seen = self._see(uuids)
            self._looked = (list(uuids), time.monotonic(), seen)
        return seen

    def _see(self, uuids):
        try:
            found = gpu_info.read(self.state, facts.meminfo)
            if any(gpu["uuid"] in uuids and self._load_of_nobody(gpu) for gpu in found):
                time.sleep(SETTLE_S)
                found = gpu_info.read(self.state, facts.meminfo)
        except NodeError as exc:
            return {uuid: self._unseen(uuid, exc.message) for uuid in uuids}
        gpu_health.check(self.state, found, self.quarantine_s)
        note_busy(self.state, found, self.patterns, self.cooldown_s)
        known = {gpu["uuid"]: gpu for gpu in found}
        return {
            uuid: self._judged(known[uuid]) if uuid in known else self._unseen(uuid, "it is not listed any more")
            for uuid in uuids
        }

    def _unseen(self, uuid, why):
        """Nothing can be told of it; a quarantine holds all the same."""
        away = gpu_record.quarantine(self.state, uuid)
        text = "GPU {0}: what it does is unknown: {1}".format(uuid, why)
        return {
            "closed": away and quarantined(uuid, away),
            "findings": [{"gpu": uuid, "index": None, "kind": "unknown", "blocks": True, "text": text}],
        }

    def _judged(self, gpu):
        name, closed = "GPU {0}".format(gpu["index"]), None
        if gpu["quarantine"]:
            closed = quarantined(name, gpu["quarantine"])
        elif gpu["busy"]:
            since = "now" if not gpu["busy"]["ago_s"] else "{0:.0f} s ago".format(gpu["busy"]["ago_s"])
            closed = "{0} is used by {1} ({2}); it is free {3:g} s after that was last seen".format(
                name, gpu["busy"]["name"], since, self.cooldown_s
            )
        load = list(self._load(gpu))
        # Who makes the load is named with it.
        others = [] if any(kind == "load" for kind, _blocks, _text in load) else self._processes(gpu)
        found = [*load, *self._memory(gpu), *others]
        return {
            "closed": closed,
            "findings": [
                {"gpu": gpu["uuid"], "index": gpu["index"], "kind": kind, "blocks": blocks, "text": name + ": " + text}
                for kind, blocks, text in found
            ],
        }

    def _load_of_nobody(self, gpu):
        return gpu["util_pct"] is not None and gpu["util_pct"] > self.load_pct and not gpu["processes"]

    def _load(self, gpu):
        load = gpu["util_pct"]
        if load is None:
            yield "unknown", True, "its load is unknown: {0}".format(gpu["unknown"].get("util_pct", "not told"))
        elif load > self.load_pct and not (gpu["processes"] and all(item["job"] for item in gpu["processes"])):
            whose = [_process(item) for item in gpu["processes"] or () if not item["job"]]
            by = "by " + ", ".join(whose) if whose else "by nobody that its driver shows"
            yield "load", True, "load {0:g}% {1}".format(load, by)

    def _memory(self, gpu):
        free, wanted = gpu["mem_free_mib"], self.memory_bytes
        shared = gpu["unified_memory"]
        asked = ", {0:.1f} GB asked for".format(wanted / 1024.0**3) if wanted else ""
        if free is not None:
            if wanted and free * _MIB < wanted:
                yield "memory", True, "{0:.1f} GB of memory free{1}".format(free / 1024.0, asked)
            return
        why = gpu["unknown"].get("mem_free_mib", "not told")
        if shared is None:
            yield "unknown", bool(wanted), "its free memory is unknown: {0}{1}".format(why, asked)
            return
        text = "its own memory is unknown: {0}; the machine, whose memory it uses, has {1:.1f} GB available{2}".format(
            why, shared["available_mib"] / 1024.0, asked
        )
        yield "unknown", bool(wanted) and shared["available_mib"] * _MIB < wanted, text

    def _processes(self, gpu):
        if gpu["processes"] is None:
            yield "unknown", True, "its processes are unknown: {0}".format(gpu["unknown"].get("processes", "not told"))
            return
        for item in gpu["processes"]:
            if not item["job"]:
                yield "process", True, "in use by {0}".format(_process(item))


def _process(item):
    held = "" if item["mem_mib"] is None else ", {0:.1f} GB".format(item["mem_mib"] / 1024.0)
    return "{0} (process {1}{2})".format(item["name"] or "a process without a name", item["pid"], held)


def quarantined(name, away):
    """One sentence for a quarantine."""
    why = "; ".join(item["text"] for item in away["evidence"])
    until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(away["until"]))
    return "{0} is quarantined until {1}: {2}".format(name, until, why)
