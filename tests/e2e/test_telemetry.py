# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples of the nodes, again and again: `stoker telemetry` and `stoker top`."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli import Cli, until
from testbed import Bed, PlainNode, start_all

from stoker.store import SampleRow, open_store

Stoker = Callable[..., Cli]
GB_KIB = 1 << 20


class Silent:
    """A machine that takes connections and never says a word."""

    name = "mute"

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))

    def inventory_entry(self) -> dict[str, Any]:
        port = self.socket.getsockname()[1]
        return {"ansible_host": "127.0.0.1", "ansible_port": port, "ansible_ssh_common_args": "-F none"}


@pytest.fixture
def two(bed: Bed, tmp_path: Path) -> Iterator[list[PlainNode]]:
    """Two nodes, each with two H100 and a /proc of its own."""
    made = [PlainNode(bed, f"n{n}", gpus=2, host_vars={"stoker_proc_dir": str(tmp_path / f"proc{n}")}) for n in (1, 2)]
    start_all(made)
    for node in made:
        memory(node, 10)
    yield made
    for node in made:
        node.close()


def memory(node: PlainNode, used_gb: float) -> None:
    """Of 100 GB, so much is used."""
    folder = Path(node.host_vars["stoker_proc_dir"])
    (folder / "1/net").mkdir(parents=True, exist_ok=True)
    new = folder / "new"
    new.write_text(f"MemTotal: {100 * GB_KIB} kB\nMemFree: 9 kB\nMemAvailable: {int((100 - used_gb) * GB_KIB)} kB\n")
    new.replace(folder / "meminfo")
    (folder / "stat").write_text("cpu  700 100 100 9000 1000 50 30 20 0 0\ncpu0 700 100 100 9000 1000 50 30 20 0 0\n")
    (folder / "loadavg").write_text("2.25 1.50 0.75 2/345 6789\n")
    (folder / "uptime").write_text("1000.50 99.00\n")
    (folder / "1/net/dev").write_text("Inter-|\n face |\n  eth0: 7000 9 3 0 0 0 0 0 8000 9 4 0 0 0 0 0\n")


def lines(process: subprocess.Popen[bytes], enough: Callable[[list[str]], bool], timeout_s: float = 150) -> list[str]:
    """What a process prints, until it is enough."""
    assert process.stdout is not None
    text, end = b"", time.monotonic() + timeout_s
    while not enough(found := text.decode().splitlines()):
        assert time.monotonic() < end, text.decode()
        if select.select([process.stdout], [], [], 1.0)[0]:
            data = os.read(process.stdout.fileno(), 65536)
            assert data, (text.decode(), process.stderr and process.stderr.read().decode())
            text += data
    return found


