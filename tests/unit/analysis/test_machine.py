# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Curve and machine: what is said of the same seconds, and that nothing is said without evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from asked import Asked, jsonl, the_run

from ansible_collections.stoker.fleet.plugins.module_utils import run_machine
from stoker.analysis import Run, machine, verdict
from stoker.analysis.machine_values import MachineEvent, Meeting, RunMachine

START = 1.7e9
STEPS = 3000


def training(folder: Path, *, slow: range = range(0), odd: int | None = None, timed: bool = True) -> Run:
    """A step a second; in `slow` one takes three. At `odd` the loss jumps for one step."""
    rows, at = [], START
    for step in range(STEPS):
        at += 3 if step in slow else 1
        wobble = (step * 7919 % 101 - 50) / 5000
        row = {"step": step, "train/loss": 1 + 2 / (1 + step / 300) + wobble + (9 if step == odd else 0)}
        rows.append({**row, "time": at} if timed else row)
    return the_run(jsonl(folder / "metrics.jsonl", rows))


def sample(at: float, **changed: Any) -> dict[str, Any]:
    gpu = {"uuid": "GPU-1", "index": 0, "util_pct": 96.0, "temp_c": 60, "throttle": []}
    gpu.update({key: value for key, value in changed.items() if key in gpu})
    rest = {key: value for key, value in changed.items() if key not in gpu}
    return {"t": at, "cpu_pct": 100.0, "disk_free": 500, "disk_total": 1000, "io_pct": 1.0, "gpus_unknown": None,
            "gpus": [gpu], **rest}  # fmt: skip


def told(samples: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"interval_s": 10.0, "samples": samples, "count": len(samples), "oom_at": None, "gpus": ["GPU-1"],
            "xids": [], "xids_unknown": None, **more}  # fmt: skip


def regular(seconds: int = STEPS) -> list[float]:
    return [START + at for at in range(5, seconds, 10)]


def met(run: Run, what: dict[str, Any], alerts: list[MachineEvent] | None = None) -> RunMachine:
    return machine.meet(run, verdict.check(run, run.info.updated_at).findings, what, alerts or [], 20)


def fall_of(answer: RunMachine) -> Meeting:
    (fall,) = [one for one in answer.meetings if one.of == "step rate"]
    return fall


@pytest.mark.accepts("B03")
@pytest.mark.parametrize(
    ("changed", "kind", "says"),
    [
        ({"throttle": ["hardware power brake"]}, "throttled", "GPU 0 was throttled (hardware power brake)"),
        ({"disk_free": 5}, "disk full", "the disk of its folder was full (0.5% free)"),
        ({"io_pct": 88.0}, "waiting for a disk", "something on the machine waited for a disk 88% of the time"),
        ({"util_pct": 20.0}, "GPU idle", "GPU 0 was 20% busy, where 96% is usual"),
    ],
)
def test_a_fall_is_told_with_what_began_in_its_seconds(
    tmp_path: Path, changed: dict[str, Any], kind: str, says: str
) -> None:
    run = training(tmp_path, slow=range(1500, 1700))
    during = (START + 1500, START + 2100)
    samples = [sample(at, **(changed if during[0] <= at <= during[1] else {})) for at in regular(3400)]
    fall = fall_of(met(run, told(samples)))
    assert (fall.step, fall.unknown) == (pytest.approx(1500, abs=3), None)
    assert "fell by 67%" in fall.says
    assert [(event.kind, event.says) for event in fall.meanwhile] == [(kind, says)]
    assert fall.meanwhile[0].at == pytest.approx(fall.at, abs=15)
    assert fall.meanwhile[0].until == pytest.approx(fall.until, abs=15)


