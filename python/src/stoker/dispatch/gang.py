"""Gangs: jobs that start together on as many nodes, or not at all, and end together. Pure.

All ranks are claimed in one transaction, and only where each has room now, so two gangs never hold GPUs while they wait
for each other's. Should a node let a rank wait all the same (somebody else has its GPUs), or not take it, then after
`gang_start_s` seconds all ranks are stopped, give back what they hold, and the gang begins again later. When a rank
ends other than well the rest is stopped: to begin again together, or for good.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from stoker.dispatch.model import Change, NodeInfo, State
from stoker.dispatch.place import Placement, Places
from stoker.dispatch.retry import backoff_s
from stoker.store import GANG_AGAIN, GANG_OVER, JobRow

# Below the ports that systems give to outgoing connections.
FIRST_PORT, PORTS = 20000, 10000
Port = tuple[str, str]  # node, number
# Another attempt follows: after a failure, a drained node, or a lease that ran out.
_AGAIN = frozenset({"job.retry", "job.requeued", "job.moved"})
_BAD = frozenset({"failed", "lost", "dead", "cancelled"})


def ranks_of(job: JobRow, state: State) -> list[JobRow]:
    """The ranks of the job's gang that are not over, in order."""
    return sorted((each for each in state.jobs if each.gang == job.gang), key=lambda each: each.rank or 0)


def unready(ranks: Sequence[JobRow], state: State, now: float) -> str | None:
    """Why the gang cannot start now whatever room there is; None: it can."""
    size = size_of(ranks[0])
    if len(ranks) < size:
        step = f"stoker stop {ranks[0].id}, then stoker retry {ranks[0].gang}, starts all of them again"
        return f"{size - len(ranks)} of its {size} ranks are over: {step}"
    for job in ranks:
        if (attempt := state.live_attempt(job)) is not None:
            return f"waits for rank {job.rank} to end on {attempt.node}"
    later = max(job.not_before or 0.0 for job in ranks)
    return f"waits {later - now:.0f} s for its next attempt" if later > now else None


def speaker(ranks: Sequence[JobRow]) -> JobRow:
    """The rank that says how the gang is: one that is not over, one that did not end well by itself, else rank 0."""
    alive = sorted((each for each in ranks if not each.finished), key=lambda each: each.stop_requested is not None)
    bad = sorted((each for each in ranks if each.state != "succeeded"), key=lambda each: each.reason == "gang")
    return next(iter([*alive, *bad, *ranks]))


def size_of(job: JobRow) -> int:
    """How many ranks the job's gang has."""
    return int((job.wants or {}).get("ranks") or 1)


def place_gang(ranks: Sequence[JobRow], places: Places, closed: Mapping[str, str]) -> Sequence[Placement] | Placement:
    """A node for each rank, all of them counted, or one `Placement` without node that says why not; nothing counted."""
    found: list[Placement] = []
    taken = dict[str, str]()
    for job in ranks:
        placement = places.find(job, {**closed, **taken}, rank=True)
        if placement.node is None:
            break
        taken[placement.node] = f"rank {job.rank} is on {placement.node}"
        places.add(job, placement.node)
        found.append(placement)
    else:
        return found
    undo(ranks, found, places)
    return _refused(ranks, placement, list(taken), places.unmet(ranks[0], closed))


def undo(ranks: Sequence[JobRow], found: Sequence[Placement], places: Places) -> None:
    """Count the ranks no more that were given a node."""
    for job, done in zip(ranks, found, strict=False):
        places.drop(job, str(done.node))


def _refused(ranks: Sequence[JobRow], last: Placement, with_room: Sequence[str], unmet: Sequence[str]) -> Placement:
    size, could = len(ranks), [*with_room, *last.short]
    ask = last.ask or unmet
    if with_room and not last.short and not ask:
        reason = f"needs {size} nodes at once, only {', '.join(with_room)} can take it ({last.reason})"
        return Placement(reason=reason, full=last.full)
    many = f"{len(with_room)} {'has' if len(with_room) == 1 else 'have'} room"
    reason = f"needs {size} nodes at once, {many}: {last.reason}" if with_room else str(last.reason)
    return Placement(reason=reason, ask=tuple(ask), full=last.full, short=tuple(could) if len(could) >= size else ())


def environments(
    ranks: Sequence[JobRow], placements: Sequence[Placement], nodes: Sequence[NodeInfo], taken: set[Port]
) -> list[dict[str, str]]:
    """What each rank finds in its environment of the others. `MASTER_ADDR` and `MASTER_PORT` of --env win.

    `taken` are the ports that gangs have; that of this one is added.
    """
    first, master = ranks[0], str(placements[0].node)
    given = first.spec.get("env") or {}
    common = {
        "MASTER_ADDR": given.get("MASTER_ADDR") or address_of(next(node for node in nodes if node.name == master)),
        "MASTER_PORT": given.get("MASTER_PORT") or _port(first, master, taken),
        "WORLD_SIZE": str(len(ranks)), "LOCAL_WORLD_SIZE": "1", "LOCAL_RANK": "0", "STOKER_GANG": str(first.gang),
    }  # fmt: skip
    return [{**common, "RANK": str(rank), "NODE_RANK": str(rank)} for rank in range(len(ranks))]


