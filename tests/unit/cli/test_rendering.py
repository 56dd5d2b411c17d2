# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is shown, and that no text of somebody else is obeyed by the terminal."""

from __future__ import annotations

import datetime
import importlib
import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from typed import Stoker, Terminal

from stoker.cli import format as fmt
from stoker.cli import render_jobs, render_members, render_streams
from stoker.cli.kinds import all_kinds
from stoker.cli.out import Out
from stoker.cli.render_streams import SafeText
from stoker.operations import jobs
from stoker.operations.members import Member, MemberList
from stoker.operations.values import Change, Freshness, Metric, Problem, RoundReport

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.43, "0.4 s"),
        (33, "33 s"),
        (242, "4 m 02 s"),
        (11520, "3 h 12 m"),
        (187200, "2 d 4 h"),
        (59.7, "1 m 00 s"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert fmt.duration(seconds) == text


@pytest.mark.accepts("D07")
def test_a_command_with_a_pipe_and_a_newline_stays_on_its_line(stoker: Stoker) -> None:
    job = stoker.session.store.add_job("a", {"argv": ["sh", "-c", "cat x | grep y\nrm 'z'"]}, "n1").id
    stoker.nodes.show(job, "running", last_line="50% | ###\nnot a second line")
    shown = stoker("job", job).out
    assert "sh -c $'cat x | grep y\\nrm \\'z\\''" in shown
    listed = stoker("jobs").out.splitlines()
    assert len(listed) == 3
    assert "50% | ###\\nnot a second line" in listed[1]


@pytest.mark.accepts("D07", "D33")
def test_listing_100_jobs_asks_no_node(stoker: Stoker) -> None:
    for number in range(100):
        stoker.session.store.add_job(f"job{number}", {"argv": ["true"]})
    began = time.process_time()
    said = stoker("jobs")
    assert time.process_time() - began < 1
    assert len(said.out.splitlines()) == 102
    assert stoker.nodes.rounds == []


def test_states_say_why(stoker: Stoker) -> None:
    now = time.time()
    store, nodes = stoker.session.store, stoker.nodes

    def shown(state: str, spec: dict[str, object] | None = None, **observed: object) -> str:
        job = store.add_job("a", {"argv": ["x"], **(spec or {})}, "n1").id
        nodes.show(job, state, **observed)
        return fmt.state(jobs.get(stoker.session, job).job, now)

    assert shown("failed", reason="code", exit_code=7) == "failed (7)"
    assert shown("failed", reason="oom", signal=9) == "failed (oom)"
    assert shown("failed", reason="signal", signal=9) == "failed (SIGKILL)"
    assert shown("lost", reason="reboot") == "lost (reboot)"
    assert shown("succeeded", exit_code=0) == "succeeded"
    assert shown("queued", {"gpus": 1}, waiting={"needs": 1, "free": 0, "held_by": []}) == "waiting for a GPU"
    nodes.know("n1", unreachable_since=now - 40, unreachable_message="no route")
    assert shown("running") == "unreachable 40 s"


HOSTILE_TEXT = "\x1b]0;owned\x07\x1b[2J[bold red]x[/] [link=file:///]y \u202e \r over"


def test_hostile_text_reaches_no_terminal(stoker: Stoker, terminal: Terminal) -> None:
    job = stoker.session.store.add_job("a", {"argv": ["x", HOSTILE_TEXT], "workdir": HOSTILE_TEXT}, "n1").id
    finding = {"line": 1, "offset": 0, "name": "n", "severity": "error", "text": HOSTILE_TEXT}
    stoker.nodes.show(
        job, "failed", reason="code", exit_code=1, last_line=HOSTILE_TEXT, evidence=HOSTILE_TEXT, findings=[finding],
        metrics={"[red]m": {"count": 1, "last": 1.0}},
    )  # fmt: skip
    out = Out(stdout=terminal)
    render_jobs.job_detail(jobs.get(stoker.session, job), out)
    render_jobs.job_list(jobs.list_jobs(stoker.session), out)
    shown = COLOUR.sub("", terminal.shown())
    assert not set(shown) & {"\x1b", "\x07", "\r", "\u202e"}
    assert "[bold red]x[/] [link=file:///]y" in shown
    assert "owned" not in shown or "\x1b]0" not in shown


def test_a_table_fits_the_terminal_and_is_whole_in_a_pipe(stoker: Stoker, terminal: Terminal) -> None:
    job = stoker.session.store.add_job("a", {"argv": ["x"]}, "n1").id
    stoker.nodes.show(job, "running", last_line="w" * 300)
    render_jobs.job_list(jobs.list_jobs(stoker.session), Out(stdout=terminal))
    shown = COLOUR.sub("", terminal.shown())
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert "…" in shown
    assert "w" * 300 in stoker("jobs").out
    assert "\x1b" not in stoker("jobs").out


def test_no_colour_where_it_is_not_wanted(stoker: Stoker, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    job = stoker.session.store.add_job("a", {"argv": ["x"]}, "n1").id
    stoker.nodes.show(job, "running")
    render_jobs.job_list(jobs.list_jobs(stoker.session), Out(stdout=terminal))
    assert "\x1b[32m" in terminal.shown()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    render_jobs.job_list(jobs.list_jobs(stoker.session), Out(stdout=plain))
    assert "\x1b[32m" not in plain.shown()


def test_ascii_where_the_encoding_has_no_more(stoker: Stoker) -> None:
    job = stoker.session.store.add_job("a", {"argv": ["x", "ü"]}, "n1").id
    stoker.nodes.show(
        job, "running", metrics={"loss": {"count": 3, "first": 3, "last": 1, "series": [[1, 3], [2, 2], [3, 1]]}}
    )
    poor = Terminal("ascii")
    render_jobs.job_detail(jobs.get(stoker.session, job), Out(stdout=poor))
    assert "3 -> 1" in poor.shown()
    assert stoker("job", job, "--ascii").out.isascii() or "ü" in stoker("job", job, "--ascii").out


def test_a_log_shown_piece_by_piece_is_the_log() -> None:
    log = "prögress 🙂\r\nbar 1\rbar 2\r\n\x1b[31mred\x1b[0m\x1b]0;title\x07 end\n".encode()
    whole = SafeText().feed(log, last=True)
    assert "\x1b" not in whole
    assert "red" in whole
    assert "bar 1\nbar 2\n" in whole
    for size in (1, 2, 3, 7):
        safe = SafeText()
        pieces = [safe.feed(log[i : i + size]) for i in range(0, len(log), size)]
        assert "".join(pieces) + safe.feed(b"", last=True) == whole, f"pieces of {size}"


def test_freshness_is_said() -> None:
    assert (
        fmt.freshness(Freshness("stored", 0, 3.2), "stoker jobs --live")
        == "as of 3 s ago · stoker jobs --live asks now"
    )
    assert "no node has told yet" in fmt.freshness(Freshness("stored", 0, None), None)
    assert fmt.freshness(Freshness("live", 0, 0.1), None) == "asked just now"


def test_a_sparkline_keeps_the_extremes_apart() -> None:
    line = fmt.sparkline(Metric(100, series=tuple((float(i), float(i)) for i in range(100))))
    assert (line[0], line[-1], len(line)) == ("▁", "▇", 12)
    assert fmt.sparkline(Metric(1, series=((1.0, 1.0),))) == ""


def test_every_kind_of_answer_has_a_renderer_that_is_there() -> None:
    for kind, shown_by in all_kinds():
        for name in (kind, f"stoker.cli.{shown_by}"):
            module, _, inner = name.rpartition(".")
            assert callable(getattr(importlib.import_module(module), inner)), name


def test_every_module_of_operations_is_listed_with_its_commands() -> None:
    from stoker.operations import registry

    listed = {operation.command for operation in registry.operations()}
    assert listed == registry.commands() == {operation.command for operation in registry._operations.values()}
    for command in listed:
        assert command in {operation.command for operation in registry.operations(command)}


@pytest.mark.accepts("B14")
def test_a_command_imports_no_other() -> None:
    code = (
        "import sys; from stoker.cli.build import build; build(lambda call: 0, None, 'jobs');"
        "print(*(name for name in sys.modules if name.startswith('stoker.operations.')))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "stoker.operations.jobs" in said
    assert not {f"stoker.operations.{name}" for name in ("services", "runs", "queue", "submit")} & set(said)


class Rounds:
    """Rounds as a test says: of each the problems of n1, and whether it answered again."""

    def __init__(self, *rounds: tuple[str | None, bool]) -> None:
        self.rounds, self.last = rounds, None

    def __iter__(self) -> Iterator[RoundReport]:
        for message, back in self.rounds:
            changes = (Change(0.0, "node.reachable", None, None, "n1", {}),) if back else ()
            yield RoundReport(changes, 0, 0, 0.1, (Problem("n1", message),) if message else ())


@pytest.mark.accepts("C09")
def test_a_loop_tells_once_that_a_node_is_away(capsys: pytest.CaptureFixture[str]) -> None:
    stream = Rounds(("gone", False), (None, False), ("gone", False), ("denied", False), (None, True), ("denied", False))
    render_streams.rounds(stream, Out())  # type: ignore[arg-type]
    assert capsys.readouterr().err.splitlines() == ["n1: gone", "n1: denied", "n1: denied"]


def test_how_members_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    now = time.time()
    base = Member(
        "n1", "active", "inventory", "10.0.0.1", (), True, None, (), True, None, None, None, None, None, None, None
    )
    shown = [
        base,
        replace(base, name="n2", state="pending", source="added", expires_at=now + 240.5, asked_at=now, asked_by="ada",
                why_not="n2 is pending: stoker node approve n2"),
        replace(base, name="n3", state="draining", drain_deadline=now - 1, jobs=("a-1", "b-2", "c-3")),
        replace(base, name="n4", offline_since=now - 60),
    ]  # fmt: skip
    render_members.member_list(MemberList(tuple(shown), None), Out())
    out = capsys.readouterr().out
    assert [re.sub(r"  +", "|", line.strip()) for line in out.splitlines()] == [
        "NODE|STATE|FROM|ADDRESS|BY|JOBS",
        "n1|active|inventory|10.0.0.1|-|-",
        "n2|pending, 4 m left|added|10.0.0.1|ada, 0 s ago|-",
        "n3|draining, time is over|inventory|10.0.0.1|-|a-1, b-2 and 1 more",
        "n4|offline 1 m|inventory|10.0.0.1|-|-",
        "n2 is pending: stoker node approve n2",
    ]


def test_a_loop_tells_a_problem_once_until_it_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    from stoker.cli import render_dispatch
    from stoker.operations.loop import Standing
    from stoker.operations.values import Problem, RoundReport

    class Pieces:
        exit_code = 0

        def __iter__(self) -> Iterator[object]:
            away = RoundReport((), 0, 1, 0.1, (Problem("n1", "it is away\x1b[2J"),))
            yield Standing(0.0, "desk-2222", 7, "leads, epoch 7: nobody leads")
            yield from (away, away, replace(away, problems=()), away)

    assert render_dispatch.loop(Pieces(), Out()) == 0  # type: ignore[arg-type]
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "n1: it is away", "stoker: the next round had no problem any more", "n1: it is away",
    ]  # fmt: skip
    assert "desk-2222 leads, epoch 7: nobody leads" in said.out
    assert said.out.count("round of") == 1


def test_every_value_can_be_printed_as_json() -> None:
    odd = {("a", 1): {b"z", "a"}, "when": datetime.date(2024, 1, 2), "large": 16**9000, "none": None, "nan": math.nan}
    assert json.loads(json.dumps(fmt.plain(odd))) == {
        "('a', 1)": ["a", "z"], "when": "2024-01-02", "large": hex(16**9000), "none": None, "nan": "nan",
    }  # fmt: skip
