"""Training runs on a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stoker.analysis.summaries import RunSummary
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
        state = (state_of(run), _STYLES.get(run.state.name, ""))
        rows.append((run.id, run.name or "-", run.project or "-", run.kind, state, written, _size(run), labels))
    out.table(("RUN", "NAME", "PROJECT", "KIND", "STATE", "WRITTEN", "SIZE", "GROUP AND TAGS"), rows)


def _size(run: RunInfo) -> str:
    """Nobody says how large a run on a server is."""
    return "-" if "://" in run.segments[-1] else fmt.size(run.bytes)


def state_of(run: RunInfo) -> str:
    """`finished`, `failed (3)`."""
    return f"{run.state.name} ({run.state.exit_code})" if run.state.exit_code else run.state.name


def freshness(value: object, out: Out) -> None:
    """Of runs that were read on nodes: where, how long ago they had been written to, and how much was sent."""
    one = getattr(value, "info", None)
    infos = [one] if one is not None else [getattr(value, side, None) for side in ("a", "b")]
    infos += [getattr(run, "info", run) for run in getattr(value, "runs", ())]
    told = {
        (info.seen.node, info.seen.job): info for info in infos if isinstance(info, RunInfo) and info.seen is not None
    }
    for info in told.values():
        seen = info.seen
        assert seen is not None
        written = fmt.age(max(0.0, seen.at + seen.ahead_s - info.updated_at))
        what = "every point" if seen.full else "a digest"
        place = f"{fmt.one_line(seen.node)}, {seen.job} attempt {seen.attempt}"
        out.remark((f"{place}: written {written} before it was read there; {what}, {fmt.size(seen.bytes)}", "dim"))


def summary(value: RunSummary, out: Out) -> None:
    """`stoker runs summary` and `latest`: the text that the tokens were counted of."""
    first, *lines = value.text.split("\n")
    out.remark((first, "bold"))
    for line in lines:
        out.remark(line)
    out.remark((f"{value.tokens} of {value.budget} tokens", "dim"))


def keys(value: RunKeys, out: Out) -> None:
    """`stoker runs keys`."""
    ways = {"min": "lower", "max": "higher", None: "-"}
    rows = []
    for key in value.keys:
        figures = (fmt.number(key.count), fmt.number(key.last_step), ways[key.direction])
        rows.append((_named(key.name, key.label), key.group or "-", *figures))
    if rows:
        out.table(("METRIC", "GROUP", "POINTS", "NEWEST STEP", "BETTER"), rows)
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
    out.table(("SETTING", "VALUE"), [(key, setting(said)) for key, said in value.settings.items()])


def notes(value: RunNotes, out: Out) -> None:
    """`stoker runs notes`."""
    info = value.info
    facts = {
        "run": info.id, "name": info.name, "project": info.project, "group": info.group, "job type": info.job_type,
        "tags": ", ".join(info.tags), "notes": info.notes, "host": info.host, "commit": info.commit,
        "state": f"{state_of(info)}: {info.state.evidence}",
    }  # fmt: skip
    out.table(("WHAT", "VALUE"), [(what, said) for what, said in facts.items() if said])
    for line in value.log:
        out.remark(f"> {line}")


def history(value: RunHistory, out: Out) -> None:
    """`stoker runs history`."""
    if out.form == "csv":
        out.text(value.text)
    if not value.rows:
        out.remark(f"{value.info.title} has no point")
        return
    rows = []
    for row in value.rows:
        cells = (_value(row.values.get(key), value.formats[key]) if key in row.values else "" for key in value.keys)
        rows.append((f"{row.step:.15g}", *cells))
    if out.form != "csv":
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
        points = [_point(point, m.format) for point in (m.best, m.min, m.max)]
        figures = (_value(m.final, m.format), *points, _value(m.mean, m.format), fmt.number(m.std))
        row = (m.label or m.name, fmt.number(m.count), *figures, odd)
        rows.append((*row, written(value.info, m.at)) if value.info.seen is not None else row)
    if out.form == "csv":
        records(out, value.metrics)
        return
    heads = ("METRIC", "POINTS", "FINAL", "BEST", "MIN", "MAX", "MEAN", "STD", "NOT FINITE")
    out.table((*heads, "WRITTEN") if value.info.seen is not None else heads, rows)


def written(info: RunInfo, at: float | None) -> str:
    """`spark, 12 s ago`: where a figure is from, and how old its newest point was when it was read."""
    seen = info.seen
    assert seen is not None
    age = seen.at + seen.ahead_s - (info.updated_at if at is None else at)
    return f"{fmt.one_line(seen.node)}, {fmt.age(max(0.0, age))} ago"


def stability(value: RunStability, out: Out) -> None:
    """`stoker runs stability`."""
    rows = []
    for m in value.metrics:
        slope = "-" if m.slope_per_1000 is None else f"{fmt.number(m.slope_per_1000)} ± {fmt.number(m.slope_error)}"
        percent = "-" if m.percent_per_1000 is None else f"{m.percent_per_1000:+.3g}%"
        verdict = m.verdict or m.unknown or "-"
        since = fmt.number(m.since)
        level = "-"
        if m.level is not None and m.level_high is not None:
            level = f"{fmt.number(m.level)} ± {fmt.number(m.level_high - m.level)}"
        rows.append((m.name, verdict, slope, percent, level, fmt.number(m.noise), fmt.number(m.points), since))
    if out.form == "csv":
        records(out, value.metrics)
        return
    out.table(
        ("METRIC", "MOVES", "SLOPE PER 1,000 STEPS", "OF MEAN", "LEVEL NOW (95%)", "NOISE", "POINTS", "SINCE STEP"),
        rows,
    )


def ranking(value: Ranking, out: Out) -> None:
    """`stoker runs best`."""
    word = "lowest" if value.direction == "min" else "highest"
    rows = []
    for place, run in enumerate(value.runs, 1):
        figures = [fmt.number(figure) for figure in (run.best.value, run.best.step, run.final)]
        rows.append((str(place), run.info.id, run.info.name or "-", *figures, state_of(run.info)))
    if out.form == "csv":
        records(out, value.runs)
        return
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
        out.remark(f"{letter}  ", (info.title, "bold"), f"{at}  {state_of(info)}  {info.kind} {info.id}")
    for warning in value.warnings:
        out.remark(f"! {warning}")
    rows = []
    for m in value.metrics:
        change = m.unknown or (f"{m.percent:+.1f}%" if m.percent is not None else "-")
        better = {"a": "A", "b": "B", "same": "=", None: "-"}[m.better]
        a, b, best_a, best_b = (_point(point, m.format) for point in (m.a, m.b, m.best_a, m.best_b))
        rows.append((m.label or m.name, a, b, _signed(m.delta), better, best_a, best_b, change))
    if out.form == "csv":
        records(out, value.metrics)
        return
    if rows:
        out.table(("METRIC", "A", "B", "DELTA", "BETTER", "BEST A", "BEST B", "CHANGE"), rows)
    if value.hidden:
        out.remark((f"{value.hidden} metrics are not shown: they did not pass -f, -g or -t", "dim"))
    if value.config:
        changed = [
            (c.key, setting(c.a) if c.a_has else "(not set)", setting(c.b) if c.b_has else "(not set)")
            for c in value.config
        ]
        out.table(("SETTING", "A", "B"), changed)
    else:
        out.remark(("no setting that is known differs", "dim"))


def records(out: Out, values: Sequence[Any]) -> None:
    """Values as CSV: every figure, exact, in a column of its own."""
    rows = [dict(_columns(fmt.plain(value))) for value in values]
    heads = list(dict.fromkeys(head for row in rows for head in row))
    if heads:
        out.table(heads, [["" if row.get(head) is None else str(row[head]) for head in heads] for row in rows])


def _columns(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if name == "info":
            yield from (("run", inner["id"]), ("name", inner["name"]))
        elif isinstance(inner, dict):
            yield from _columns(inner, f"{prefix}{name}_")
        elif isinstance(inner, list) and not any(isinstance(one, dict | list) for one in inner):
            yield prefix + name, " ".join(map(str, inner))
        else:
            yield prefix + name, inner


def _point(point: Point | None, form: str | None = None) -> str:
    return "-" if point is None else f"{_value(point.value, form)} @{point.step:,.15g}"


def _value(value: float | None, form: str | None) -> str:
    """In the format that the schema says, else in few digits."""
    from stoker.analysis.schema import shown

    return (shown(value, form) if value is not None else None) or fmt.number(value)


def _named(name: str, label: str) -> str:
    return name if label == name else f"{name} ({label})"


def _signed(value: float | None) -> str:
    text = fmt.number(value)
    return f"+{text}" if value is not None and value > 0 else text


def setting(value: Any) -> str:
    """A setting as it would be typed."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
