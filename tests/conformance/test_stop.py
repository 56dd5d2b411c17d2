# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a job is ended: by request, at its time limit, when its lease ran out; and within its limits."""

from __future__ import annotations

import json
import time

import pytest
from conformance.backend import Backend

HANDLES_USR1 = """
import signal, sys, time
def save(*_):
    print('checkpoint', flush=True); time.sleep(0.7); print('saved', flush=True); sys.exit(0)
signal.signal(signal.SIGUSR1, save)
print('ready', flush=True)
time.sleep(74.5)
"""
# Interrupted by the signal, Python sleeps on for the rest of the time.
BUSY = "import subprocess; subprocess.Popen(['sleep', '74.6']); time.sleep(74.7)"


@pytest.mark.accepts("D09", "C51", "V14")
def test_cancel(backend: Backend, job: str) -> None:
    backend.start(job, "sleep", "74.1")
    seen, changed = backend.cancel(job)
    assert (seen["state"], seen["signal"], changed) == ("cancelled", 15, True), seen
    if "processes" in backend.promises:
        assert backend.processes("sleep 74.1") == []


@pytest.mark.accepts("D09")
def test_cancel_again_changes_nothing_and_says_so(backend: Backend, job: str) -> None:
    backend.run(job, "sh", "-c", "exit 4")
    for _time in range(2):
        seen, changed = backend.cancel(job)
        assert (seen["state"], seen["exit_code"], changed) == ("failed", 4, False), seen


def test_cancel_of_an_unknown_job(backend: Backend, job: str) -> None:
    reply = backend.side.order({"order": "stop", "job": job, "attempt": 1}, accepted=False)
    assert reply["orders"][0]["error"]["code"] == "unknown_job", reply["orders"]


def test_grace_is_given(backend: Backend, job: str) -> None:
    """Time to end in order; the exit code of a command that used it is kept."""
    backend.start(
        job, script="trap 'sleep 1; echo bye; exit 9' TERM; echo ready; while :; do sleep 0.1; done", grace_s=8
    )
    backend.wait_for_line(job, "ready")
    seen, _changed = backend.cancel(job)
    assert (seen["state"], seen["exit_code"], seen["last_line"]) == ("cancelled", 9, "bye"), seen


@pytest.mark.accepts("D09")
def test_grace_comes_to_an_end(backend: Backend, job: str) -> None:
    backend.start(job, script="trap '' TERM; echo ready; while :; do sleep 0.1; done", grace_s=600)
    backend.wait_for_line(job, "ready")
    began = time.monotonic()
    seen, _changed = backend.cancel(job, grace_s=1)
    assert (seen["state"], seen["signal"]) == ("cancelled", 9), seen
    assert time.monotonic() - began >= 1


@pytest.mark.accepts("D09")
def test_a_second_stop_may_shorten_the_grace(backend: Backend, job: str) -> None:
    backend.start(job, script="trap '' TERM; echo ready; while :; do sleep 0.1; done", grace_s=600)
    backend.wait_for_line(job, "ready")
    seen, changed = backend.cancel(job, wait_s=0.5)
    assert (seen["state"], seen["stopping"], changed) == ("running", True, True), seen
    seen, _changed = backend.cancel(job, grace_s=0)
    assert seen["state"] == "cancelled", seen


def test_checkpoint_signal(backend: Backend, job: str) -> None:
    """It goes to those that handle it only, and what they do is waited for before anything else is sent."""
    python = backend.node.python
    backend.node.ssh("cat > $HOME/saves.py", stdin=HANDLES_USR1)
    script = f"sleep 74.6 & {python} saves.py; echo code $?; wait; exit 6"
    backend.start(job, script=script, checkpoint_signal="USR1", checkpoint_grace_s=1.5)
    backend.wait_for_line(job, "ready")
    seen, _changed = backend.cancel(job)
    assert seen["state"] == "cancelled", seen
    assert backend.log(job).decode().splitlines()[:4] == ["ready", "checkpoint", "saved", "code 0"]
    assert seen["signal"] == 15, "USR1 ended what does not handle it"


def test_no_checkpoint_wait_where_nobody_handles_it(backend: Backend, job: str) -> None:
    backend.start(job, "sleep", "74.7", checkpoint_signal="USR1", checkpoint_grace_s=600)
    assert backend.cancel(job)[0]["state"] == "cancelled"


@pytest.mark.accepts("V16")
def test_timeout(backend: Backend, job: str) -> None:
    seen = backend.run(job, "sleep", "74.8", timeout_s=1)
    assert (seen["state"], seen["reason"]) == ("failed", "timeout"), seen
    assert 1 <= seen["elapsed_s"] < 60
    if "processes" in backend.promises:
        assert backend.processes("sleep 74.8") == []


@pytest.mark.accepts("V20")
def test_leases(backend: Backend, job: str) -> None:
    """With policy move a job that nobody renewed is lost; with policy keep, or renewed, it goes on."""
    backend.start(f"{job}-r", "sleep", "74.92", lease={"policy": "move", "seconds": 5})
    renewal = {"order": "lease", "job": f"{job}-r", "attempt": 1, "seconds": 60, "policy": "move"}
    assert backend.side.order(renewal)["orders"][0]["changed"] is True
    backend.start(f"{job}-m", "sleep", "74.91", lease={"policy": "move", "seconds": 1})
    backend.start(f"{job}-k", "sleep", "74.92", lease={"policy": "keep", "seconds": 1})
    seen = backend.wait(f"{job}-m")
    assert (seen["state"], seen["reason"]) == ("lost", "expired"), seen
    if "processes" in backend.promises:
        assert backend.processes("sleep 74.91") == []
    backend.wait(f"{job}-r", lambda seen: seen["elapsed_s"] is None or seen["elapsed_s"] > 5.5)
    for kept in ("r", "k"):
        assert backend.observe(f"{job}-{kept}")["state"] == "running", kept
        backend.cancel(f"{job}-{kept}", grace_s=0)


