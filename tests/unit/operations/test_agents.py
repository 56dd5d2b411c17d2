# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Agent tasks: what is refused, and what is written down of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stoker.errors import StokerError, UsageError
from stoker.marked import ConfigError
from stoker.operations import agents, queue, submit, templates, workflows
from stoker.operations.session import Session

pytestmark = pytest.mark.accepts("C13")

SETTINGS = """
agents:
  writer:
    argv: [writer, --print, "{prompt_file}"]
    flags: {turns: --max-turns, cost: --budget}
    env: {MODE: quiet}
    secret: [WRITER_KEY]
    max_turns: 10
    max_cost: 0.5
  free: {argv: [free]}
"""
ASKED: dict[str, Any] = {"agent": "writer", "prompt": "Write it.", "on": "n1"}


@pytest.fixture
def settings(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRITER_KEY", "s3cret")
    Path("stoker.yml").write_text(SETTINGS)


def spec(session: Session, job: str) -> dict[str, Any]:
    row = session.store.job(job)
    assert row is not None
    return dict(row.spec)


def refusal(call: Any, *args: Any, **options: Any) -> str:
    with pytest.raises(StokerError) as caught:
        call(*args, **options)
    return f"{caught.value.message} | {caught.value.next_step}"


def test_no_agent_runs_that_the_settings_do_not_name(session: Session) -> None:
    said = refusal(submit.run, session, **ASKED)
    assert said.startswith("--agent: no agent may run here | agents of stoker.yml")
    assert agents.list_agents(session).agents == ()
    assert session.store.jobs() == []


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"agent": "writr"}, "there is no agent 'writr'. Did you mean 'writer'?"),
        ({"agent": "free"}, "nothing limits what free may use | --max-turns, --max-tokens or --max-cost"),
        (
            {"max_turns": 11},
            "--max-turns: writer may use at most 10 (turns), by max_turns in stoker.yml | --max-turns 10",
        ),
        ({"max_cost": 0.6}, "--max-cost: writer may use at most 0.5 (cost), by max_cost"),
        ({"max_tokens": 0}, "--max-tokens: 0 is not a number above 0"),
        ({"prompt": " \n"}, "--agent writer is asked to do nothing"),
        ({"prompt": "x" * 300_000}, "--prompt: a text of at most 256 KiB"),
        ({"agent": None}, "--prompt is for an agent, and none is named"),
        ({"argv": ["x"]}, "give either a command, a script or an agent"),
        ({"script": "x"}, "give either a command, a script or an agent"),
        ({"container": "img"}, "--agent: an agent does not run in a container of a job"),
    ],
)
def test_what_cannot_be_meant_is_refused(session: Session, options: dict[str, Any], said: str) -> None:
    asked = {**ASKED, **options}
    argv = asked.pop("argv", ["true"] if asked["agent"] is None else ())
    assert said in refusal(submit.run, session, argv, **asked)
    assert session.store.jobs() == []


@pytest.mark.usefixtures("settings")
def test_a_job_of_it_has_the_limits_and_no_prompt_in_its_command(session: Session) -> None:
    job = submit.run(session, **ASKED, max_turns=4, max_tokens=1000, env={"A": "b"}).job
    found = spec(session, job.id)
    assert found["argv"] == ["writer", "--print", "{prompt_file}", "--max-turns", "4", "--budget", "0.5"]
    limits = {"max_turns": 4, "max_tokens": 1000, "max_cost_usd": 0.5}
    assert found["agent"] == {"name": "writer", "prompt": "Write it.", **limits}
    assert (found["env"], found["secret_env"], found["split_output"]) == (
        {"MODE": "quiet", "A": "b"},
        ["WRITER_KEY"],
        True,
    )
    assert (job.agent, job.name) == ({"name": "writer", **limits}, "writer")


@pytest.mark.usefixtures("settings")
def test_its_secret_has_to_have_a_value(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WRITER_KEY")
    assert "there is no WRITER_KEY" in refusal(submit.run, session, **ASKED)


@pytest.mark.usefixtures("settings")
def test_a_queue_and_a_workflow_have_it_too_and_a_template_not(session: Session) -> None:
    queued = queue.add(session, **ASKED, to="night").job
    assert spec(session, queued.id)["agent"]["max_turns"] == 10
    assert "--agent: a template keeps" in refusal(templates.save, session, "t", **ASKED)
    templates.save(session, "t", ["true"], on="n1")
    assert "--agent: a template has its own" in refusal(templates.run, session, "t", **ASKED)
    step = "{agent: writer, prompt: 'About {{ matrix.what }}.', max_turns: 2, on: n1, matrix: {what: [tea, rum]}}"
    Path("w.yml").write_text(f"name: w\njobs:\n  a: {step}\n")
    made = workflows.submit(session, "w.yml").workflow.jobs
    told = [spec(session, str(job.job))["agent"] for job in made]
    assert [(one["prompt"], one["max_turns"]) for one in told] == [("About tea.", 2), ("About rum.", 2)]
    Path("w.yml").write_text("name: w\njobs:\n  a: {agent: nobody, prompt: x, on: n1}\n")
    assert "jobs.a.agent: there is no agent 'nobody'" in refusal(workflows.validate, session, "w.yml")


@pytest.mark.usefixtures("settings")
def test_several_prompts_are_checked_before_any_is_written_down(session: Session) -> None:
    for name, text in (("one.md", "first"), ("two.md", "second"), ("none.md", "")):
        Path(name).write_text(text)
    assert "is asked to do nothing" in refusal(agents.run, session, "writer", "one.md", "none.md", on="n1")
    assert "there is no file three.md" in refusal(agents.run, session, "writer", "one.md", "three.md", on="n1")
    assert session.store.jobs() == []
    done = agents.run(session, "writer", "one.md", "two.md", on="n1", max_turns=3)
    assert [(job.name, spec(session, job.id)["agent"]["prompt"]) for job in done.jobs] == [
        ("one", "first"), ("two", "second")
    ]  # fmt: skip
    queued = agents.run(session, "writer", "one.md", "two.md", to="night", on="n1")
    assert [job.id for job in queue.list_queues(session, "night").queues[0].waiting] == [job.id for job in queued.jobs]
    with pytest.raises(UsageError, match="is for stoker run"):
        agents.run(session, "writer", "one.md", prompt="x")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("agents:\n  a: {argv: [x], max_turns: 0}\n", "yml:2: agents.a.max_turns: 0 is not a whole number, 1 or more"),
        ("agents:\n  a: {argv: [x], max_cost: -1}\n", "yml:2: agents.a.max_cost: -1.0 is not a number of dollars"),
        ("agents:\n  a:\n    argv: x y\n", "yml:3: agents.a.argv: 'x y' is not a list of texts"),
        ("agents:\n  a: {flags: {}}\n", "yml:2: agents.a: argv is missing"),
        (
            "agents:\n  a:\n    argv: [x]\n    flgs: {}\n",
            "yml:4: agents.a.flgs: there is no such setting. Did you mean",
        ),
        ("agents: [x]\n", "yml:1: agents: ['x'] is not a mapping of names to"),
    ],
)
def test_wrong_settings_are_told_with_their_line(session: Session, text: str, sentence: str) -> None:
    Path("stoker.yml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        agents.list_agents(session)
    assert sentence in str(caught.value)
