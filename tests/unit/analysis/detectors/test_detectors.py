# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each detector by itself: through command line and API, with other limits, with too little, with anything at all."""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
from pathlib import Path
from typing import Any

import curves
import numpy as np
import pytest
from asked import Asked, by_id, jsonl, the_run
from curves import NOW, Curve, Written
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stoker import Fleet
from stoker.analysis import read, verdict
from stoker.analysis.advice import _ADVICE
from stoker.analysis.detectors import ALL, Machine
from stoker.analysis.findings import Finding, RunCheck
from stoker.analysis.model import Metric, Run
from stoker.analysis.sentences import NUMBER
from stoker.analysis.values import RunInfo, State

FROM_FILES = [name for name in curves.FAULTS if name != "silence"]


def checked(curve: Curve, *only: str) -> RunCheck:
    return verdict.check(curve.run(), NOW, only=only, machine=curve.machine)


def names(findings: Any) -> set[str]:
    return {finding["detector"] if isinstance(finding, dict) else finding.detector for finding in findings}


@pytest.mark.accepts("R08")
@pytest.mark.parametrize("name", FROM_FILES)
def test_a_fault_is_found_alike_on_the_command_line_and_in_python(name: str, written: Written, stoker: Asked) -> None:
    folder = written(curves.faulty(name, 2, 7))
    (said,) = stoker("check", folder, "--json").value["runs"]
    (found,) = [finding for finding in said["findings"] if finding["detector"] == name]
    assert found["steps"]
    assert found["evidence"]
    assert found["threshold"]
    assert 0.5 <= found["confidence"] <= 1
    with Fleet() as fleet:
        (run,) = fleet.runs.check(str(folder)).runs
    for answer in (run, verdict.check(the_run(folder), run.checked_at)):
        assert [dataclasses.asdict(finding)["says"] for finding in answer.findings] == [
            finding["says"] for finding in said["findings"]
        ]
        assert answer.verdict == said["verdict"]
    shown = stoker("check", folder).out
    assert found["says"] in shown
    assert name in shown


# A limit that a strong fault passes no more, or that a healthy run passes.
FLIPS = {
    "silence": {"times": 1e9, "least_s": 1e9}, "not_finite": {"tail": 1e9}, "divergence": {"lost": 100, "rise": 100},
    "exploding_gradients": {"growth": 1e9, "single": 1e9}, "vanishing_gradients": {"floor": 0, "fall": 0},
    "overfit": {"rise": 5}, "instability": {"growth": 500}, "spike": {"sigmas": 1e6}, "throughput_drop": {"drop": 0.95},
    "no_warmup": {"rise": 50}, "rate_too_high": {"rise": 50}, "rate_too_low": {"fall": 0.001},
    "schedule_mismatch": {"off": 20}, "change_point": {"jump": 20}, "plateau": {"points": 1e6},
}  # fmt: skip


@pytest.mark.accepts("R09")
@pytest.mark.parametrize("name", [name for name in FROM_FILES if name != "not_finite"])
def test_one_limit_in_the_projects_file_flips_a_finding(name: str, written: Written, stoker: Asked) -> None:
    folder = written(curves.faulty(name, 2, 7))

    def found() -> set[str]:
        (run,) = stoker("check", folder, "--json").value["runs"]
        return names(run["findings"])

    assert name in found()
    (folder / "stoker-metrics.yml").write_text(f"detectors: {{{name}: {FLIPS[name]!r}}}".replace("'", ""))
    assert name not in found()
    (folder / "stoker-metrics.yml").write_text(f"detectors: {{{name}: off}}")
    (run,) = stoker("check", folder, "--json").value["runs"]
    assert name not in names(run["findings"])
    assert run["without"][name] == "turned off in stoker-metrics.yml"