@pytest.mark.accepts("B03")
def test_xid_memory_and_alerts_are_joined_by_their_moments(tmp_path: Path) -> None:
    run = training(tmp_path, slow=range(1500, 1700))
    at = START + 1502
    xids = [{"at": at, "code": 48, "text": "DBE", "index": 0}, {"at": START + 100, "code": 13, "text": "x", "index": 0}]
    alerts = [MachineEvent("alert", at + 1, at + 60, "disk / is 97% full")]
    answer = met(run, told([sample(t) for t in regular(3400)], xids=xids, oom_at=at), alerts)
    assert [event.kind for event in fall_of(answer).meanwhile] == ["Xid", "out of memory", "alert"]
    # The Xid of long before is told, and not joined.
    assert sum(event.kind == "Xid" for event in answer.events) == 2


@pytest.mark.accepts("B03")
def test_a_spike_of_the_loss_is_joined_too(tmp_path: Path) -> None:
    run = training(tmp_path, odd=2000)
    xids = [{"at": START + 1999, "code": 94, "text": "contained", "index": 0}]
    answer = met(run, told([sample(at) for at in regular()], xids=xids))
    (spike,) = [one for one in answer.meetings if one.of == "spike of train/loss"]
    assert spike.step == 2000
    assert [event.says for event in spike.meanwhile] == ["Xid 94 on GPU 0 (contained)"]


@pytest.mark.accepts("B03")
def test_without_evidence_it_is_unknown_and_why_is_said(tmp_path: Path) -> None:
    run = training(tmp_path, slow=range(1500, 1700))
    nothing = fall_of(met(run, told([sample(at) for at in regular(3400)])))
    assert (nothing.meanwhile, nothing.unknown) == ((), "nothing that the samples show began in these seconds")
    gap = fall_of(met(run, told([sample(at) for at in regular(1000)])))
    assert gap.unknown == "there is no sample of the machine from these seconds"
    none = met(run, told([], xids=None, xids_unknown="the kernel log cannot be read (dmesg: no)", gpus=[]))
    assert none.unknown == (
        "the job has no samples yet: what its machine did is unknown",
        "the job has no GPU of its own, so nothing is known of GPUs",
        "Xid errors are unknown: the kernel log cannot be read (dmesg: no)",
    )
    untimed = met(training(tmp_path / "untimed", timed=False), told([sample(START)]))
    assert (untimed.usual_rate, untimed.parts) == (None, ())
    assert untimed.unknown[0] == "its writer notes no times, so its step rate is unknown"


@pytest.mark.accepts("B03")
def test_an_even_run_has_nothing_odd(tmp_path: Path) -> None:
    # Throttled all the time: it began with none of the seconds in which something was odd.
    answer = met(training(tmp_path), told([sample(at, throttle=["software power cap"]) for at in regular()]))
    assert answer.meetings == ()
    assert [event.kind for event in answer.events] == ["throttled"]
    assert answer.usual_rate == pytest.approx(1.0)
    assert len(answer.parts) == 20


def test_a_folder_has_no_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training(tmp_path)
    said = Asked(capsys)("machine", tmp_path)
    assert said.code == 2
    assert "of files alone nobody knows what the machine did" in said.err


@pytest.mark.accepts("B03")
def test_of_many_samples_that_were_put_together_it_is_still_known_when_throttling_began(tmp_path: Path) -> None:
    """A sample a second, 100 of them in one: it began in the middle of such a group."""
    slowed = range(1550, 1700)
    reasons = [["hardware thermal slowdown"] if at in slowed else [] for at in range(STEPS)]
    whole = [sample(START + at, throttle=reasons[at]) for at in range(STEPS)]
    thin = run_machine.thinned(whole, 1.0, 30)
    assert (len(thin["samples"]), thin["interval_s"]) == (30, 100.0)
    fall = fall_of(met(training(tmp_path, slow=slowed), told(thin["samples"], interval_s=thin["interval_s"])))
    (event,) = fall.meanwhile
    assert (event.says, event.at) == ("GPU 0 was throttled (hardware thermal slowdown)", START + 1550)
    assert fall.unknown is None
    assert event.until == START + 1699
    assert run_machine.thinned(whole, 1.0, STEPS) == {"samples": whole, "interval_s": 1.0}
