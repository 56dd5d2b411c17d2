"""What comes next for an instance: one step, and why. Whoever tends carries it out, notes what came of it, asks again.

Each step is safe to be killed in: `asked` is written before a create leaves, so that an `intended` instance was surely
never asked for, and one that is `asked` may be there until the provider proves the contrary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from stoker.pool_settings import Pool
from stoker.rented import bids
from stoker.rented.changes import FETCH, START, by_hand, end_by_hand
from stoker.rented.provided import BROKEN, Seen, observed, settled
from stoker.store.instance_rows import InstanceRow

__all__ = ["FETCH", "PATIENCE_S", "RETRY_S", "START", "Seen", "Step", "Use", "by_hand", "demand", "due", "end_by_hand",
           "lost_for", "never_began", "next_step", "observed", "settled"]  # fmt: skip

Do = Literal[
    "create", "reconcile", "wait", "probe", "provision", "use", "pull", "stop", "start", "rebid", "destroy", "confirm",
    "alert", "none",
]  # fmt: skip
# For how long what may come back by itself is waited for: a host that is offline, an instance that is not listed.
PATIENCE_S: Mapping[str, float] = {"offline": 300.0, "unknown": 120.0, "absent": 60.0, "frozen": 300.0}
# After what time something that was asked for and did not happen is asked for again, and told of.
RETRY_S, ALERT_S = 30.0, 300.0
# So long at least a job that waits for a machine may take to be started on it, once that is ready.
UNUSED_S = 120.0
# How long results are fetched from a machine before it is ended without them.
PULL_S = 1800.0
_OVER = "its job is over"
# What is the matter with a machine when its job has to go elsewhere.
LOSSES = (*BROKEN, "stopped", "outbid", "taken", "gone")
# What is wrong with one that the provider shows well: it took no job in time, or took them and none was begun on it.
LATE, UNUSED = "late", "unused"


@dataclass(frozen=True)
class Step:
    """What to do, and why. `alert`: what somebody should be told beside that, for as long as it is so.

    `create` and all that follows are the words of the module `stoker.rented`: `reconcile` looks for the label,
    `confirm` asks for the instance by its number, `pull` lets what runs there write a checkpoint and end (`drain`),
    then fetches. `use`: jobs may run on it. `alert`: nothing can be done but to tell. `none`: it is over. `problem`:
    what is wrong with one that is destroyed, where the provider does not say it. `wish`: FETCH, where its results are
    tried to be fetched once more, or were.
    """

    do: Do
    why: str
    alert: str | None = None
    drain: bool = False
    price: float | None = None
    problem: str | None = None
    wish: str | None = None


@dataclass(frozen=True)
class Use:
    """What an instance is needed for, as the store knows it.

    `busy`: a job is under way on it. `wanted`: jobs wait that it could run, or the pool holds as many as this.
    `unpulled`: results lie there that nobody fetched. `trouble`: why it could not be provisioned. `limit`: which limit
    of the budget is reached (`stoker.rented.budget.exceeded`). `end`: a person asked to `stop` or to `destroy` it.
    """

    busy: bool = False
    wanted: bool = False
    unpulled: bool = False
    trouble: str | None = None
    limit: str | None = None
    end: Literal["stop", "destroy"] | None = None


def next_step(row: InstanceRow, seen: Seen | None, use: Use, pool: Pool | None, now: float) -> Step:
    """The next step of an instance whose row is up to date with `seen` (`observed`); None: the provider did not answer.

    `pool` None: the settings have none of this name any more, and what is not busy is ended.
    """
    step = _next(row, seen, use, pool, now)
    heard = row.seen_at or row.asked_at or now
    if seen is None and row.billable and step.alert is None and now - heard > ALERT_S:
        return replace(
            step, alert=f"{row.label} may be billed; the provider told nothing of it for {now - heard:.0f} s"
        )
    return step


def _next(row: InstanceRow, seen: Seen | None, use: Use, pool: Pool | None, now: float) -> Step:
    if not row.live:
        return Step("none", f"it is {row.phase}")
    if row.phase == "intended":
        wanted = use.wanted and pool is not None and use.end is None and use.limit is None and now < row.expires_at
        return Step("create", "its intent is written down") if wanted else Step("destroy", _unwanted(use, pool))
    if row.provider_id is None:
        return _unanswered(row, seen, now)
    if row.phase == "destroying":
        return _destroying(row, seen, now)
    if row.phase == "stopped":
        return _stopped(row, seen, use, pool, now)
    ending = _ending(row, use, pool, now)
    if ending is not None:
        return _end(row, ending[0], ending[1], use, now)
    if pool is None:
        return Step("use", "a job is under way on it; the settings have no such pool any more")
    if row.phase == "stopping":
        return _stopping(row, now)
    if row.problem in BROKEN:
        return _broken(row, use, pool, now)
    if row.phase in ("loading", "reachable"):
        return _booting(row, seen, use, pool, now)
    return _ready(row, use, pool, now)


def due(row: InstanceRow, step: Step, use: Use, pool: Pool | None, now: float) -> bool:
    """Whether a stop or destroy is right whatever the provider shows: a limit is reached, or somebody asked for it."""
    if row.phase == "destroying":
        return step.do == "destroy"
    ending = _ending(row, use, pool, now)
    return ending is not None and ending[0] == step.do


def demand(pool: Pool, rows: Iterable[InstanceRow], waiting: int) -> int:
    """How many more to rent for a pool: as many as jobs wait or it always holds, up to its `max`.

    `rows` are its instances that are live; those that end are not counted as help, but as held.
    """
    live = [row for row in rows if row.live]
    helping = [row for row in live if row.phase not in ("stopping", "destroying")]
    coming = ("intended", "asked", "loading", "reachable", "stopped")
    free = sum(1 for row in helping if row.phase in coming or (row.phase == "ready" and row.job is None))
    missing = max(waiting - free, pool.min - len(helping))
    return max(0, min(missing, pool.max - len(live)))


def never_began(row: InstanceRow) -> bool:
    """Whether an instance that is over was of no use to its job, and that was no fault of this job."""
    return row.problem in (LATE, UNUSED) or (row.ready_at is None and row.problem in LOSSES)


def lost_for(rows: Iterable[InstanceRow]) -> int:
    """How many machines a job has lost: it gets no more than its pool's `max_respawns` others."""
    return sum(1 for row in rows if row.problem in LOSSES)


