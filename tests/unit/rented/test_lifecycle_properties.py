# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way of an instance: whatever the provider shows, wherever whoever tends is killed, nothing is rented twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from stoker.pool_settings import Pool
from stoker.rented import changes, lifecycle, provided
from stoker.rented.lifecycle import Seen, Step, Use
from stoker.store.instance_rows import InstanceRow

JOB = "train-9x4c"
KILLS = st.sampled_from([None, None, None, "before", "after"])


class Killed(Exception):
    """Whoever tends was killed here."""


@dataclass
class Machine:
    """What the provider has."""

    label: str
    state: str
    shown_from: float
    hidden: bool = False
    address: tuple[str, int] | None = None


@dataclass
class Provider:
    """Carries out what it is asked for, now and then without an answer, and shows it when it likes."""

    machines: dict[int, Machine] = field(default_factory=dict)
    creates: dict[str, int] = field(default_factory=dict)
    number: int = 100
    answers: bool = True

    def create(self, label: str, state: str, shown_from: float) -> int:
        self.number += 1
        self.creates[label] = self.creates.get(label, 0) + 1
        self.machines[self.number] = Machine(label, state, shown_from)
        return self.number


class Renting(RuleBasedStateMachine):
    """One job, its instances one after the other, and everything that may go wrong meanwhile."""

    @initialize(kind=st.sampled_from(["on-demand", "bid"]), after=st.sampled_from(["stop", "destroy"]))
    def begin(self, kind: str, after: str) -> None:
        self.pool = Pool(price=0.5, image="a/b", kind=kind, after=after)  # type: ignore[arg-type]
        self.now = 1_000_000.0
        self.provider = Provider()
        self.rows: dict[str, InstanceRow] = {}
        self.use = Use(wanted=True)
        self.last: dict[str, Step] = {}

    # ---- whoever tends ----

    @rule(
        kill=KILLS, outcome=st.sampled_from(["done", "done", "done", "lost", "never", "refused", "half"]),
        lag=st.floats(0, provided.SETTLE_S - 1), failing=st.booleans(),
    )  # fmt: skip
    def turn(self, kill: str | None = None, outcome: str = "done", lag: float = 0.0, failing: bool = False) -> None:
        """One turn: a look, then the next step of each instance; `kill`: before or after the call of the first one."""
        try:
            self._turn(kill, outcome, lag, failing)
        except Killed:
            pass

    @rule()
    def turn_that_succeeds(self) -> None:
        """As most are: what needs many steps to come about is reached, too."""
        self._turn(None, "done", 0.0, False)

    def _turn(self, kill: str | None, outcome: str, lag: float, failing: bool) -> None:
        looked_at = self.now
        listed = self._list() if self.provider.answers else None
        self.now += 0.5
        if self.use.wanted and not any(row.live and row.job == JOB for row in self.rows.values()):
            self._intend()
        for name in list(self.rows):
            seen = self._seen(self.rows[name], listed, looked_at)
            self._write(name, provided.observed(self.rows[name], seen, self.now))
            row = self.rows[name]
            self._write(name, changes.looked(row, self.use, self.now))
            row = self.rows[name]
            step = lifecycle.next_step(row, seen, self.use, self.pool, self.now)
            self.last[name] = step
            self._carry_out(row, step, kill, outcome, lag, failing)

    def _intend(self) -> None:
        name = f"{len(self.rows):012x}"
        before = next((row.id for row in reversed(self.rows.values()) if row.job == JOB), None)
        self.rows[name] = InstanceRow(
            id=name, label=f"stoker/s/{name}", pool="cheap", job=JOB, kind=self.pool.kind, offer={}, machine_id=1,
            price=0.1 if self.pool.kind == "bid" else None, gpu_rate=0.1, disk_rate=0.01, disk_gb=20.0,
            phase="intended", phase_since=self.now, created_at=self.now, expires_at=self.now + 86400.0, lease_s=1800.0,
            replaces=before,
        )  # fmt: skip

    def _write(self, name: str, values: Mapping[str, Any]) -> None:
        row = self.rows[name]
        if values.get("phase", row.phase) != row.phase:
            values = {**values, "phase_since": self.now}
        self.rows[name] = replace(row, **values)

    def _carry_out(
        self, row: InstanceRow, step: Step, kill: str | None, outcome: str, lag: float, failing: bool
    ) -> None:
        name, number = row.id, row.provider_id
        before = {
            "create": lambda: changes.asking(self.now), "destroy": lambda: changes.destroying(row, self.now),
            "stop": lambda: changes.stopping(row, step), "start": lambda: changes.starting(row, step, self.now),
            "pull": lambda: changes.pulled(row),
        }.get(step.do)  # fmt: skip
        if before is not None:
            self._write(name, before())
        if kill == "before":
            raise Killed
        if not self.rows[name].live or (not self.provider.answers and step.do not in ("pull", "provision", "probe")):
            return
        after: Mapping[str, Any] = {}
        machine = self.provider.machines.get(number) if number is not None else None
        if step.do == "create":
            after = self._create(row, outcome, lag)
        elif step.do == "destroy" and number is not None and not failing:
            self.provider.machines.pop(number, None)
        elif step.do == "confirm" and machine is None:
            after = provided.observed(self.rows[name], Seen(self.now, "gone", "instances: null"), self.now)
        elif step.do == "stop" and machine is not None and not failing:
            machine.state = "stopped"
        elif step.do in ("start", "rebid") and machine is not None and not failing:
            machine.state = "loading"
        elif step.do == "probe" and not failing:
            after = changes.probed("ssh-ed25519 AAAA")
        elif step.do == "provision":
            self.use = replace(self.use, trouble="setup failed") if failing else self.use
            after = {} if failing else changes.provisioned(row, "vast-1", self.now)
        elif step.do == "use" and self.use.wanted:
            self.use = replace(self.use, busy=True, wanted=False)
        elif step.do == "pull" and not failing:
            self.use = replace(self.use, busy=False, unpulled=False)
        if kill == "after":
            raise Killed
        self._write(name, after)

    def _create(self, row: InstanceRow, outcome: str, lag: float) -> Mapping[str, Any]:
        if outcome in ("never", "refused"):
            return {} if outcome == "never" else changes.refused(self.rows[row.id], "no_such_ask", self.now)
        state = "stopped" if outcome == "half" else "loading"
        number = self.provider.create(row.label, state, self.now + lag)
        if outcome == "lost":
            return {}
        if outcome == "half":
            return changes.refused(self.rows[row.id], "the bid is too low", self.now, number)
        return changes.created(number)

    def _list(self) -> dict[str, tuple[int, Machine]]:
        shown = self.provider.machines.items()
        return {m.label: (n, m) for n, m in shown if m.shown_from <= self.now and not m.hidden}

    def _seen(self, row: InstanceRow, listed: dict[str, tuple[int, Machine]] | None, at: float) -> Seen | None:
        if listed is None:
            return None
        if row.label not in listed:
            return Seen(at, "absent", "no list has it")
        number, machine = listed[row.label]
        return Seen(at, machine.state, "", number, machine.address, min_bid=0.2)

    # ---- the world ----

    @rule(seconds=st.sampled_from([1.0, 20.0, 45.0, 130.0, 400.0, 2000.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(
        state=st.sampled_from(["running", "running", "stopped", "outbid", "exited", "offline", "failed", "unknown",
                               "frozen", "rebooting", "loading"]),
        port=st.integers(1, 3),
    )  # fmt: skip
    def change(self, state: str, port: int) -> None:
        for machine in self.provider.machines.values():
            machine.state = state
            machine.address = ("h", port) if state == "running" else None

    @rule()
    def end_by_provider(self) -> None:
        self.provider.machines.clear()

    @rule(hidden=st.booleans())
    def hide(self, hidden: bool) -> None:
        """A list may lack for a while what is there; asked for by its number the provider tells the truth."""
        for machine in self.provider.machines.values():
            # Not while nobody knows the number: that is what SETTLE_S rules out.
            known = any(row.label == machine.label and row.provider_id is not None for row in self.rows.values())
            machine.hidden = hidden and known

    @rule(answers=st.booleans())
    def reach(self, answers: bool) -> None:
        self.provider.answers = answers

    @rule(use=st.builds(
        Use, busy=st.booleans(), wanted=st.booleans(), unpulled=st.booleans(),
        limit=st.sampled_from([None, None, "the budget is reached"]),
        end=st.sampled_from([None, None, "stop", "destroy"]),
    ))  # fmt: skip
    def need(self, use: Use) -> None:
        self.use = use

    # ---- what always holds ----

    @invariant()
    def no_intent_is_rented_twice(self) -> None:
        assert all(count == 1 for count in self.provider.creates.values()), self.provider.creates

    @invariant()
    def no_job_has_two(self) -> None:
        assert len(self.provider.machines) <= 1, self.provider.machines
        assert sum(1 for row in self.rows.values() if row.live) <= 1

    @invariant()
    def over_is_proven(self) -> None:
        there = {machine.label for machine in self.provider.machines.values()}
        assert [row.phase for row in self.rows.values() if not row.live and row.label in there] == []

    @invariant()
    def what_may_be_billed_has_a_next_step(self) -> None:
        for machine in self.provider.machines.values():
            row = next(row for row in self.rows.values() if row.label == machine.label)
            assert row.billable
            for seen in (None, Seen(self.now, machine.state, "", row.provider_id, machine.address)):
                step = lifecycle.next_step(row, seen, self.use, self.pool, self.now)
                assert step.do != "none", row
                assert step.why
                if seen is None and self.now - (row.seen_at or row.asked_at or 0.0) > lifecycle.ALERT_S:
                    assert step.alert, row

    def teardown(self) -> None:
        """When everything works again and nothing is needed, everything is ended, and shown gone."""
        if not hasattr(self, "rows"):
            return
        self.provider.answers = True
        self.hide(False)
        for turn in range(80):
            self.use = Use(unpulled=self.use.unpulled and turn < 40)
            for machine in self.provider.machines.values():
                if machine.state == "loading":
                    machine.state, machine.address = "running", ("h", turn)
            self.turn()
            self.now += 3600.0
        assert self.provider.machines == {}
        assert {row.phase for row in self.rows.values()} <= {"gone", "failed"}, self.rows


TestRenting = Renting.TestCase
TestRenting.settings = settings(
    max_examples=250, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
