"""Benchmarks on a terminal."""

from __future__ import annotations

import time

from stoker.cli import format as fmt
from stoker.cli.out import Out
from stoker.operations.benchmark import BenchmarkReport, Measure, NodeBenchmark


def report(value: BenchmarkReport, out: Out) -> None:
    """`stoker benchmark`: a line for each figure, and what it was measured with."""
    if not value.nodes and value.stored:
        out.line("nothing was measured yet")
    for node in value.nodes:
        _node(node, value.stored, out)


def _node(node: NodeBenchmark, stored: bool, out: Out) -> None:
    when = f", {fmt.age(max(0.0, time.time() - node.at))} ago" if stored else ""
    out.line(fmt.one_line(f"{node.node}{when}"))
    for measure in node.measures:
        out.line(fmt.one_line(f"  {_figure(measure)}"))
        if measure.kernel:
            out.line((fmt.one_line(f"          {measure.kernel}"), "dim"))
    if node.jobs:
        out.note(
            fmt.one_line(f"{node.node}: jobs were on it meanwhile, the figures may be low: {', '.join(node.jobs)}")
        )


def _figure(measure: Measure) -> str:
    name = f"{measure.name:<6}"
    device = f"  {measure.device}" if measure.device else ""
    if measure.value is None:
        return f"{name}  unknown: {measure.unknown}{device}"
    text = f"{name}  {_short(measure.value)} {measure.unit}{device}"
    text += "" if measure.steady else f"  unsteady: three figures {measure.spread_pct:.0f}% apart"
    if measure.change_pct is not None:
        ago = fmt.age(max(0.0, time.time() - measure.earlier[0].at))
        busy = ", with jobs on it" if measure.earlier[0].busy else ""
        text += f"  {measure.change_pct:+.1f}% against {_short(measure.earlier[0].value)} of {ago} ago{busy}"
    return text


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
