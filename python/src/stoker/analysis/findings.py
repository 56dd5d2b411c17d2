"""What the detectors answer with: plain values. This module costs nothing to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from stoker.analysis.values import RunInfo

Severity = Literal["error", "warning", "info"]
Outcome = Literal["found", "nothing", "cannot tell"]


@dataclass(frozen=True)
class Finding:
    """Something that a detector found in a run; `metric` is empty where it is about the run as a whole.

    `steps` are at most 20 of the `count` places, the worst first; `first_step` and `last_step` are where it begins and
    ends (None where a step means nothing). `evidence` has the figures that were measured, `threshold` the limits that
    they passed. `confidence` is x / (1 + x), x being how many times over its limit the weakest of the evidence is: 0.5
    at the limit, 0.9 at nine times. It ranks findings and is no probability; docs/detectors.md has what was measured.
    """

    detector: str
    metric: str
    severity: Severity
    confidence: float
    first_step: float | None
    last_step: float | None
    steps: tuple[float, ...]
    count: int
    says: str
    evidence: Mapping[str, float | str]
    threshold: Mapping[str, float]


@dataclass(frozen=True)
class CannotTell:
    """A detector that has no answer, and why: too few points, or nothing to hold against."""

    detector: str
    metric: str
    why: str
    points: int
    needed: int


@dataclass(frozen=True)
class Check:
    """That a detector looked at a metric (empty: at the run), at how many points, and how that came out."""

    detector: str
    metric: str
    points: int
    outcome: Outcome


@dataclass(frozen=True)
class Recommendation:
    """What to do about a finding: `text` is made from its evidence. `finding` is its place in the list of findings."""

    finding: int
    detector: str
    metric: str
    text: str


@dataclass(frozen=True)
class Figure:
    """A number of a sentence, and the point that it is: metric, step, and the file that has it.

    `of` says what it is where it is no single point: a count, or a figure of a finding. `source` lists the files.
    """

    text: str
    value: float
    metric: str
    step: float | None
    source: tuple[str, ...]
    of: str = ""


@dataclass(frozen=True)
class Sentence:
    """A sentence of the summary, and where each of its numbers comes from, in their order."""

    text: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class RunCheck:
    """The verdict on a run: what was found, the worst first, what could not be told, and every check that was made.

    `without` says for each detector that made no check why: nothing in the run for it, or turned off. `verdict` is one
    sentence, which never says more than the checks do. `checked_at`: Unix seconds, this machine's clock.
    """

    info: RunInfo
    verdict: str
    findings: tuple[Finding, ...]
    cannot_tell: tuple[CannotTell, ...]
    checks: tuple[Check, ...]
    without: Mapping[str, str]
    recommendations: tuple[Recommendation, ...]
    sentences: tuple[Sentence, ...]
    checked_at: float

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(finding.severity == "error" for finding in self.findings)


@dataclass(frozen=True)
class RunChecks:
    """The verdicts on one run, or on all runs in a folder, the newest last.

    `unreadable` has a sentence for each file that may be a run and cannot be read.
    """

    runs: tuple[RunCheck, ...]
    strict: bool
    unreadable: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """1 when something could not be read, or when errors were found and that was asked for."""
        return int(bool(self.unreadable) or (self.strict and any(run.errors for run in self.runs)))
