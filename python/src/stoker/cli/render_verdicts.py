"""Verdicts on training runs on a terminal."""

from __future__ import annotations

from collections import defaultdict

from stoker.analysis.findings import Finding, RunCheck, RunChecks
from stoker.cli import format as fmt
from stoker.cli.out import Out

_STYLES = {"error": "red", "warning": "yellow", "info": "dim"}


def checks(value: RunChecks, out: Out) -> None:
    """`stoker runs check`: one run in full, several as a table."""
    for sentence in value.unreadable:
        out.note(fmt.one_line(sentence))
    if out.form != "text":
        _findings(value, out)
    elif len(value.runs) == 1:
        _in_full(value.runs[0], out)
    elif value.runs:
        _overview(value, out)


def _in_full(run: RunCheck, out: Out) -> None:
    info = run.info
    out.line((fmt.one_line(info.title), "bold"), f"  {info.state.name} · {info.kind} · {run.verdict}")
    advice = {entry.finding: entry.text for entry in run.recommendations}
    for index, finding in enumerate(run.findings):
        out.line((f"{finding.severity:<8}", _STYLES[finding.severity]), fmt.one_line(finding.says))
        sure = f"confidence {finding.confidence:.2f}" if finding.threshold else "proven"
        out.line((f"{'':8}{finding.detector}, {sure}{_limits(finding)}", "dim"))
        if index in advice:
            out.line(f"{'':8}try: {fmt.one_line(advice[index])}")
    unknown: dict[tuple[str, str], list[str]] = defaultdict(list)
    for entry in run.cannot_tell:
        unknown[entry.why, entry.metric].append(entry.detector)
    for (why, metric), detectors in unknown.items():
        of = f" of {metric}" if metric else ""
        out.line(("cannot tell ", "dim"), fmt.one_line(f"{', '.join(detectors)}{of}: {why}"))
    if run.without:
        out.line(("not checked ", "dim"), fmt.one_line("; ".join(_without(run))))


def _limits(finding: Finding) -> str:
    limits = ", ".join(f"{name} {fmt.number(value)}" for name, value in finding.threshold.items())
    return f", limits: {limits}" if limits else ""


def _without(run: RunCheck) -> list[str]:
    """Detectors that made no check, by reason."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for detector, why in run.without.items():
        reasons[why.partition(" (")[0]].append(detector)
    return [f"{', '.join(detectors)}: {why}" for why, detectors in reasons.items()]


def _overview(value: RunChecks, out: Out) -> None:
    rows = []
    for run in value.runs:
        worst = run.findings[0] if run.findings else None
        cell = (worst.severity, _STYLES[worst.severity]) if worst else "-"
        told = run.verdict if worst is None else f"{worst.says}{_more(run)}"
        rows.append((run.info.id, run.info.name or "-", run.info.state.name, cell, fmt.one_line(told)))
    out.table(("RUN", "NAME", "STATE", "WORST", "WHAT"), rows)


def _more(run: RunCheck) -> str:
    return f" (and {len(run.findings) - 1} more)" if len(run.findings) > 1 else ""


def _findings(value: RunChecks, out: Out) -> None:
    """For documents and other programs: a row for each finding and for what cannot be told."""
    rows: list[tuple[str, ...]] = []
    for run in value.runs:
        for f in run.findings:
            step = "" if f.first_step is None else f"{f.first_step:.15g}"
            rows.append(
                (run.info.id, f.severity, f.detector, f.metric, step, str(f.count), f"{f.confidence:.3f}", f.says)
            )
        rows += [(run.info.id, "cannot tell", u.detector, u.metric, "", "", "", u.why) for u in run.cannot_tell]
        if not run.findings:
            rows.append((run.info.id, "-", "", "", "", "", "", run.verdict))
    out.table(("RUN", "SEVERITY", "DETECTOR", "METRIC", "STEP", "COUNT", "CONFIDENCE", "WHAT"), rows)