@pytest.mark.accepts("R09")
def test_a_limit_can_make_a_healthy_run_one_with_a_finding(written: Written, stoker: Asked) -> None:
    folder = written(curves.healthy(curves.plain, 3))
    only = ("-d", "vanishing_gradients", "-d", "spike")
    assert stoker("check", folder, *only, "--json").value["runs"][0]["findings"] == []
    (folder / "stoker-metrics.yml").write_text("detectors: {vanishing_gradients: {floor: 100}}")
    (run,) = stoker("check", folder, *only, "--json").value["runs"]
    assert names(run["findings"]) == {"vanishing_gradients"}
    assert {check["detector"] for check in run["checks"]} == {"vanishing_gradients", "spike"}


@pytest.mark.accepts("R09")
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("{spik: {sigmas: 3}}", "detectors.spik: there is no such detector. Did you mean spike?"),
        ("{spike: {sigma: 3}}", "detectors.spike.sigma: there is no such limit. Did you mean sigmas?"),
        ("{spike: {sigmas: many}}", "detectors.spike.sigmas: 'many' is no number"),
        ("{spike: {sigmas: true}}", "detectors.spike.sigmas: 'True' is no number"),
        ("{spike: {sigmas: .nan}}", "detectors.spike.sigmas: 'nan' is no number"),
        ("{spike: {sigmas: -1}}", "detectors.spike.sigmas: -1 is no number of 0 or more"),
        ("{plateau: {window: 2}}", "detectors.plateau.window: 2 is no number from 0.05 to 0.9"),
        ("{spike: 7}", "detectors.spike: '7' is no mapping of limits, and not off"),
        ("[spike]", "detectors is no mapping"),
    ],
)
def test_a_wrong_limit_is_refused_with_its_place(said: str, told: str, written: Written, stoker: Asked) -> None:
    folder = written(curves.healthy(curves.plain, 3))
    (folder / "stoker-metrics.yml").write_text(f"detectors: {said}")
    refused = stoker("check", folder)
    assert (refused.code, refused.out) == (2, "")
    assert f"stoker-metrics.yml: {told}" in refused.err


def test_every_limit_says_what_it_is_and_where_it_is_from() -> None:
    assert len({detector.name for detector in ALL}) == len(ALL) == len(curves.FAULTS)
    assert set(_ADVICE) == {detector.name for detector in ALL}
    for detector in ALL:
        limits = detector.limits()
        for field in dataclasses.fields(limits):
            least, most = field.metadata["least"], field.metadata["most"]
            assert field.metadata["words"]
            assert field.metadata["source"]
            assert least <= field.default <= (math.inf if most is None else most)


@pytest.mark.accepts("B04")
@pytest.mark.parametrize("name", [name for name in curves.FAULTS if name not in ("not_finite", "silence")])
def test_too_few_points_are_no_health(name: str) -> None:
    curve = curves.faulty(name, 2, 7)
    curve.metrics = {key: (steps[:4], values[:4]) for key, (steps, values) in curve.metrics.items()}
    curve.seconds = None if curve.seconds is None else curve.seconds[:4]
    told = checked(curve, name)
    assert told.findings == ()
    assert told.cannot_tell
    assert {check.outcome for check in told.checks} == {"cannot tell"}
    assert told.verdict.startswith("cannot tell: none of")
    for entry in told.cannot_tell:
        assert entry.detector == name
        assert f"{entry.points:,} points" in entry.why
        assert f"{entry.needed:,} needed" in entry.why
        assert entry.points < entry.needed


@pytest.mark.accepts("B04")
def test_what_was_not_checked_is_told(written: Written, stoker: Asked) -> None:
    folder = written(curves.healthy(curves.rounded, 5))
    (run,) = stoker("check", folder, "--json").value["runs"]
    made = [check for check in run["checks"] if check["outcome"] == "nothing"]
    assert run["findings"] == []
    assert run["verdict"] == f"nothing found in {len(made)} checks; {len(run['cannot_tell'])} could not tell"
    assert {check["detector"] for check in run["checks"]} | set(run["without"]) == {detector.name for detector in ALL}
    assert {"exploding_gradients", "overfit"} <= set(run["without"])
    shown = stoker("check", folder).out
    assert "healthy" not in shown
    assert "not checked" in shown
    few = jsonl(folder.parent / "few.jsonl", [{"step": step, "loss": 1.0} for step in range(30)])
    shown = stoker("check", few).out
    assert "30 points, 64 needed" in shown
    nothing = jsonl(folder.parent / "none.jsonl", [{"step": 1}])
    assert "cannot tell" in stoker("check", nothing).out


