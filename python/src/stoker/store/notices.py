"""Messages to people: which are due, who sends them, and how it went."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Update, delete, func, insert, or_, select, update

from stoker.store import schema, squelches
from stoker.store.rows import NoticeRow, NoticeTargetRow, SquelchRow

if TYPE_CHECKING:
    from stoker.store.store import Store

# What is over and not in the inbox is kept as long as this.
KEEP_S = 90 * 86400.0
# Beginnings of the topics of what one event begins and another ends.
ENDING = ("node.offline:", "node.online:", "alert.raised:", "alert.cleared:")
_table, _targets = schema.notices, schema.notice_targets


class Notices:
    """The messages of one store. Every method raises StokerError when the database fails."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def targets(self) -> dict[str, NoticeTargetRow]:
        """What is known of each target that was ever used, by name."""
        with self._store.read() as connection:
            rows = connection.execute(select(_targets)).mappings()
            return {row["name"]: NoticeTargetRow(**row) for row in rows}

    def begin(self, names: Sequence[str], seen: int) -> None:
        """Write down targets that are new: they are told of what comes after the event `seen`."""
        with self._store.write() as transaction:
            known = transaction.found(lambda c: set(c.execute(select(_targets.c.name)).scalars()))
            for name in names:
                if name not in known:
                    transaction.change(insert(_targets).values(name=name, seen=seen, failures=0))

    def add(
        self, target: str, seen: int, found: Sequence[Mapping[str, Any]], ended: Sequence[Mapping[str, Any]] = (), *,
        now: float | None = None,
    ) -> int:  # fmt: skip
        """Note that a target's events are known up to number `seen`, with the messages that they made.

        Each of `found` has the fields of a notice, `cooldown_s` and `critical`: where its topic was told within that
        time before, it is left out. What tells the state of a node waits instead, for that time or while the node is
        silenced; where it ends meanwhile (`ended` has topics), both the beginning and the end are left out. Nothing
        happens where somebody else was faster. Returns how many are due.
        """
        at, due = time.time() if now is None else now, 0
        over = {one["seq"]: one for one in ended}
        made = {one["seq"]: one for one in found}
        with self._store.write() as transaction:
            newer = update(_targets).where(_targets.c.name == target, _targets.c.seen < seen).values(seen=seen)
            if not transaction.change(newer):
                return 0
            silences = transaction.found(lambda c: squelches.active(c, at))
            for seq in sorted(over.keys() | made.keys()):
                unsaid = seq in over and bool(transaction.change(_unsaid(target, over[seq], at)))
                if seq not in made or transaction.found(lambda c, s=seq: _exists(c, target, s)):  # type: ignore[misc]
                    continue
                notice = made[seq]
                told = transaction.found(lambda c, n=notice: _told(c, target, n))  # type: ignore[misc]
                state, held = ("left_out", None) if unsaid else _state(target, notice, told, silences)
                due += state == "due" and (held or 0.0) <= at
                fields = {name: value for name, value in notice.items() if name not in ("cooldown_s", "critical")}
                fields |= {"state": state, "held_until": held, "ended_at": at if state == "left_out" else None}
                transaction.change(insert(_table).values(target=target, tries=0, **fields))
            old = or_(_table.c.archived_at.is_not(None), _table.c.target != "inbox")
            transaction.change(delete(_table).where(_table.c.state != "due", _table.c.ended_at < at - KEEP_S, old))
        return due

    def reached(self, name: str, seen: int, *, now: float | None = None, anew: int | None = None) -> bool:
        """Note that what comes from `name` was taken up to that number. False: somebody else was faster.

        `anew`: its numbers began again below this one, up to which they were taken before.
        """
        before = _targets.c.seen < seen if anew is None else _targets.c.seen == anew
        with self._store.touch() as connection:
            newer = update(_targets).where(_targets.c.name == name, before)
            values = {"seen": seen, "sent_at": time.time() if now is None else now}
            return connection.execute(newer.values(values)).rowcount == 1

    def receive(self, who: str, text: str, *, now: float | None = None) -> int:
        """Put what a person wrote into the inbox; the number of its event, which says from whom it is."""
        at = time.time() if now is None else now
        with self._store.write() as transaction:
            seq = transaction.event("message.received", at, data={"from": who})
            transaction.change(
                insert(_table).values(
                    seq=seq, target="inbox", at=at, topic=f"message:{who}", title=f"message from {who}", body=text,
                    mood="info", urgent=False, state="sent", tries=0, ended_at=at,
                )
            )  # fmt: skip
        return seq

    def claim(
        self, targets: Sequence[str], limit: int, until: float, *, now: float, urgent_only: Sequence[str] = ()
    ) -> list[NoticeRow]:
        """Up to `limit` due messages of each target, which nobody else sends before `until` (Unix seconds).

        Those that were tried least come first. Of targets in `urgent_only` only what is urgent.
        """
        claimed: list[NoticeRow] = []
        with self._store.write() as transaction:
            for target in targets:
                query = (
                    select(_table)
                    .where(_table.c.target == target, _table.c.state == "due")
                    .where(or_(_table.c.claimed_until.is_(None), _table.c.claimed_until < now), _free(now))
                    .order_by(_table.c.tries, _table.c.seq)
                    .limit(limit)
                )
                if target in urgent_only:
                    query = query.where(_table.c.urgent.is_(True))
                rows = transaction.found(lambda c, q=query: [NoticeRow(**r) for r in c.execute(q).mappings()])  # type: ignore[misc]
                for row in rows:
                    transaction.change(_this(row.seq, target).values(claimed_until=until))
                claimed += rows
        return claimed

    def end(self, seq: int, target: str, state: str, *, now: float, detail: str | None = None) -> None:
        """It was sent, or given up."""
        with self._store.touch() as connection:
            new = {"state": state, "ended_at": now, "detail": detail, "claimed_until": None}
            connection.execute(_this(seq, target).values(**new, tries=_table.c.tries + 1))

    def release(self, seq: int, target: str, *, tried: bool, detail: str | None = None) -> None:
        """It is still due; `tried` and in vain, or not even tried."""
        with self._store.touch() as connection:
            new: dict[str, Any] = {"claimed_until": None}
            new |= {"tries": _table.c.tries + 1, "detail": detail} if tried else {}
            connection.execute(_this(seq, target).values(**new))

    def give_up(self, before: float, *, now: float) -> int:
        """Give up what is due of events before that moment, and return how many."""
        with self._store.touch() as connection:
            old = update(_table).where(
                _table.c.state == "due", func.coalesce(_table.c.held_until, _table.c.at) < before
            )
            return connection.execute(old.values(state="failed", ended_at=now, claimed_until=None)).rowcount

    def went(self, target: str, *, now: float, failed: str | None, next_try: float | None = None) -> None:
        """How the last message to a target went: it was taken (`failed` None), or why not, and when to try again."""
        with self._store.touch() as connection:
            one = update(_targets).where(_targets.c.name == target)
            new: dict[str, Any] = {"next_try": next_try, "detail": failed}
            if failed is None:
                new |= {"sent_at": now, "failing_since": None, "failures": 0}
            else:
                since = func.coalesce(_targets.c.failing_since, now)
                new |= {"failing_since": since, "failures": _targets.c.failures + 1}
            connection.execute(one.values(**new))

    def due(self) -> list[str]:
        """The targets that messages wait for."""
        with self._store.read() as connection:
            query = select(_table.c.target).where(_table.c.state == "due").distinct().order_by(_table.c.target)
            return list(connection.execute(query).scalars())

    def keep(self, target: str, *, now: float) -> None:
        """All that is due for a target that is in the store has arrived."""
        with self._store.touch() as connection:
            due = update(_table).where(_table.c.state == "due", _table.c.target == target, _free(now))
            connection.execute(due.values(state="sent", ended_at=now))

    def some(self, target: str, numbers: Sequence[int]) -> list[NoticeRow]:
        """Those messages with these numbers that a target was sent, oldest first."""
        query = select(_table).where(_table.c.target == target, _table.c.state == "sent", _table.c.seq.in_(numbers))
        with self._store.read() as connection:
            return [NoticeRow(**row) for row in connection.execute(query.order_by(_table.c.seq)).mappings()]

    def counts(self) -> dict[str, dict[str, int]]:
        """By target, how many messages are in each state."""
        query = select(_table.c.target, _table.c.state, func.count()).group_by(_table.c.target, _table.c.state)
        found: dict[str, dict[str, int]] = {}
        with self._store.read() as connection:
            for target, state, count in connection.execute(query):
                found.setdefault(target, {})[state] = count
        return found

    def newest(self, target: str, limit: int, *, unread: bool = False, archived: bool = False) -> list[NoticeRow]:
        """The newest messages that a target was sent, newest first: those that are (not) archived; only unread ones."""
        query = select(_table).where(_table.c.target == target, _table.c.state == "sent")
        put_away = _table.c.archived_at.is_not(None) if archived else _table.c.archived_at.is_(None)
        query = query.where(put_away).order_by(_table.c.seq.desc()).limit(limit)
        if unread:
            query = query.where(_table.c.read_at.is_(None))
        with self._store.read() as connection:
            return [NoticeRow(**row) for row in connection.execute(query).mappings()]

    def mark(self, target: str, numbers: Sequence[int] | None, field: str, *, now: float) -> list[int]:
        """Note in `field` (read_at, archived_at) that messages are read or archived; None: all. Those that changed."""
        column = _table.c[field]
        with self._store.write() as transaction:
            query = select(_table.c.seq).where(_table.c.target == target, _table.c.state == "sent", column.is_(None))
            if numbers is not None:
                query = query.where(_table.c.seq.in_(numbers))
            found = transaction.found(lambda c: list(c.execute(query.order_by(_table.c.seq)).scalars()))
            for seq in found:
                transaction.change(_this(seq, target).values({field: now}))
        return found


