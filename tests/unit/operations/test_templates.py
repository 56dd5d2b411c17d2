# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates: what is kept, what a parameter changes, and that nothing else is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from played import PlayedNodes

from stoker.errors import NotFound, UsageError
from stoker.operations import submit, templates
from stoker.operations.options import Named
from stoker.operations.session import Session
from stoker.operations.template import filled

HOSTILE = [
    "", " ", "--", "{{ lr }}", "{{ lr}}", "{{lr }}", "{lr}", "${lr}", "${{lr}", "%(lr)s", "{{{}}}", "{{LR}}",
    '{"a": {"lr": {}}}', "{{seed}}", "{{lr", "lr}}", "{% raw %}", "$(id)", "`id`", "'", '"', "\\1", "\\g<0>", "\n",
    "ünï", "{{7*7}}",
]  # fmt: skip


def spec_of(session: Session, job: str) -> dict[str, Any]:
    row = session.store.job(job)
    assert row is not None
    return dict(row.spec)


def test_a_run_puts_the_values_where_the_parameters_stand(session: Session) -> None:
    templates.save(
        session, "t", ["train", "--lr={{lr}}", "{{lr}}{{seed}}", "x"], param={"lr": "1e-3"}, require=["seed"],
        env={"LR": "is {{lr}}"}, workdir="/runs/{{seed}}", on="n1", gpus=1, timeout="2h", retries=2,
    )  # fmt: skip
    done = templates.run(session, "t", param={"seed": "7"}).job
    spec = spec_of(session, done.id)
    assert spec["argv"] == ["train", "--lr=1e-3", "1e-37", "x"]
    assert (spec["env"], spec["workdir"], spec["gpus"], spec["timeout_s"]) == ({"LR": "is 1e-3"}, "/runs/7", 1, 7200)
    assert (done.template, done.target, done.max_attempts, done.id[:2]) == ("t", "n1", 3, "t-")
    other = templates.run(
        session, "t", param={"seed": "8", "lr": "{{seed}} $x"}, on="n2", gpus=0, env={"B": "1"}, name="other", retries=0
    ).job
    spec = spec_of(session, other.id)
    assert spec["argv"] == ["train", "--lr={{seed}} $x", "{{seed}} $x8", "x"]
    assert (spec["env"], spec["gpus"]) == ({"LR": "is {{seed}} $x", "B": "1"}, 0)
    assert (other.target, other.max_attempts, other.name) == ("n2", 1, "other")


def test_a_script_is_filled_too(session: Session) -> None:
    templates.save(session, "t", script="#!/bin/sh\necho {{lr}} {{ lr }} ${lr}\n", param={"lr": "1"})
    spec = spec_of(session, templates.run(session, "t", param={"lr": "2"}).job.id)
    assert (spec["script"], spec["argv"]) == ("#!/bin/sh\necho 2 {{ lr }} ${lr}\n", None)


@pytest.mark.accepts("D16")
def test_everything_that_is_no_declared_parameter_stays_as_it_is(session: Session) -> None:
    templates.save(session, "t", ["{{lr}}", *HOSTILE], param={"lr": "1"}, env={"X": "{{ lr }} %s"})
    spec = spec_of(session, templates.run(session, "t", param={"lr": "\\1 {{lr}}"}).job.id)
    assert spec["argv"] == ["\\1 {{lr}}", *HOSTILE]
    assert spec["env"] == {"X": "{{ lr }} %s"}
    templates.save(session, "plain", ["x", "{{lr}}", *HOSTILE])
    assert spec_of(session, templates.run(session, "plain").job.id)["argv"] == ["x", "{{lr}}", *HOSTILE]


@given(st.lists(st.text("{}lrs $%\\'\"")), st.text())
def test_only_the_placeholder_itself_is_replaced(texts: list[str], value: str) -> None:
    assert filled({"argv": texts}, {"lr": value})["argv"] == [text.replace("{{lr}}", value) for text in texts]


@pytest.mark.accepts("D16")
def test_a_template_of_a_job_has_what_the_job_has(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "x")
    job = submit.run(
        session, ["a", "b c"], on="n1", gpus=2, env={"A": "1", "B": "2"}, secret=["TOKEN"], workdir="/srv",
        timeout=60, retries=3, memory="8G", metric={"loss": "loss ([0-9.]+)"}, grace=3, checkpoint_signal="USR1",
    ).job  # fmt: skip
    saved = templates.save(session, "t", from_=job.id, env={"B": "{{b}}"}, param={"b": "3"}).template
    assert (saved.on, saved.retries, saved.job_name) == ("n1", 3, "t")
    old, new = spec_of(session, job.id), spec_of(session, templates.run(session, "t").job.id)
    for spec in (old, new):
        for field in ("job", "uid", "name"):
            spec.pop(field)
    assert new == {**old, "env": {"A": "1", "B": "3"}}
    templates.save(session, "script", from_=job.id, script="echo {{x}}", param={"x": "1"})
    spec = spec_of(session, templates.run(session, "script").job.id)
    assert (spec["argv"], spec["script"], spec["gpus"]) == (None, "echo 1", 2)