@pytest.mark.accepts("B10", "V20")
def test_a_promised_moment(backend: Backend, job: str) -> None:
    """A lease runs until a moment of the node's own clock: what comes late, or of another boot, gives nothing."""
    facts = backend.side.ask("reconcile", observe={"jobs": []})["node"]
    now, boot = facts["clock_s"], facts["boot"]["boot_id"]

    def renewed(until: float, boot_id: str = boot) -> bool:
        order = {"order": "lease", "job": job, "attempt": 1, "seconds": 600, "policy": "move"}
        answer = backend.side.order({**order, "until_boot_s": until, "boot_id": boot_id})["orders"][0]
        return bool(answer["changed"])

    spec = backend.side.spec(job, argv=["sleep", "74.95"], lease={"policy": "move", "seconds": 600})
    late = backend.try_start(spec, until_boot_s=now - 1, boot_id=boot)
    assert (late["ok"], late["error"]["code"]) == (False, "late_order"), late
    other = backend.try_start(spec, until_boot_s=now + 600, boot_id="another")
    assert (other["ok"], other["error"]["code"]) == (False, "late_order"), other
    assert backend.try_start(spec, until_boot_s=now + 600, boot_id=boot)["changed"] is True
    # Ordered again, with less: what was promised stands.
    assert backend.try_start(spec, until_boot_s=now - 1, boot_id=boot)["ok"] is True
    assert [renewed(now + 600), renewed(now + 1), renewed(now + 900, "another"), renewed(now + 900)] == [
        False, False, False, True,
    ]  # fmt: skip
    assert backend.observe(job)["state"] == "running"
    assert backend.cancel(job, grace_s=0)[0]["state"] == "cancelled"
    assert renewed(now + 1200) is False, "it is over"


@pytest.mark.accepts("V20")
def test_an_attempt_that_is_to_stop_is_not_kept(backend: Backend, job: str) -> None:
    backend.start(job, script="trap '' TERM; while :; do sleep 0.1; done", lease={"policy": "move", "seconds": 60})
    assert backend.cancel(job, wait_s=0.0, grace_s=5)[1] is True
    renewal = {"order": "lease", "job": job, "attempt": 1, "seconds": 60, "policy": "move"}
    assert backend.side.order(renewal)["orders"][0]["changed"] is False
    assert backend.cancel(job, grace_s=0)[0]["state"] == "cancelled"


@pytest.mark.root
def test_limits(backend: Backend, job: str) -> None:
    """Half a core for a second and a half of work; memory as the kernel's group says."""
    backend.needs("limits")
    work = "import time\nend = time.time() + 1.6\nwhile time.time() < end: pass\nprint(time.process_time())"
    backend.run(job, backend.node.python, "-c", work, cpus=0.25, memory_bytes=256 * 1024 * 1024)
    assert float(backend.log(job)) < 0.9
    hog = "import time; time.sleep(1); x = b'x' * 10**9"
    seen = backend.run(f"{job}-m", backend.node.python, "-c", hog, memory_bytes=64 * 1024 * 1024)
    assert (seen["state"], seen["reason"], seen["oom"]) == ("failed", "oom", True), seen


@pytest.mark.accepts("C03")
def test_nothing_of_ours_listens(backend: Backend, job: str) -> None:
    """No port, no socket: a node that runs a job is reached by ssh only."""
    backend.needs("job folder", "sockets")
    backend.start(job, "sleep", "74.3", split_output=True)
    state = backend.side.file(job, "state.json")
    ours = [state[role]["pid"] for role in ("supervisor", "recorder", "pump", "command")]
    listening = backend.node.ssh("ss -lntuxp").stdout
    assert "sshd" in listening, "ss shows no process names here"
    assert [pid for pid in ours if f"pid={pid}," in listening] == []
    opened = backend.node.ssh(" ".join(["ls -l", *(f"/proc/{pid}/fd" for pid in ours)])).stdout
    assert "out.log" in opened
    assert "socket:" not in opened
    backend.cancel(job, grace_s=0)


def test_samples(backend: Backend, job: str) -> None:
    backend.start(job, script="while :; do :; done", sample_interval_s=0.5)
    seen = backend.wait(job, lambda seen: bool(seen["sample"] and seen["sample"]["cpu_pct"]))
    assert seen["sample"]["processes"] >= 1, json.dumps(seen["sample"])
    assert seen["sample"]["rss_bytes"] > 100_000
    backend.cancel(job, grace_s=0)


@pytest.mark.accepts("V14")
def test_a_signal_reaches_only_what_handles_it(backend: Backend, job: str) -> None:
    goes_on = HANDLES_USR1.replace("sys.exit(0)", "None").replace("time.sleep(74.5)", BUSY)
    backend.start(job, backend.node.python, "-c", goes_on)
    backend.wait_for_line(job, "ready")
    order = {"order": "signal", "job": job, "attempt": 1, "signal": "USR1"}
    answer = backend.side.order(order)["orders"][0]
    assert answer["changed"] is True
    backend.wait_for_line(job, "saved")
    if "processes" in backend.promises:
        assert backend.processes("sleep 74.6") != []
    nobody = backend.side.order({**order, "signal": "USR2"}, accepted=False)["orders"][0]
    assert nobody["error"]["code"] == "not_supported", nobody
    backend.cancel(job, grace_s=0)
    over = backend.side.order(order, accepted=False)["orders"][0]
    assert over["error"]["code"] == "conflict", over