@pytest.mark.accepts("R30")
@pytest.mark.parametrize("name", ["no_warmup", "rate_too_high", "rate_too_low", "schedule_mismatch"])
@pytest.mark.parametrize("level", [1, 2])
def test_faults_of_the_learning_rate(name: str, level: int, written: Written, stoker: Asked) -> None:
    (run,) = stoker("check", written(curves.faulty(name, level, 21)), "--json").value["runs"]
    (found,) = [finding for finding in run["findings"] if finding["detector"] == name]
    assert found["metric"] == "lr"
    assert any(advice["detector"] == name for advice in run["recommendations"])


@pytest.mark.accepts("B04", "R30")
def test_a_bend_that_noise_hides_cannot_be_told() -> None:
    curve = curves.faulty("rate_too_low", 1, 21)
    loss = curve.values("train/loss")
    loss += 0.15 * float(loss.mean()) * np.random.default_rng(1).normal(size=len(loss))
    (entry,) = checked(curve, "rate_too_low").cannot_tell
    assert "the noise hides whether it bends" in entry.why


@pytest.mark.accepts("R30")
def test_a_schedule_that_is_followed_is_no_fault(written: Written, stoker: Asked) -> None:
    folder = written(curves.healthy(curves.cosine, 4))
    (run,) = stoker("check", folder, "-d", "schedule_mismatch", "--json").value["runs"]
    assert [check["outcome"] for check in run["checks"]] == ["nothing"]
    curve = curves.healthy(curves.cosine, 4)
    del curve.config["max_steps"]
    (run,) = stoker("check", written(curve), "-d", "schedule_mismatch", "--json").value["runs"]
    (entry,) = run["cannot_tell"]
    assert "not how many steps it takes" in entry["why"]


def bare(state: State, *, silent_s: float = 10.0, times: bool = True, points: int = 200) -> Run:
    end = NOW - silent_s
    steps = np.arange(points, dtype=np.float64)
    metric = Metric("loss", steps, 1 / (steps + 1), end - 2 * (points - 1 - steps) if times else None, ("m.jsonl",))
    info = RunInfo(
        "jsonl", "x", None, None, None, None, (), None, None, None, state, None, end, 1, ("m.jsonl",), {}
    )  # fmt: skip
    return Run(info, {"loss": metric}, {}, {}, {}, (), ())


RUNNING, UNFINISHED = State("running", "process 7 has it open"), State("unfinished", "no exit record")
UNKNOWN = State("unknown", "this format records no end")
DAY = 86400.0


@pytest.mark.accepts("B02")
@pytest.mark.parametrize(
    ("state", "silent_s", "machine", "told"),
    [
        (State("finished", "exit record: code 0", 0), DAY, Machine(), None),
        (State("failed", "exit record: code 3", 3), 10, Machine(), "it died at step 199: exit record: code 3"),
        (RUNNING, 10, Machine(), None),
        (RUNNING, DAY, Machine(), "it hangs at step 199: process 7 has it open, and it is silent for 24 h"),
        (RUNNING, DAY, Machine(gpu_percent=0.0), "its GPUs are 0% busy"),
        (RUNNING, DAY, Machine(gpu_percent=99.0), "cannot tell: silent for 24 h"),
        (UNFINISHED, 10, Machine(), None),
        (UNFINISHED, DAY, Machine(), "it died at step 199, or is written from another machine"),
        (UNKNOWN, 10, Machine(), "cannot tell: this format records no end; it wrote 10 s ago"),
        (UNKNOWN, DAY, Machine(), "cannot tell: over, dead or elsewhere"),
        (UNKNOWN, DAY, Machine(alive=False, evidence="its node was started again"), "it died at step 199: its node"),
        (UNKNOWN, DAY, Machine(alive=True, evidence="its lock is held"), "it hangs at step 199: its lock is held"),
        (UNKNOWN, 10, Machine(alive=True, evidence="its lock is held"), None),
    ],
)
def test_dead_hung_and_over_are_told_apart_by_evidence(
    state: State, silent_s: float, machine: Machine, told: str | None
) -> None:
    answer = verdict.check(bare(state, silent_s=silent_s), NOW, only=["silence"], machine=machine)
    said = [finding.says for finding in answer.findings] + [f"cannot tell: {entry.why}" for entry in answer.cannot_tell]
    assert (said == []) == (told is None)
    if told is not None:
        assert told in said[0]
        assert all(finding.severity == "error" for finding in answer.findings)