def ended_by_ctrl_c(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    return process.returncode


@pytest.mark.accepts("D05")
def test_a_line_for_each_node_and_interval_with_its_trend(stoker: Stoker, two: list[PlainNode]) -> None:
    cli = stoker(*two)
    once = cli("telemetry", "n1")
    assert once.code == 0, once
    first = once.out.splitlines()[0]
    assert re.match(
        r"\d\d:\d\d:\d\d  n1  cpu 9%  load 2\.25  memory 10 GB of 100 GB \(10%\)  trend unknown: 1 sample", first
    )
    assert "GPU 1 0% 0.0 GB of 80 GB 31 C 72 W" in first
    watching = cli.start("telemetry", "--watch", "--every", "1s")
    seen = lines(watching, lambda found: min(sum(f"  n{n}  cpu" in line for line in found) for n in (1, 2)) >= 3)
    names = [line.split()[1] for line in seen if " cpu " in line]
    assert names.count("n1") >= 3
    assert names.count("n2") >= 3
    memory(two[0], 40)
    lines(watching, lambda found: any(re.search(r"  n1  .*  \+\d+\.\d\d GB/min  ", line) for line in found))
    lines(watching, lambda found: any(re.search(r"  n2  .*  [+-]0\.00 GB/min  ", line) for line in found))
    assert ended_by_ctrl_c(watching) == 130
    # One play an interval over connections that stay open, not one login each.
    assert [node.authentications() for node in two] == [1, 1]


@pytest.mark.accepts("D05")
def test_a_node_that_does_not_answer_holds_up_no_other(stoker: Stoker, two: list[PlainNode]) -> None:
    mute = Silent()
    cli = stoker(*two, mute)
    (cli.folder / "stoker.yml").write_text("connect_timeout_s: 20\n")
    two[1].down()
    watching = cli.start("telemetry", "--watch", "--every", "1s", "--json")
    seen = [
        json.loads(line)["value"]
        for line in lines(watching, lambda found: any('"mute", ' in line and "timed out" in line for line in found))
    ]
    assert ended_by_ctrl_c(watching) == 130
    mute.socket.close()
    before = seen[: next(i for i, value in enumerate(seen) if value["node"] == "mute" and value["reachable"] is False)]
    assert sum(value["node"] == "n1" and value["at"] is not None and not value["stale"] for value in before) >= 3
    assert {value["reachable"] for value in before if value["node"] == "mute"} == {None}
    assert any(value["node"] == "n2" and value["reachable"] is False for value in before)


@pytest.mark.accepts("D05", "V21")
def test_an_alert_is_told_once_and_once_more_when_it_is_over(stoker: Stoker, two: list[PlainNode]) -> None:
    node = two[0]
    assert node.gpus is not None
    cli = stoker(node)
    memory(node, 95)
    node.gpus.set(1, {"temperature.gpu": 90})
    first = cli("telemetry")
    assert [line.split("ALERT  ")[1] for line in first.out.splitlines() if "ALERT" in line] == [
        "memory is 95% used", "GPU 1 is at 90 C"]  # fmt: skip
    again = cli("telemetry", "--json").json()
    assert ([a["key"] for a in again["raised"]], len(again["alerts"])) == ([], 2)
    # A round of another command clears it, too; the next one has nothing more to say of it.
    memory(node, 50)
    node.gpus.set(1, {"temperature.gpu": 40})
    over = cli("telemetry")
    assert [line.split("  over  ")[1].split(" (was")[0] for line in over.out.splitlines() if "  over  " in line] == [
        "memory is 50% used", "GPU 1 is at 40 C"]  # fmt: skip
    assert "ALERT" not in over.out
    with open_store(cli.env["STOKER_STORE_URL"]) as store:
        told = [(event.type, event.data["key"].split(":")[0]) for event in store.events() if "alert" in event.type]
    assert told == [("alert.raised", "memory"), ("alert.raised", "gpu"), ("alert.cleared", "memory"),
                    ("alert.cleared", "gpu")]  # fmt: skip


@pytest.mark.accepts("V21")
def test_the_limits_are_settings_and_status_watches_too(stoker: Stoker, two: list[PlainNode]) -> None:
    cli = stoker(two[0])
    (cli.folder / "stoker.yml").write_text("telemetry: {disk_pct: 0.001, memory_pct: 5}\n")
    assert cli("status").code == 0
    with open_store(cli.env["STOKER_STORE_URL"]) as store:
        keys = {alert.key for alert in store.samples.alerts()}
        assert {"memory", "disk:/"} <= keys
        assert len(store.samples.since(0)) == 1
    (cli.folder / "stoker.yml").write_text("telemetry: {disk_pct: 1, disk: 2}\n")
    refused = cli("telemetry")
    assert (refused.code, "telemetry.disk: there is no such setting" in refused.err) == (2, True)


@pytest.mark.accepts("D05")
def test_a_sample_older_than_ten_seconds_is_stale(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    with open_store(cli.env["STOKER_STORE_URL"]) as store, store.write() as transaction:
        now = time.time()
        transaction.add_sample(SampleRow("n1", now - 9, now, 1.0, 1.0, 1, 2, {}), 1e6)
    told = cli("telemetry", "--stored", "--json").json()
    assert (told["stale"], told["reachable"]) == (told["age_s"] > 10, None)
    until(lambda: "stale 1" in cli("telemetry", "--stored").out, "the sample is shown as stale")
    assert cli("telemetry", "--stored", "--json").json()["stale"] is True
    now_asked = cli("telemetry").out
    assert "stale" not in now_asked


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("telemetry", "--every", "0.5s"), "--every: 0.5s is less than a second"),
        (("telemetry", "--every", "soon"), "'soon' is not a duration"),
        (("telemetry", "--watch", "--stored"), "--watch asks the nodes, and --stored nobody"),
        (("telemetry", "n9"), "no node or group 'n9'"),
        (("top", "--every", "0s"), "--every: 0s is less than a second"),
        (("gpu", "release", "n9", "0"), "no node 'n9'"),
    ],
)
def test_bad_input(stoker: Stoker, node: PlainNode, argv: tuple[str, ...], said: str) -> None:
    told = stoker(node)(*argv)
    assert told.code == 2, told
    assert said in told.err


