"""A report of runs as one HTML file: curves, figures, settings, and what was odd in the files."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ansible_collections.stoker.fleet.plugins.module_utils.terminal_text import safe_text
from stoker.analysis import markup
from stoker.analysis.compare import Side, compare, flat
from stoker.analysis.curves import Curve, Panel, Panels, panels
from stoker.analysis.errors import AnalysisError
from stoker.analysis.markup import details, dim, section, table, text
from stoker.analysis.model import Run
from stoker.analysis.naming import titles
from stoker.analysis.phrases import number, span
from stoker.analysis.schema import shown
from stoker.analysis.statistics import stats
from stoker.analysis.values import MetricStats, Point, RunComparison
from stoker.analysis.words import importance

POINTS, _LEAST_POINTS = 1000, 50
_MOST_RUNS, _UNGROUPED = 50, 12
_COLOURS = {"finished": "good", "failed": "bad", "b": "good", "a": "bad"}


@dataclass(frozen=True)
class Report:
    """The text of the file, and what is in it."""

    html: str
    panels: Panels


def report(
    runs: Sequence[Run], *, keys: Sequence[str] = (), points: int = POINTS, compared: bool = False, log_lines: int = 0,
    title: str | None = None, now: float | None = None,
) -> Report:  # fmt: skip
    """The report of these runs. `compared` sets the others against the first.

    `points` of a curve are drawn at most, `log_lines` of what each run printed last are in it. `now`: Unix seconds.
    Raises AnalysisError for a question that makes no report, NotThere for a key that no run has.
    """
    if points < _LEAST_POINTS:
        raise AnalysisError(f"--points: {points} make no curve", next_step=f"{_LEAST_POINTS} or more")
    if not 0 < len(runs) <= _MOST_RUNS:
        raise AnalysisError(f"{len(runs)} runs: a report takes 1 to {_MOST_RUNS}")
    if compared and len(runs) < 2:
        raise AnalysisError("--compare needs two runs or more")
    runs = _told_apart(runs)
    drawn = panels(runs, keys, points)
    pairs = [compare(Side(runs[0]), Side(other)) for other in runs[1:]] if compared else []
    made = markup.page(
        title=text(title or _heading(runs)),
        said=_said(drawn, time.time() if now is None else now),
        before="\n".join([_runs(runs), *map(_comparison, pairs)]),
        charts=_charts(drawn) or "<p>No metric has a point.</p>",
        after="\n".join([_figures(runs, drawn), _settings(runs), _odd(runs), *(_log(run, log_lines) for run in runs)]),
        data=_data(runs, drawn),
    )
    return Report(made, drawn)


def _told_apart(runs: Sequence[Run]) -> list[Run]:
    names = titles([run.info for run in runs])
    return [
        run if name == run.info.title else replace(run, info=replace(run.info, name=name))
        for run, name in zip(runs, names, strict=True)
    ]


def _heading(runs: Sequence[Run]) -> str:
    if len(runs) == 1:
        return runs[0].info.title
    more = " …" if len(runs) > 3 else ""
    return f"{len(runs)} runs: {', '.join(run.info.title for run in runs[:3])}{more}"


def _said(drawn: Panels, now: float) -> str:
    said = [f"Made {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(now))}"]
    if drawn.drawn < drawn.total:
        most = f"{drawn.points_per_curve:,} points a curve at most, with the lowest and the highest of each part"
        said.append(f"{drawn.drawn:,} of {drawn.total:,} points are drawn: {most}; figures are of all points")
    else:
        said.append(f"all {drawn.total:,} points are drawn")
    if drawn.left_out:
        said.append(f"{len(drawn.left_out):,} metrics found no room")
    return " · ".join(said)


def _runs(runs: Sequence[Run]) -> str:
    rows = []
    for run in runs:
        info, state = run.info, run.info.state
        code = f" ({state.exit_code})" if state.exit_code else ""
        word = f'<span class="{_COLOURS.get(state.name, "")}">{state.name}{code}</span><br>{dim(state.evidence)}'
        first = _first_time(run)
        lasted = span(run.last_time - first) if first is not None and run.last_time is not None else "unknown"
        labels = " ".join([*([info.group] if info.group else []), *(f"#{tag}" for tag in info.tags)])
        step = "-" if run.last_step is None else number(run.last_step)
        rest = (info.project or "-", info.commit[:12] if info.commit else "unknown", labels or "-", info.notes or "-")
        rows.append([markup.name(info.title), word, step, lasted, *map(text, rest)])
    heads = ("Run", "State", "Step", "First to last point", "Project", "Commit", "Group and tags", "Notes")
    return section("Runs", table(heads, rows))


def _first_time(run: Run) -> float | None:
    times = [metric.times for metric in run.metrics.values() if metric.times is not None and len(metric)]
    return min((float(t.min()) for t in times if np.isfinite(t).all()), default=None)


def _comparison(pair: RunComparison) -> str:
    rows = []
    for m in sorted(pair.metrics, key=lambda m: (importance(m.name), m.name)):
        percent = "-" if m.percent is None else f"{m.percent:+.1f}%"
        change = f'<span class="{_COLOURS.get(m.better or "", "")}">{text(m.unknown or percent)}</span>'
        better = {"a": "A", "b": "B", "same": "="}.get(m.better or "", "-")
        a, b, best_a, best_b = (_at(point, m.format) for point in (m.a, m.b, m.best_a, m.best_b))
        rows.append([markup.name(m.label or m.name), a, b, change, better, best_a, best_b])
    warned = "".join(f"<p>{text(warning)}.</p>" for warning in pair.warnings)
    title = f"A: {markup.name(pair.a.title)}, B: {markup.name(pair.b.title)}"
    heads = ("Metric", "A", "B", "Change", "Better", "Best of A", "Best of B")
    return section(title, warned + table(heads, rows, numbers=range(1, 7)), "comparison")


def _at(point: Point | None, form: str | None) -> str:
    return "-" if point is None else f"{_value(point.value, form)} {dim(f'at {number(point.step)}')}"


def _value(value: float | None, form: str | None) -> str:
    return "-" if value is None else text(shown(value, form) or number(value))


def _charts(drawn: Panels) -> str:
    groups: dict[str, list[str]] = {}
    for at, panel in enumerate(drawn.panels):
        # A few need no headings: those would only take the room of curves beside each other.
        group = panel.group if len(drawn.panels) > _UNGROUPED else ""
        groups.setdefault(group, []).append(_figure(at, panel))
    return "\n".join(
        '<section class="group">'
        + (f"<h3>{markup.name(group)}</h3>" if group else "")
        + f'<div class="charts">{"".join(figures)}</div></section>'
        for group, figures in groups.items()
    )


def _figure(at: int, panel: Panel) -> str:
    title = panel.label if panel.label == panel.name else f"{panel.label} ({panel.name})"
    caption = f"<figcaption>{markup.name(title)}<small></small></figcaption>"
    opened = f'<figure data-panel="{at}" data-about="curve of {text(title)}">'
    return f'{opened}{caption}<div class="plot"></div></figure>\n'


def _figures(runs: Sequence[Run], drawn: Panels) -> str:
    several = len(runs) > 1
    rows = []
    for panel in drawn.panels:
        for curve in panel.curves:
            run = runs[curve.run]
            who = [markup.name(run.info.title)] if several else []
            rows.append([markup.name(panel.label), *who, *_cells(stats(curve.metric, run.directions, run.schema))])
    of = ("Final", "Best", "Lowest", "Highest", "Mean", "Points", "Not finite")
    heads = ("Metric", *(("Run",) if several else ()), *of)
    return section("Figures", table(heads, rows, numbers=range(len(heads) - len(of), len(heads))))


def _cells(m: MetricStats) -> list[str]:
    odd = ", ".join(f"{count:,} {what}" for count, what in ((m.nan, "NaN"), (m.inf, "Inf")) if count) or "-"
    points = [_at(point, m.format) for point in (m.best, m.min, m.max)]
    return [_value(m.final, m.format), *points, _value(m.mean, m.format), f"{m.count:,}", odd]


def _settings(runs: Sequence[Run]) -> str:
    """Those that differ first; what all runs have in common is opened when it is wanted."""
    every = [flat(run.info.config) for run in runs]
    differ: list[list[str]] = []
    same: list[list[str]] = []
    for key in sorted({key for one in every for key in one}):
        said = [_setting(one[key]) if key in one else "(not set)" for one in every]
        row = [markup.name(key), *map(text, said)]
        (differ if len(set(said)) > 1 else same).append(row)
    heads = ("Setting", *(markup.name(run.info.title) for run in runs))
    if not differ and not same:
        return section("Settings", '<p class="dim">None are known.</p>')
    if len(runs) == 1:
        return section("Settings", details(f"{len(same):,} settings", table(heads, same)))
    shown_first = table(heads, differ) if differ else "<p>None differs.</p>"
    rest = details(f"{len(same):,} that are the same", table(heads, same)) if same else ""
    return section("Settings that differ", shown_first + rest)


def _setting(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _odd(runs: Sequence[Run]) -> str:
    """What was odd in the files: a report without it would look better than it is."""
    said = []
    for run in runs:
        lines = [*run.remarks, *(f"skipped: {count:,} x {reason}" for reason, count in run.skipped.items())]
        said += [f"<li>{markup.name(run.info.title)}: {text(_without_folders(line, run))}</li>" for line in lines]
    return section("What was odd in the files", f"<ul>{''.join(said)}</ul>") if said else ""


def _without_folders(line: str, run: Run) -> str:
    """The line with paths as they are seen from the run's folders: where those lie is for nobody else."""
    given = [Path(segment).parent for segment in run.info.segments]
    folders = {f"{path}/" for folder in given for path in (folder, folder.absolute(), folder.resolve())} - {"./", "//"}
    names = "|".join(map(re.escape, sorted(folders, key=len, reverse=True)))
    return re.sub(rf"(?<![\w./-])({names})", "", line) if names else line


