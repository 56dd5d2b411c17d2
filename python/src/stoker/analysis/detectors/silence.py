"""A run that says nothing any more: dead, hung, or over, told apart by evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stoker.analysis.detectors.base import Case, Limits, cannot, finding, limit, sure
from stoker.analysis.detectors.throughput import busiest
from stoker.analysis.findings import CannotTell, Finding
from stoker.analysis.phrases import span


@dataclass(frozen=True)
class SilenceLimits(Limits):
    """From when on silence says something."""

    points: int = limit(0, "points", "a run without a point can be dead, too")
    times: float = limit(5.0, "times the longest usual pause between two points", "tuned", least=1.0)
    least_s: float = limit(300.0, "seconds that are no silence yet", "a checkpoint or a validation takes minutes")
    idle: float = limit(5.0, "percent of GPU use below which a GPU does nothing", "convention")


class Silence:
    """The state of the run, its newest point and its newest write, against the pauses that are usual in it.

    Pauses: the longest but for one in a hundred. A file's age alone proves nothing: where the format records no end and
    nobody says whether the process lives, it cannot be told.
    """

    name = "silence"
    finds = "a run that died, or hangs"
    limits = SilenceLimits

    def subjects(self, case: Case) -> Sequence[str]:
        """The run as a whole."""
        return [""]

    def look(self, case: Case, name: str, limits: SilenceLimits) -> list[Finding] | CannotTell:
        """How it stands."""
        info, machine = case.run.info, case.machine
        state = info.state
        if state.name in ("finished", "cancelled"):
            return []
        pause = usual_pause(case)
        heard = max([info.updated_at, *([case.run.last_time] if case.run.last_time else [])])
        silent = max(0.0, case.now - heard)
        last = case.run.last_step
        steps = () if last is None else (last,)
        known = {"silent_s": silent, **({} if pause is None else {"usual_pause_s": pause})}
        allowed = max(limits.least_s, limits.times * (pause or 0.0))
        shown = {"times": limits.times, "least_s": limits.least_s, "allowed_s": allowed}
        where = "" if last is None else f" at step {last:,g}"
        if state.name == "failed":
            says = f"it died{where}: {state.evidence}"
            return [finding(self, "", "error", 1.0, steps, says, evidence=known, limits={})]
        alive = machine.alive if machine.alive is not None else (True if state.name == "running" else None)
        proof = machine.evidence or state.evidence
        usual = "" if pause is None else f", where {span(pause)} is the longest usual pause"
        if alive is False:
            says = f"it died{where}: {proof}"
            return [finding(self, "", "error", 1.0, steps, says, evidence=known, limits={})]
        if silent <= allowed:
            if alive or state.name == "unfinished":
                return []
            return cannot(self, "", f"{proof}; it wrote {span(silent)} ago{usual}", _points(case))
        if alive:
            return self._hangs(case, silent, allowed, proof, usual, where, steps, {**known}, shown, limits)
        if state.name == "unfinished":
            says = f"it died{where}, or is written from another machine: {proof}; silent for {span(silent)}{usual}"
            confidence = sure(silent / allowed)
            return [finding(self, "", "error", confidence, steps, says, evidence=known, limits=shown)]
        why = f"over, dead or elsewhere: {proof}; silent for {span(silent)}{usual}. Its job knows (stoker job)"
        return cannot(self, "", why, _points(case))

    def _hangs(
        self, case: Case, silent: float, allowed: float, proof: str, usual: str, where: str,
        steps: Sequence[float], known: dict[str, float | str], shown: dict[str, float], limits: SilenceLimits,
    ) -> list[Finding] | CannotTell:  # fmt: skip
        busy = case.machine.gpu_percent
        if busy is not None:
            known["gpu_percent"] = busy
        if busy is not None and busy >= limits.idle:
            why = f"silent for {span(silent)}{usual}, and its GPUs are {busy:.0f}% busy: slow, or hung in a kernel"
            return cannot(self, "", why, _points(case))
        printed = case.machine.printed_at
        if printed is not None:
            known["printed_s"] = max(0.0, case.now - printed)
        if printed is not None and case.now - printed <= allowed:
            why = f"no step for {span(silent)}{usual}, but it printed {span(max(0.0, case.now - printed))} ago"
            return cannot(self, "", why, _points(case))
        gpus = f"; its GPUs are {busy:.0f}% busy" if busy is not None else "; GPU use is not in its files"
        says = f"it hangs{where}: {proof}, and it is silent for {span(silent)}{usual}{gpus}"
        return [finding(self, "", "error", sure(silent / allowed), steps, says, evidence=known, limits=shown)]


def usual_pause(case: Case) -> float | None:
    """The longest pause between two points but for one in a hundred, in seconds; None where nobody wrote times."""
    name = busiest(case.run)
    if name is None:
        return None
    times = case.run.metrics[name].times
    assert times is not None
    pauses = np.diff(times[np.isfinite(times)])
    pauses = pauses[pauses > 0]
    return float(np.quantile(pauses, 0.99)) if len(pauses) >= 5 else None


def _points(case: Case) -> int:
    return max((len(metric) for metric in case.run.metrics.values()), default=0)
