# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates, statistics and comparisons as they are typed and shown."""

from __future__ import annotations

import pytest
from typed import Stoker, Terminal

from stoker.cli import render_history, render_templates
from stoker.cli.out import Out
from stoker.operations import compare, stats, templates

ODD = ["", "{{ lr }}", "$HOME", "%s", "{{x}}", "[bold]x[/bold]", "\x1b[31m", '{"a": {}}', "--json", "ünï", "\n"]


@pytest.mark.accepts("D16")
def test_a_template_is_saved_and_run_with_other_values(stoker: Stoker) -> None:
    said = stoker("template", "save", "t", "-p", "lr=1e-3", "--require", "seed", "--", "x", "{{lr}} {{seed}}", *ODD)
    assert (said.code, said.out.splitlines()[0]) == (0, "t  saved")
    assert "stoker template run t -p seed=..." in said.out
    assert stoker("template", "run", "t", "-p", "seed=a=b", "--on", "n1").code == 0
    assert stoker.session.store.jobs(limit=1)[0].spec["argv"] == ["x", "1e-3 a=b", *ODD]
    taken = stoker("template", "save", "t", "--", "y")
    assert taken.code == 2
    assert "there is a template 't' already: nothing was saved (next: --replace puts this one" in taken.err
    assert stoker("template", "save", "t", "--replace", "--", "y").out.startswith("t  saved in the place of the old")
    job = stoker.session.store.jobs(limit=1)[0].id
    assert stoker("template", "save", "u", "--from", job).code == 0
    kept = stoker.session.store.templates.get("u")
    assert kept is not None
    assert (kept.body["spec"]["argv"][:2], kept.body["on"]) == (["x", "1e-3 a=b"], "n1")


@pytest.mark.accepts("D17")
def test_the_list_has_name_description_project_and_parameters(stoker: Stoker) -> None:
    assert "no templates yet · stoker template save" in stoker("template", "list").out
    stoker("template", "save", "train", "--description", "Train it", "--project", "alice", "-p", "lr=1e-3",
           "--require", "seed", "--", "x", "{{lr}}", "{{seed}}")  # fmt: skip
    stoker("template", "save", "eval", "--", "y")
    assert [line.split() for line in stoker("template", "list").out.splitlines()] == [
        ["TEMPLATE", "PROJECT", "PARAMETERS", "DESCRIPTION"],
        ["eval", "-", "-", "-"],
        ["train", "alice", "lr=1e-3", "seed", "Train", "it"],
    ]
    listed = stoker("template", "list", "--json").json()["value"]["templates"]
    fields = ("name", "description", "project", "parameters")
    assert [tuple(t[field] for field in fields) for t in listed] == [
        ("eval", None, None, {}), ("train", "Train it", "alice", {"lr": "1e-3", "seed": None}),
    ]  # fmt: skip
    assert [t["name"] for t in stoker("template", "list", "--project", "alice", "--json").json()["value"]["templates"]]
    assert "no templates of the project bob" in stoker("template", "list", "--project", "bob").out


def test_a_template_is_shown_whole(stoker: Stoker) -> None:
    stoker(
        "template", "save", "t", "-p", "lr=a b", "--gpus", "2", "--on", "n1", "--timeout", "2h", "--memory", "8G",
        "--secret", "TOKEN", "-e", "A=b", "--workdir", "/srv", "--metric", "loss=l (.*)", "--", "x", "{{lr}}",
    )  # fmt: skip
    shown = stoker("template", "show", "t").out
    for part in ("x '{{lr}}'", "lr: default 'a b'", "folder    /srv", "env       A=b", "loss=l (.*)",
                 "on n1, secret TOKEN, gpus 2, timeout 2 h 00 m, memory 8.0 GB", "run t -p lr=..."):  # fmt: skip
        assert part in shown
    assert stoker("template", "show", "t", "--json").json()["value"]["template"]["spec"]["gpus"] == 2


@pytest.mark.accepts("D19")
def test_deleting_is_told_and_an_unknown_name_exits_2(stoker: Stoker) -> None:
    stoker("template", "save", "train", "--", "x")
    said = stoker("template", "delete", "trian")
    assert (said.code, said.out) == (2, "")
    assert (
        said.err
        == "stoker: there is no template 'trian'. Did you mean 'train'? (next: stoker template list shows them)\n"
    )
    assert stoker("template", "delete", "train").code == 0
    assert stoker("template", "list", "--json").json()["value"]["templates"] == []
    assert stoker("template", "delete", "train").code == 2


