# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lease of an attempt on its node: until when it may live without a word from a controller.

``until_boot_s`` is by this machine's clock since boot ``boot_id``, which no setting of the time changes. A controller
promises such a moment, not a length: an order that was under way for long promises no more for that.
"""

from __future__ import annotations

from . import identity
from .statedir import NodeError


def promised(order):
    """What an order promises, None where it names no moment."""
    if order.get("until_boot_s") is None:
        return None
    return {"until_boot_s": order["until_boot_s"], "boot_id": order.get("boot_id")}


def lease(wanted, promise=None):
    """The content of lease.json. Without a promise the seconds count from now. Raises NodeError."""
    policy, seconds = wanted.get("policy"), wanted.get("seconds")
    if policy == "move" and not seconds:
        raise NodeError("bad_request", "a lease with policy move needs seconds")
    if policy == "move" and promise:
        return dict(promise, policy=policy)
    until = None if seconds is None else identity.boottime() + seconds
    return {"policy": policy, "until_boot_s": until, "boot_id": _boot_id()}


def ran_out(found):
    """Whether the content of lease.json says that the attempt has to end: nothing of another boot is promised now."""
    if not found or found.get("policy") != "move":
        return False
    return found.get("boot_id") not in (None, _boot_id()) or identity.boottime() > found["until_boot_s"]


def refuse_late(found):
    """Raise NodeError for the order of a start that may be under way elsewhere by now."""
    if ran_out(found):
        raise NodeError("late_order", "the order to start it came when its lease had run out", "stoker dispatch")


def renew(attempt, new):
    """Move the end of the lease of an attempt that lives. Returns True where that changed anything.

    An attempt that is to stop stops; a promise never takes back what was promised before.
    """
    if attempt.finished() or attempt.read("stop.json"):
        return False
    old = attempt.read("lease.json") or {}
    if new["policy"] == "move":
        if new["boot_id"] != _boot_id():
            return False
        same = old.get("policy") == "move" and old.get("boot_id") == new["boot_id"]
        if same and old["until_boot_s"] >= new["until_boot_s"]:
            return False
    attempt.write("lease.json", new)
    return True


def _boot_id():
    return identity.boot_identity()["boot_id"]
