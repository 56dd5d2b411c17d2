# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The score of a node, by figures that were worked out by hand from docs/placement.md."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from made import attempt, job, known, node

from stoker.config import Placement, Weights
from stoker.dispatch.model import RoundRequest, State
from stoker.dispatch.plan import plan
from stoker.dispatch.score import Seen, keys_of, score
from stoker.store import JobRow, NodeRow, SampleRow

NOW = 1000.0
GB = 1024**3


def sample(name: str, at: float = NOW - 5, sent: int = 0, **fields: Any) -> SampleRow:
    """CPU 20 % used, memory 8 of 32 GB, a disk half full, one GPU empty and one half full at 90 %."""
    detail = {
        "disks": [{"mount": "/", "used_pct": 50.0, "free": GB, "total": 2 * GB}, {"mount": "/n", "used_pct": None}],
        "network": [{"name": "eth0", "rx_bytes": sent, "tx_bytes": 0}, {"name": "lo", "rx_bytes": 9**9, "tx_bytes": 0}],
        "gpus": [
            {"index": 0, "util_pct": 0, "mem_used_mib": 0, "mem_total_mib": 80},
            {"index": 1, "util_pct": 90, "mem_used_mib": 40, "mem_total_mib": 80},
        ],
    }  # fmt: skip
    base: dict[str, Any] = {"node": name, "at": at, "node_at": at, "cpu_pct": 20.0, "load": 1.0,
                            "memory_used": 8 * GB, "memory_total": 32 * GB, "detail": detail}  # fmt: skip
    return SampleRow(**{**base, **fields})


def told(name: str, quarantined: int = 0, suspect: int = 0, at: float = NOW - 5, gpus: int = 2) -> NodeRow:
    found = [{"uuid": f"GPU-{i}", "quarantine": None, "xids": []} for i in range(gpus)]
    for gpu in found[:quarantined]:
        gpu["quarantine"] = {"since": 1, "until": 9, "evidence": []}
    for gpu in found[quarantined : quarantined + suspect]:
        gpu["xids"] = [{"code": 31}]
    return dataclasses.replace(known(name), facts={"gpus": found, "gpus_at": at})


# The two newest counted 125 MB in 10 s: 12.5 MB/s, a tenth of 1 Gbit/s.
FRESH = (sample("n1", NOW - 15), sample("n1", NOW - 5, sent=125_000_000))
STALE = (sample("n1", NOW - 131), sample("n1", NOW - 121, sent=125_000_000))
SNAPSHOT = {"digest": "ab" * 32}
FILES = job(gpus=1)
FILES = dataclasses.replace(
    FILES, spec={**FILES.spec, "snapshot": SNAPSHOT}, wants={"data": {"imagenet": 1, "coco": 1}}
)
HAS = {f"snapshot {'ab' * 32}": frozenset({"n1"})}


