# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a container proves of an attempt that nobody of Stoker's watches any more."""

from __future__ import annotations

from . import container_words, identity, recorder
from .container_job import engine_of
from .statedir import NodeError


def judge(attempt, state, same_boot):
    """What the container proves of an attempt that nobody watches: (state, reason, proof, exit record or None).

    None where it proves nothing.
    """
    try:
        seen = engine_of(attempt).look(state["container"]["name"])
    except NodeError as exc:
        if (state.get("boot") or {}).get("boot_id") != identity.boot_identity()["boot_id"]:
            return None  # no container outlives its kernel
        return "running", None, "not known, it ran when last seen: " + exc.message, None
    if seen is None:
        return None
    if seen.running and _init_is_there(state):
        return "running", None, "{0} says that its container runs".format(state["container"]["engine"]), None
    if seen.code is None or not _ended_in_this_boot(state, seen, same_boot):
        return None
    record = recorder.exit_record(
        attempt, recorder.as_status(seen.code), attempt.read("stop.json"), None, 1 if seen.oom else None
    )
    record["ended_at"] = seen.finished_at
    if seen.started_at is not None and seen.finished_at is not None:
        record["elapsed_s"] = round(max(0.0, seen.finished_at - seen.started_at), 3)
    record["error"] = container_words.start_fault(attempt, attempt.read("spec.json") or {}, lambda: "")
    record["detail"] = "nobody of Stoker's saw its end; its container tells of it"
    return "ended", None, None, record


def _init_is_there(state):
    """An engine whose monitor was killed believes for ever that a container runs."""
    command = state.get("command")
    if not command or state.get("boot") != identity.boot_identity():
        return True
    return identity.is_alive(command)


def _ended_in_this_boot(state, seen, same_boot):
    """Whether the exit code is the command's own: after a boot engines make one up for what was running."""
    if same_boot:
        return True
    if (state.get("boot") or {}).get("boot_id") == identity.boot_identity()["boot_id"]:
        return True
    booted_at = identity.now() - identity.boottime()
    return seen.finished_at is not None and seen.finished_at < booted_at