@pytest.mark.accepts("D16")
def test_a_template_of_a_service_is_no_service(session: Session) -> None:
    """Else what is made from it would be taken for the service, and be stopped in its place."""
    labels = {
        "stoker.service": "web",
        "stoker.health": "http://127.0.0.1:1/",
        "workflow": "w",
        "step": "s",
        "team": "x",
    }
    job = submit.submit(session, Named({"argv": ["serve"], "labels": labels}, "n1", 0, None, "web"), began=0.0).job
    templates.save(session, "t", from_=job.id)
    assert spec_of(session, templates.run(session, "t").job.id)["labels"] == {"team": "x"}
    only = {"stoker.service": "web"}
    job = submit.submit(session, Named({"argv": ["serve"], "labels": only}, "n1", 0, None, "web"), began=0.0).job
    templates.save(session, "u", from_=job.id)
    assert "labels" not in spec_of(session, templates.run(session, "u").job.id)


def test_what_a_template_does_not_say_comes_from_the_settings_of_whoever_runs_it(session: Session) -> None:
    templates.save(session, "t", ["true"])
    Path("stoker.yml").write_text(
        "defaults: {gpus: 1, retries: 2, on: n2}\nmetrics: [{name: acc, regex: 'acc (.*)', keep: last}]\n"
    )
    job = templates.run(session, "t").job
    spec = spec_of(session, job.id)
    assert (spec["gpus"], job.max_attempts, job.target, [m["name"] for m in spec["metrics"]]) == (1, 3, "n2", ["acc"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"template": "a b"}, "'a b' cannot be the name of a template"),
        ({"template": "../x"}, "cannot be the name of a template"),
        ({"argv": []}, "there is nothing to save"),
        ({"script": "x"}, "either a command or a script"),
        ({"param": {"lr": "1"}}, "parameter lr: {{lr}} stands nowhere in the command"),
        ({"argv": ["{{1r}}"], "param": {"1r": "1"}}, "'1r' cannot be the name of a parameter"),
        ({"argv": ["{{a}}"], "param": {"a": "1"}, "require": ["a"]}, "--require a: it has a default"),
        ({"argv": ["{{a}}"], "param": {"a": 3e-4}}, "parameter a: 0.0003 is not a text"),
        ({"argv": ["{{a}}"], "param": {"a": "x\0"}}, "argv"),
        ({"timeout": "soon"}, "--timeout: 'soon' is not a duration"),
        ({"metric": {"loss": "(("}}, "metrics"),
        ({"retries": -1}, "--retries"),
        ({"secret": ["TOKEN=hunter2"]}, "takes a name, not a value"),
        ({"from_": "nope"}, "there is no job 'nope'"),
    ],
)
def test_a_wrong_template_is_refused_and_not_saved(session: Session, arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence.replace("{", r"\{")) as told:
        templates.save(session, arguments.pop("template", "t"), arguments.pop("argv", ["a"]), **arguments)
    assert "hunter2" not in str(told.value)
    assert session.store.templates.list() == []


def test_a_parameter_that_is_wrong_or_missing_starts_nothing(session: Session, nodes_played: PlayedNodes) -> None:
    templates.save(session, "t", ["{{lr}}", "{{seed}}"], param={"lr": "1"}, require=["seed"])
    with pytest.raises(UsageError, match="template t needs a value for seed") as told:
        templates.run(session, "t")
    assert told.value.next_step == "stoker template run t -p seed=..."
    with pytest.raises(UsageError, match=r"no parameter 'sed'\. Did you mean 'seed'\?"):
        templates.run(session, "t", param={"sed": "1"})
    with pytest.raises(UsageError, match="argv"):
        templates.run(session, "t", param={"seed": "a\0"})
    assert (session.store.jobs(), nodes_played.rounds) == ([], [])


@pytest.mark.accepts("D19")
def test_a_deleted_template_is_gone_from_the_list_and_an_unknown_one_gets_a_near_name(
    session: Session, nodes_played: PlayedNodes
) -> None:
    templates.save(session, "train", ["x"])
    templates.save(session, "eval", ["x"])
    job = templates.run(session, "train", on="n1").job
    nodes_played.show(job.id, "failed", reason="code", exit_code=1)
    templates.delete(session, "train")
    assert [t.name for t in templates.list_templates(session).templates] == ["eval"]
    assert submit.retry(session, job.id).job.template == "train"
    for ask in (templates.delete, templates.get, templates.run):
        with pytest.raises(NotFound, match=r"there is no template 'evla'\. Did you mean 'eval'\?") as told:
            ask(session, "evla")
        assert told.value.exit_code == 2


def test_templates_are_found_by_project(session: Session) -> None:
    templates.save(session, "a", ["x"], project="one")
    templates.save(session, "b", ["x"])
    assert [t.name for t in templates.list_templates(session, project="one").templates] == ["a"]
    assert len(templates.list_templates(session).templates) == 2
