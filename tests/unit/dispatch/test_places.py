# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes a job may run on, what they have room for, and what it is told where there is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import attempt, job, known

from stoker.config import Placement
from stoker.dispatch import NodeInfo, RoundRequest
from stoker.dispatch.load import AHEAD
from stoker.dispatch.model import Plan, State, placement_of
from stoker.dispatch.place import targeted
from stoker.dispatch.plan import plan
from stoker.dispatch.where import Condition
from stoker.errors import UsageError
from stoker.store import JobRow, NodeRow

NOW = 1000.0
GB = 1024**3
H100 = {"stoker_gpu_model": "H100", "stoker_tags": ["fast", "lab"], "stoker_cards": 8, "stoker_spot": False}
NODES = (
    NodeInfo("n1", ("gpu", "lab"), H100),
    NodeInfo("n2", ("gpu",), {"stoker_gpu_model": "A100", "stoker_cards": "2"}),
    NodeInfo("spark", ("gpu", "lab"), {"stoker_gpu_model": "GB10"}),
)


def asking(id: str = "a-2222", number: int = 1, spec: Mapping[str, Any] | None = None, **fields: Any) -> JobRow:  # noqa: A002
    made = job(id, number=number, **fields)
    return dataclasses.replace(made, spec={**made.spec, **(spec or {})})


def on(name: str, id: str, **fields: Any) -> JobRow:  # noqa: A002
    return asking(id, number=0, attempt=1, state="running", node=name, **fields)


def facts(gpus: int = 2, memory: int = 32, cpus: int = 8, free: int = 100, **more: Any) -> dict[str, Any]:
    return {
        "gpus": [{"uuid": f"GPU-{i}", "mem_total_mib": 80 * 1024} for i in range(gpus)], "gpus_at": NOW - 1,
        "memory": {"total": memory * GB, "limit": None}, "cpu": {"count": cpus, "usable": cpus},
        "disks": [{"mount": "/", "free": free * GB}, {"mount": "/dead", "free": None}], "read_at": NOW - 1, **more,
    }  # fmt: skip


def row(name: str, **fields: Any) -> NodeRow:
    return dataclasses.replace(known(name), facts=facts(**fields))


def planned(jobs: list[JobRow], nodes: tuple[NodeInfo, ...] = NODES, rows: list[NodeRow] | None = None,
            **rules: Any) -> Plan:  # fmt: skip
    attempts = {each.id: attempt(each, state=each.state) for each in jobs if each.node is not None}
    rows = [row(each.name) for each in nodes] if rows is None else rows
    request = RoundRequest(placement=Placement(**rules))
    return plan(State(tuple(jobs), attempts, nodes, {each.name: each for each in rows}, request), NOW)


def where_to(found: Plan) -> dict[str, Any]:
    return {change.seen.id: change.values["node"] for change in found.changes if change.claim}


@pytest.mark.accepts("C11")
@pytest.mark.parametrize(
    ("target", "names"),
    [
        (None, ["n1", "n2", "spark"]),
        ("n2", ["n2"]),
        ("lab", ["n1", "spark"]),
        ("gpu:&lab:!spark", ["n1"]),
        ("gpu,!lab", ["n2"]),
        ("n*", ["n1", "n2"]),
        ("~n[12]", ["n1", "n2"]),
        ("gpu[1:2]", ["n2", "spark"]),
        ("nowhere", []),
        ("~[", []),
        ("", []),
    ],
)
def test_a_target_is_a_pattern(target: str | None, names: list[str]) -> None:
    assert targeted(target, NODES) == names


@pytest.mark.accepts("C11")
@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("stoker_gpu_model=h100", {"n1"}),
        ("stoker_gpu_model!=H100", {"n2", "spark"}),
        ("stoker_tags=lab", {"n1"}),
        ("stoker_cards>=2", {"n1", "n2"}),
        ("stoker_cards<8", {"n2"}),
        ("stoker_cards = 8.0", {"n1"}),
        ("stoker_spot=false", {"n1"}),
        ("stoker_nothing=1", set()),
    ],
)
def test_conditions_on_host_variables(text: str, names: set[str]) -> None:
    assert {node.name for node in NODES if Condition.parse(text).lacks(node.vars) is None} == names


