# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes next in a workflow, as tables and for any workflow at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import attempt, job

from stoker.dispatch.workflow import Advance, advance, ended, in_order, outcome, resumed
from stoker.store import JobRow, PartRow, WorkflowRow

SPEC = {"schema": "stoker.spec/1", "argv": ["true"], "env": {}}


def step(needs: str = "", when: str | None = None, **fields: Any) -> dict[str, Any]:
    parts, plan = fields.pop("parts", 1), fields.pop("plan", {})
    plans = [{"matrix": {"n": n}, "spec": SPEC, "later": [], **plan} for n in range(parts)]
    judged = [need for need in needs.split() if when and (f"{need}.state" in when or f"{need}.exit_code" in when)]
    return {
        "needs": needs.split(), "when": when, "judged": judged, "allow_failure": False, "max_parallel": None,
        "many": parts > 1, "outputs": [], "parts": plans, **fields,
    }  # fmt: skip


class Flow:
    """A workflow, its jobs played: `end` lets one end."""

    def __init__(self, **steps: Mapping[str, Any]) -> None:
        body = {"context": {"full": True}, "steps": steps}
        self.row = WorkflowRow("w-2222", 1, "w", body, "running", False, 0, 0.0, 0.0, None, None)
        self.parts = {
            (key, n): PartRow("w-2222", key, n, "waiting", None, None, None, 0.0)
            for key, one in steps.items()
            for n in range(len(one["parts"]))
        }
        self.jobs: dict[str, JobRow] = {}
        self.started: list[tuple[str, int]] = []
        self.specs: dict[str, Mapping[str, Any]] = {}

    def go(self) -> Advance:
        """Do what follows until nothing does, as the store does it."""
        while True:
            decided = advance(self.row, list(self.parts.values()), self.jobs)
            for stopped in decided.stops:
                self.jobs[stopped] = replace(self.jobs[stopped], stop_requested="cancelled")
            for part in decided.changed:
                self.parts[part.step, part.part] = part
            for start in decided.starts:
                key = (start.part.step, start.part.part)
                assert key not in self.started, "a part is begun once"
                assert not self.row.stop_requested
                needs = self.row.body["steps"][key[0]]["needs"]
                assert all(part.over for (step, _), part in self.parts.items() if step in needs), "its needs are over"
                self.started.append(key)
                self.specs[start.part.step] = start.spec
                made = job(f"{key[0]}-{key[1]}", state="running", attempt=1)
                self.jobs[made.id] = made
                self.parts[key] = replace(start.part, state="running", job_id=made.id)
            self.row = replace(self.row, state=decided.state)
            if not (decided.changed or decided.starts or decided.stops):
                return decided

    def end(self, key: str, state: str = "succeeded", number: int = 0, **seen: Any) -> None:
        part = self.parts[key, number]
        code = seen.pop("exit_code", 0 if state == "succeeded" else 1)
        over = replace(self.jobs[str(part.job_id)], state=state, exit_code=code)
        self.jobs[over.id] = over
        self.parts[key, number] = ended(part, over, attempt(over, observation=seen))
        self.go()

    def states(self) -> dict[str, str]:
        return {key: self.parts[key, 0].state for key, n in self.parts if n == 0}


@pytest.mark.accepts("C46")
def test_a_diamond_runs_in_order_with_its_middle_in_parallel() -> None:
    flow = Flow(a=step(), b=step("a"), c=step("a"), d=step("b c"))
    flow.go()
    assert flow.started == [("a", 0)]
    flow.end("a")
    assert flow.started[1:] == [("b", 0), ("c", 0)]
    flow.end("c")
    assert len(flow.started) == 3
    flow.end("b")
    assert flow.started[3:] == [("d", 0)]
    assert flow.row.state == "running"
    flow.end("d")
    assert flow.row.state == "succeeded"


