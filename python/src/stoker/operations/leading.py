"""One dispatcher among others: it gives signs of life, and leads when no other one does."""

from __future__ import annotations

import os
import platform
import threading
import time
from typing import TYPE_CHECKING

from stoker.errors import StokerError
from stoker.operations.service import tell_systemd, watchdog_s

if TYPE_CHECKING:
    from types import TracebackType

    from stoker.store import Store
    from stoker.store.dispatchers import DispatcherRow

# A round that takes longer hangs: no sign of life is given any more, so that another dispatcher leads, and systemd
# starts this one anew.
LONGEST_ROUND_S = 1800.0


class Dispatcher:
    """This process, written down among the dispatchers of a store for as long as the block lasts.

    `lease_s` is how long the others wait for it when it leads and is silent. Entering raises StokerError when the store
    cannot be written.
    """

    def __init__(self, store: Store, lease_s: float) -> None:
        self._store = store.dispatchers
        self._lease_s = lease_s
        self.id = ""
        self.epoch: int | None = None
        self._over = threading.Event()
        self._round_began: float | None = None
        self._rounds = 0
        # The leader's newest sign of life, and since when (by this process's own clock) there was no other.
        self._sign: tuple[str, float] | None = None
        self._sign_since = 0.0
        self._said = ""

    def __enter__(self) -> Dispatcher:
        self.id, self._presence = self._store.join(platform.node(), os.getpid(), self._lease_s)
        self._beating = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._beating.start()
        tell_systemd("READY=1")
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _problem: BaseException | None, _trace: TracebackType | None
    ) -> None:
        tell_systemd("STOPPING=1")
        self._over.set()
        self._beating.join()
        try:
            self._store.leave(self.id)
        except StokerError:
            pass  # the lock that ends with this process tells the same
        finally:
            self._presence.release()

    def stand(self) -> str | None:
        """Find out whether this dispatcher leads, and begin to where no other one does; `epoch` is set, or None.

        Returns how it stands, in words, where that changed. Raises StokerError when the store fails.
        """
        before, self.epoch = self.epoch, None
        self._presence.hold()
        rows = self._store.list()
        own = next((row for row in rows if row.id == self.id), None)
        leader = next((row for row in rows if row.leader), None)
        if own is None:
            self._store.write_down(self.id, platform.node(), os.getpid(), self._lease_s)
        elif own.leader:
            self.epoch = own.epoch
            return self._changed(self._said if before == own.epoch else f"leads again, epoch {own.epoch}")
        why = self._why_lead(leader)
        if why is not None:
            self.epoch = self._store.lead(self.id, leader, why)
        if self.epoch is not None:
            return self._changed(f"leads, epoch {self.epoch}: {why}")
        return self._changed(f"stands by: {leader.id} on {leader.host} leads" if leader else "stands by")

    def _changed(self, said: str) -> str | None:
        before, self._said = self._said, said
        return None if said == before else said

    def _why_lead(self, leader: DispatcherRow | None) -> str | None:
        from stoker.store.dispatchers import may_lead

        now = time.monotonic()
        sign = (leader.id, leader.heartbeat_at) if leader is not None else None
        if sign != self._sign:
            self._sign, self._sign_since = sign, now
        there = leader is not None and self._store.there(leader.id)
        return may_lead(self.id, leader, there, now - self._sign_since)

    def begins_round(self) -> None:
        """A round begins: the signs of life end when it does not."""
        self._round_began = time.monotonic()

    def ends_round(self) -> None:
        """The round is over. Raises nothing: the next sign of life tells of it, too."""
        began, self._round_began = self._round_began, None
        self._rounds += 1
        if began is not None:
            self._give_sign(round_at=time.time(), round_s=time.monotonic() - began)

    def _beat(self) -> None:
        pause_s = min(self._lease_s, watchdog_s() or self._lease_s) / 4
        while not self._over.wait(pause_s):
            began = self._round_began
            if began is None or time.monotonic() - began < LONGEST_ROUND_S:
                self._give_sign()
                tell_systemd("WATCHDOG=1")

    def _give_sign(self, **values: float) -> None:
        try:
            self._store.beat(self.id, rounds=self._rounds, **values)
        except StokerError:
            pass  # the round that cannot reach the store either tells of it
