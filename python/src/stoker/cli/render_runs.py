"""Training runs on a terminal."""

from __future__ import annotations

import json
from typing import Any

from stoker.analysis.values import (
    Point,
    Ranking,
    RunChart,
    RunComparison,
    RunConfig,
    RunHistory,
    RunInfo,
    RunKeys,
    RunList,
    RunNotes,
    RunStability,
    RunStats,
    RunSummary,
)
from stoker.cli import format as fmt
from stoker.cli.out import Out

_STYLES = {"failed": "red", "finished": "green", "running": "cyan"}


def run_list(value: RunList, out: Out) -> None:
    """`stoker runs list` and `find`."""
    for sentence in value.unreadable:
        out.note(fmt.one_line(sentence))
    if not value.runs:
        out.remark(f"no run in {fmt.one_line(value.folder)} · stoker runs list --help says what is looked for")
        return
    rows = []
    for run in value.runs:
        labels = " ".join([*([run.group] if run.group else []), *(f"#{tag}" for tag in run.tags)])
        written = f"{fmt.age(value.read_at - run.updated_at)} ago"
        state = (_state(run), _STYLES.get(run.state.name, ""))
        rows.append(
            (run.id, run.name or "-", run.project or "-", run.kind, state, written, fmt.size(run.bytes), labels)
        )
    out.table(("RUN", "NAME", "PROJECT", "KIND", "STATE", "WRITTEN", "SIZE", "GROUP AND TAGS"), rows)


def _state(run: RunInfo) -> str:
    return f"{run.state.name} ({run.state.exit_code})" if run.state.exit_code else run.state.name


def summary(value: RunSummary, out: Out) -> None:
    """`stoker runs summary` and `latest`: the text that the tokens were counted of."""
    first, *lines = value.text.split("\n")
    out.remark((first, "bold"))
    for line in lines:
        out.remark(line)
    out.remark((f"{value.tokens} of {value.budget} tokens", "dim"))


def keys(value: RunKeys, out: Out) -> None:
    """`stoker runs keys`."""
    rows = [
        (
            k.name,
            fmt.number(k.count),
            fmt.number(k.last_step),
            {"min": "lower", "max": "higher"}.get(k.direction or "", "-"),
        )
        for k in value.keys
    ]
    if rows:
        out.table(("METRIC", "POINTS", "NEWEST STEP", "BETTER"), rows)
    else:
        out.remark(f"{value.info.title} has no metric")
    for remark in value.remarks:
        out.remark(f"! {remark}")
    for reason, count in value.skipped.items():
        out.remark(f"skipped: {count:,} x {reason}")


def config(value: RunConfig, out: Out) -> None:
    """`stoker runs config`."""
    if not value.settings:
        out.remark(f"{value.info.title} has no settings that are known")
        return
    out.table(("SETTING", "VALUE"), [(key, _setting(setting)) for key, setting in value.settings.items()])


def notes(value: RunNotes, out: Out) -> None:
    """`stoker runs notes`."""
    info = value.info
    facts = {
        "run": info.id, "name": info.name, "project": info.project, "group": info.group, "job type": info.job_type,
        "tags": ", ".join(info.tags), "notes": info.notes, "host": info.host, "commit": info.commit,
        "state": f"{_state(info)}: {info.state.evidence}",
    }  # fmt: skip
    out.table(("WHAT", "VALUE"), [(what, said) for what, said in facts.items() if said])
    for line in value.log:
        out.remark(f"> {line}")


def history(value: RunHistory, out: Out) -> None:
    """`stoker runs history`."""
    if not value.rows:
        out.remark(f"{value.info.title} has no point")
        return
    rows = [
        (f"{row.step:.15g}", *(fmt.number(row.values[key]) if key in row.values else "" for key in value.keys))
        for row in value.rows
    ]
    out.table(("STEP", *value.keys), rows)
    out.remark((f"{len(value.rows):,} of {value.total:,} rows · {value.tokens:,} tokens as CSV", "dim"))