def test_what_needs_a_failure_is_skipped_and_so_is_what_needs_that() -> None:
    flow = Flow(a=step(), b=step("a"), c=step("b"), other=step())
    flow.go()
    flow.end("a", "dead")
    assert flow.states() == {"a": "failed", "b": "skipped", "c": "skipped", "other": "running"}
    assert (flow.parts["b", 0].detail, flow.parts["c", 0].detail) == ("a failed", "b was skipped")
    assert flow.row.state == "running", "the other branch goes on"
    flow.end("other")
    assert flow.row.state == "failed"


def test_a_failure_that_is_allowed_counts_as_none() -> None:
    flow = Flow(a=step(allow_failure=True), b=step("a"))
    flow.go()
    flow.end("a", "failed")
    flow.end("b")
    assert (flow.states(), flow.row.state) == ({"a": "failed", "b": "succeeded"}, "succeeded")


@pytest.mark.accepts("C47")
@pytest.mark.parametrize(
    ("when", "of_a", "expected"),
    [
        ("context.full", "succeeded", "running"),
        ("not context.full", "succeeded", "skipped"),
        ("context.full", "failed", "skipped"),  # the condition does not judge a
        ("parent.a.state == 'failed'", "failed", "running"),
        ("parent.a.state == 'failed'", "succeeded", "skipped"),
        ("parent.a.exit_code == 1", "lost", "running"),
        ("parent.a.state in ['failed', 'cancelled']", "cancelled", "running"),
    ],
)
def test_what_a_condition_judges_is_left_to_it_all_else_has_to_succeed(when: str, of_a: str, expected: str) -> None:
    flow = Flow(a=step(), b=step("a", when))
    flow.go()
    flow.end("a", of_a)
    assert flow.states()["b"] == expected


def test_a_condition_without_an_answer_fails_its_step() -> None:
    flow = Flow(a=step(), b=step("a", "parent.a.exit_code > 3"), c=step("b"))
    flow.go()
    flow.end("a", "lost", exit_code=None)
    assert flow.states() == {"a": "failed", "b": "failed", "c": "skipped"}
    assert "has no answer" in str(flow.parts["b", 0].detail)


@pytest.mark.accepts("C46")
def test_outputs_reach_what_follows_as_data_and_are_not_looked_through_again() -> None:
    nasty = "{{ context.full }}; rm -rf $HOME `id` '\n"
    spec = {
        **SPEC,
        "argv": ["echo", "{{ parent.a.outputs.path }}", "{{ raw }}"],
        "env": {"P": "<{{ parent.a.stdout }}>"},
    }
    plan = {"spec": spec, "later": [["argv", 1], ["env", "P"]]}
    flow = Flow(a=step(outputs=["path"]), b=step("a", plan=plan))
    flow.go()
    flow.end("a", outputs={"path": nasty}, tail="{% raw %}")
    assert flow.specs["b"]["argv"] == ["echo", nasty, "{{ raw }}"]
    assert flow.specs["b"]["env"] == {"P": "<{% raw %}>"}
    assert spec["argv"][1] == "{{ parent.a.outputs.path }}", "the plan stays as it was"


def test_an_output_that_the_log_never_had_fails_who_needs_it() -> None:
    plan = {"spec": {**SPEC, "argv": ["echo", "{{ parent.a.outputs.path }}"]}, "later": [["argv", 1]]}
    flow = Flow(a=step(outputs=["path"]), b=step("a", plan=plan))
    flow.go()
    flow.end("a")
    assert flow.parts["b", 0].detail == "it could not be begun: '{{ parent.a.outputs.path }}' has no value"


def test_a_matrix_is_one_step_and_keeps_to_its_limit() -> None:
    flow = Flow(a=step(parts=4, max_parallel=2), b=step("a", "parent.a.exit_code == 3"))
    flow.go()
    assert flow.started == [("a", 0), ("a", 1)]
    flow.end("a", number=1)
    assert flow.started == [("a", 0), ("a", 1), ("a", 2)]
    flow.end("a", "failed", number=0, exit_code=3)
    flow.end("a", number=2)
    flow.end("a", number=3)
    assert outcome([part for (key, _), part in flow.parts.items() if key == "a"]) == "failed"
    assert flow.states()["b"] == "running"


