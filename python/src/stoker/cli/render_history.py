"""Statistics and comparisons on a terminal."""

from __future__ import annotations

from stoker.cli import format as fmt
from stoker.cli.out import Out
from stoker.operations.compare import Comparison, Difference
from stoker.operations.stats import JobFigures, JobStats
from stoker.operations.values import Job

_NONE = {"template": "(no template)", "node": "(never placed)"}


def job_stats(value: JobStats, out: Out) -> None:
    """`stoker stats`."""
    if not value.total.jobs:
        out.line("no jobs yet · stoker run -- COMMAND starts one" if value.since is None else "no jobs since then")
        return
    columns = (value.by.upper(), "SUCCESS", "FINISHED", "CANCELLED", "UNFINISHED", "AVG", "MIN", "MAX")
    rows = [_figures(fmt.one_line(g.group) if g.group is not None else _NONE[value.by], g) for g in value.groups]
    out.table(columns, [*rows, _figures("all", value.total)])
    out.line(("success and runtimes are over finished jobs; deleted jobs are not known any more", "dim"))


def _figures(name: str, value: JobFigures) -> tuple[str, ...]:
    rate = f"{value.succeeded}/{value.finished}"
    if value.success_rate is not None:
        rate += f" ({_percent(value.success_rate)})"
    times = [fmt.duration(t) for t in (value.runtime_avg_s, value.runtime_min_s, value.runtime_max_s)]
    if 0 < value.runtime_known < value.finished:
        times[0] += f" (of {value.runtime_known})"
    return name, rate, str(value.finished), str(value.cancelled), str(value.unfinished), *times


def _percent(rate: float) -> str:
    """`67%`; only all of them are 100%, only none is 0%."""
    shown = round(rate * 100)
    return f"{min(shown, 99) if rate < 1 else 100}%" if shown or not rate else "<1%"


def comparison(value: Comparison, out: Out) -> None:
    """`stoker compare`."""
    for letter, job in (("A", value.a), ("B", value.b)):
        out.line(f"{letter}  ", (job.id, "bold"), "  ", _how_it_stands(job))
    if not value.metrics:
        out.line("neither has a metric · --metric NAME=REGEX, or metrics in stoker.yml, reads them from the log")
        return
    rows = []
    for metric in value.metrics:
        for figure, difference in metric.figures.items():
            name = f"{fmt.one_line(metric.name)} {figure}"
            cells = (fmt.number(difference.a), fmt.number(difference.b), _signed(difference.delta), _change(difference))
            rows.append((name, *cells))
    out.table(("METRIC", "A", "B", "DELTA", "CHANGE"), rows)
    out.line((fmt.freshness(value.freshness, f"stoker compare {value.a.id} {value.b.id} --live"), "dim"))


def _how_it_stands(job: Job) -> str:
    where = f" on {job.node}" if job.node else ""
    took = f", {fmt.duration(job.elapsed_s)}" if job.elapsed_s is not None else ""
    return fmt.one_line(f"{fmt.state(job, 0.0) if job.finished else job.state}{where}{took}: {fmt.command(job)}")


def _signed(value: float | None) -> str:
    """The difference with its sign; `-` where there is none."""
    text = fmt.number(value)
    return f"+{text}" if value is not None and value > 0 else text


def _change(value: Difference) -> str:
    if value.percent_unknown is not None:
        return f"? ({value.percent_unknown})"
    if value.percent is None:
        return "-"
    return f"{value.percent:+.1f}%" if value.percent else "0%"
