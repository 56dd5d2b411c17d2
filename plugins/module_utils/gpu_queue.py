# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waiting for GPUs in order, and holding them.

A GPU is held by an flock on a file named after its UUID, inherited by the job's own processes: it is free when they
are gone, whoever was killed in between, and two controllers that do not know each other cannot give it twice.
"""

from __future__ import annotations

import os
import re
import time

from . import gpus
from .processes import Family
from .statedir import Lock, NodeError, is_locked, read_json, write_json

_TICKET = re.compile(r"^(\d{12})-(.+)-(\d+)$")
# A ticket is written just before its supervisor starts; younger ones count as alive without its lock.
TICKET_GRACE_S = 15.0
REFRESH_S = 60.0


class Waiting:
    """Why an attempt does not have its GPUs yet."""

    def __init__(self, position, needs, free, held_by, closed=()):
        self.position = position
        self.needs = needs
        self.free = free
        self.held_by = held_by
        self.closed = closed  # why GPUs that nobody holds are not given either, a sentence each

    def as_dict(self):
        told = {"position": self.position, "needs": self.needs, "free": self.free, "held_by": self.held_by}
        return dict(told, closed=list(self.closed)) if self.closed else told


def _queue_folder(state):
    return os.path.join(state.path, "queue")


def take_ticket(state, attempt):
    """Put an attempt at the end of this node's queue; one that is in it keeps its place."""
    folder = _queue_folder(state)
    with Lock(os.path.join(folder, ".lock")):
        _drop_stale(state)
        if any(ticket[1:] == (attempt.job, attempt.number) for ticket in tickets(state)):
            return
        last = max((number for number, _job, _attempt in tickets(state)), default=0)
        counter = os.path.join(folder, ".last")
        last = max(last, read_json(counter) or 0)
        name = "{0:012d}-{1}-{2}".format(last + 1, attempt.job, attempt.number)
        os.close(os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT, 0o600))
        write_json(counter, last + 1)


def _drop_stale(state):
    """Remove the tickets of attempts that are over: their supervisor was killed before it could."""
    for number, job, count in tickets(state):
        if any(item.number == count and not item.finished() for item in state.attempts(job)):
            continue
        _remove_ticket(state, number, job, count)


def _remove_ticket(state, number, job, count):
    try:
        os.unlink(os.path.join(_queue_folder(state), "{0:012d}-{1}-{2}".format(number, job, count)))
    except FileNotFoundError:
        pass  # another call dropped it at the same time


def drop_ticket(state, attempt):
    for number, job, count in tickets(state):
        if (job, count) == (attempt.job, attempt.number):
            _remove_ticket(state, number, job, count)


def tickets(state):
    """All tickets in order: (number, job, attempt)."""
    try:
        names = os.listdir(_queue_folder(state))
    except FileNotFoundError:
        return []
    matches = filter(None, map(_TICKET.match, names))
    return sorted((int(match.group(1)), match.group(2), int(match.group(3))) for match in matches)


def _is_waiting(state, ticket):
    """Whether a ticket's attempt still waits: a dead one must not hold up the queue."""
    number, job, count = ticket
    path = os.path.join(_queue_folder(state), "{0:012d}-{1}-{2}".format(number, job, count))
    known = [item for item in state.attempts(job) if item.number == count]
    if not known or known[0].finished():
        return False
    if is_locked(known[0].file("supervisor.lock")):
        return True
    try:
        return time.time() - os.stat(path).st_mtime < TICKET_GRACE_S
    except FileNotFoundError:
        return False


def ahead_of(state, attempt):
    """Attempts that wait before this one, in order."""
    found = []
    for ticket in tickets(state):
        if ticket[1:] == (attempt.job, attempt.number):
            break
        if _is_waiting(state, ticket):
            found.append(ticket[1:])
    return found


def lock_path(state, uuid):
    return os.path.join(state.lock_dir, "gpu-{0}.lock".format(re.sub(r"[^A-Za-z0-9_-]", "_", uuid)))


