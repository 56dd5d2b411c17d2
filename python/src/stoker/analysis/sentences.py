"""A run in two or three sentences, each number of which can be traced to a point of a file."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

import numpy as np

from stoker.analysis import words
from stoker.analysis.detectors import subjects
from stoker.analysis.findings import Check, Figure, Finding, Sentence
from stoker.analysis.model import Metric, Run
from stoker.analysis.phrases import cut, number, span

_NAME = 48
# A number in a sentence: `1,204`, `0.4123`, `3.2e-05`, `12%`.
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?%?(?![\w.]*\w)")


def summary_sentences(run: Run, findings: Sequence[Finding], checks: Sequence[Check]) -> Iterator[Sentence]:
    """How far it is, what the loss and validation came to, and the worst that was found."""
    yield _standing(run)
    course = _course(run)
    if course is not None:
        yield course
    yield _worst(run, findings, checks)


def _standing(run: Run) -> Sentence:
    name, state = cut(run.info.title, _NAME), run.info.state
    is_ = {
        "finished": "finished", "failed": "failed", "cancelled": "was stopped", "running": "is running",
        "unfinished": "was never ended", "unknown": "may or may not go on",
    }[state.name]  # fmt: skip
    last = max(run.metrics.values(), key=lambda metric: metric.last_step if len(metric) else -math.inf, default=None)
    if last is None or not len(last):
        return Sentence(f"{name} {is_} and has no point.", ())
    step = _figure(run, last, len(last) - 1, number(last.last_step), last.last_step, "step")
    return Sentence(f"{name} {is_} at step {step.text}.", (step,))


def _course(run: Run) -> Sentence | None:
    figures: list[Figure] = []
    parts = []
    for name in _shown(run):
        metric = run.metrics[name].finite()
        text, used = _moved(run, metric)
        parts.append(text)
        figures += used
    return Sentence("; ".join(parts) + ".", tuple(figures)) if parts else None


def _shown(run: Run) -> list[str]:
    """The training loss and the validation metric that say most: those with most points."""
    names = []
    for group in (subjects.training_losses(run) or subjects.losses(run), subjects.validations(run)):
        there = [name for name in group if len(run.metrics[name].finite()) and name not in names]
        if there:
            names.append(min(there, key=lambda name: (words.importance(name), -len(run.metrics[name]), name)))
    return names


def _moved(run: Run, metric: Metric) -> tuple[str, list[Figure]]:
    """`val/loss went from 2.95 to 0.8041, its best 0.6695 at step 2,400`."""
    way = subjects.sign(run, metric.name)
    begin = _point(run, metric, 0)
    end = _point(run, metric, len(metric) - 1)
    text = f"{cut(metric.name, _NAME)} went from {begin.text} to {end.text}"
    figures = [begin, end]
    if way:
        best = int(np.argmin(way * metric.values))
        if best != len(metric) - 1:
            value = _point(run, metric, best)
            step = _figure(run, metric, best, number(float(metric.steps[best])), float(metric.steps[best]), "step")
            text += f", its best {value.text} at step {step.text}"
            figures += [value, step]
    return text, figures


def _worst(run: Run, findings: Sequence[Finding], checks: Sequence[Check]) -> Sentence:
    unknown = sum(check.outcome == "cannot tell" for check in checks)
    told = len(checks) - unknown
    counted = [Figure(str(told), told, "", None, (), "checks that were made")]
    if not findings:
        if not told:
            return Sentence("Nothing can be told of it: no check had enough to go by.", ())
        text = f"Nothing was found in {told} check{'' if told == 1 else 's'}"
        if unknown:
            text += f"; {unknown} could not tell"
            counted.append(Figure(str(unknown), unknown, "", None, (), "checks that could not tell"))
        return Sentence(f"{text}.", tuple(counted))
    worst = findings[0]
    text, figures = worst.says, list(traced(run, worst))
    more = len(findings) - 1
    if more:
        text += f" (and {more} more)"
        figures.append(Figure(str(more), more, "", None, (), "other findings"))
    return Sentence(f"{text[0].upper() if not worst.metric else text[0]}{text[1:]}.", tuple(figures))


def traced(run: Run, finding: Finding) -> Iterator[Figure]:
    """The numbers of a finding's sentence: of which step or which evidence each is."""
    metric = run.metrics.get(finding.metric)
    known = [("step", step) for step in (finding.first_step, finding.last_step, *finding.steps) if step is not None]
    known += [(key, value) for key, value in finding.evidence.items() if not isinstance(value, str)]
    known.append(("count", float(finding.count)))
    known += [(f"limit {name}", value) for name, value in finding.threshold.items()]
    known.append(("last step", run.last_step if run.last_step is not None else math.nan))
    known += [("state", float(said)) for said in re.findall(r"\d+", run.info.state.evidence)]
    text = finding.says
    for name in sorted((finding.metric, *map(str, finding.evidence.values())), key=len, reverse=True):
        text = text.replace(name, " ") if name and not NUMBER.fullmatch(name) else text
    for said in NUMBER.findall(text):
        what, value = _meant(said, known)
        step = value if what.endswith("step") else finding.first_step
        source = metric.source(finding.first_step, finding.last_step) if metric is not None else run.info.segments
        yield Figure(said, value, finding.metric, step, source, what)


def _meant(said: str, known: Sequence[tuple[str, float]]) -> tuple[str, float]:
    """What a number in a sentence is: the figure that is written so."""
    percent = said.endswith("%")
    for what, value in known:
        if said in _spellings(value, percent):
            return what, value
    return "", float(said.rstrip("%").replace(",", ""))


def _spellings(value: float, percent: bool) -> set[str]:
    forms = (".0f", ".1f", ".3g", ".4g", ",g", ",.0f")
    if not percent:
        forms_of_time = {span(value).split()[0]} if value >= 0 else set()
        return (
            forms_of_time
            | {format(abs(value) if sign else value, form) for form in forms for sign in (0, 1)}
            | {number(value)}
        )
    return {format(abs(value), form) for form in (".0%", ".1%")} | {f"{value:.0f}%"}


def _point(run: Run, metric: Metric, index: int) -> Figure:
    return _figure(run, metric, index, number(float(metric.values[index])), float(metric.values[index]), "")


def _figure(run: Run, metric: Metric, index: int, text: str, value: float, of: str) -> Figure:
    step = float(metric.steps[index])
    return Figure(text, value, metric.name, step, metric.source(step, step), of)