def chart(value: RunChart, out: Out) -> None:
    """`stoker runs chart`."""
    if not value.charts:
        out.remark(f"{value.info.title} has no metric")
    for drawn in value.charts:
        out.remark((drawn.name, "bold"), f"  {value.info.title}")
        for line in drawn.lines:
            out.remark(line)


def stats(value: RunStats, out: Out) -> None:
    """`stoker runs stats`."""
    rows = []
    for m in value.metrics:
        odd = ", ".join(f"{count:,} {what}" for count, what in ((m.nan, "NaN"), (m.inf, "Inf")) if count) or "-"
        best = _point(m.best)
        figures = (fmt.number(m.final), best, _point(m.min), _point(m.max), fmt.number(m.mean), fmt.number(m.std))
        rows.append((m.name, fmt.number(m.count), *figures, odd))
    out.table(("METRIC", "POINTS", "FINAL", "BEST", "MIN", "MAX", "MEAN", "STD", "NOT FINITE"), rows)


def stability(value: RunStability, out: Out) -> None:
    """`stoker runs stability`."""
    rows = []
    for m in value.metrics:
        slope = "-" if m.slope_per_1000 is None else f"{fmt.number(m.slope_per_1000)} ± {fmt.number(m.slope_error)}"
        percent = "-" if m.percent_per_1000 is None else f"{m.percent_per_1000:+.3g}%"
        verdict = m.verdict or m.unknown or "-"
        since = fmt.number(m.since)
        rows.append((m.name, verdict, slope, percent, fmt.number(m.noise), fmt.number(m.points), since))
    out.table(("METRIC", "MOVES", "SLOPE PER 1,000 STEPS", "OF MEAN", "NOISE", "POINTS", "SINCE STEP"), rows)


def ranking(value: Ranking, out: Out) -> None:
    """`stoker runs best`."""
    word = "lowest" if value.direction == "min" else "highest"
    rows = []
    for place, run in enumerate(value.runs, 1):
        figures = [fmt.number(figure) for figure in (run.best.value, run.best.step, run.final)]
        rows.append((str(place), run.info.id, run.info.name or "-", *figures, _state(run.info)))
    out.table(("", "RUN", "NAME", f"{word.upper()} {value.key}", "AT STEP", "FINAL", "STATE"), rows)
    if value.left_out:
        out.remark((f"{value.left_out} more (-n)", "dim"))
    if value.without:
        have = "run has" if value.without == 1 else "runs have"
        out.remark((f"{value.without} {have} no finite {value.key}", "dim"))


def comparison(value: RunComparison, out: Out) -> None:
    """`stoker runs compare`."""
    for letter, info, step in (("A", value.a, value.a_step), ("B", value.b, value.b_step)):
        at = f" at step {step:g}" if step is not None else ""
        out.remark(f"{letter}  ", (info.title, "bold"), f"{at}  {_state(info)}  {info.kind} {info.id}")
    for warning in value.warnings:
        out.remark(f"! {warning}")
    rows = []
    for m in value.metrics:
        change = m.unknown or (f"{m.percent:+.1f}%" if m.percent is not None else "-")
        better = {"a": "A", "b": "B", "same": "=", None: "-"}[m.better]
        ends = (_point(m.a), _point(m.b), _signed(m.delta), better, _point(m.best_a), _point(m.best_b))
        rows.append((m.name, *ends, change))
    if rows:
        out.table(("METRIC", "A", "B", "DELTA", "BETTER", "BEST A", "BEST B", "CHANGE"), rows)
    if value.hidden:
        out.remark((f"{value.hidden} metrics are not shown: they did not pass -f, -g or -t", "dim"))
    if value.config:
        changed = [
            (c.key, _setting(c.a) if c.a_has else "(not set)", _setting(c.b) if c.b_has else "(not set)")
            for c in value.config
        ]
        out.table(("SETTING", "A", "B"), changed)
    else:
        out.remark(("no setting that is known differs", "dim"))


def _point(point: Point | None) -> str:
    return "-" if point is None else f"{fmt.number(point.value)} @{point.step:,.15g}"


def _signed(value: float | None) -> str:
    text = fmt.number(value)
    return f"+{text}" if value is not None and value > 0 else text


def _setting(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
