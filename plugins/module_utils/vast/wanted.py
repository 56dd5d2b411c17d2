# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what an instance is to what it should be: found by label, rented once, waited for, and gone only when it is."""

from __future__ import annotations

import time

from . import ssh
from .errors import VastError, sentence
from .reading import address, hourly, judge, node_name

# Seconds between two looks, and how long an instance that a lost reply may have made is looked for by its label.
LOOK_S = 3.0
RECONCILE_S = 120.0
# So long a row may still show what was before a start.
_STALE_S = 20.0


class NotReady(Exception):
    """It is not what it should be. ``over``: waiting longer would not help."""

    def __init__(self, message, over):
        super().__init__(message)
        self.message, self.over = message, over


def find(vast, label=None, number=None):
    """The row of the one instance that is meant, or None. Raises VastError where two have the label."""
    if number is not None:
        return vast.instance(number)
    rows = [row for row in vast.instances(label) if row.get("label") == label]
    if len(rows) > 1:
        ids = ", ".join(str(row["id"]) for row in rows)
        raise VastError(
            "the label {0!r} is that of several instances: {1} (next: name one by id)".format(label, ids), "refused"
        )
    return rows[0] if rows else None


def rent(vast, offers, label, sleep=time.sleep, **terms):
    """Rent the first of these offers that can be had; (number, whether it was found by label after a lost reply).

    Raises VastError. What a refused create left behind is destroyed first.
    """
    taken = []
    for offer in offers:
        try:
            return vast.create(offer, label=label, **terms).id, False
        except VastError as problem:
            if problem.instance is not None:
                raise _cleared(vast, problem, sleep) from None
            if problem.kind == "taken":
                taken.append(str(offer))
                continue
            if problem.kind != "unanswered" or not problem.sent:
                raise
            found = _by_label(vast, label, problem, sleep)
            return found["id"], True
    words = "none of these offers can be had any more: {0}".format(", ".join(taken))
    raise VastError(words, "taken", 410)


def _by_label(vast, label, problem, sleep):
    """The instance of a create whose reply was lost: a second create could rent twice, so there is none."""
    waited = 0.0
    while True:
        found = find(vast, label)
        if found is not None:
            return found
        if waited >= RECONCILE_S:
            words = "{0}; no instance has the label {1!r} {2:g} s later, and nothing was sent again"
            raise VastError(words.format(problem.message, label, waited), "unanswered", problem.status)
        sleep(LOOK_S)
        waited += LOOK_S


def _cleared(vast, problem, sleep):
    number = problem.instance
    try:
        end(vast, number, sleep=sleep)
    except (VastError, NotReady) as second:
        words = "{0}; it left instance {1}, which is billed and could not be destroyed: {2}"
        return VastError(
            words.format(problem.message, number, second), problem.kind, problem.status, problem.code, number
        )
    words = "{0}; the instance {1} that it left was destroyed".format(problem.message, number)
    return VastError(words, problem.kind, problem.status, problem.code)


def wait_running(vast, number, probe=None, timeout_s=600.0, sleep=time.sleep, clock=time.monotonic):
    """The row once it runs, and ``probe(row)`` raises no VastError (unanswered). Raises NotReady, VastError."""
    begun = clock()
    while True:
        row = vast.instance(number)
        if row is None:
            raise NotReady("instance {0} is gone".format(number), True)
        reading = judge(row)
        why = "{0} ({1})".format(reading.phase, reading.evidence)
        if reading.phase == "running":
            try:
                if probe is not None:
                    probe(row)
                return row
            except VastError as problem:
                if problem.kind != "unanswered":
                    raise NotReady("instance {0}: {1}".format(number, problem.message), True) from None
                why = "it runs, and {0}".format(problem.message)
        elif not reading.passing and (reading.phase != "stopped" or clock() - begun > _STALE_S):
            raise NotReady("instance {0} will not come to run: {1}".format(number, why), True)
        if clock() - begun >= timeout_s:
            raise NotReady("instance {0} is not ready after {1:g} s: {2}".format(number, timeout_s, why), False)
        sleep(LOOK_S)


def wait_stopped(vast, number, timeout_s=600.0, sleep=time.sleep, clock=time.monotonic):
    """The row once it is stopped. Raises NotReady, VastError."""
    begun = clock()
    while True:
        row = vast.instance(number)
        if row is None:
            raise NotReady("instance {0} is gone".format(number), True)
        reading = judge(row)
        if reading.phase in ("stopped", "outbid") and not reading.passing:
            return row
        if clock() - begun >= timeout_s:
            words = "instance {0} is not stopped after {1:g} s: {2} ({3})"
            raise NotReady(words.format(number, timeout_s, reading.phase, reading.evidence), False)
        sleep(LOOK_S)


def end(vast, number, timeout_s=300.0, sleep=time.sleep, clock=time.monotonic):
    """Destroy an instance and see it gone. Raises NotReady where the provider still shows it, VastError."""
    vast.destroy(number)
    begun = clock()
    while True:
        row = vast.instance(number)
        if row is None:
            return
        if clock() - begun >= timeout_s:
            words = "instance {0} was to be destroyed, and is still there after {1:g} s: {2}"
            raise NotReady(words.format(number, timeout_s, judge(row).evidence), False)
        sleep(LOOK_S)


def give_up(vast, number, why, how, sleep=time.sleep):
    """The sentence of a failure, when an instance that is not ready was destroyed or kept (``how``), as it says."""
    if how == "destroy":
        try:
            end(vast, number, sleep=sleep)
        except (VastError, NotReady) as problem:
            words = sentence(problem) if isinstance(problem, VastError) else problem.message
            return "{0}; it should be destroyed, which is not proven: {1}".format(why, words)
        return "{0}; it was destroyed".format(why)
    try:
        row = vast.instance(number)
    except VastError as problem:
        return "{0}; it was kept, and what it costs is unknown: {1}".format(why, problem.message)
    if row is None:
        return why
    price = hourly(row)
    cost = "" if price is None else ", {0:.3f} dollars per hour while it runs".format(price)
    return "{0}; it was kept and is billed{1}".format(why, cost)


def answers(row, known_hosts, private_key=None, log_in=False):
    """The probe of ``wait_running``: a handshake with the pinned host key, and a login where asked for."""
    place = address(row)
    if place is None:
        raise VastError("it has no address for ssh yet", "unanswered")
    name = node_name(row)
    ssh.pin(known_hosts, name, ssh.host_keys(*place))
    if log_in:
        ssh.login(place[0], place[1], name, known_hosts, private_key)
