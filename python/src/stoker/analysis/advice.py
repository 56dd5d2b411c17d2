"""What to do about findings. Each piece of advice is made from the evidence of the finding that it is tied to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from stoker.analysis.findings import Finding, Recommendation
from stoker.analysis.model import Run
from stoker.analysis.phrases import number

_Evidence = Mapping[str, float | str]


def recommendations(run: Run, findings: Sequence[Finding]) -> Iterator[Recommendation]:
    """At most one piece of advice for each finding; one that says the same as another before is left out."""
    said: set[str] = set()
    for index, finding in enumerate(findings):
        text = _ADVICE[finding.detector](run, finding)
        if text and text not in said:
            said.add(text)
            yield Recommendation(index, finding.detector, finding.metric, text)


def _figure(evidence: _Evidence, key: str) -> float:
    value = evidence[key]
    assert isinstance(value, float | int)
    return float(value)


def _step(value: float | str | None) -> str:
    return f"step {number(value)}" if isinstance(value, float | int) else "its end"


def _goes_on(run: Run) -> bool:
    return run.info.state.name in ("running", "unknown")


def _silence(run: Run, finding: Finding) -> str:
    if finding.says.startswith("it hangs"):
        return "see where it stands before it is ended (py-spy dump --pid PID), then resume from its last checkpoint"
    # Before its first step there is no checkpoint.
    again = f"resume from the checkpoint before {_step(run.last_step)}" if run.last_step else "start it again"
    return f"see what it printed last (stoker runs notes), then {again}"


def _not_finite(run: Run, finding: Finding) -> str:
    if finding.severity == "info":
        return ""
    if finding.severity == "warning":
        return f"look at the batch of {_step(finding.first_step)}, where {finding.metric} was no number"
    if finding.evidence["in_a_row_at_end"] == run.metrics[finding.metric].logged:
        begin = "stop it, and look" if _goes_on(run) else "look"
        return f"{begin} at its data, initial weights and learning rate: {finding.metric} never was a number"
    stop = "stop it; go" if _goes_on(run) else "go"
    return (
        f"{stop} back to a checkpoint before {_step(finding.first_step)}, and lower the learning rate, clip gradients,"
        " or leave out the batch of that step"
    )


def _divergence(run: Run, finding: Finding) -> str:
    stop = "stop it; go" if _goes_on(run) else "go"
    where = _step(finding.evidence["best_step"])
    return f"{stop} back to the checkpoint of {where}, where {finding.metric} was best, with a lower learning rate"


def _overfit(run: Run, finding: Finding) -> str:
    stop = "stop, and use" if _goes_on(run) else "use"
    best = number(_figure(finding.evidence, "best"))
    return f"{stop} the checkpoint of {_step(finding.evidence['best_step'])}: {finding.metric} was {best} there"


def _exploding(run: Run, finding: Finding) -> str:
    return f"clip gradients at a norm of about {number(3 * _figure(finding.evidence, 'quiet'))}, three times the usual"


def _vanishing(run: Run, finding: Finding) -> str:
    return (
        f"see which layers still learn since {_step(finding.first_step)}: initialisation, normalisation, saturated"
        " activations, or a loss scale too small for fp16"
    )


def _spike(run: Run, finding: Finding) -> str:
    if finding.count == 1:
        return f"look at the batch of {_step(finding.steps[0])}; clip gradients if it comes again"
    return f"look at the batches of {_step(finding.steps[0])} and the other {finding.count - 1}; clip gradients"


def _throughput(run: Run, finding: Finding) -> str:
    return (
        f"see what the machine did from {_step(finding.first_step)} to {_step(finding.last_step)}: clocks,"
        " data loading, other processes (stoker telemetry)"
    )


def _warmup(run: Run, finding: Finding) -> str:
    total = run.last_step
    return f"warm up over the first {number(round(0.02 * total))} steps or so" if total else "add a warm-up"


def _too_high(run: Run, finding: Finding) -> str:
    at_best, peak = _figure(finding.evidence, "rate_at_best"), _figure(finding.evidence, "rate_peak")
    lower = at_best if at_best < 0.8 * peak else peak / 3
    return f"try a peak of about {number(lower)} for {finding.metric}"


def _too_low(run: Run, finding: Finding) -> str:
    rate = _figure(finding.evidence, "rate")
    return f"try {number(3 * rate)} to {number(10 * rate)} for {finding.metric}"


def _schedule(run: Run, finding: Finding) -> str:
    return "make settings and training agree: one of them is not what was meant"


def _instability(run: Run, finding: Finding) -> str:
    return f"lower the learning rate from {_step(finding.first_step)} on, or average over a larger batch"


def _change(run: Run, finding: Finding) -> str:
    return f"see what changed at about {_step(finding.steps[0])}: data, code, or a resumed checkpoint"


def _plateau(run: Run, finding: Finding) -> str:
    if finding.severity == "warning":
        return "it learns nothing: check data, labels, frozen weights and the sign of the loss before more is spent"
    return f"take the learning rate down, or stop: {finding.metric} gains no more"


_ADVICE: Mapping[str, Callable[[Run, Finding], str]] = {
    "silence": _silence, "not_finite": _not_finite, "divergence": _divergence, "overfit": _overfit,
    "exploding_gradients": _exploding, "vanishing_gradients": _vanishing, "spike": _spike,
    "throughput_drop": _throughput, "no_warmup": _warmup, "rate_too_high": _too_high, "rate_too_low": _too_low,
    "schedule_mismatch": _schedule, "instability": _instability, "change_point": _change, "plateau": _plateau,
}  # fmt: skip
