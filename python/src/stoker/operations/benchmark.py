"""How fast nodes are: measured, kept, and shown beside what was measured before."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stoker.errors import UsageError
from stoker.operations.environments import folder_of
from stoker.operations.registry import operation
from stoker.operations.rounds import ask_nodes
from stoker.operations.session import Session
from stoker.operations.values import Problem

if TYPE_CHECKING:
    from stoker.store.benchmarks import BenchmarkRow

_EARLIER = 5
_ORDER = ("cpu", "memory", "gpu")


@dataclass(frozen=True)
class Earlier:
    """What was measured before, with the same kernel. `at` is in Unix seconds; `busy`: jobs ran meanwhile."""

    at: float
    value: float
    spread_pct: float
    busy: bool


@dataclass(frozen=True)
class Measure:
    """One figure: the median of three. None where it could not be measured, and `unknown` says why.

    `kernel` is what it was measured with: figures of different kernels cannot be compared. `spread_pct` is how far the
    three were apart, `steady` whether that was at most 10 %. `change_pct` is against the newest of `earlier`.
    """

    name: str
    unit: str
    device: str | None
    kernel: str | None
    value: float | None
    spread_pct: float | None
    steady: bool | None
    unknown: str | None
    earlier: tuple[Earlier, ...]
    change_pct: float | None


@dataclass(frozen=True)
class NodeBenchmark:
    """What one node was measured at. `jobs` were on it meanwhile. `python` is the interpreter there that measured."""

    node: str
    at: float
    python: str | None
    measures: tuple[Measure, ...]
    jobs: tuple[str, ...]


@dataclass(frozen=True)
class BenchmarkReport:
    """The benchmark of some nodes. `stored`: nothing was measured, it is the newest that is kept."""

    nodes: tuple[NodeBenchmark, ...]
    stored: bool
    problems: tuple[Problem, ...] = ()


@operation("nodes", "benchmark", "operate")
def benchmark(
    session: Session, on: str, *, project: str | None = None, python: str | None = None, stored: bool = False
) -> BenchmarkReport:
    """Measure how fast nodes compute: CPU, memory, and GPUs where torch is there. Each is the median of three.

    The figures are kept and shown beside earlier ones. Each is told with what it was measured with; those of different
    kernels cannot be compared. Jobs on the node are disturbed, and disturb: they are named.

    Args:
        on: Node or group.
        project: Measure with the Python of this project's environment (stoker environment), where torch may be.
        python: Measure with this Python of the node; by default the one that Ansible uses.
        stored: Measure nothing, show what is kept.
    """
    names = session.inventory.match(on)
    if project is not None and python is not None:
        raise UsageError("--project and --python both say with which Python to measure")
    if stored:
        return BenchmarkReport(tuple(n for n in (_kept(session, name) for name in names) if n), stored=True)
    asked: dict[str, dict[str, Any]] = {name: {"op": "benchmark", "interpreter": python} for name in names}
    for name in names if project is not None else ():
        asked[name]["interpreter"] = f"{folder_of(session, name, project or '')}/bin/python"
    session.say(f"measuring {', '.join(names)}: some ten seconds, longer with GPUs")
    answers, problems = ask_nodes(session, "stoker.fleet.request", asked, names)
    told = {name: answers[name].res["reply"]["benchmark"] for name in names if name in answers}
    return BenchmarkReport(tuple(_measured(session, n, found) for n, found in told.items()), False, problems)


def _measured(session: Session, node: str, told: Mapping[str, Any]) -> NodeBenchmark:
    """Keep what a node told, and put it beside what is known."""
    from stoker.store.benchmarks import BenchmarkRow

    before, now = session.store.benchmarks.of(node), time.time()
    session.store.benchmarks.add(
        BenchmarkRow(
            now, node, m["name"], m["device"], m["kernel"], m["unit"], m["value"], m["spread_pct"], bool(told["jobs"])
        )
        for m in told["measures"]
        if m["value"] is not None
    )
    measures = tuple(_beside(m, _alike(before, m["name"], m["device"], m["kernel"])) for m in told["measures"])
    return NodeBenchmark(node, now, told["python"], measures, tuple(told["jobs"]))


def _kept(session: Session, node: str) -> NodeBenchmark | None:
    """The newest of each figure that is kept of a node; None where nothing is."""
    rows = session.store.benchmarks.of(node)
    newest: dict[tuple[str, str | None], BenchmarkRow] = {}
    for row in rows:
        newest.setdefault((row.name, row.device), row)
    measures = []
    for row in sorted(newest.values(), key=lambda row: (_ORDER.index(row.name), row.device or "")):
        told = {"name": row.name, "unit": row.unit, "device": row.device, "kernel": row.kernel, "value": row.value,
                "spread_pct": row.spread_pct, "steady": row.spread_pct <= 10, "unknown": None}  # fmt: skip
        measures.append(_beside(told, [r for r in _alike(rows, row.name, row.device, row.kernel) if r is not row]))
    return NodeBenchmark(node, rows[0].at, None, tuple(measures), ()) if rows else None


def _alike(rows: list[BenchmarkRow], name: str, device: str | None, kernel: str | None) -> list[BenchmarkRow]:
    return [row for row in rows if (row.name, row.device, row.kernel) == (name, device, kernel)][: _EARLIER + 1]


def _beside(told: Mapping[str, Any], before: list[BenchmarkRow]) -> Measure:
    earlier = tuple(Earlier(row.at, row.value, row.spread_pct, row.busy) for row in before[:_EARLIER])
    value = told["value"]
    change = (value / earlier[0].value - 1) * 100 if value is not None and earlier else None
    return Measure(
        told["name"], told["unit"], told["device"], told["kernel"], value, told["spread_pct"], told["steady"],
        told["unknown"], earlier, None if change is None else round(change, 2),
    )  # fmt: skip