@pytest.mark.accepts("C11")
@pytest.mark.parametrize(
    ("what", "of", "gpus", "seen", "total"),
    [
        # (1*.8 + 1*.75 + .5*.5 + .5*.9 + 3*.5) / 6 = 3.75 / 6
        ("no GPU asked", job(), 0, Seen(told("n1"), FRESH, 1, {}), 0.625),
        # and 2*1 of memory + 2*1 of load + 3*1 of health: 10.75 / 13
        ("one GPU: the empty one counts", job(gpus=1), 1, Seen(told("n1"), FRESH, 1, {}), 0.8269),
        # memory (1 + .5) / 2 = .75, load (1 + .1) / 2 = .55: 3.75 + 1.5 + 1.1 + 3 = 9.35 / 13
        ("two GPUs: their mean", job(gpus=2), 2, Seen(told("n1"), FRESH, 1, {}), 0.7192),
        # 6 * .5 with jobs 1: .5 + .5 + .25 + .25 + 3 + 1 + 1 + 1.5 = 8 / 13
        ("nothing known is neither good nor bad", job(gpus=1), 1, Seen(None, (), 0, {}), 0.6154),
        ("a sample of 121 s ago says nothing", job(gpus=1), 1, Seen(told("n1", at=NOW - 601), STALE, 0, {}), 0.6154),
        # 4.5 + 2 + 2 + 3 * .5 (one of two) = with jobs .5: 3.75 + 4 + 1.5 = 9.25 / 13
        ("one of two quarantined", job(gpus=1), 1, Seen(told("n1", 1), FRESH, 1, {}), 0.7115),
        # 3.75 + 4 + 3 * .75 = 10 / 13
        ("one of two suspect", job(gpus=1), 1, Seen(told("n1", 0, 1), FRESH, 1, {}), 0.7692),
        # 10.75 + 1*1 (its files) + 2*.5 (one of two sets of data) = 12.75 / 16
        ("its files, and half of its data", FILES, 1, Seen(told("n1"), FRESH, 1, {"stoker_data": ["coco"]}), 0.7969),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_score_is_what_the_table_says(what: str, of: JobRow, gpus: int, seen: Seen, total: float) -> None:
    assert score("n1", of, gpus, seen, HAS, Weights(), NOW).total == total


def test_every_part_says_what_it_comes_from() -> None:
    found = score("n1", FILES, 1, Seen(told("n1", 1), FRESH, 1, {"stoker_data": "coco"}), HAS, Weights(), NOW)
    assert {name: (part.value, part.why) for name, part in found.parts.items()} == {
        "cpu": (0.8, "CPU 20% used"), "memory": (0.75, "memory 25% used"), "disk": (0.5, "emptiest disk 50% used"),
        "network": (0.9, "network 12.5 MB/s"), "jobs": (0.5, "1 job there"),
        "gpu_memory": (1.0, "GPU memory (the best 1) 0% used"), "gpu_load": (1.0, "GPU load (the best 1) 0% used"),
        "health": (0.5, "1 of 2 GPUs quarantined, 0 suspect"), "code": (1.0, "has 1 of 1: snapshot abababababab"),
        "data": (0.5, "has 1 of 2: data coco"),
    }  # fmt: skip
    assert found.age_s == 5.0


def test_weights_decide() -> None:
    busy = Seen(told("n1"), FRESH, 9, {})
    only = dataclasses.replace(Weights(**dict.fromkeys(Weights.__dataclass_fields__, 0.0)), cpu=2.0)
    assert score("n1", job(), 0, busy, {}, only, NOW).total == 0.8
    none = dataclasses.replace(only, cpu=0.0)
    assert score("n1", job(), 0, busy, {}, none, NOW).total == 0.5


def test_a_network_that_was_counted_from_zero_again_is_unknown() -> None:
    booted = (sample("n1", NOW - 15, sent=10**9), sample("n1", NOW - 5, sent=5))
    parts = score("n1", job(), 0, Seen(None, booted, 0, {}), {}, Weights(), NOW).parts
    assert (parts["network"].value, parts["network"].why) == (None, "network unknown (it booted)")


def test_what_a_node_may_have_already() -> None:
    inside = job()
    spec = {**inside.spec, "workdir": "/srv/p", "container": {"image": "a/b:1"}}
    found = keys_of(dataclasses.replace(inside, spec=spec))
    assert found == {"folder /srv/p": '"workdir": "/srv/p"', "image a/b:1": '"image": "a/b:1"'}


@pytest.mark.accepts("C11")
@pytest.mark.parametrize(
    ("what", "waits", "busy", "samples", "weights", "where"),
    [
        # n1 .8269 (one job), n2 .6154 (nothing known)
        ("a node that is known to be idle", job(gpus=1), "n1", {"n1": FRESH}, {}, "n1"),
        # n1 with cpu 100, memory 100, GPUs full and at 100: 0 + 0 + .25 + .45 + 1.5 + 0 + 0 + 3 = 5.2 / 13 = .4
        ("not the one that is known to be busy", job(gpus=1), "n1",
         {"n1": (FRESH[0], sample("n1", sent=125_000_000, cpu_pct=100.0, memory_used=32 * GB, detail={
             **FRESH[1].detail, "gpus": [{"util_pct": 100, "mem_used_mib": 8, "mem_total_mib": 8}] * 2}))}, {}, "n2"),
        # the same with the weight of jobs alone: n1 .5, n2 1
        ("the emptier one where jobs weigh most", job(gpus=1), "n1", {"n1": FRESH}, {"jobs": 100.0}, "n2"),
        ("room goes before the score", job(gpus=2), "n1", {"n1": FRESH}, {}, "n2"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_the_node_that_is_chosen(
    what: str, waits: JobRow, busy: str, samples: dict[str, Any], weights: dict[str, float], where: str
) -> None:
    running = job("b-2222", attempt=1, state="running", node=busy, gpus=1)
    rows = {"n1": told("n1"), "n2": dataclasses.replace(told("n2", at=0.0))}
    request = RoundRequest(placement=Placement(weights=Weights(**weights)))
    state = State(
        (waits, running), {running.id: attempt(running)}, (node("n1"), node("n2")), rows, request, samples=samples
    )
    (claim,) = [change for change in plan(state, NOW).changes if change.claim]
    assert claim.values["node"] == where
    told_of = claim.data["placement"]
    assert told_of["chosen"]["node"] == where
    if told_of["why"] == "score":
        (other,) = told_of["others"]
        assert other["score"] <= told_of["chosen"]["score"]