@pytest.mark.accepts("C46")
def test_a_workflow_that_goes_on_repeats_nothing_that_succeeded() -> None:
    flow = Flow(a=step(), b=step("a"), c=step("a"), d=step("b c"))
    flow.go()
    flow.end("a")
    flow.end("b", "failed")
    flow.end("c")
    assert flow.row.state == "failed"
    flow.parts.update({(part.step, part.part): part for part in resumed(flow.row, flow.parts.values())})
    flow.row = replace(flow.row, state="running")
    flow.started = []
    flow.go()
    assert flow.started == [("b", 0)]
    flow.end("b")
    flow.end("d")
    assert (flow.started, flow.row.state) == ([("b", 0), ("d", 0)], "succeeded")


def test_a_workflow_that_is_cancelled_begins_nothing_and_stops_what_runs_once() -> None:
    flow = Flow(a=step(), b=step("a"))
    flow.go()
    flow.row = replace(flow.row, stop_requested=True)
    assert advance(flow.row, list(flow.parts.values()), flow.jobs).stops == ["a-0"]
    assert list(flow.go().stops) == []
    assert flow.states() == {"a": "running", "b": "cancelled"}
    flow.end("a", "cancelled")
    assert flow.row.state == "cancelled"


def test_a_job_that_was_cleared_away_is_no_success() -> None:
    part = PartRow("w-2222", "a", 0, "running", "a-0", None, None, 0.0)
    assert ended(part, None, None).state == "failed"


@st.composite
def workflows(draw: st.DrawFn) -> dict[str, Any]:
    steps: dict[str, Any] = {}
    for index in range(draw(st.integers(1, 7))):
        needs = [key for key in steps if draw(st.booleans())]
        conditions = [None, "true", "not context.full", *(f"parent.{need}.state != 'succeeded'" for need in needs)]
        steps[f"s{index}"] = step(
            " ".join(needs), draw(st.sampled_from(conditions)), parts=draw(st.integers(1, 3)),
            max_parallel=draw(st.sampled_from([None, 1, 2])), allow_failure=draw(st.booleans()),
        )  # fmt: skip
    order = draw(st.permutations(list(steps)))
    return {key: steps[key] for key in order}


@pytest.mark.accepts("C46")
@settings(deadline=None, max_examples=150)
@given(workflows(), st.data())
def test_every_workflow_ends_in_order_and_each_job_is_made_once(steps: dict[str, Any], data: st.DataObject) -> None:
    flow = Flow(**steps)
    stop_at = data.draw(st.sampled_from([None, 0, 1, 3]))
    looks = 0
    while True:
        if looks == stop_at:
            flow.row = replace(flow.row, stop_requested=True)
        flow.go()
        for key, one in steps.items():
            live = [part for part in _of(flow, key) if part.state == "running"]
            assert one["max_parallel"] is None or len(live) <= one["max_parallel"]
        running = [part for part in flow.parts.values() if part.state == "running"]
        if not running:
            break
        part = data.draw(st.sampled_from(running))
        flow.end(part.step, data.draw(st.sampled_from(["succeeded", "failed", "lost", "dead", "cancelled"])), part.part)
        looks += 1
    assert all(part.over for part in flow.parts.values()), "every part ends"
    assert flow.row.state in ("succeeded", "failed", "cancelled")
    for key, one in steps.items():
        lacking = [need for need in one["needs"] if outcome(_of(flow, need)) in ("skipped", "cancelled")]
        if one["when"] is None and lacking:
            assert not any(started == key for started, _ in flow.started), "a skip cascades"
    if flow.row.state == "succeeded":
        assert all(p.state != "failed" or steps[p.step]["allow_failure"] for p in flow.parts.values())


def _of(flow: Flow, key: str) -> list[PartRow]:
    return [part for (step_key, _), part in flow.parts.items() if step_key == key]


def test_the_order_of_the_file_does_not_matter() -> None:
    assert in_order({"c": step("b"), "a": step(), "b": step("a")}) == ["a", "b", "c"]
