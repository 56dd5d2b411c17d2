"""The verdict on a run: every detector on every metric that it is for, and what was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from stoker.analysis.advice import recommendations
from stoker.analysis.detectors import ALL, Case, Detector, Limits, Machine
from stoker.analysis.detectors.settings import limits_of
from stoker.analysis.errors import NotThere
from stoker.analysis.findings import CannotTell, Check, Finding, Outcome, RunCheck
from stoker.analysis.model import Run
from stoker.analysis.sentences import summary_sentences

# Squares of what is larger are infinite.
_LARGEST = 1e150
_LOOK_AT_ONE = {"spike", "divergence", "instability", "exploding", "vanishing"}
_WORST = {"error": 0, "warning": 1, "info": 2}


def check(run: Run, now: float, *, only: Sequence[str] = (), machine: Machine | None = None) -> RunCheck:
    """Look at a run with all detectors, or `only` those of these names.

    `now` is in Unix seconds; `machine` is what is known of its job from elsewhere. The same run, `now` and limits give
    the same verdict. Raises NotThere for a detector that is not there.
    """
    case = Case(run, now, machine or run.machine)
    findings: list[Finding] = []
    unknown: list[CannotTell] = []
    checks: list[Check] = []
    without: dict[str, str] = {}
    for detector in _chosen(only):
        limits = limits_of(detector, run.schema.detectors)
        if limits is None:
            without[detector.name] = "turned off in stoker-metrics.yml"
            continue
        subjects = detector.subjects(case)
        if not subjects:
            without[detector.name] = f"nothing to look at ({detector.finds})"
        for name in subjects:
            points = _points(case, detector, name)
            answer = _answer(case, detector, name, points, limits)
            if isinstance(answer, CannotTell):
                unknown.append(answer)
            else:
                findings += answer
            outcome: Outcome = "cannot tell" if isinstance(answer, CannotTell) else "found" if answer else "nothing"
            checks.append(Check(detector.name, name, points, outcome))
    order = [detector.name for detector in ALL]
    findings.sort(key=lambda found: (_WORST[found.severity], order.index(found.detector), -found.confidence))
    return RunCheck(
        run.info, verdict(findings, unknown, checks), tuple(findings), tuple(unknown), tuple(checks), without,
        tuple(recommendations(run, findings)), tuple(summary_sentences(run, findings, checks)), now,
    )  # fmt: skip


def _answer(case: Case, detector: Detector, name: str, points: int, limits: Limits) -> list[Finding] | CannotTell:
    if points < limits.points:
        why = f"{points:,} points, {limits.points:,} needed"
        return CannotTell(detector.name, name, why, points, limits.points)
    if name and _lacks_points(case, detector, name):
        why = "its points, or others that this compares with, were digested on their node: --full brings all"
        return CannotTell(detector.name, name, why, points, limits.points)
    if name and detector.name != "not_finite" and not _reckonable(case, name):
        why = f"its numbers are beyond {_LARGEST:.0e}, too large to be reckoned with"
        return CannotTell(detector.name, name, why, points, limits.points)
    # What overflows all the same is infinite, and no finding compares with it.
    with np.errstate(all="ignore"):
        return detector.look(case, name, limits)


def _lacks_points(case: Case, detector: Detector, name: str) -> bool:
    """Whether points are missing here that the detector may look at: most look at other metrics, too."""
    if detector.name == "not_finite":
        return False
    looked_at = [name] if detector.name in _LOOK_AT_ONE else case.run.metrics
    return any(case.run.metrics[other].figures is not None for other in looked_at)


def _reckonable(case: Case, name: str) -> bool:
    metric = case.finite(name)
    return not len(metric) or float(np.abs(metric.values).max()) <= _LARGEST


def verdict(findings: Sequence[Finding], unknown: Sequence[CannotTell], checks: Sequence[Check]) -> str:
    """One sentence, which says no more than the checks do."""
    told = len(checks) - len(unknown)
    unsure = f"; {len(unknown)} could not tell" if unknown else ""
    if findings:
        by = {severity: sum(f.severity == severity for f in findings) for severity in _WORST}
        listed = ", ".join(_counted(count, severity) for severity, count in by.items() if count)
        return f"{listed} in {_counted(len(checks), 'check')}{unsure}"
    if not told:
        return f"cannot tell: none of {_counted(len(checks), 'check')} had enough to go by"
    return f"nothing found in {_counted(told, 'check')}{unsure}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" + ("s" if count != 1 and what != "info" else "")


def _points(case: Case, detector: Detector, name: str) -> int:
    if not name:
        return max((metric.logged for metric in case.run.metrics.values()), default=0)
    told = case.run.metrics[name].figures
    # What is no finite number is a point to the detector that looks for it.
    if detector.name == "not_finite":
        return case.run.metrics[name].logged
    return len(case.finite(name)) if told is None else told.count - told.nan - told.inf


def _chosen(only: Sequence[str]) -> Iterator[Detector]:
    known: Mapping[str, Detector] = {detector.name: detector for detector in ALL}
    odd = [name for name in only if name not in known]
    if odd:
        raise NotThere(f"there is no detector '{odd[0]}'. Known: {', '.join(known)}")
    return (detector for detector in ALL if not only or detector.name in only)