def _log(run: Run, lines: int) -> str:
    printed = "\n".join(map(text, run.log[-lines:])) if lines > 0 else ""
    return section(f"What {markup.name(run.info.title)} printed last", f"<pre>{printed}</pre>") if printed else ""


def _data(runs: Sequence[Run], drawn: Panels) -> dict[str, Any]:
    """What the script draws."""
    starts = [_first_time(run) for run in runs]
    return {
        "runs": [{"title": safe_text(run.info.title, markup.LONGEST)} for run in runs],
        "panels": [
            {
                "name": safe_text(panel.name, markup.LONGEST),
                "label": safe_text(panel.label, markup.LONGEST),
                "curves": [_curve(curve, starts[curve.run]) for curve in panel.curves],
            }
            for panel in drawn.panels
        ],
    }


def _curve(curve: Curve, start: float | None) -> dict[str, Any]:
    at = np.array(curve.indexes)
    metric = curve.metric
    times = metric.times[at] if metric.times is not None else None
    seconds = None
    # A resumed run may have times that go back, and a curve over those would be none.
    if times is not None and start is not None and np.isfinite(times).all() and bool((np.diff(times) >= 0).all()):
        seconds = _numbers(times - start, 7)
    steps, values = _numbers(metric.steps[at], 12), _numbers(metric.values[at], 6)
    return {"run": curve.run, "odd": curve.odd, "steps": steps, "values": values, "seconds": seconds}


def _numbers(values: Any, digits: int) -> list[float | int | None]:
    """In as many digits as a picture shows; what is no finite number is null."""
    rounded = [float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in values.tolist()]
    return [int(v) if v is not None and v.is_integer() and abs(v) < 1e15 else v for v in rounded]
