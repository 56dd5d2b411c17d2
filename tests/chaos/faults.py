# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Submitting, and one fault after the other, until the time is over."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable

from stoker.errors import StokerError
from stoker.store import FINISHED_STATES, open_store
from tests.chaos.dispatchers import Dispatchers
from tests.chaos.ring import Ring

# Begins and ends in a file outside of the store, with the boot that it runs in: a reboot is the end, too.
SCRIPT = """
boot=$(cat /proc/sys/kernel/random/boot_id)
echo "begin {job} $STOKER_ATTEMPT $(date +%s.%N) $boot ${{CUDA_VISIBLE_DEVICES:-none}}" >> "$HOME/marks"
sleep {seconds}
echo "end {job} $STOKER_ATTEMPT $(date +%s.%N) $boot" >> "$HOME/marks"
exit {code}
"""
# All are over long before; a run that is not has lost something.
CALM_S = 240.0


class Chaos:
    """Jobs and faults by one seed. `submitted` are the jobs, `faults` how often each fault was made."""

    def __init__(self, ring: Ring, dispatchers: Dispatchers, seed: int) -> None:
        self._ring = ring
        self._dispatchers = dispatchers
        self._random = random.Random(seed)
        self._down: dict[str, float] = {}
        self.submitted: dict[str, int] = {}
        self.faults: Counter[str] = Counter()
        self.took_s = 0.0

    def run(self, seconds: float) -> None:
        """Submit and break until the time is over."""
        began = time.monotonic()
        names: list[tuple[str, Callable[[], bool]]] = [
            ("kill -9 of a dispatcher", self._kill), ("SIGSTOP of a dispatcher", self._stop),
            ("connections cut", self._cut), ("node unreachable for a while", self._down_for_a_while),
            ("node rebooted", self._reboot), ("job stopped by its user", self._stop_job),
        ]  # fmt: skip
        while time.monotonic() - began < seconds:
            try:
                if len(self._unfinished()) < 16:
                    self._submit(self._random.randint(1, 4))
                name, fault = self._random.choice(names)
                if fault():
                    self.faults[name] += 1
            except StokerError as problem:
                if "was held by another process" not in problem.message:
                    raise
                # SQLite has no server that would end the transaction of a stopped process.
                self.faults["store held by a stopped dispatcher"] += 1
                self._dispatchers.wake_all()
            time.sleep(self._random.uniform(0.3, 2.0))
            self._mend()
        self.took_s = time.monotonic() - began

    def calm(self) -> None:
        """Everything answers again."""
        self._dispatchers.wake_all()
        for node in self._ring.plain:
            node.start()
        self._down = {}
        while len(self._dispatchers.running) < 2:
            self._dispatchers.start()

    def wait_for_ends(self) -> bool:
        """Whether all jobs came to an end, in calm weather."""
        until = time.monotonic() + CALM_S
        while self._unfinished():
            if time.monotonic() > until:
                return False
            time.sleep(0.5)
        return True

    def told(self) -> str:
        """What happened."""
        lines = [f"{self.took_s:.0f} s of faults, {len(self.submitted)} jobs submitted"]
        return "\n".join([*lines, *(f"  {count:>4}  {name}" for name, count in sorted(self.faults.items()))])

    def _submit(self, count: int) -> None:
        with open_store(self._ring.url) as store:
            for _ in range(count):
                number = len(self.submitted) + 1
                code = self._random.choice([0, 0, 0, 7])
                seconds = round(self._random.uniform(0.1, 3.0), 2)
                script = SCRIPT.format(job=f"job-{number}", seconds=seconds, code=code)
                target = self._random.choice([None, *(node.name for node in self._ring.nodes)])
                gpus = self._random.choice([0, 0, 1])
                retries = self._random.choice([0, 2])
                spec = {"script": script, "gpus": gpus, "grace_s": 1.0, "preflight": {"strict": False}}
                row = store.add_job(f"job-{number}", spec, target, retries)
                self.submitted[row.id] = number

    def _unfinished(self) -> list[str]:
        with open_store(self._ring.url) as store:
            return [row.id for row in store.jobs() if row.state not in FINISHED_STATES]

    def _kill(self) -> bool:
        if not self._dispatchers.running:
            return False
        self._dispatchers.kill(self._random.choice(self._dispatchers.running))
        return True

    def _stop(self) -> bool:
        moving = self._dispatchers.moving()
        if not moving:
            return False
        self._dispatchers.stop(self._random.choice(moving))
        return True

    def _cut(self) -> bool:
        return self._random.choice(self._ring.plain).cut() > 0

    def _down_for_a_while(self) -> bool:
        node = self._random.choice(self._ring.plain)
        if node.name in self._down:
            return False
        node.down()
        self._down[node.name] = time.monotonic() + self._random.uniform(1, 4)
        return True

    def _reboot(self) -> bool:
        if not self._ring.isolated:
            return False
        self._random.choice(self._ring.isolated).reboot()
        return True

    def _stop_job(self) -> bool:
        open_ones = self._unfinished()
        if not open_ones or self._random.random() < 0.5:
            return False
        with open_store(self._ring.url) as store:
            store.request_stop(self._random.choice(open_ones))
        return True

    def _mend(self) -> None:
        """What broke is made whole by and by: a chaos without any progress proves little."""
        now = time.monotonic()
        for node in self._ring.plain:
            if self._down.get(node.name, now + 1) <= now:
                node.start()
                del self._down[node.name]
        if len(self._dispatchers.running) < 2 and self._random.random() < 0.7:
            self._dispatchers.start()
        if self._random.random() < 0.4:
            self._dispatchers.wake_all()