def _lock(state, path, inheritable=False):
    return Lock(path, inheritable=inheritable, shared=state.locks_are_shared)


def gpu_lock(state, uuid):
    """The lock of one GPU, not yet taken; processes that are started while it is held inherit it."""
    return _lock(state, lock_path(state, uuid), inheritable=True)


class Inventory:
    """The UUIDs of this node's GPUs, asked for now and then: nvidia-smi is slow, and cards seldom come and go."""

    def __init__(self):
        self.known = None
        self.asked_at = 0.0

    def uuids(self):
        """Raises NodeError as long as they were never told; later failures keep what was known."""
        if self.known is None or time.monotonic() - self.asked_at > REFRESH_S:
            self.asked_at = time.monotonic()
            try:
                self.known = [gpu["uuid"] for gpu in gpus.query()]
            except NodeError:
                if self.known is None:
                    raise
        return self.known


def claim(state, attempt, count, wanted, inventory, gate):
    """Try to get ``count`` GPUs (among the UUIDs ``wanted``, if any), all or none; of those free the quietest.

    Returns (locks, uuids, None) or (None, None, Waiting). Raises NodeError where this node can never give them, where
    its GPUs are unknown, or where ``gate`` refuses.
    """
    known = inventory.uuids()
    eligible = [uuid for uuid in known if not wanted or uuid in wanted]
    if len(eligible) < count:
        what = "{0} of the GPUs asked for".format(len(eligible)) if wanted else "{0} GPU(s)".format(len(known))
        raise NodeError(
            "not_supported",
            "the job asks for {0} GPU(s), this node has {1}".format(count, what),
            "ask for fewer, or choose another node (stoker nodes)",
        )
    ahead = ahead_of(state, attempt)
    if ahead:
        return None, None, Waiting(len(ahead), count, None, sorted({job for job, _count in ahead}))
    survivors = survivors_by_gpu(state)
    free = [uuid for uuid in eligible if uuid not in survivors and not is_locked(lock_path(state, uuid))]
    if len(free) < count:
        return None, None, Waiting(0, count, len(free), holders(state, eligible, survivors))
    # Before the lock: a driver may take long to answer, and others claim meanwhile.
    ranked, closed = gate.rank(free, count)
    with _lock(state, os.path.join(state.lock_dir, "claim.lock")):
        taken = []
        for uuid in ranked:
            lock = gpu_lock(state, uuid)
            if uuid not in survivors and lock.acquire():
                taken.append((uuid, lock))
        if len(taken) >= count:
            for _uuid, lock in taken[count:]:
                lock.release()
            for _uuid, lock in taken[:count]:
                os.pwrite(lock.fd, "{0}/{1}\n".format(attempt.job, attempt.number).encode("ascii").ljust(128), 0)
            return [lock for _uuid, lock in taken[:count]], [uuid for uuid, _lock_ in taken[:count]], None
        for _uuid, lock in taken:
            lock.release()
    return None, None, Waiting(0, count, len(taken), holders(state, eligible, survivors), closed)


def holders(state, uuids, survivors=None):
    """Names of the jobs that hold any of these GPUs now."""
    found = {job for uuid, job in (survivors or {}).items() if uuid in uuids}
    for uuid in uuids:
        path = lock_path(state, uuid)
        if is_locked(path):
            with open(path, "rb") as handle:
                found.add(handle.read(128).split(b"/")[0].decode("ascii", "replace").strip() or "another user")
    return sorted(found)


def survivors_by_gpu(state):
    """GPU -> job of attempts whose supervisor and recorder are gone while their processes live on.

    Such a process may have closed the inherited lock; the GPU is not free all the same.
    """
    found = {}
    for job in state.jobs():
        for attempt in state.attempts(job):
            record = attempt.read("state.json") if not attempt.finished() else None
            if (
                record
                and record.get("gpus")
                and not is_locked(attempt.file("supervisor.lock"))
                and Family(attempt).members()
            ):
                found.update(dict.fromkeys(record["gpus"], job))
    return found
