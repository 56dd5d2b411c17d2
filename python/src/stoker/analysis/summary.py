"""A run in few words, within a budget of tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence

from stoker.analysis.errors import AnalysisError
from stoker.analysis.findings import RunCheck
from stoker.analysis.model import Metric, Run
from stoker.analysis.naming import chosen
from stoker.analysis.phrases import cut, number, short, span
from stoker.analysis.schema import shown as formatted
from stoker.analysis.statistics import stability, stats
from stoker.analysis.summaries import RunSummary
from stoker.analysis.thin import sparkline, tokens
from stoker.analysis.values import MetricSummary, PerStep, Stability
from stoker.analysis.verdict import check
from stoker.analysis.words import importance

BUDGET = 500
_SPARK = 8
# Below this not even the first line and one metric fit.
_LEAST_BUDGET = 100
# The most characters of a name, and of a sentence, that a line shows.
_NAME, _SENTENCE = 48, 160
_MOST_PER_STEP, _MOST_ADVICE = 2, 3


def summarise(run: Run, *, keys: Sequence[str] = (), budget: int = BUDGET) -> RunSummary:
    """The summary of a run; `keys` says which metrics (names or patterns), else the important ones come first.

    Raises NotThere for a key that is not there, AnalysisError for a budget that nothing fits into.
    """
    if budget < _LEAST_BUDGET:
        raise AnalysisError(f"{budget} tokens are too few", next_step=f"--tokens {_LEAST_BUDGET} or more")
    now = run.now()
    names = chosen(keys, run.metrics, run.info.title)
    if not keys:
        names.sort(key=lambda name: (importance(name), name))
    told = check(run, now)
    head, foot = _verdict(_head(run, now), told, budget), _foot(run, budget)
    steps = _per_step(run, names)
    names = [name for name in names if run.schema.place_in_steps(name) is None]
    lines = [_steps_line(entry) for entry in steps][:_MOST_PER_STEP]
    shown: list[MetricSummary] = []
    for name in names:
        entry = _metric(run, run.metrics[name])
        line = metric_line(entry, _freshness(run, entry, now))
        rest = _rest(len(names) - len(shown) - 1)
        if tokens("\n".join([head, *lines, line, *rest, *foot])) > budget:
            break
        lines.append(line)
        shown.append(entry)
    left_out = len(names) - len(shown)
    text = "\n".join([head, *lines, *_rest(left_out), *foot])
    return RunSummary(
        run.info, tuple(shown), steps, left_out, told, run.last_step, run.last_time, dict(run.skipped), run.remarks,
        budget, tokens(text), now, text,
    )  # fmt: skip


def _metric(run: Run, metric: Metric) -> MetricSummary:
    return MetricSummary(stats(metric, run.directions, run.schema), stability(metric), _course(metric))


def _course(metric: Metric) -> str:
    return sparkline(metric.values if metric.figures is None else metric.figures.means, _SPARK)


def _head(run: Run, now: float) -> str:
    info = run.info
    state = info.state
    said = f"{cut(info.title, _NAME)}  {state.name}" + (f" ({state.exit_code})" if state.exit_code else "")
    parts = [f"{info.kind} {cut(info.id, _NAME)}" if info.name else info.kind]
    if info.project:
        parts.append(f"project {cut(info.project, _NAME)}")
    if run.last_step is not None:
        parts.append(f"step {number(run.last_step)}")
    start = info.started_at or _first_time(run)
    if start and run.last_time and run.last_time >= start:
        parts.append(span(run.last_time - start))
    where = f"on {cut(info.seen.node, _NAME)}, " if info.seen is not None else ""
    parts.append(f"{where}written {span(max(0.0, now - info.updated_at))} ago")
    said += " · " + " · ".join(parts)
    return said if state.exit_code is not None else f"{said}\n  {cut(state.evidence, _SENTENCE)}"


def _verdict(head: str, told: RunCheck, budget: int) -> str:
    """The head with the sentences and the advice below it, in 3/5 of the budget at most."""
    # The first sentence is the head itself.
    lines = [f"  {cut(sentence.text, 2 * _SENTENCE)}" for sentence in told.sentences[1:]]
    lines += [f"  try: {cut(entry.text, _SENTENCE)}" for entry in told.recommendations[:_MOST_ADVICE]]
    for line in lines:
        if tokens(f"{head}\n{line}") <= budget * 3 // 5:
            head += f"\n{line}"
    return head


def _first_time(run: Run) -> float | None:
    first = [float(m.times[0]) for m in run.metrics.values() if m.times is not None and len(m)]
    return min((time for time in first if math.isfinite(time)), default=None)


def _rest(count: int) -> list[str]:
    return [f"  … {count} more metrics: stoker runs keys"] if count else []


def _foot(run: Run, budget: int) -> list[str]:
    """What needs a look: remarks, and what was skipped. It takes a third of the budget at most."""
    said = [f"  ! {cut(remark, _SENTENCE)}" for remark in run.remarks]
    if run.skipped:
        worst = sorted(run.skipped.items(), key=lambda entry: -entry[1])
        listed = ", ".join(f"{count:,} x {reason}" for reason, count in worst[:3])
        more = f" and {len(worst) - 3} other reasons" if len(worst) > 3 else ""
        said.append(f"  skipped: {cut(listed + more, _SENTENCE)}")
    if not run.metrics and run.summary:
        plain = [f"{key} {short(value)}" for key, value in run.summary.items() if isinstance(value, int | float | str)]
        said.append(f"  last values noted: {cut(', '.join(plain), _SENTENCE)}")
    if not run.metrics and run.log:
        said += [f"  > {cut(line, _SENTENCE)}" for line in run.log[-3:]]
    kept: list[str] = []
    for line in said:
        if tokens("\n".join([*kept, line])) > budget // 3:
            kept.append("  … (--json has all remarks)")
            break
        kept.append(line)
    return kept


def _freshness(run: Run, entry: MetricSummary, now: float) -> str:
    """`spark, 12 s ago`: whose figure it is, and how old its newest point; nothing for files that are here."""
    seen = run.info.seen
    if seen is None:
        return ""
    written = entry.stats.at if entry.stats.at is not None else run.info.updated_at
    return f"{cut(seen.node, _NAME)}, {span(max(0.0, now - written))} ago"


def metric_line(entry: MetricSummary, freshness: str = "") -> str:
    """`  train/loss 0.412 ▇▅▃▂ ↓ 1.1%/1k · best 0.40 at 980 · 2 NaN · spark, 12 s ago`."""
    figures, moves = entry.stats, entry.stability

    def value(number_: float) -> str:
        return formatted(number_, figures.format) or number(number_)

    parts = [f"  {cut(figures.label or figures.name, _NAME)} {value(figures.final)}"]
    if entry.spark:
        parts.append(entry.spark)
    if moves.verdict is not None:
        parts.append(arrow(moves))
    tail = []
    if figures.best is not None and figures.last is not None and figures.best != figures.last:
        tail.append(f"best {value(figures.best.value)} at {number(figures.best.step)}")
    tail += [f"{count:,} {what}" for count, what in ((figures.nan, "NaN"), (figures.inf, "Inf")) if count]
    tail += [freshness] if freshness else []
    return " · ".join([" ".join(parts), *tail])


def _per_step(run: Run, names: Sequence[str]) -> tuple[PerStep, ...]:
    found: dict[str, list[tuple[int, float]]] = {}
    for name in names:
        place = run.schema.place_in_steps(name)
        if place is not None:
            found.setdefault(place[0], []).append((place[1], run.metrics[name].last))
    return tuple(PerStep(p, run.schema.per_step[p], tuple(sorted(values))) for p, values in found.items())


def _steps_line(entry: PerStep) -> str:
    """`  Cross entropy by step: 2.1 (0), 1.4 (1), … 0.4 (7)`: the first ones and the last."""
    values = [f"{number(value)} ({i})" for i, value in entry.values]
    if len(values) > _SPARK:
        values = [*values[: _SPARK - 1], f"… {values[-1]}"]
    return f"  {cut(entry.label, _NAME)} by step: {', '.join(values)}"


def arrow(moves: Stability) -> str:
    """`↓ 1.1%/1k`: percent of its mean in 1,000 steps; `→` where it does not move beyond its noise."""
    if moves.verdict == "steady":
        return "→"
    sign = "↑" if moves.verdict == "rising" else "↓"
    if moves.percent_per_1000 is not None and abs(moves.percent_per_1000) < 1000:
        percent = abs(moves.percent_per_1000)
        return f"{sign} {percent:.0f}%/1k" if percent >= 99.5 else f"{sign} {percent:.2g}%/1k"
    return f"{sign} {number(abs(moves.slope_per_1000 or 0.0))}/1k"
