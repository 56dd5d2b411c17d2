# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What this node remembers of each GPU: who last kept it busy, and whether it is quarantined.

One file for each user of the machine beside the GPU's lock, since in a shared folder nobody may replace another's; all
of them are read. Written to a temporary name, fsync, rename.
"""

from __future__ import annotations

import json
import os
import re

from . import identity
from .statedir import Lock

# A quarantine that moves by less is not worth a write.
_WORTH_S = 60.0


def _safe(uuid):
    return re.sub(r"[^A-Za-z0-9_-]", "_", uuid)


def _path(state, uuid, user):
    return os.path.join(state.lock_dir, "gpu-{0}.record-{1}.json".format(_safe(uuid), user))


def _read(state, uuid):
    """The records of all users: each one's own file, and nothing that another put in its place."""
    begin = "gpu-{0}.record-".format(_safe(uuid))
    found = []
    for name in sorted(os.listdir(state.lock_dir)):
        user = name[len(begin) : -len(".json")] if name.startswith(begin) and name.endswith(".json") else ""
        if not user.isdigit():
            continue
        try:
            with open(os.path.join(state.lock_dir, name), encoding="utf-8") as handle:
                record = json.load(handle) if os.fstat(handle.fileno()).st_uid == int(user) else None
        except (OSError, ValueError):
            if int(user) == os.geteuid() and os.path.exists(os.path.join(state.lock_dir, name)):
                raise
            continue  # another user's, who may write there what they like: it says nothing
        if isinstance(record, dict):
            found.append(record)
    return found


def _change(state, uuid, change):
    """Replace this user's record by what ``change`` makes of it."""
    path = _path(state, uuid, os.geteuid())
    with Lock(os.path.join(state.lock_dir, "record-{0}.lock".format(os.geteuid()))):
        try:
            with open(path, encoding="utf-8") as handle:
                record = json.load(handle)
        except FileNotFoundError:
            record = {"schema": "stoker.gpu/1", "uuid": uuid}
        change(record)
        temporary = "{0}.{1}.tmp".format(path, os.getpid())
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644 if state.locks_are_shared else 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as handle:
            json.dump(record, handle)
            handle.flush()
            os.fsync(handle.fileno())
        os.rename(temporary, path)


# ---- who kept it busy ----


def saw_busy(state, uuid, process):
    """Remember that this process, whose name is in the list of busy ones, is on the GPU now."""
    seen = {"boot": identity.boot_identity(), "boot_s": identity.boottime(), "name": process["name"]}
    _change(state, uuid, lambda record: record.update(busy=seen))


def busy(state, uuid):
    """(name, seconds since it was last seen) of the newest process that kept the GPU busy in this boot; or None."""
    here = identity.boot_identity()
    seen = [record["busy"] for record in _read(state, uuid) if (record.get("busy") or {}).get("boot") == here]
    if not seen:
        return None
    last = max(seen, key=lambda item: item["boot_s"])
    return last["name"], max(0.0, identity.boottime() - last["boot_s"])


# ---- quarantine ----


def accepted(state, uuid):
    """Evidence that somebody looked at and let pass: key -> the highest value so accepted."""
    found = {}
    for record in _read(state, uuid):
        for key, value in (record.get("accepted") or {}).items():
            found[key] = max(value, found.get(key, value))
    return found


def quarantine(state, uuid):
    """``{"since", "until", "evidence"}`` of a GPU that no job gets now; None: it may be used."""
    records, now = _read(state, uuid), identity.now()
    released = max((record.get("released_at") or 0.0 for record in records), default=0.0)
    held = [record["quarantine"] for record in records if record.get("quarantine")]
    held = [item for item in held if item["until"] > now and item["since"] > released]
    return max(held, key=lambda item: item["until"]) if held else None


def keep_away(state, uuid, evidence, until):
    """Quarantine a GPU, or a quarantine longer. Returns it as it is then."""
    now = quarantine(state, uuid)
    told = [{"key": item["key"], "text": item["text"], "at": item["at"]} for item in evidence]
    known = {item["key"] for item in now["evidence"]} if now else set()
    if now and until < now["until"] + _WORTH_S and {item["key"] for item in told} <= known:
        return now
    kept = [item for item in (now["evidence"] if now else []) if item["key"] not in {new["key"] for new in told}]
    new = {
        "since": now["since"] if now else identity.now(),
        "until": max(until, now["until"] if now else until),
        "evidence": kept + told,
    }
    _change(state, uuid, lambda record: record.update(quarantine=new))
    return new


def release(state, uuid, evidence):
    """Let the GPU be used again. The evidence of now counts no more, only what comes on top of it."""
    was = quarantine(state, uuid)

    def change(record):
        record.update(quarantine=None, released_at=identity.now())
        record["accepted"] = {item["key"]: item["value"] for item in evidence}

    _change(state, uuid, change)
    return was


def forget_accepted(state, uuid, gone):
    """Evidence that was accepted and is no more there would be new if it came back."""

    def change(record):
        record["accepted"] = {key: value for key, value in record["accepted"].items() if key not in gone}

    path = _path(state, uuid, os.geteuid())
    if os.path.exists(path):
        _change(state, uuid, change)
