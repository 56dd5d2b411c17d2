# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How good the detectors are: precision, recall and false alarms over the labelled runs of `curves`.

`python tests/unit/analysis/detectors/measured.py` prints the figures; `... 0` looks at the seeds that limits
are tuned on, and prints what was wrong.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import curves
from curves import Curve

from stoker.analysis import verdict
from stoker.analysis.findings import Finding

# Limits were tuned on seeds below 1,000; the published figures are of others.
TUNED_ON, HELD_OUT = range(24), range(1000, 1012)
ALARMS = ("error", "warning")


@dataclass
class Score:
    """Of one detector: `found` of `there` faults by strength, findings that are right and wrong, and on what."""

    there: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    found: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    right: int = 0
    wrong: int = 0
    wrong_on: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def precision(self) -> float:
        """The share of its findings that are right."""
        return self.right / max(1, self.right + self.wrong)

    def recall(self, strength: str | None = None) -> float:
        """The share of the faults that it found."""
        wanted = [strength] if strength else list(curves.STRENGTHS)
        return sum(self.found[s] for s in wanted) / max(1, sum(self.there[s] for s in wanted))


@dataclass
class Measured:
    """All scores; `alarmed` of `healthy` runs of each family raised an alarm, and by what."""

    scores: dict[str, Score]
    healthy: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    alarmed: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    noted: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def all_curves(seeds: range) -> Iterator[Curve]:
    """Every family and every fault at every strength, once for each seed."""
    for seed in seeds:
        for make in curves.HEALTHY:
            yield curves.healthy(make, seed)
        for name in curves.FAULTS:
            for level in range(len(curves.STRENGTHS)):
                yield curves.faulty(name, level, seed)


def looked_at(curve: Curve) -> tuple[Finding, ...]:
    """What is found in a curve."""
    return verdict.check(curve.run(), curves.NOW, machine=curve.machine).findings


def measure(seeds: range, *, loud: bool = False) -> Measured:
    """Look at all of them."""
    measured = Measured({name: Score() for name in curves.FAULTS})
    for curve in all_curves(seeds):
        found = looked_at(curve)
        names = {finding.detector for finding in found}
        for name in curve.faults:
            measured.scores[name].there[curve.strength] += 1
            measured.scores[name].found[curve.strength] += name in names
            if loud and name not in names:
                print(f"missed {name} {curve.strength} ({curve.family})")
        for name in names:
            score = measured.scores[name]
            score.right += name in curve.faults
            if name not in curve.faults | curve.also:
                score.wrong += 1
                label = next(iter(curve.faults), None)
                score.wrong_on[f"{label}, {curve.strength}" if label else curve.family] += 1
                if loud:
                    says = next(finding.says for finding in found if finding.detector == name)
                    print(f"wrong {name} on {label} {curve.strength} ({curve.family}): {says}")
        if not curve.faults:
            measured.healthy[curve.family] += 1
            alarms = {finding.detector for finding in found if finding.severity in ALARMS} - curve.also
            if alarms:
                measured.alarmed[curve.family].append(", ".join(sorted(alarms)))
            measured.noted[curve.family] += sorted({f.detector for f in found if f.severity == "info"})
    return measured


if __name__ == "__main__":
    told = measure(TUNED_ON if sys.argv[1:] else HELD_OUT, loud=bool(sys.argv[1:]))
    for name, score in told.scores.items():
        by = " ".join(f"{score.recall(strength):.2f}" for strength in curves.STRENGTHS)
        print(f"{name:22} precision {score.precision:.2f}  recall {by}  wrong on {dict(score.wrong_on)}")
    for family, count in told.healthy.items():
        print(f"{family:34} {len(told.alarmed[family])}/{count} {told.alarmed[family]} notes {told.noted[family]}")