def _this(seq: int, target: str) -> Any:
    return update(_table).where(_table.c.seq == seq, _table.c.target == target)


def _exists(connection: Connection, target: str, seq: int) -> bool:
    query = select(_table.c.seq).where(_table.c.target == target, _table.c.seq == seq)
    return connection.execute(query).first() is not None


def _told(connection: Connection, target: str, notice: Mapping[str, Any]) -> float | None:
    """When the same was told a moment before, by the time of the events; None: it was not."""
    same = (_table.c.target == target, _table.c.topic == notice["topic"], _table.c.state != "left_out")
    last = connection.execute(select(func.max(_table.c.at)).where(*same)).scalar()
    return last if last is not None and notice["at"] - last < notice["cooldown_s"] else None


def _state(
    target: str, notice: Mapping[str, Any], told: float | None, silences: Sequence[SquelchRow]
) -> tuple[str, float | None]:
    """Whether a message is due, and from when on."""
    node, ends_itself = notice.get("node"), notice["topic"].startswith(ENDING)
    if target == "inbox" and notice.get("critical"):
        node = None
    silent = squelches.until(silences, node)
    if not ends_itself and (told is not None or silent is not None):
        return "left_out", None
    cooled = None if told is None else told + notice["cooldown_s"]
    return "due", max((moment for moment in (cooled, silent) if moment is not None), default=None)


def _unsaid(target: str, ended: Mapping[str, Any], now: float) -> Update:
    """Leave out what still waits, and is over: nobody has heard of it."""
    waits = (_table.c.state == "due", _table.c.tries == 0, _table.c.held_until > ended["at"])
    mine = (_table.c.target == target, _table.c.topic == ended["topic"], _table.c.seq < ended["seq"])
    unclaimed = or_(_table.c.claimed_until.is_(None), _table.c.claimed_until < now)
    return update(_table).where(*mine, *waits, unclaimed).values(state="left_out", ended_at=now)


def _free(now: float) -> ColumnElement[bool]:
    return or_(_table.c.held_until.is_(None), _table.c.held_until <= now)