# ---- top ----


class Screen:
    """`stoker top` on a terminal of 80 columns."""

    def __init__(self, cli: Cli, *argv: str) -> None:
        self.inside, outside = pty.openpty()
        termios.tcsetwinsize(outside, (30, 80))
        self.before = termios.tcgetattr(outside)
        self.outside = outside
        self.text = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stoker", "top", *argv], cwd=cli.folder, stdin=outside, stdout=outside,
            stderr=outside, env={**os.environ, **cli.env, "TERM": "xterm-256color"},
        )  # fmt: skip

    def until(self, words: str, timeout_s: float = 150) -> None:
        """Read until these words were shown."""
        end = time.monotonic() + timeout_s
        while words not in self.text:
            assert time.monotonic() < end, self.text
            if select.select([self.inside], [], [], 0.5)[0]:
                self.text += os.read(self.inside, 65536).decode(errors="replace")

    def rows(self) -> list[str]:
        """The lines of the last picture, without what is for the terminal alone."""
        last = self.text.rpartition("\x1b[H")[2]
        return [row.rstrip() for row in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", last).replace("\r", "").split("\n")]

    def end(self) -> None:
        code = self.process.wait(timeout=120)
        while select.select([self.inside], [], [], 0.2)[0]:
            self.text += os.read(self.inside, 65536).decode(errors="replace")
        assert code == 0, self.text
        # The screen of before, with its cursor, and a terminal that reads lines again.
        assert "\x1b[?1049h" in self.text
        assert self.text.rindex("\x1b[?1049l") > self.text.rindex("\x1b[?1049h")
        assert self.text.rindex("\x1b[?25h") > self.text.rindex("\x1b[?25l")
        assert termios.tcgetattr(self.outside) == self.before
        assert "Traceback" not in self.text

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.inside)
        os.close(self.outside)


@pytest.mark.accepts("C57")
@pytest.mark.parametrize("how", ["q", "ctrl-c"])
def test_top_is_live_at_80_columns_and_restores_the_terminal(stoker: Stoker, two: list[PlainNode], how: str) -> None:
    cli = stoker(*two)
    job = cli.run(
        "sleep", "600", options=("--on", "n1", "--gpus", "1", "--name", "a-job-with-a-rather-long-name-for-top")
    )
    screen = Screen(cli, "--every", "1s")
    try:
        screen.until("100 GB")
        screen.until(job[:20])
        gpus = two[1].gpus
        assert gpus is not None
        gpus.set(1, {"utilization.gpu": 83})
        screen.until("83%")
        picture = "\n".join(screen.rows())
        assert max(len(row) for row in screen.rows()) <= 80
        assert re.search(r"n1 +9% +2\.25 +10 GB of 100 GB", picture), picture
        assert re.search(r"running +n1 +0 +", picture), picture
        cli("stop", "--grace", "1", job)
        screen.text = ""
        screen.until("every 1 s")
        end = time.monotonic() + 150
        while "running" in "\n".join(screen.rows()):
            assert time.monotonic() < end
            screen.text = screen.text[-20000:]
            screen.until("q ends")
            time.sleep(0.5)
            screen.text += os.read(screen.inside, 65536).decode(errors="replace")
        screen.text = "\x1b[?1049h\x1b[?25l" + screen.text
        if how == "q":
            os.write(screen.inside, b"q")
        else:
            screen.process.send_signal(signal.SIGINT)
        screen.end()
    finally:
        screen.close()


def test_top_without_a_terminal_shows_it_once(stoker: Stoker, two: list[PlainNode]) -> None:
    cli = stoker(*two)
    two[1].down()
    said = cli("top")
    assert said.code == 0, said
    assert [line.split()[0] for line in said.out.splitlines() if line][:3] == ["NODE", "n1", "n2"]
    assert "\x1b" not in said.out
    assert "n2 could not be asked" in said.err
    value = cli("top", "--json").json()
    assert [sample["reachable"] for sample in value["samples"]] == [True, False]