def with_env(job: JobRow, env: Mapping[str, str] | None) -> JobRow:
    """The job with what its attempt finds in its environment of its gang."""
    if not env:
        return job
    own = {name: value for name, value in env.items() if name != "schema"}
    return replace(job, spec={**job.spec, "env": {**(job.spec.get("env") or {}), **own}})


def address_of(node: NodeInfo) -> str:
    """Where other nodes reach this one: `stoker_address`, else `ansible_host`, else its name."""
    for name in ("stoker_address", "ansible_host"):
        said = node.vars.get(name)
        if said and "{{" not in str(said):
            return str(said)
    return node.name


def ports_of(state: State) -> set[Port]:
    """The ports that gangs under way have, each on the node of its rank 0."""
    first = [job for job in state.jobs if job.rank == 0 and job.node is not None]
    return {(str(job.node), str((job.rank_env or {}).get("MASTER_PORT"))) for job in first}


def _port(first: JobRow, master: str, taken: set[Port]) -> str:
    """One that no gang of this store has on that node; another one for each attempt."""
    start = zlib.crc32(f"{first.uid}/{first.attempt + 1}".encode())
    ports = [(master, str(FIRST_PORT + (start + step) % PORTS)) for step in range(len(taken) + 1)]
    found = next(port for port in ports if port not in taken)
    taken.add(found)
    return found[1]


def late(state: State, now: float) -> Iterator[Change]:
    """The changes that stop gangs of which a rank has not begun in time.

    They begin again, and no retry is used up; for good where a rank is over already.
    """
    limit = state.request.placement.gang_start_s
    for one in {job.gang: job for job in state.jobs if job.gang is not None}.values():
        ranks = ranks_of(one, state)
        attempts = [attempt for job in ranks if (attempt := state.live_attempt(job)) is not None]
        missing = [each for each in attempts if each.state != "running" and now - each.claimed_at > limit]
        if not missing or any(job.stop_requested is not None or job.put_back is not None for job in ranks):
            continue
        why = f"{missing[0].job_id} did not begin on {missing[0].node} within {limit:.0f} s"
        whole = len(ranks) == size_of(one)
        pause: dict[str, Any] = {"not_before": now + backoff_s(ranks[0])} if whole else {}
        for job in ranks:
            if state.live_attempt(job) is not None:
                yield _stopped(job, GANG_AGAIN if whole else GANG_OVER, why, pause, now)


def ends(changes: Sequence[Change], ranks: Sequence[JobRow], now: float) -> list[Change]:
    """`changes` of one rank, with what they mean for the others."""
    found = list(changes)
    for index, change in enumerate(changes):
        job, again = change.seen, change.event in _AGAIN
        # Who was told to stop ends because of somebody else; not so a rank that was to begin again and ends for good.
        if job.stop_requested is not None and (again or job.stop_requested != GANG_AGAIN):
            continue
        if not (again or change.values.get("state") in _BAD):
            continue
        others = [each for each in ranks if each.id != job.id]
        if again and any(each.finished for each in others):
            found[index] = change = _for_good(change, "another rank is over already, so that it does not begin again")
            again = False
        told = change.attempt_values.get("state") or change.values.get("state")
        why = f"rank {job.rank} {told}"
        found += [more for each in others if (more := _with(each, change, again, why, now)) is not None]
    return found


def _with(other: JobRow, change: Change, again: bool, why: str, now: float) -> Change | None:
    if other.finished or other.stop_requested not in ((None,) if again else (None, GANG_AGAIN)):
        return None
    if other.state == "queued" and other.node is None:
        if again:
            return None
        values = {
            "state": "failed",
            "reason": "gang",
            "detail": why,
            "not_before": None,
            "ended_at": now,
            "updated_at": now,
        }
        return Change(other, values, event="job.failed", data={"from": other.state, "to": "failed", "reason": "gang"})
    same = {name: change.values[name] for name in ("retries_used", "not_before") if again and name in change.values}
    return _stopped(other, GANG_AGAIN if again else GANG_OVER, why, same, now)


def _stopped(job: JobRow, reason: str, why: str, values: Mapping[str, Any], now: float) -> Change:
    stop = {"stop_requested": reason, "stop_grace_s": None, "stop_ordered_at": None, "detail": why, "updated_at": now}
    return Change(job, {**stop, **values}, event="job.stop_requested", data={"reason": reason, "because": why})


def _for_good(change: Change, why: str) -> Change:
    """A rank that was to be tried again ends as its attempt did."""
    job, seen = change.seen, change.attempt_values
    state = str(seen["state"])
    copied = {name: seen.get(name) for name in ("started_at", "ended_at", "elapsed_s", "exit_code", "signal", "reason")}
    values = {**change.values, **copied, "state": state, "node": job.node, "retries_used": job.retries_used,
              "not_before": None, "detail": why}  # fmt: skip
    return replace(change, values=values, event=f"job.{state}", data={**change.data, "to": state})