@pytest.mark.parametrize("text", ["", "stoker_x", "stoker_x=", "gpu_model=H100", "stoker_x>=much", "stoker_x ~ 3"])
def test_what_is_no_condition(text: str) -> None:
    with pytest.raises(UsageError, match="--where"):
        Condition.parse(text)


def test_a_template_is_not_taken_for_its_text() -> None:
    assert Condition.parse("stoker_x!=1").lacks({"stoker_x": "{{ y }}"}) == "a template, which a round does not fill in"


WHERE = {"where": ["stoker_gpu_model=H100", "stoker_cards>=2"]}


@pytest.mark.accepts("C11", "D21")
@pytest.mark.parametrize(
    ("what", "waits", "others", "reason"),
    [
        ("no node fulfils it", asking(wants={"where": ["stoker_gpu_model=B200"]}), [],
         "no node has stoker_gpu_model=B200 (n1: stoker_gpu_model is H100; n2: stoker_gpu_model is A100; "
         "spark: stoker_gpu_model is GB10)"),
        ("more memory than there is", asking(spec={"memory_bytes": 64 * GB}), [],
         "needs 64.0 GB of memory: n1 has 32.0 GB of memory; n2 has 32.0 GB of memory; spark has 32.0 GB of memory"),
        ("more CPUs than there are, on a node that it names", asking(target="n1", spec={"cpus": 9}), [],
         "needs 9 CPUs: n1 has 8 CPUs"),
        ("no such disk", asking(target="n1", wants={"disk_bytes": 200 * GB}), [],
         "needs 200.0 GB on a disk: n1 has 100.0 GB free on its emptiest disk"),
        ("smaller GPUs", asking(target="lab", gpus=1, spec={"preflight": {"gpu_memory_bytes": 90 * GB}}), [],
         "needs 1 GPU of 90 GB: n1 has none with 90 GB; spark has none with 90 GB"),
        ("the only node that it may run on", asking(target="gpu:!spark:!n2", gpus=1),
         [on("n1", "b-2222", gpus=2)], None),
        ("some GPUs are left, but too few", asking(target="lab", gpus=2),
         [on("n1", "b-2222", gpus=1), on("spark", "c-2222", gpus=1)],
         "needs 2 GPUs, 1 of 2 free on n1 (held by b-2222); needs 2 GPUs, 1 of 2 free on spark (held by c-2222)"),
        ("memory is promised", asking(target="n1", spec={"memory_bytes": 20 * GB}),
         [on("n1", "b-2222", spec={"memory_bytes": 20 * GB})],
         "needs 20.0 GB of memory, 12.0 of 32.0 GB left on n1 (held by b-2222)"),
        ("CPUs are promised", asking(target="lab", spec={"cpus": 6}),
         [on("n1", "b-2222", spec={"cpus": 4}), on("spark", "c-2222", spec={"cpus": 2.5})],
         "needs 6 CPUs, 4 of 8 left on n1 (held by b-2222); needs 6 CPUs, 5.5 of 8 left on spark (held by c-2222)"),
        ("kept apart", asking(target="n1", wants={"apart": "seed"}), [on("n1", "b-2222", wants={"apart": "seed"})],
         "b-2222 of 'seed' is on n1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_why_there_is_no_place(what: str, waits: JobRow, others: list[JobRow], reason: str | None) -> None:
    found = planned([waits, *others])
    assert found.waiting.get(waits.id) == reason
    assert (waits.id in where_to(found)) == (reason is None)


@pytest.mark.accepts("D21")
def test_no_gpu_free_and_the_line_of_the_node_is_full() -> None:
    """Two wait on each node; the next one waits in the store, which says for whom."""
    jobs = [asking(f"j{index}-2222", index, gpus=2, target="lab") for index in range(7)]
    found = planned(jobs)
    assert sorted(where_to(found).values()) == ["n1"] * 3 + ["spark"] * 3
    told = "no GPU free on n1 (2 of 2 held by j0-2222, j2-2222, j4-2222)"
    assert found.waiting == {"j6-2222": told + "; " + told.replace("n1", "spark").replace("j0", "j1").replace(
        "j2-", "j3-").replace("j4", "j5")}  # fmt: skip


@pytest.mark.accepts("C11")
def test_what_is_not_known_is_asked() -> None:
    bare = [known("n1", 2), known("n2", 2), dataclasses.replace(row("spark"), facts={})]
    found = planned([asking(spec={"memory_bytes": GB})], rows=bare)
    assert found.waiting == {"a-2222": "asking n1, n2, spark for their memory"}
    assert found.parts == {"n1", "n2", "spark"}
    old = [row("n1", read_at=NOW - 601), row("n2", free=1), row("spark", free=1)]
    found = planned([asking(wants={"disk_bytes": 50 * GB})], rows=old)
    assert (found.waiting["a-2222"], found.parts) == ("asking n1 for their disks", {"n1"})


def test_a_node_that_may_have_room_is_asked_before_a_job_waits_on_a_full_one() -> None:
    rows = [row("n1"), dataclasses.replace(row("n2"), facts={}), row("spark", gpus=0)]
    found = planned([on("n1", "b-2222", gpus=2), asking(gpus=1)], rows=rows)
    assert (where_to(found), found.waiting) == ({}, {"a-2222": "asking n2 for their GPUs"})


def test_nobody_stands_in_line_on_a_node_before_who_waits_for_it() -> None:
    """The small one takes the last GPU; now one could wait on the node, and that is the first one that waits."""
    busy = [on("n1", "b-2222", gpus=1), on("spark", "c-2222", gpus=2), on("spark", "d-2222"), on("spark", "e-2222")]
    first, small, last = (
        asking(f"{name}-2222", i, gpus=n) for i, (name, n) in enumerate((("x", 2), ("y", 1), ("z", 2)))
    )
    rows = [row("n1"), row("n2", gpus=0), row("spark", gpus=1)]
    found = planned([*busy, first, small, last], rows=rows)
    assert where_to(found) == {"y-2222": "n1"}
    now = dataclasses.replace(small, state="starting", attempt=1, node="n1")
    assert list(where_to(planned([*busy, now, first, last], rows=rows))) == ["x-2222", "z-2222"]


def with_vars(name: str, groups: tuple[str, ...] = ("lab",), **variables: Any) -> NodeInfo:
    return NodeInfo(name, groups, variables)


@pytest.mark.accepts("D21", "C11")
@pytest.mark.parametrize(
    ("what", "nodes", "limits", "starts", "reasons"),
    [
        ("of a node", (with_vars("n1", stoker_max_jobs=2),), {}, 2,
         {"n1 takes 2 jobs at a time (held by j0-2222, j1-2222)"}),
        ("of a node, from an INI file", (with_vars("n1", stoker_max_jobs="1"),), {}, 1,
         {"n1 takes 1 job at a time (held by j0-2222)"}),
        ("none", (with_vars("n1", stoker_max_jobs=0),), {}, 0, {"n1 takes no jobs (stoker_max_jobs is 0)"}),
        ("that cannot be read", (with_vars("n1", stoker_max_jobs="{{ x }}"),), {}, 0,
         {"n1: stoker_max_jobs is '{{ x }}', not a whole number of 0 or more"}),
        ("of a group, by the settings", (with_vars("n1"), with_vars("n2")), {"lab": 3}, 3,
         {"group lab takes 3 jobs at a time (held by j0-2222, j2-2222, j1-2222)"}),
        ("of a group, by the inventory, the lower one", (with_vars("n1", stoker_group_limits={"lab": 1}),), {"lab": 3},
         1, {"group lab takes 1 job at a time (held by j0-2222)"}),
        ("of a group, unreadable", (with_vars("n1", stoker_group_limits="lab 3"),), {}, 0,
         {"n1: stoker_group_limits is 'lab 3', not a mapping of groups to numbers"}),
        ("of all", (with_vars("n1"), with_vars("n2", ())), {"all": 1}, 1,
         {"group all takes 1 job at a time (held by j0-2222)"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_limits(what: str, nodes: tuple[NodeInfo, ...], limits: dict[str, int], starts: int, reasons: set[str]) -> None:
    for target in (None, "n1"):
        jobs = [asking(f"j{index}-2222", index, target=target) for index in range(4)]
        found = planned(jobs, nodes, group_limits=limits)
        assert len(where_to(found)) == starts
        if target is None or len(nodes) == 1:
            assert set(found.waiting.values()) == reasons


@pytest.mark.accepts("C11")
def test_jobs_of_a_label_spread_and_others_do_not_care() -> None:
    jobs = [asking(f"j{index}-2222", index, wants={"apart": "seed"}) for index in range(4)]
    found = planned([*jobs, asking("z-2222", 9, target="n1")])
    assert sorted(where_to(found).values()) == ["n1", "n1", "n2", "spark"]
    assert found.waiting["j3-2222"].startswith("j0-2222 of 'seed' is on n1; ")


def test_a_quarantined_gpu_is_not_counted_while_that_was_told_lately() -> None:
    bad = facts()
    bad["gpus"][0]["quarantine"] = {"since": 1, "until": 2, "evidence": []}
    rows = [dataclasses.replace(known("n1"), facts=bad)]
    nodes = (NodeInfo("n1", ("lab",)), NodeInfo("n3", ()))
    found = planned([asking(gpus=2, target="lab:n3")], nodes, rows=[*rows, row("n3", gpus=1)])
    assert found.waiting == {"a-2222": "needs 2 GPUs: n1 has 2, 1 of them quarantined; n3 has 1"}
    old = dataclasses.replace(known("n1"), facts={**bad, "gpus_at": NOW - 601})
    assert where_to(planned([asking(gpus=2, target="lab:n3")], nodes, rows=[old, row("n3", gpus=1)]))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"wieghts": {}}, "there is no 'wieghts'"),
        ({"weights": {"gpu": 1}}, "placement.weights: there is no 'gpu'"),
        ({"pass_limit": "often"}, "are numbers"),
    ],
)
def test_settings_of_a_round_that_cannot_be_read(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        RoundRequest.parse({"placement": asked})
    assert placement_of({"weights": {"cpu": "2"}, "group_limits": {"a": "3"}}).group_limits == {"a": 3}


@given(
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from([None, "gpu", "n1"]), st.booleans()), max_size=14),
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)),
)
@settings(max_examples=300, deadline=None)
def test_no_gpu_is_promised_twice(wanted: list[tuple[int, str | None, bool]], gpus: tuple[int, int, int]) -> None:
    """What is chosen for jobs never exceeds a node's GPUs by more than its short line; only named nodes get more."""
    rows = [row(node.name, gpus=count) for node, count in zip(NODES, gpus, strict=True)]
    jobs = [asking(f"j{index}-2222", index, gpus=need, target=target) for index, (need, target, _) in enumerate(wanted)]
    for _ in range(3):
        found = planned(jobs, rows=rows)
        placed = where_to(found)
        now = {each.id: dataclasses.replace(each, state="starting", attempt=1, node=placed[each.id])
               for each in jobs if each.id in placed}  # fmt: skip
        jobs = [now.get(each.id, each) for each in jobs]
        for node, count in zip(NODES, gpus, strict=True):
            here = [each for each in jobs if each.node == node.name and each.spec["gpus"]]
            assert all(each.spec["gpus"] <= count or each.target == node.name for each in here)
            if any(each.target == node.name for each in here):
                continue
            used, waiting = 0, 0
            for each in here:
                fits = used + each.spec["gpus"] <= count
                used, waiting = (used + each.spec["gpus"], waiting) if fits else (used, waiting + 1)
            assert waiting <= AHEAD
            assert not waiting or used == count, "one waits on a node only where nothing is left for a smaller one"