# ---- the rules, one for each part of its way ----


def _unanswered(row: InstanceRow, seen: Seen | None, now: float) -> Step:
    """A create left and nobody knows its number: it is looked for by its label, never sent again."""
    asked = now - (row.asked_at or row.phase_since)
    why = f"its create of {asked:.0f} s ago was not answered: whether it is there is looked for by its label"
    alert = f"{row.label} may be billed: {why}" if asked > ALERT_S else None
    return Step("reconcile", why if seen is not None else f"{why}; the provider could not be asked", alert)


def _destroying(row: InstanceRow, seen: Seen | None, now: float) -> Step:
    since = row.destroy_asked_at
    late = now - row.phase_since
    alert = None
    if late > ALERT_S:
        alert = f"{row.label} ({row.provider_id}) may still be billed: it was to be destroyed {late:.0f} s ago"
    if since is None or (now - since >= RETRY_S and (seen is None or seen.there)):
        return Step("destroy", "it is not needed any more" if since is None else "it is still there", alert)
    return Step("confirm", "only the provider can show that it is gone", alert)


def _ending(row: InstanceRow, use: Use, pool: Pool | None, now: float) -> tuple[Literal["stop", "destroy"], str] | None:
    """How an instance is to be ended, and why; None: not now."""
    if use.end is not None:
        return use.end, "somebody asked for it"
    if now >= row.expires_at:
        return "destroy", f"its time to live is over since {now - row.expires_at:.0f} s"
    if use.limit is not None:
        return (pool.after if pool is not None else "destroy"), use.limit
    if pool is None and not use.busy:
        return "destroy", f"the settings have no pool {row.pool} any more"
    dear = _too_dear(row, pool) if pool is not None and not use.busy else None
    return None if dear is None else ("destroy", dear)


