# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One job on one real machine, told truthfully: the command line, ssh, the node, and back."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cli import Cli, until
from testbed import PlainNode

Stoker = Callable[..., Cli]
HOSTILE = [
    "", " ", "-", "--", "--json", "$HOME", "`id`", "$(id)", "a|b", "a;b", "'", '"', "\\", "\\n", "line\nline", "tab\t",
    "*", "~", "{{ 7 * 7 }}", "{% raw %}", "{{ lookup('pipe', 'id') }}", "!unsafe x", "ünïcödé 日本 🙂", "\x1b[31m",
    "\x07", "#", "%s", "a=b", "@file", "None", "true", "007", "\r\n", "x" * 5000,
]  # fmt: skip
SHOW = "import sys, json; print(json.dumps(sys.argv[1:]))"


@pytest.mark.accepts("D15", "V14", "V16", "V20")
def test_a_job_is_told_as_it_was(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    good, bad = (
        cli.run("true", options=("--name", "good")),
        cli.run("sh", "-c", "echo out; exit 7", options=("--name", "bad")),
    )
    killed = cli.run("sh", "-c", "kill -9 $$", options=("--name", "killed"))
    assert [cli("wait", job).code for job in (good, bad, killed)] == [0, 1, 1]
    told = {job: cli.job(job) for job in (good, bad, killed)}
    fields = ("state", "reason", "exit_code", "signal")
    assert [tuple(told[job][field] for field in fields) for job in (good, bad, killed)] == [
        ("succeeded", None, 0, None), ("failed", "code", 7, None), ("failed", "signal", None, 9),
    ]  # fmt: skip
    listed = cli("jobs").out
    assert "failed (7)" in listed
    assert "failed (SIGKILL)" in listed
    assert cli("logs", bad).out == "out\n"


@pytest.mark.accepts("D06")
def test_a_hostile_command_and_its_environment_arrive_unchanged(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    job = cli.run(node.python, "-c", SHOW, *HOSTILE, options=("--env", "ODD={{ 7 * 7 }} $X\n'"))
    assert cli("wait", job).code == 0
    assert json.loads(cli("logs", "--all", "--raw", job).out) == HOSTILE
    shown = cli.run(
        node.python,
        "-c",
        "import os, json; print(json.dumps(os.environ['ODD']))",
        options=("--env", "ODD={{ 7 * 7 }} $X\n'"),
    )
    cli("wait", shown)
    assert json.loads(cli("logs", "--raw", shown).out) == "{{ 7 * 7 }} $X\n'"


@pytest.mark.accepts("D03")
def test_exec_brings_back_code_and_streams_unchanged(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    said = cli("exec", node.name, "--", node.python, "-c", SHOW, *HOSTILE)
    assert said.code == 0
    assert json.loads(said.out) == HOSTILE
    both = cli("exec", node.name, "--", "sh", "-c", "printf 'o\\000\\377'; printf 'e {{ x }}' >&2; exit 42")
    assert (both.code, both.out.encode(errors="surrogateescape"), both.err) == (42, b"o\0\xff", "e {{ x }}")
    script = cli.folder / "s.sh"
    script.write_text("echo \"$0\" | wc -l; echo '{{ x }}'\n")
    assert cli("exec", node.name, "--script", str(script)).out == "1\n{{ x }}\n"


@pytest.mark.accepts("D14")
def test_a_line_is_in_the_log_without_a_flush(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    job = cli.run("sh", "-c", f"cd / && {node.python} -c \"import time; print('here'); time.sleep(600)\"")
    # The command goes on: nothing but the line itself can have brought it out.
    until = time.monotonic() + 150
    while (out := cli("logs", job).out) != "here\n":
        assert time.monotonic() < until, out
        time.sleep(0.5)
    assert cli.job(job, "--live")["state"] == "running"
    cli("stop", "--grace", "1", job)


@pytest.mark.accepts("V28")
def test_following_over_a_cut_connection_loses_and_repeats_nothing(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    code = (
        "import os, time\nfor i in range(60):\n    print('line', i, flush=True)\n"
        "    while i == 30 and not os.path.exists(os.path.expanduser('~/go')): time.sleep(0.1)"
    )
    following = cli.start("run", "--follow", "--", node.python, "-c", code)
    assert following.stdout is not None
    assert following.stderr is not None
    first = following.stdout.readline()
    node.down()
    told = b""
    while b"trying again" not in told:
        told += following.stderr.readline()
        assert following.poll() is None, told
    node.start()
    (node.home / "go").touch()
    out, err = following.communicate(timeout=180)
    assert (first + out).decode() == "".join(f"line {i}\n" for i in range(60)), err
    assert following.returncode == 0
    assert b"succeeded on n1" in err


@pytest.mark.accepts("D06")
def test_ctrl_c_leaves_the_job_running_and_says_how_to_come_back(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    following = cli.start("run", "--follow", "--", "sh", "-c", "echo up; sleep 600")
    assert following.stdout is not None
    assert following.stdout.readline() == b"up\n"
    following.send_signal(signal.SIGINT)
    _, err = following.communicate(timeout=120)
    job = cli("jobs", "--json").json()["jobs"][0]["id"]
    assert following.returncode == 130
    assert f"stoker logs -f {job}" in err.decode()
    assert b"Traceback" not in err
    assert cli.job(job, "--live")["state"] == "running"
    stopped = cli("stop", job)
    assert (stopped.code, stopped.out) == (0, f"{job} stopped\n")


@pytest.mark.accepts("V14")
def test_a_signal_to_a_running_job(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    job = cli.run("sh", "-c", "trap 'echo saved' USR1; echo ready; while :; do sleep 0.1; done")
    sent = cli("signal", job, "usr1")
    assert (sent.code, sent.out.splitlines()[0]) == (0, f"SIGUSR1 sent to {job} on n1")
    refused = cli("signal", job, "USR2")
    assert refused.code == 1
    assert "no process of" in refused.err
    assert cli("signal", job, "KILL").code == 2
    cli("stop", "--grace", "0", job)
    assert cli("logs", job).out == "ready\nsaved\n"
    assert cli("signal", job, "USR1").code == 2


@pytest.mark.accepts("D06", "B10")
def test_a_killed_controller_and_a_cut_connection_end_no_job(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    following = cli.start("run", "--follow", "--", "sh", "-c", "echo up; sleep 4; echo done")
    assert following.stdout is not None
    assert following.stdout.readline() == b"up\n"
    following.kill()
    node.cut()
    job = cli("jobs", "--json").json()["jobs"][0]["id"]
    assert cli("wait", job).code == 0
    assert cli("logs", job).out == "up\ndone\n"


@pytest.mark.accepts("D08", "B10", "V15")
def test_a_node_that_is_away_is_told_as_away(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    job = cli.run("sh", "-c", "echo before; sleep 600")
    assert cli("jobs", "--live").code == 0
    node.down()
    live = cli("jobs", "--live")
    assert live.code == 1
    assert "unreachable" in live.out
    assert "(last seen running)" in live.out
    assert "n1: could not be asked" in live.err
    log = cli("logs", job)
    assert log.out == "before\n"
    assert "stored copy" in log.err
    stop = cli("stop", job)
    assert stop.code == 1
    assert "cannot be reached" in stop.out
    node.start()
    assert cli("wait", job).code == 1
    assert cli.job(job)["state"] == "cancelled"


@pytest.mark.accepts("C51", "D09")
def test_a_stopped_job_is_gone_before_it_is_told(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    marker = f"sleep {600 + os.getpid() / 1e6}"
    job = cli.run("sh", "-c", f"trap '' TERM; setsid {marker} & {marker}")
    until(lambda: sum(marker in " ".join(p.argv) for p in node.processes()) >= 2, "the job's processes")
    assert cli("stop", "--grace", "1", job).code == 0
    assert [p for p in node.processes() if marker.split()[1] in " ".join(p.argv)] == []
    assert cli.job(job)["state"] == "cancelled"
    again = cli("stop", job)
    assert (again.code, again.out) == (0, f"{job} was over already: nothing to stop\n")


def test_a_secret_is_stored_nowhere(stoker: Stoker, node: PlainNode) -> None:
    cli, value = stoker(node), "hunter2-in-the-clear"
    job = cli.run("sh", "-c", "test ${#TOKEN} = 20 && echo same", options=("--secret", "TOKEN"), env={"TOKEN": value})
    assert cli("wait", job).code == 0
    assert cli("logs", job).out == "same\n"
    secret = value.encode()
    written = [
        p for p in [*cli.folder.rglob("*"), *node.state_dir.rglob("*")] if p.is_file() and secret in p.read_bytes()
    ]
    assert written == []
    with sqlite3.connect(cli.folder / "store.db") as store:
        specs = [json.loads(row[0]) for row in store.execute("select spec from jobs")]
    assert specs[0]["secret_env"] == ["TOKEN"]


@pytest.mark.accepts("D25")
def test_numbers_are_taken_from_the_log(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    (cli.folder / "stoker.yml").write_text("metrics:\n  - {name: acc, regex: 'acc ([0-9.]+)', keep: last}\n")
    job = cli.run(
        "sh", "-c", "for i in 3 2 1; do echo loss $i.5 acc 0.$i; done", options=("--metric", r"loss=loss ([\d.]+)")
    )
    assert cli("wait", job).code == 0
    metrics = cli.job(job)["metrics"]
    assert (metrics["loss"]["first"], metrics["loss"]["last"], metrics["loss"]["count"]) == (3.5, 1.5, 3)
    assert metrics["acc"]["last"] == 0.1
    assert "loss 3.5 → 1.5" in cli("job", job, env={"PYTHONIOENCODING": "utf-8"}).out


@pytest.mark.accepts("D13")
def test_clean_deletes_on_the_node_what_it_reports(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    over, running = cli.run("true"), cli.run("sleep", "600")
    cli("wait", over)
    dry = cli("clean", "--older-than", "0", "--dry-run", "--json").json()
    assert [r["job"] for r in dry["removed"]] == [over]
    assert (node.state_dir / "jobs" / over).is_dir()
    report = cli("clean", "--older-than", "0", "--json").json()
    assert [(r["job"], r["attempts"]) for r in report["removed"]] == [(over, 1)]
    assert report["removed"][0]["bytes"] > 0
    assert [p.name for p in (node.state_dir / "jobs").iterdir()] == [running]
    assert [j["id"] for j in cli("jobs", "--json").json()["jobs"]] == [running]
    cli("stop", "--grace", "1", running)


def test_adopt_reads_the_jobs_back_into_an_empty_store(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    over, running = cli.run("sh", "-c", "exit 3"), cli.run("sleep", "600")
    cli("wait", over)
    (cli.folder / "store.db").rename(cli.folder / "lost.db")
    assert cli("jobs").out.startswith("no jobs yet")
    report = cli("adopt", "--json").json()
    assert {j["id"]: (j["state"], j["exit_code"]) for j in report["adopted"]} == {
        over: ("failed", 3),
        running: ("running", None),
    }
    assert cli("stop", "--grace", "1", running).code == 0


@pytest.mark.accepts("B08", "B09")
def test_a_job_waits_for_a_gpu_on_the_node_and_starts_there_by_itself(stoker: Stoker, gpu_node: PlainNode) -> None:
    cli = stoker(gpu_node)
    until_told = "while [ ! -e ~/go ]; do sleep 0.1; done"
    held = [cli.run("sh", "-c", until_told, options=("--gpus", "1")) for _ in range(2)]
    waiting = cli("run", "--gpus", "1", "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES")
    third = cli("jobs", "--json").json()["jobs"][0]
    assert "waiting for a GPU" in waiting.out
    assert (third["state"], third["waiting"]["free"]) == ("queued", 0)
    assert {cli.job(job)["gpus"][0] for job in held} == set(gpu_node.gpus.uuids)
    (gpu_node.home / "go").touch()
    started = gpu_node.state_dir / "jobs" / third["id"] / "1" / "exit.json"
    until(started.exists, "the third job ran without anybody asking", 180)
    fourth = cli.start("run", "--follow", "--gpus", "2", "--", "echo", "both")
    assert fourth.communicate(timeout=180)[0] == b"both\n"
    assert cli("wait", third["id"]).code == 0
    assert cli("logs", third["id"]).out.strip() in gpu_node.gpus.uuids


@pytest.mark.accepts("D11")
def test_status_and_watch_show_the_gpus(stoker: Stoker, gpu_node: PlainNode) -> None:
    cli = stoker(gpu_node)
    job = cli.run("sh", "-c", "echo up; sleep 600", options=("--gpus", "1"))
    # Only now: a GPU that somebody else keeps busy would not have been taken.
    gpu_node.gpus.set(0, {"utilization.gpu": 97, "temperature.gpu": "[N/A]"})
    gpus = cli("status", "--json").json()["nodes"][0]["gpus"]
    assert (gpus[0]["utilisation"], gpus[0]["temperature"], gpus[0]["held_by"]) == (97, None, job)
    assert "temperature" in gpus[0]["unknown"] or "temp_c" in gpus[0]["unknown"]
    assert gpus[0]["memory_total"] > 2**30
    shown = cli("status").out
    assert "load 97%  temperature unknown" in shown
    until(lambda: cli.job(job, "--live")["sample"], "a sample", 180)
    assert "GPU 0 load 97%" in cli("watch", "--once", job).out
    cli("stop", "--grace", "1", job)


def test_a_failed_job_is_started_again_as_often_as_asked(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    following = cli("run", "--follow", "--retries", "1", "--", "sh", "-c", "echo attempt $STOKER_ATTEMPT; exit 5")
    assert following.out == "attempt 1\nattempt 2\n"
    assert following.code == 1
    assert "dead" in following.err or "failed" in following.err


def test_several_nodes_are_asked_in_one_go(stoker: Stoker, nodes: Callable[..., list[PlainNode]]) -> None:
    some = nodes(3)
    cli = stoker(*some)
    some[1].down()
    status = cli("status", "--json")
    assert status.code == 0
    assert [n["reachable"] for n in status.json()["nodes"]] == [True, False, True]
    said = cli("exec", "--all", "--", "sh", "-c", "exit 0")
    assert said.code == 1
    assert "n1: exit 0" in said.err
    assert "n2: could not be asked" in said.err


def test_the_python_api_is_the_same(stoker: Stoker, node: PlainNode, monkeypatch: pytest.MonkeyPatch) -> None:
    cli = stoker(node)
    monkeypatch.chdir(cli.folder)
    from stoker import Fleet

    with Fleet(cli.inventory, store_url=cli.env["STOKER_STORE_URL"]) as fleet:
        job = fleet.jobs.run(["sh", "-c", "echo loss 0.5; exit 3"], on="n1", metric={"loss": r"loss ([\d.]+)"})
        job.wait()
        assert (job.state, job.exit_code, job.metrics["loss"].last) == ("failed", 3, 0.5)
        assert job.logs() == "loss 0.5\n"
        again = job.retry().wait()
        assert fleet.jobs.get(again.id).job.retry_of == job.id
        assert [n.name for n in fleet.nodes.list().nodes] == ["n1"]


@pytest.mark.slow
def test_a_log_of_200_mb_follows_in_bounded_memory(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    code = "import sys\nfor i in range(200): sys.stdout.write((f'{i:9d}' + 'x' * 90 + chr(10)) * 10000)"
    process = cli.start("run", "--follow", "--raw", "--", node.python, "-c", code)
    assert process.stdout is not None
    count = peak_kib = 0
    while data := process.stdout.read(1 << 20):
        count += len(data)
        # Not what wait4 tells: that has the memory of the process that forked it, too.
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak_kib = max([peak_kib, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))])
    assert (process.wait(180), count) == (0, 200 * 10000 * 100)
    assert 0 < peak_kib < 200 * 1024


@pytest.mark.accepts("C14")
def test_run_all_tells_of_each_node_and_a_dead_one_hides_no_other(
    stoker: Stoker, nodes: Callable[..., list[PlainNode]]
) -> None:
    made = nodes(3)
    cli = stoker(*made)
    made[1].down()
    command = ("sh", "-c", 'echo "$0"; echo err >&2; test "$0" = yes', "{{ x }}")
    told = cli("exec", "--all", "--json", "--", *command)
    assert told.code == 1
    outputs = {output["node"]: output for output in told.json()["outputs"]}
    assert list(outputs) == ["n1", "n2", "n3"]
    for name in ("n1", "n3"):
        shown = tuple(outputs[name][field] for field in ("exit_code", "stdout", "stderr", "problem"))
        assert shown == (1, "{{ x }}\n", "err\n", None)
    assert (outputs["n2"]["exit_code"], outputs["n2"]["problem"]["kind"]) == (None, "unreachable")
    said = cli("exec", "--all", "--", "true")
    assert said.code == 1
    assert "n1: exit 0\nn2: could not be asked\nn3: exit 0\n2 of 3 nodes: exit 0, 1 could not be asked\n" in said.err


def test_an_answer_that_cannot_be_written_is_one_sentence(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    for argv in (("jobs",), ("jobs", "--json"), ("nodes",), ("job", "no-such", "--json")):
        with open("/dev/full", "wb") as full:
            said = subprocess.run(
                [sys.executable, "-m", "stoker", *argv], cwd=cli.folder, env={**os.environ, **cli.env}, stdout=full,
                stderr=subprocess.PIPE, check=False, timeout=180,
            )  # fmt: skip
        assert said.returncode == 120
        assert said.stderr.decode().splitlines()[-1:] == [
            "stoker: the answer could not be written: No space left on device"
        ]


@pytest.mark.parametrize("damage", ["truncate -s 0 stoker_node/ctl.py", "rm -r __main__.py", "rm -r stoker_node"])
def test_a_node_side_that_lost_files_is_pushed_again(stoker: Stoker, node: PlainNode, damage: str) -> None:
    cli = stoker(node)
    assert cli("exec", node.name, "--", "true").code == 0
    done = node.ssh(f"cd {node.state_dir}/bin/*/ && rm -rf stoker_node/__pycache__ && {damage}")
    assert done.returncode == 0, done
    assert cli("exec", node.name, "--", "true").code == 0
    assert len(node.ssh(f"ls {node.state_dir}/bin").stdout.split()) == 1
