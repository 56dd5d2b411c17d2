"""A round that tends the rented machines before it asks the nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stoker.operations.rounds import make_round

if TYPE_CHECKING:
    from stoker.operations.session import Session
    from stoker.operations.values import Problem


def tending_round(
    session: Session, *, jobs: Sequence[str] | None = None, wait_s: float = 0.0, probe: bool = False,
    epoch: int | None = None,
) -> tuple[Problem, ...]:  # fmt: skip
    """Tend, then make a dispatch round; what went wrong with either. `epoch` is that of the leader whose round it is.

    Without one it tends where no dispatcher leads, so that who waits for a job of a pool gets it a machine; never for
    an assistant: what costs money it has to ask for by name. Raises StokerError when no round could be made.
    """
    pools: dict[str, str] | None = None
    problems: tuple[Problem, ...] = ()
    if _any(session) and (epoch is not None or (session.client is None and not _led(session))):
        from stoker.operations.rented_tending import tend

        tended = tend(session, epoch)
        pools, problems = tended.pools, tended.problems
    return problems + make_round(session, "dispatch", jobs=jobs, wait_s=wait_s, probe=probe, epoch=epoch, pools=pools)


def _any(session: Session) -> bool:
    """Whether there is anything to tend: pools, or machines of pools that the settings have no more."""
    return bool(session.config.pools) or bool(session.store.instances.all())


def _led(session: Session) -> bool:
    leader = next((row for row in session.store.dispatchers.list() if row.leader), None)
    return leader is not None and session.store.dispatchers.there(leader.id)