def _too_dear(row: InstanceRow, pool: Pool) -> str | None:
    """Whether it costs more than its pool allows, since its host raised the price, or somebody lowered the cap."""
    rate = (row.gpu_rate or 0.0) + (row.disk_rate or 0.0)
    if rate <= pool.price + 1e-6:
        return None
    return f"it costs {rate:.4g} dollars per hour now, and pools.{row.pool}.price is {pool.price:g}"


def _end(row: InstanceRow, how: Literal["stop", "destroy"], why: str, use: Use, now: float) -> Step:
    """End it by `how`; first what runs there may write a checkpoint, and its results are fetched, where it answers."""
    answers = row.phase in ("ready", "pulling") and row.problem is None
    if answers and (use.busy or use.unpulled):
        pulling_s = now - row.phase_since if row.phase == "pulling" else 0.0
        if pulling_s < PULL_S:
            return Step("pull", why, drain=use.busy)
        return _finish(row, how, f"{why}; its results could not be fetched in {PULL_S:.0f} s", now, lost=True)
    return _finish(row, how, why, now, lost=use.unpulled)


def _finish(row: InstanceRow, how: Literal["stop", "destroy"], why: str, now: float, *, lost: bool = False) -> Step:
    alert = f"results on {row.node or row.label} were not fetched" if lost else None
    if how == "stop" and row.phase == "stopping":
        return _stopping(row, now)
    return Step(how, why, alert, wish=FETCH if lost and how == "stop" else None)


def _stopping(row: InstanceRow, now: float) -> Step:
    late = now - row.phase_since
    alert = f"{row.label} was to be stopped {late:.0f} s ago and is still shown running" if late > ALERT_S else None
    if late > 2 * ALERT_S:
        return Step("destroy", f"it does not stop ({late:.0f} s)", alert)
    return Step("stop", "it was to be stopped; it is not shown stopped yet", alert)


def _stopped(row: InstanceRow, seen: Seen | None, use: Use, pool: Pool | None, now: float) -> Step:
    """Its disk is billed until it is destroyed: by the time to live, or `stop_keep_s` after the stop."""
    ending = _ending(row, use, pool, now)
    if ending is not None and ending[0] == "destroy":
        return _finish(row, "destroy", ending[1], now, lost=use.unpulled)
    if row.ready_at is None and row.kind != "bid":
        return Step("destroy", f"it was {row.problem or 'stopped'} before it took a job")
    keep_s = _keep_s(row, pool)
    if ending is None and pool is not None and row.kind == "bid" and row.problem in ("outbid", "stopped"):
        if use.busy or use.wanted or use.unpulled:
            return _bid(row, seen, use, pool, now)
    elif ending is None and pool is not None and (use.wanted or use.unpulled):
        if row.problem == "refused":
            since = now - (row.problem_since or now)
            alert = f"{row.node or row.label}: the provider does not start it: {row.evidence or 'no reason given'}"
            if since < RETRY_S:
                return Step("wait", f"the provider refused to start it {since:.0f} s ago", alert)
            return Step("start", "it is asked once more to start it", alert, wish=None if use.wanted else FETCH)
        if row.problem != "taken" and use.wanted:
            return Step("start", "a job waits for it")
        if row.problem == "exited" or (row.problem != "taken" and row.wish != FETCH):
            return Step("start", "results lie on it", wish=FETCH)
        if row.problem != "taken":
            return _kept(row, use, keep_s, now)
        why = f"its GPUs are somebody else's since {now - (row.problem_since or now):.0f} s"
        return _finish(row, "destroy", why, now, lost=use.unpulled)
    return _kept(row, use, keep_s, now)


def _keep_s(row: InstanceRow, pool: Pool | None) -> float:
    """How long its disk is kept: one that nobody here stopped, only where its pool keeps such ones."""
    if pool is None:
        return 0.0
    return pool.stop_keep_s if row.problem is None or pool.after == "stop" else min(pool.idle_s, pool.stop_keep_s)


