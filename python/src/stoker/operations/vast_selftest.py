"""Trying the provider itself: one machine, for as long as it takes to be ready and gone again. Costs some cents."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from stoker.errors import StokerError
from stoker.operations import quantities, rented_hosts, rented_ssh
from stoker.operations.registry import operation
from stoker.operations.rented_values import instances_of
from stoker.operations.session import Session
from stoker.operations.vast import list_offers
from stoker.operations.vast_changes import PATIENCE, destroy, rent


@dataclass(frozen=True)
class Trial:
    """One part of the test: what was tried, whether it worked, what came of it, and how long it took in seconds."""

    name: str
    ok: bool
    told: str
    elapsed_s: float


@dataclass(frozen=True)
class SelfTest:
    """What was tried, in order. `spent`: what it cost by Stoker's own count, in dollars. `exit_code` 0: all worked."""

    pool: str
    trials: tuple[Trial, ...]
    spent: float | None

    @property
    def exit_code(self) -> int:
        """0: all of it worked."""
        return 0 if all(trial.ok for trial in self.trials) else 1


@operation("vast", "vast selftest", "spend", destroys=True)
def selftest(session: Session, pool: str, *, patience: float | str = PATIENCE) -> SelfTest:
    """Rent the best machine of a pool, log in, destroy it, and say what worked. It costs what it costs.

    The machine is destroyed whatever went wrong; where that is not shown, it is said.

    Args:
        pool: Name of the pool.
        patience: How long to wait for the machine, and for its end (10m).
    """
    quantities.seconds(patience, "--patience")
    trials: list[Trial] = []
    machine: list[str] = []
    before = {row.id for row in session.store.instances.all()}

    def offers() -> str:
        found = list_offers(session, pool, limit=1)
        if not found.offers:
            raise StokerError(found.told or "there is no offer")
        return found.offers[0].why

    def rented() -> str:
        change = rent(session, pool, wait=True, patience=patience)
        machine.append(change.instances[0].id)
        if change.problems:
            raise StokerError(change.problems[0].message)
        return change.told[0]

    if _tried(session, trials, "offers", offers):
        if _tried(session, trials, "rent, wait until it is ready", rented):
            _tried(session, trials, "run a command on it", lambda: _command(session, machine[0]))
        # One whose rent went wrong half way may be there all the same.
        machine = machine or [row.id for row in session.store.instances.all() if row.id not in before]
        if machine:
            _tried(session, trials, "destroy, until it is shown gone", lambda: _gone(session, machine[0], patience))
    row = session.store.instances.get(machine[0]) if machine else None
    spent = instances_of(session, [row])[0].spent if row is not None else None
    return SelfTest(pool, tuple(trials), spent)


def _tried(session: Session, trials: list[Trial], name: str, what: Callable[[], str]) -> bool:
    began = time.monotonic()
    if session.progress is not None:
        session.progress(name)
    try:
        told, ok = what(), True
    except StokerError as problem:
        told, ok = problem.message, False
    trials.append(Trial(name, ok, told, time.monotonic() - began))
    if session.progress is not None:
        session.progress("")
    return ok


def _command(session: Session, instance: str) -> str:
    row = session.store.instances.get(instance)
    if row is None or row.host is None or row.port is None or row.host_key is None:
        raise StokerError("it has no address")
    script = "uname -sr; python3 --version; nvidia-smi --query-gpu=name,driver_version --format=csv,noheader || true"
    ran = rented_ssh.ask(rented_hosts.place_of(session), row.host, row.port, row.host_key, script, 60.0)
    if ran.problem is not None or ran.code != 0:
        raise StokerError(ran.problem or f"it ended with {ran.code}")
    return "; ".join(line.strip() for line in ran.output.splitlines() if line.strip())[:300]


def _gone(session: Session, instance: str, patience: float | str) -> str:
    change = destroy(session, instance, patience=patience)
    if change.problems:
        raise StokerError(change.problems[0].message)
    return change.told[0]
