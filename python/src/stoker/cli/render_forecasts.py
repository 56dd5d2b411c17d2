"""Where training runs are going, and runs that differ by their seed, on a terminal."""

from __future__ import annotations

from stoker.analysis.forecasts import Idle, RunForecast, SeedGroup, SeedReport
from stoker.cli import format as fmt
from stoker.cli.out import Out
from stoker.cli.render_runs import records


def forecast(value: RunForecast, out: Out) -> None:
    """`stoker runs eta`."""
    info = value.info
    out.remark((fmt.one_line(info.title), "bold"), f"  {info.state.name} · {_progress(value)}")
    if value.unknown:
        out.remark(fmt.one_line(f"no time to its end: {value.unknown}"))
    elif value.remaining_s is not None:
        out.remark(fmt.one_line(_time(value)))
    if value.stopped_s:
        out.remark(f"it stood still for {fmt.duration(value.stopped_s)}, which is not in its speed")
    if out.form == "csv":
        records(out, value.projections)
    elif value.projections:
        rows = [
            (p.metric, fmt.number(p.value), _between(p.low, p.high), fmt.number(p.step), f"{p.backtest:.2g}")
            for p in value.projections
        ]
        out.table(("METRIC", "AT THE END", f"IN {value.projections[0].level:.0%} BETWEEN", "STEP", "BACKTEST"), rows)
    if value.remark and value.projections:
        out.remark(fmt.one_line(f"! {value.remark}"))
    if out.form == "csv":  # one table alone is CSV
        for entry in value.idle:
            out.remark(f"{entry.metric}: watched {entry.watched_h} h, idle {entry.idle_h} h")
    elif value.idle:
        out.table(("GPU USE", "WATCHED", "IDLE", "SHARE"), [_idle(entry) for entry in value.idle])
    for advice in value.advice:
        spent = "" if advice.seconds is None else f"; {fmt.duration(advice.seconds)} went past it"
        out.remark(fmt.one_line(f"{advice.text}: {advice.evidence}{spent} ({advice.detector})"))
    if not value.advice:
        out.remark(("no finding says that it should be stopped · stoker runs check", "dim"))


def _progress(value: RunForecast) -> str:
    if value.last_step is None:
        return "no point yet"
    if not value.total_steps:
        return f"step {fmt.number(value.last_step)}"
    share = value.last_step / value.total_steps
    return f"step {fmt.number(value.last_step)} of {fmt.number(value.total_steps)} ({share:.0%}; by {value.known_by})"


def _time(value: RunForecast) -> str:
    if not value.remaining_s:
        return "all steps are done"
    between = ""
    if value.low_s is not None and value.high_s is not None:
        between = f", in 9 of 10 cases {fmt.duration(value.low_s)} to {fmt.duration(value.high_s)}"
    text = f"{fmt.duration(value.remaining_s)} from its newest point on{between}"
    text += f"; {fmt.number(value.seconds_per_step)} s/step"
    if value.ends_at is not None and value.ends_at < value.asked_at:
        ago = fmt.age(value.asked_at - value.ends_at)
        text += f"; by that it was done {ago} ago (stoker runs check says whether it hangs)"
    return text


def _between(low: float | None, high: float | None) -> str:
    return "-" if low is None else f"{fmt.number(low)} to {fmt.number(high)}"


def _idle(entry: Idle) -> tuple[str, ...]:
    return (
        entry.metric, f"{entry.watched_h:.2f} h", f"{entry.idle_h:.2f} h below {entry.below_percent:g}%",
        f"{entry.share:.0%}",
    )  # fmt: skip


def seeds(value: SeedReport, out: Out) -> None:
    """`stoker runs seeds`."""
    for warning in value.warnings:
        out.remark(fmt.one_line(f"! {warning}"))
    if out.form == "csv":
        records(out, value.groups)
    elif value.groups:
        heads = (
            "SETTINGS",
            "RUNS",
            "STEP",
            f"MEAN {value.key}",
            "95% OF THE MEAN",
            "STD",
            "BEST EVER",
            "SEES",
            "AGAINST THE BEST",
        )
        out.table(heads, [_group(group) for group in value.groups])
    if not value.groups:
        out.remark(f"no two runs differ by their seed alone ({value.alone} have {value.key})")
    if value.alone and value.groups:
        out.remark((f"{value.alone} runs have no other of their settings", "dim"))
    if value.without:
        out.remark((f"{value.without} runs have no finite {value.key}", "dim"))
    if value.ignored:
        out.remark((f"taken for names, and not compared: {', '.join(value.ignored)}", "dim"))


def _group(group: SeedGroup) -> tuple[str, ...]:
    settings = ", ".join(f"{name}={text}" for name, text in group.settings.items()) or "all alike"
    best = "-" if group.best_mean is None else f"{fmt.number(group.best_mean)} ± {fmt.number(group.best_std)}"
    mean, std, difference = (fmt.number(figure) for figure in (group.mean, group.std, group.difference))
    return (
        settings, str(len(group.runs)), fmt.number(group.step), mean, _between(group.low, group.high), std, best,
        difference, group.against_best or "-",
    )  # fmt: skip