@pytest.mark.accepts("B02")
def test_a_pause_that_is_usual_is_no_silence() -> None:
    run = bare(RUNNING, silent_s=2000.0)
    assert names(verdict.check(run, NOW).findings) == {"silence"}
    loss = run.metrics["loss"]
    assert loss.times is not None
    pauses = np.where(np.arange(200) % 20 == 0, 900.0, 2.0)
    slow = Metric("loss", loss.steps, loss.values, NOW - 2000 - pauses.sum() + np.cumsum(pauses), loss.files)
    calm = dataclasses.replace(run, metrics={"loss": slow})
    assert verdict.check(calm, NOW, only=["silence"]).findings == ()


@pytest.mark.accepts("R08")
def test_one_odd_point_of_a_million_is_found_within_seconds() -> None:
    random = np.random.default_rng(3)
    steps = np.arange(1e6)
    values = 1.5 + 3 * np.exp(-steps / 2e5) + 0.05 * random.normal(size=len(steps))
    values[654_321] += 1.0
    values[777_777] = math.nan
    info = bare(State("finished", "exit record: code 0", 0)).info
    metrics = {"loss": Metric("loss", steps, values), "grad_norm": Metric("grad_norm", steps, 1 + random.random(10**6))}
    began = time.process_time()
    told = verdict.check(Run(info, metrics, {}, {}, {}, (), ()), NOW)
    assert time.process_time() - began < 5
    spike, nan = sorted(told.findings, key=lambda finding: finding.first_step or 0)
    assert (spike.detector, spike.first_step) == ("spike", 654_321)
    assert (nan.detector, nan.first_step) == ("not_finite", 777_777)


def test_nan_in_gaps_is_no_fault_and_nan_at_the_end_is() -> None:
    run = bare(State("finished", "exit record: code 0", 0))

    def severities(values: Any) -> list[str]:
        metric = Metric("loss", run.metrics["loss"].steps, values)
        told = verdict.check(dataclasses.replace(run, metrics={"loss": metric}), NOW, only=["not_finite"])
        return [finding.severity for finding in told.findings]

    values = np.ones(200)
    assert severities(values) == []
    values[5] = math.inf
    assert severities(values) == ["warning"]
    assert severities(np.where(np.arange(200) % 4 == 3, 1.0, math.nan)) == ["info"]
    assert severities(np.where(np.arange(200) < 190, 1.0, math.nan)) == ["error"]


ODD = st.lists(st.floats(), min_size=1, max_size=30)
SETTINGS = st.sampled_from(["lr", "max_steps", "warmup_steps", "scheduler"])
SET = st.sampled_from([0, -1, 1e308, 5, "cosine", None])
KEYS = ("train/loss", "val/loss", "grad_norm", "lr", "tokens_per_s", "epoch")