@pytest.mark.accepts("D30")
def test_statistics_say_the_counts_behind_the_rate(stoker: Stoker) -> None:
    assert "no jobs yet" in stoker("stats").out
    shown = [("succeeded", 10.0), ("succeeded", 30.0), ("failed", None), ("cancelled", 99.0), ("running", 500.0)]
    for state, seconds in shown:
        job = stoker.session.store.add_job("a", {"argv": ["x"]}, template="t").id
        stoker.nodes.show(job, state, elapsed_s=seconds)
    lines = [" ".join(line.split()) for line in stoker("stats").out.splitlines()]
    assert lines[0] == "TEMPLATE SUCCESS FINISHED CANCELLED UNFINISHED AVG MIN MAX"
    assert lines[1] == "t 2/3 (67%) 3 1 1 20 s (of 2) 10 s 30 s"
    assert lines[2].startswith("all 2/3")
    total = stoker("stats", "--by", "node", "--json").json()["value"]["total"]
    assert (total["finished"], total["success_rate"], total["runtime_avg_s"]) == (3, 2 / 3, 20.0)


def test_a_rate_is_100_or_0_percent_only_when_it_is() -> None:
    assert [render_history._percent(rate) for rate in (1.0, 0.999, 0.5, 0.001, 0.0)] == [
        "100%",
        "99%",
        "50%",
        "<1%",
        "0%",
    ]


@pytest.mark.accepts("D29")
def test_a_comparison_is_a_table_with_a_dash_where_a_number_is_missing(stoker: Stoker) -> None:
    a, b = (stoker.session.store.add_job("a", {"argv": ["x"]}, "n1").id for _ in "ab")
    assert "neither has a metric" in stoker("compare", a, b).out
    loss = {"count": 2, "first": 4.0, "last": 2.0, "min": 0.0, "max": "nan"}
    stoker.nodes.show(a, "succeeded", exit_code=0, metrics={"loss": loss})
    other = {"count": 2, "first": 4.0, "last": 1.5, "min": 0.5, "max": 5.0}
    stoker.nodes.show(b, "running", metrics={"loss": other, "acc": {"count": 1, "last": 0.5}})
    lines = [" ".join(line.split()) for line in stoker("compare", a, b).out.splitlines()]
    assert lines[0] == f"A {a} succeeded on n1: x"
    assert lines[1].startswith(f"B {b} running on n1")
    assert lines[2:11] == [
        "METRIC A B DELTA CHANGE",
        "acc last - 0.5 - -", "acc min - - - -", "acc max - - - -", "acc first - - - -",
        "loss last 2 1.5 -0.5 -25.0%", "loss min 0 0.5 +0.5 ? (the base is 0)",
        "loss max nan 5 nan ? (not a finite number)", "loss first 4 4 0 0%",
    ]  # fmt: skip
    told = stoker("compare", a, b, "--json").json()["value"]["metrics"]
    figures = {metric["name"]: metric["figures"] for metric in told}
    assert figures["loss"]["max"] == {
        "a": "nan", "b": 5.0, "delta": "nan", "percent": None, "percent_unknown": "not a finite number"
    }  # fmt: skip
    assert figures["acc"]["last"] == {"a": None, "b": 0.5, "delta": None, "percent": None, "percent_unknown": None}
    assert stoker.nodes.rounds == []
    assert stoker("compare", a, b, "--live").code == 0
    assert [r["jobs"] for r in stoker.nodes.rounds] == [[a, b]]


def test_hostile_texts_of_templates_reach_no_terminal(stoker: Stoker, terminal: Terminal) -> None:
    hostile = "\x1b]0;owned\x07\x1b[2J[bold red]x[/] \u202e \r over"
    session, out = stoker.session, Out(stdout=terminal)
    templates.save(
        session, "t", ["{{p}}", hostile], param={"p": hostile}, description=hostile, project=hostile, workdir=hostile,
        env={"A": hostile}, on=hostile, checkpoint_signal="USR1",
    )  # fmt: skip
    render_templates.template_list(templates.list_templates(session), out)
    render_templates.template_detail(templates.get(session, "t"), out)
    job = session.store.add_job("a", {"argv": [hostile]}, template="t").id
    stoker.nodes.show(job, "running", node="n1", metrics={hostile: {"count": 1, "last": 1.0}})
    render_history.job_stats(stats.stats(session, by="node"), out)
    render_history.comparison(compare.compare(session, job, job), out)
    shown = terminal.shown()
    assert not set(shown) & {"\x07", "\r", "\u202e"}
    assert "\x1b]0" not in shown
    assert "\x1b[2J" not in shown
    assert "[bold red]x[/]" in shown
