"""Making a round: the one way in which operations reach the nodes about jobs."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from stoker.config import Placement
from stoker.operations import rented_pools
from stoker.operations.rented_unpaid import unpaid
from stoker.operations.values import Problem

if TYPE_CHECKING:
    from stoker.operations.session import Session
    from stoker.runner import PlayResult, TaskResult

Mode = Literal["dispatch", "observe", "adopt"]


def make_round(
    session: Session,
    mode: Mode,
    *,
    nodes: Sequence[str] | None = None,
    jobs: Sequence[str] | None = None,
    wait_s: float = 0.0,
    parts: Sequence[str] = (),
    probe: bool = False,
    epoch: int | None = None,
    pools: Mapping[str, str] | None = None,
) -> tuple[Problem, ...]:
    """Make one round; return what went wrong on single nodes. `None` leaves the choice of nodes and jobs to it.

    `wait_s` lets nodes hold their answer that long for something to change; `parts` of the nodes themselves are read in
    the same round trip; `probe` asks nodes that were not heard of for a while, too; `epoch` is that of the leader whose
    round it is. `pools` is what whoever rents says of pools that have no machine for a job. Raises StokerError when no
    round could be made.
    """
    request: dict[str, Any] = {
        "mode": mode,
        "nodes": list(nodes) if nodes is not None else None,
        "jobs": list(jobs) if jobs is not None else None,
        "wait_s": wait_s,
        "log_keep_bytes": session.config.log_keep_bytes,
        "membership": membership(session),
        "probe": probe,
    }
    if epoch is not None:
        request["epoch"] = epoch
    if mode == "dispatch" and session.config.pools:
        request["pools"] = rented_pools.told(session, pools)
        request["unpaid"] = unpaid(session, session.store.jobs(states=("queued",)), time.time())
    if session.config.placement != Placement():
        request["placement"] = asdict(session.config.placement)
    if parts:
        request |= looks(session, parts)
    played = session.runner.play(
        "stoker.fleet.dispatch",
        extra_vars={"stoker_store_url": session.store_url, "stoker_round": request},
        meanwhile=_import_store,
    )
    session.store  # noqa: B018  a broken store is told as what it is, not as a failed playbook
    return problems_of(played)


def membership(session: Session) -> dict[str, Any]:
    """The settings of membership, as a round takes them."""
    told = dict(vars(session.config.membership))
    return {**told, "auto_approve": list(told["auto_approve"])}


def looks(session: Session, parts: Sequence[str]) -> dict[str, Any]:
    """The fields of a round that reads `parts` of the nodes themselves, with the settings that count for these."""
    preflight = session.config.preflight
    return {
        "parts": list(parts),
        "busy_processes": None if preflight.busy_processes is None else list(preflight.busy_processes),
        "quarantine_s": preflight.quarantine_s,
        "telemetry": dict(vars(session.config.telemetry)),
        "membership": membership(session),
    }


def _import_store() -> None:
    """Half of a small call's CPU time, spent while this process would only wait for Ansible."""
    import stoker.store  # noqa: F401


def ask_nodes(
    session: Session,
    playbook: str,
    requests: Mapping[str, Mapping[str, Any]],
    nodes: Sequence[str],
    *,
    tied: bool = False,
) -> tuple[dict[str, TaskResult], tuple[Problem, ...]]:
    """Run one of the small playbooks on `nodes`, each with its request (by node, `*` for all others).

    Returns the answers by node, and what went wrong on the others. `tied`: the nodes stop when this process ends. The
    requests travel as base64: text such as `{{ x }}` in a command is data, and Ansible must not take it for a template.
    """
    packed = base64.b64encode(json.dumps(requests).encode()).decode()
    played = session.runner.play(playbook, extra_vars={"stoker_requests": packed}, limit=",".join(nodes), tied=tied)
    return {result.host: result for result in played.results if result.status == "ok"}, problems_of(played)


def problems_of(played: PlayResult) -> tuple[Problem, ...]:
    """The unreachable and failed nodes of a run, in the nodes' own words."""
    kinds: tuple[tuple[Literal["unreachable", "failed"], Mapping[str, str]], ...] = (
        ("unreachable", played.unreachable),
        ("failed", played.failed),
    )
    return tuple(
        Problem(node, message, played.next_steps.get(node), kind)
        for kind, told in kinds
        for node, message in told.items()
    )