@pytest.mark.accepts("B04")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    curves_of=st.lists(ODD, min_size=len(KEYS), max_size=len(KEYS)), repeat=st.integers(1, 30),
    gap=st.sampled_from([0, 1, 1e15]), timed=st.booleans(), config=st.dictionaries(SETTINGS, SET),
)  # fmt: skip
def test_any_numbers_get_a_verdict(curves_of: Any, repeat: int, gap: float, timed: bool, config: Any) -> None:
    metrics = {}
    for name, numbers in zip(KEYS, curves_of, strict=True):
        values = np.tile(np.array(numbers, dtype=np.float64), repeat)
        times = np.tile(np.array(numbers, dtype=np.float64), repeat) if timed else None
        metrics[name] = Metric(name, np.arange(len(values)) * float(gap), values, times, ("m.jsonl",))
    run = dataclasses.replace(bare(RUNNING), metrics=metrics)
    run = dataclasses.replace(run, info=dataclasses.replace(run.info, config=config))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told = verdict.check(run, NOW)
    assert {check.detector for check in told.checks} | set(told.without) == {detector.name for detector in ALL}
    assert sum(check.outcome == "cannot tell" for check in told.checks) == len(told.cannot_tell)
    assert {check.detector for check in told.checks if check.outcome == "found"} == names(told.findings)
    for finding in told.findings:
        assert 0 <= finding.confidence <= 1
        assert finding.says


def all_findings() -> list[tuple[Run, RunCheck]]:
    told = []
    for name in curves.FAULTS:
        for level in range(3):
            curve = curves.faulty(name, level, 33)
            told.append((curve.run(), checked(curve)))
    return told


@pytest.mark.accepts("R27")
def test_every_number_of_the_sentences_is_a_point_of_a_file_or_a_figure_of_a_finding() -> None:
    for run, told in all_findings():
        assert 2 <= len(told.sentences) <= 3
        for sentence in told.sentences:
            text = sentence.text
            for name in sorted([*run.metrics, *run.info.config, "lr_scheduler_type"], key=len, reverse=True):
                text = text.replace(name, " ")
            assert NUMBER.findall(text) == [figure.text for figure in sentence.figures], sentence.text
            for figure in sentence.figures:
                _is_true(run, told.findings, figure)


def _is_true(run: Run, findings: tuple[Finding, ...], figure: Any) -> None:
    if not figure.metric and figure.of in ("checks that were made", "checks that could not tell", "other findings"):
        return
    assert figure.source == ("metrics.jsonl",)
    if figure.of in ("", "step") and figure.metric and figure.step is not None:
        metric = run.metrics[figure.metric]
        at = np.flatnonzero(metric.steps == figure.step)
        assert len(at) or figure.of == "step", figure
        if figure.of == "":
            assert figure.value in metric.values[at], figure
    elif figure.of not in ("step", "last step", "count", "state"):
        limits = {f"limit {name}": value for name, value in findings[0].threshold.items()}
        known = {**findings[0].evidence, **limits}
        assert figure.of in known, figure
        assert known[figure.of] == figure.value


@pytest.mark.accepts("R27")
def test_a_figure_names_the_segment_that_has_its_point(write: Any, tmp_path: Path, stoker: Asked) -> None:
    write("wandb_resumed", tmp_path)
    run = read(by_id(tmp_path)["res"])
    assert len(run.info.segments) == 2
    for metric in run.metrics.values():
        assert metric.source(metric.last_step, metric.last_step) == (run.info.segments[1],)
        assert metric.source(float(metric.steps[0]), float(metric.steps[0])) == (run.info.segments[0],)
        assert set(metric.source(None, None)) == set(run.info.segments)
    told = verdict.check(run, NOW)
    assert told.sentences[0].figures[0].source == (run.info.segments[1],)


@pytest.mark.accepts("R29")
def test_advice_is_tied_to_a_finding_and_made_from_its_evidence() -> None:
    advised = set()
    for _, told in all_findings():
        for advice in told.recommendations:
            found = told.findings[advice.finding]
            assert (found.detector, found.metric) == (advice.detector, advice.metric)
            assert advice.text
            advised.add(advice.detector)
        if not told.findings:
            assert told.recommendations == ()
    assert advised == set(curves.FAULTS)
    for make in (curves.plain, curves.sgd, curves.gan):
        assert checked(curves.healthy(make, 2)).recommendations == ()
    told = checked(curves.faulty("overfit", 2, 33))
    (found,) = [finding for finding in told.findings if finding.detector == "overfit"]
    (advice,) = [entry for entry in told.recommendations if entry.detector == "overfit"]
    assert f"step {found.evidence['best_step']:,g}" in advice.text