def _kept(row: InstanceRow, use: Use, keep_s: float, now: float) -> Step:
    kept_s = now - row.phase_since
    if kept_s >= keep_s:
        return _finish(row, "destroy", f"it is stopped for {kept_s:.0f} s", now, lost=use.unpulled)
    alert = f"results on {row.node or row.label} were not fetched" if use.unpulled else None
    return Step("wait", f"it is stopped, and kept for {keep_s - kept_s:.0f} s more", alert)


def _bid(row: InstanceRow, seen: Seen | None, use: Use, pool: Pool, now: float) -> Step:
    chosen = bids.decide(row, seen.min_bid if seen is not None else None, pool, now)
    if chosen.do == "rebid":
        return Step("rebid", chosen.why, price=chosen.price)
    if chosen.do == "wait":
        return Step("wait", chosen.why)
    return _finish(row, "destroy", chosen.why, now, lost=use.unpulled)


def _broken(row: InstanceRow, use: Use, pool: Pool, now: float) -> Step:
    """The provider shows it in a state in which no job runs: waited for where it may come back, else ended."""
    since = now - (row.problem_since or now)
    patience = PATIENCE_S.get(row.problem or "", 0.0)
    what = f"the provider says it is {row.problem} since {since:.0f} s: {row.evidence or 'no reason given'}"
    if row.problem == "absent":
        return Step("confirm", what, f"{row.label}: {what}" if since > ALERT_S else None)
    if row.problem == "exited" and use.unpulled and pool.fetch_after_exit and row.ready_at and row.wish != FETCH:
        # It is meant to run: only one that was stopped can be started.
        return Step("stop", f"{what}; it is stopped, and started once more for the results on it", wish=FETCH)
    if since < patience:
        return Step("wait", f"{what}; given up after {patience:.0f} s")
    return _finish(row, "destroy", what, now, lost=use.unpulled)


def _booting(row: InstanceRow, seen: Seen | None, use: Use, pool: Pool, now: float) -> Step:
    waited = now - (row.booted_at or row.phase_since)
    if use.trouble is not None:
        return _finish(row, "destroy", f"it could not be made ready: {use.trouble}", now, lost=use.unpulled)
    if waited > pool.boot_timeout_s:
        why = f"it took no job within {pool.boot_timeout_s:.0f} s: {row.evidence or 'no reason given'}"
        return replace(_finish(row, "destroy", why, now, lost=use.unpulled), problem=LATE)
    if not use.wanted and not use.busy and not use.unpulled:
        return Step("destroy", "nothing waits for it any more")
    if row.phase == "reachable":
        return Step("provision", "its ssh answers")
    if row.host is not None and seen is not None and seen.phase == "running":
        return Step("probe", "the provider says it runs; only an answer of its ssh proves that")
    return Step("wait", f"it is loading for {waited:.0f} s: {row.evidence or 'no reason given'}")


def _ready(row: InstanceRow, use: Use, pool: Pool, now: float) -> Step:
    if use.busy and row.phase == "ready":
        dear = _too_dear(row, pool)
        return Step("use", "a job is under way on it", None if dear is None else f"{row.node or row.label}: {dear}")
    if row.phase == "pulling":
        done = not use.busy and not use.unpulled
        return (
            _finish(row, pool.after, "its results are fetched", now) if done else _end(row, pool.after, _OVER, use, now)
        )
    if use.unpulled:
        return Step("pull", _OVER)
    idle = now - (row.idle_since or row.phase_since)
    if use.wanted and row.job is not None and idle >= max(pool.idle_s, UNUSED_S):
        # No round starts it there, whatever the reason: it is not paid for until its time to live.
        why = f"{row.job} waits for it since {idle:.0f} s, and was not started on it"
        return Step("destroy", why, f"{row.node or row.label}: {why}", problem=UNUSED)
    if use.wanted:
        return Step("use", "jobs wait for it")
    if idle >= pool.idle_s:
        return _finish(row, pool.after, f"it had no job for {idle:.0f} s", now)
    return Step("wait", f"it has no job for {idle:.0f} s, and is kept for {pool.idle_s - idle:.0f} s more")


def _unwanted(use: Use, pool: Pool | None) -> str:
    if use.limit is not None:
        return use.limit
    return "nothing waits for it any more" if pool is not None else "the settings have no such pool any more"
