"""Answers to questions over several runs, on a terminal."""

from __future__ import annotations

import time
from typing import Any

from stoker.analysis.answers import ReportWritten, RunCauses, RunComment, RunCosts, RunNews, RunQuery, SchemaProposed
from stoker.cli import format as fmt
from stoker.cli.out import Out
from stoker.cli.render_runs import records, setting, state_of
from stoker.operations.runs_watch import NewsStream


def query(value: RunQuery, out: Out) -> None:
    """`stoker runs query`."""
    for sentence in value.unreadable:
        out.note(fmt.one_line(sentence))
    rows = []
    for run in value.runs:
        cells = [_cell(run.values[column], out) for column in value.columns]
        rows.append((run.info.id, run.info.name or "-", state_of(run.info), *cells))
    if rows or out.form == "csv":
        out.table(("RUN", "NAME", "STATE", *value.columns), rows)
    said = f"{len(value.runs):,} of {value.total:,} runs"
    if value.unknown:
        said += f" · of {value.unknown:,} it cannot be told: they lack what was asked for"
    out.remark((said, "dim"))


def report(value: ReportWritten, out: Out) -> None:
    """`stoker runs report`."""
    said = f"  {fmt.size(value.bytes)}, {len(value.runs)} run{'s' * (len(value.runs) != 1)}, {value.metrics} metrics"
    out.line((fmt.one_line(value.path), "bold"), said)
    if value.drawn < value.total:
        out.remark((f"{value.drawn:,} of {value.total:,} points are drawn (--points); figures are of all", "dim"))
    if value.left_out:
        out.remark((f"{len(value.left_out):,} metrics found no room: -k picks", "dim"))


def schema(value: SchemaProposed, out: Out) -> None:
    """`stoker runs init`: the text itself where it was only asked for."""
    if value.path is None:
        out.text(fmt.safe(value.text))
        return
    out.line((fmt.one_line(value.path), "bold"), f"  {len(value.text.splitlines())} lines: edit it as you like")
    out.remark(("next: stoker runs summary RUN", "dim"))


def costs(value: RunCosts, out: Out) -> None:
    """`stoker runs cost`."""
    for sentence in value.unreadable:
        out.note(fmt.one_line(sentence))
    if out.form == "csv":
        records(out, value.runs)
        return
    rows = []
    for run in value.runs:
        hours = "-" if run.gpu_hours is None else f"{run.gpu_hours:,.2f}"
        amount = "unknown" if run.cost is None else f"{run.cost:,.2f}"
        figures = (fmt.duration(run.seconds), str(run.gpus or "-"), run.gpu or "-", hours, fmt.number(run.per_hour))
        rows.append(
            (run.info.id, run.info.name or "-", *figures, amount, run.unknown or f"{run.whence}; {run.how_long}")
        )
    if rows:
        out.table(("RUN", "NAME", "TIME", "GPUS", "GPU", "GPU-HOURS", "PER HOUR", "DOLLARS", "HOW THAT IS KNOWN"), rows)
    said = f"{value.total:,.2f} dollars for {len(value.runs) - value.unknown:,} of {len(value.runs):,} runs"
    said += f" · of {value.unknown:,} it is unknown" if value.unknown else ""
    out.remark((said, "dim"))


def causes(value: RunCauses, out: Out) -> None:
    """`stoker runs why`."""
    m = value.metric
    a, b = (f"{fmt.number(p.value)} @{p.step:,.15g}" if p is not None else "unknown" for p in (m.a, m.b))
    percent = f" ({m.percent:+.1f}%)" if m.percent is not None else ""
    better = {"a": ", A is better", "b": ", B is better"}.get(m.better or "", "")
    out.remark((f"{m.label or m.name}", "bold"), f"  {a} in A, {b} in B{percent}{better}")
    for letter, info in (("A", value.a), ("B", value.b)):
        out.remark(f"{letter}  ", (fmt.one_line(info.title), "bold"), f"  {state_of(info)}  {info.kind} {info.id}")
    rows = []
    for cause in value.causes:
        share = "-" if cause.share is None else f"{cause.share:.0%}"
        rows.append((cause.kind, cause.name, setting(cause.a), setting(cause.b), share, cause.evidence or "-"))
    if rows:
        out.table(("WHAT", "NAME", "A", "B", "OF THE CHANGE", "WHAT OTHER RUNS SAY"), rows)
    else:
        out.remark("nothing that is known differs")
    if value.unknown:
        out.remark((f"not compared, as nobody wrote it down: {', '.join(value.unknown)}", "yellow"))
    said = f"{value.asked} other run{'s' * (value.asked != 1)} asked" if value.asked else "no other run has this metric"
    out.remark((f"{said}; they may differ in more than one thing", "dim"))


def comment(value: RunComment, out: Out) -> None:
    """`stoker runs comment`: the text itself, to be piped on."""
    out.text(fmt.safe(value.text))
    if value.unknown:
        out.note(f"not known, so not linked: {', '.join(value.unknown)} (--remote says the repository)")


def news(stream: NewsStream, out: Out) -> int:
    """`stoker runs watch`: a line for each new step, and for each alert. Ctrl-C ends it."""
    last: RunNews | None = None
    try:
        for last in stream:
            _news(last, out)
    except KeyboardInterrupt:
        out.note("")
        raise
    if stream.one_look and last is not None:
        out.remark((f"{last.tokens:,} tokens as CSV · to go on from here: --since {last.cursor}", "dim"))
    return stream.exit_code or 0


def _news(one: RunNews, out: Out) -> None:
    for alert in one.alerts:
        colour = {"critical": "red", "error": "red", "warning": "yellow"}.get(alert.severity, "green")
        out.line((f"{alert.severity.upper():<8}  ", colour), fmt.one_line(alert.text))
    if one.total > len(one.rows):
        out.remark((f"{len(one.rows):,} of {one.total:,} new steps (-n)", "dim"))
    place = ""
    if one.seen is not None:
        place = f"  {fmt.one_line(one.seen.node)}, {fmt.age(max(0.0, time.time() - one.seen.at))} ago"
    for row in one.rows:
        words = [f"{fmt.one_line(key)} {fmt.number(row.values[key])}" for key in one.keys if key in row.values]
        out.line((f"step {fmt.number(row.step)}", "bold"), "  " + "  ".join(words), (place, "dim"))
    if one.state.name in ("finished", "failed", "cancelled") or (one.seen and one.state.name == "unfinished"):
        out.line((one.state.name, "bold"), f"  {fmt.one_line(one.state.evidence)}")


def _cell(value: Any, out: Out) -> str:
    if value is None:
        return "" if out.form == "csv" else "-"
    if isinstance(value, float) and out.form != "csv":
        return fmt.number(value)
    return setting(value)