@pytest.mark.accepts("R29", "R27")
def test_the_summary_begins_with_sentences_and_advice_within_its_budget(written: Written, stoker: Asked) -> None:
    folder = written(curves.faulty("overfit", 2, 33))
    said = stoker("summary", folder, "--json").value
    assert said["tokens"] <= 500
    (found,) = [entry for entry in said["check"]["findings"] if entry["detector"] == "overfit"]
    lines = said["text"].splitlines()
    assert any(found["says"] in line for line in lines)
    assert any(line.startswith("  try: ") and "checkpoint of step" in line for line in lines)
    small = stoker("summary", folder, "--tokens", 120, "--json").value
    assert small["tokens"] <= 120
    assert small["metrics"]
    healthy = stoker("summary", written(curves.healthy(curves.plain, 2)), "--json").value
    assert "Nothing was found in" in healthy["text"]
    assert "try:" not in healthy["text"]


def test_strict_ends_with_1_for_errors_and_all_looks_at_every_run(written: Written, stoker: Asked) -> None:
    bad = written(curves.faulty("divergence", 2, 5))
    good = written(curves.healthy(curves.plain, 2))
    assert stoker("check", bad).code == 0
    assert stoker("check", bad, "--strict").code == 1
    assert stoker("check", good, "--strict").code == 0
    told = stoker("check", bad.parent, "--all", "--strict", "--json")
    assert told.code == 1
    assert [run["info"]["id"] for run in told.value["runs"]] == ["run-0/metrics.jsonl", "run-1/metrics.jsonl"]
    shown = stoker("check", bad.parent, "--all").out
    assert "has risen from" in shown
    assert "nothing found in" in shown
    assert stoker("check", bad, "-d", "spik").code == 2
    assert stoker("check", bad.parent, "--all", "--folder", ".").code == 2
    (bad.parent / "empty").mkdir()
    assert stoker("check", bad.parent / "empty", "--all").code == 2
    rows = stoker("check", bad, "--format", "csv").out.splitlines()
    assert rows[0] == "RUN,SEVERITY,DETECTOR,METRIC,STEP,COUNT,CONFIDENCE,WHAT"
    assert len(rows) > 1


def told_of(values: Any, **changes: Any) -> tuple[str, str]:
    """What is said of a metric with these values, and what is advised."""
    run = bare(State("running", "its process has it open"))
    metric = Metric("loss", np.arange(float(len(values))), np.asarray(values, dtype=float))
    told = verdict.check(dataclasses.replace(run, metrics={"loss": metric}, **changes), NOW, only=["not_finite"])
    (found,) = told.findings
    return found.says, "".join(advice.text for advice in told.recommendations)


def test_a_nan_that_has_not_lasted_is_neither_over_nor_there_to_stay() -> None:
    nan = math.nan
    said, _advice = told_of([1.0] * 98 + [nan] * 2)
    assert said == (
        "loss is NaN since step 98, in its newest 2 values: whether it goes on is not known"
        " (3 in a row say that it does not)"
    )
    said, _advice = told_of([1.0] * 5 + [nan] + [1.0] * 5 + [nan])
    assert said.startswith("loss was NaN once, at step 5, and is again since step 11, in its newest value: whether")
    assert told_of([1.0] * 5 + [nan] + [1.0] * 5)[0] == "loss was NaN once, at step 5, and went on"
    # One number and then none: no gaps, as nothing came after them.
    assert "gaps" not in told_of([1.0, nan, nan])[0]
    assert told_of([nan, nan, 1.0] * 9 + [nan])[0] == (
        "loss is NaN in 68% of its points, also in its newest 1: gaps rather than a fault"
    )


def test_nobody_is_sent_back_to_before_the_first_step() -> None:
    for values in ([math.nan] * 5, [math.nan]):
        said, advice = told_of(values)
        assert said.startswith("loss is NaN from its first value to its end")
        assert advice == "stop it, and look at its data, initial weights and learning rate: loss never was a number"
    assert "a checkpoint before step 2" in told_of([1.0, 1.0, *[math.nan] * 5])[1]
