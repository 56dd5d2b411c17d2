# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a command line is read: the command after `--` untouched, the rest checked, errors with a next step."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typed import Stoker

HOSTILE = [
    "", " ", "-", "--", "--json", "-f", "--name=x", "-- --", "$HOME", "`id`", "$(id)", "a|b", "a;b", "a&&b", "'", '"',
    "\\", "\n", "line\nline", "tab\t", "*", "?", "[a]", "{a,b}", "~", "{{ 7 * 7 }}", "{% raw %}", "!unsafe", "ünïcödé",
    "日本", "🙂", "\x1b[31m", "\x07", "#", "%s", "=", "a=b", "@file", "[bold]x[/bold]", "None", "true", "007", "1e3",
]  # fmt: skip


def last_argv(stoker: Stoker) -> list[str]:
    argv: list[str] = stoker.session.store.jobs(limit=1)[0].spec["argv"]
    return argv


def test_a_hostile_command_arrives_unchanged(stoker: Stoker) -> None:
    assert stoker("run", "--on", "n1", "--", "x", *HOSTILE).code == 0
    assert last_argv(stoker) == ["x", *HOSTILE]
    for argument in filter(None, HOSTILE):
        stoker("run", "--on", "n1", "--", argument)
        assert last_argv(stoker) == [argument]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), max_size=5))
def test_any_command_arrives_unchanged(stoker: Stoker, argv: list[str]) -> None:
    stoker("run", "--on", "n1", "--", "x", *argv)
    assert last_argv(stoker) == ["x", *argv]


def test_a_hostile_command_for_exec_arrives_unchanged(stoker: Stoker) -> None:
    stoker.nodes.answers = lambda playbook, node, request: {"code": 0, "signal": None, "stdout": "", "stderr": ""}
    assert stoker("exec", "n1", "--", *HOSTILE).code == 0
    assert stoker.nodes.requests[-1][2]["argv"] == HOSTILE


def test_a_script_of_100_kb_comes_from_a_file_or_standard_input(
    stoker: Stoker, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "#!/bin/sh\n" + "echo '\"$x\" `id` {{ x }} ü'\n" * 4000
    Path("job.sh").write_text(script)
    assert stoker("run", "--on", "n1", "--script", "job.sh").code == 0
    assert stoker.session.store.jobs(limit=1)[0].spec["script"] == script
    with Path("job.sh").open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert stoker("run", "--on", "n1", "--script", "-").code == 0
    assert stoker.session.store.jobs(limit=1)[0].spec["script"] == script


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (["run", "python", "x.py"], "'python': the command has to stand after -- (next: stoker run ... -- python"),
        (["run"], "there is nothing to run (next: stoker run -- python train.py)"),
        (["run", "--"], "there is nothing to run"),
        (["run", "--on", "gpu", "--", "a"], "Did you mean 'gpus'?"),
        (["run", "--gpus", "two", "--", "a"], "two"),
        (["run", "--env", "A", "--", "a"], "--env: 'A' is not KEY=VALUE"),
        (["run", "--timeout", "soon", "--", "a"], "--timeout: 'soon' is not a duration"),
        (["run", "--script", "absent.sh"], "there is no file absent.sh"),
        (["jobs", "--jsn"], "--json"),
        (["jobs", "--state", "runing"], "there is no state 'runing'"),
        (["jobs", "--", "x"], "takes no command after --"),
        (["jbos"], "jobs"),
        (["job", "nope"], "there is no job 'nope'"),
        (["logs", "nope"], "(next: stoker jobs lists them)"),
        (["stop"], "which job?"),
        (["template", "sav"], 'unknown command "sav". Did you mean "save"?'),
        (["template", "save", "t", "python", "x"], "'python': the command has to stand after --"),
        (["template", "save", "t"], "there is nothing to save (next: stoker template save NAME -- python train.py)"),
        (["template", "save", "t", "-p", "lr", "--", "a"], "--param: 'lr' is not KEY=VALUE"),
        (["template", "save"], "(next: stoker template save --help)"),
        (["template", "list", "--", "x"], "stoker template list takes no command after --"),
        (["template", "delete", "nope"], "there is no template 'nope'. (next: stoker template list shows them)"),
        (["template", "run", "nope"], "there is no template 'nope'"),
        (["stats", "--by", "name"], 'Choose from: "template", "node"'),
        (["compare", "nope", "nope"], "there is no job 'nope'"),
        (["exec", "--", "a"], "name a node or group, or say --all"),
        (["exec", "n1"], "give a command after --"),
        (["jobs", "-i", "absent.yml", "--on", "n1"], "there is no inventory absent.yml"),
    ],
)  # fmt: skip
def test_a_wrong_command_line_gets_one_sentence_and_exit_code_2(stoker: Stoker, line: list[str], sentence: str) -> None:
    said = stoker(*line)
    assert said.code == 2
    assert sentence in said.err
    assert said.out == ""
    assert said.err.startswith("stoker: ")
    assert len(said.err.splitlines()) == 1
    assert "Traceback" not in said.err


def test_a_broken_settings_file_stops_every_command_that_needs_it(stoker: Stoker) -> None:
    Path("stoker.yml").write_text("launcher:\n  idle_s: five\n")
    said = stoker("run", "--", "true")
    assert said.code == 2
    assert said.err.startswith("stoker: stoker.yml:2: launcher.idle_s: 'five' is not a number of seconds")


def test_options_of_every_command_may_stand_before_it(stoker: Stoker) -> None:
    assert stoker("--json", "jobs").json()["operation"] == "jobs.list"
    assert stoker("--ascii", "--json", "jobs").json()["ok"] is True


@pytest.mark.parametrize("line", [["job", "nope"], ["jobs", "--jsn"], ["run"]])
def test_with_json_an_error_is_an_object_on_standard_output_too(stoker: Stoker, line: list[str]) -> None:
    said = stoker(*line, "--json")
    answer = said.json()
    assert (said.code, answer["ok"], answer["schema"], answer["error"]["exit_code"]) == (2, False, "stoker.result/1", 2)
    assert answer["error"]["message"]
    assert answer["error"]["next_step"]


def test_json_answers_are_valid_results(stoker: Stoker) -> None:
    from ansible_collections.stoker.fleet.plugins.module_utils import schemas

    job = stoker.session.store.add_job("a", {"argv": ["x\ny", "ü"]}, "n1").id
    stoker.nodes.show(job, "running", metrics={"loss": {"count": 2, "last": "nan"}}, last_line="\x1b[31m")
    lines = [
        ["jobs"],
        ["job", job],
        ["nodes"],
        ["status", "--stored"],
        ["clean", "--dry-run"],
        ["stop", job],
        ["init"],
        ["job", "-"],
    ]
    stoker.nodes.on_round = lambda request: stoker.nodes.show(job, "cancelled") and None
    for line in lines:
        answer = stoker(*line, "--json").json()
        assert schemas.validate(answer, schemas.RESULT) == []


def pack(text: bytes) -> str:
    return base64.b64encode(zlib.compress(text)).decode()


@pytest.mark.accepts("D03")
def test_exec_gives_the_streams_and_the_code_of_the_command(stoker: Stoker) -> None:
    def answers(playbook: str, node: str, request: dict[str, Any]) -> dict[str, Any]:
        return {
            "code": 7,
            "signal": None,
            "stdout": pack(b"out \x1b[31m\n"),
            "stderr": pack(b"err"),
            "truncated": False,
        }

    stoker.nodes.answers = answers
    said = stoker("exec", "n1", "--", "a")
    assert (said.code, said.out, said.err) == (7, "out \x1b[31m\n", "err")
    both = stoker("exec", "gpus", "--", "a")
    assert both.code == 1
    assert "n1: exit 7" in both.err
    assert "n2: exit 7" in both.err
    stoker.nodes.away["n1"] = "No route to host"
    away = stoker("exec", "n1", "--", "a")
    assert away.code == 1
    assert "n1: No route to host" in away.err


def test_init_writes_once_and_never_over_a_file(stoker: Stoker) -> None:
    assert stoker("init").code == 0
    from stoker import config

    assert config.load().file is not None
    assert Path("inventory.yml").is_file()
    Path("inventory.yml").write_text("mine")
    said = stoker("init")
    assert said.code == 2
    assert "is there already: nothing was written" in said.err
    assert Path("inventory.yml").read_text() == "mine"
    Path("inventory.yml").unlink()
    assert stoker("init", "--inventory").code == 0


@pytest.mark.accepts("V31")
@pytest.mark.parametrize("starter", ["pytorch", "jax", "huggingface", "ultralytics"])
def test_init_with_a_template_gives_a_training_that_validates(
    stoker: Stoker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, starter: str
) -> None:
    (tmp_path / "new").mkdir()
    monkeypatch.chdir(tmp_path / "new")
    Path("stoker.yml").write_text("defaults: {gpus: 1}\n")
    said = stoker("init", "--template", starter)
    assert said.code == 0
    assert "next: put your machines" in said.out
    assert "stoker workflow validate experiment.yml" in said.out
    assert Path("stoker.yml").read_text() == "defaults: {gpus: 1}\n"
    compile(Path("train.py").read_text(), "train.py", "exec")
    checked = stoker("workflow", "validate", "experiment.yml", "--json").json()
    assert (checked["value"]["name"], checked["value"]["jobs"]) == ("train", 1)
    Path("experiment.yml").unlink()
    Path("requirements.txt").write_text("mine")
    again = stoker("init", "--template", starter)
    assert again.code == 2
    assert "requirements.txt and train.py is there already: nothing was written" in again.err
    assert not Path("experiment.yml").exists()
    assert Path("requirements.txt").read_text() == "mine"


@pytest.mark.parametrize("name", [".env", "keys/id_rsa"])
def test_data_with_what_may_be_secrets_is_refused_before_anything_is_sent(stoker: Stoker, name: str) -> None:
    for file in ("data/x.csv", f"data/{name}"):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text("1")
    said = stoker("run", "--on", "n1", "--dataset", "data", "--", "true")
    assert said.code == 2
    assert f"holds what may be secrets: data/{name} (next: take them out of it)" in said.err


def test_init_refuses_a_template_that_there_is_not(stoker: Stoker) -> None:
    said = stoker("init", "--template", "caffe")
    assert said.code == 2
    assert "pytorch" in said.err
    assert stoker("init", "--template", "jax", "--inventory").code == 2


def test_every_operation_is_in_the_api_with_the_same_signature(stoker: Stoker) -> None:
    import inspect

    from stoker import Fleet
    from stoker.operations import operations

    fleet = Fleet()
    for operation in operations():
        namespace = getattr(fleet, operation.area)
        assert operation.method in vars(type(namespace)), f"fleet.{operation.name} has no type"
        method = getattr(namespace, operation.method)
        assert list(inspect.signature(method).parameters)[-len(operation.signature().parameters) :] == list(
            operation.signature().parameters
        )
        assert stoker(*operation.command.split(), "--help").code == 0


@pytest.mark.accepts("B14")
def test_the_version_costs_no_import(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['stoker', '--version']; from stoker.cli.main import main; main(); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"cyclopts", "rich", "sqlalchemy", "ansible", "ansible_runner", "pydantic", "yaml", "argparse"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_commands(stoker: Stoker, shell: str) -> None:
    script = stoker("completion", shell).out
    assert "watch" in script
    assert "--checkpoint-signal" in script or "checkpoint-signal" in script


def start(*argv: str, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "stoker", *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )


def test_a_reader_that_goes_away_ends_it_quietly(stoker: Stoker) -> None:
    for number in range(700):
        stoker.session.store.add_job(f"{'y' * 40}{number}", {"argv": ["x"]}, "n1")
    process = start("jobs", "--limit", "0")
    assert process.stdout is not None
    assert process.stderr is not None
    # Smaller than the list: it cannot all be written before the reader goes.
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(180) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


def test_ctrl_c_exits_130_and_says_nothing(stoker: Stoker, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = start("run", "--script", str(fifo))
    end = time.monotonic() + 150
    while (
        b"wait_for_partner" not in (wchan := Path(f"/proc/{process.pid}/wchan").read_bytes()) and time.monotonic() < end
    ):
        time.sleep(0.1)
        if wchan in (b"0", b""):
            time.sleep(2)
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (130, b"")


@pytest.mark.parametrize("asked", [["--help"], ["completion", "bash"], ["jobs", "--help"], ["--version"]])
def test_what_it_prints_itself_ends_as_every_answer_where_it_cannot_be_written(asked: list[str]) -> None:
    command = [sys.executable, "-m", "stoker", *asked]
    with open("/dev/full", "w") as full:
        said = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (said.returncode, said.stderr.count("\n")) == (120, 1), said.stderr
    assert "the answer could not be written" in said.stderr
    reader, writer = os.pipe()
    os.close(reader)
    said = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (said.returncode, said.stderr) == (141, "")


@pytest.mark.parametrize("form", [[], ["--json"]])
@pytest.mark.parametrize("asked", [["events", "--follow"], ["watch"], ["logs", "-f"], ["wait"]])
def test_ctrl_c_ends_every_showing_with_130(
    stoker: Stoker, monkeypatch: pytest.MonkeyPatch, asked: list[str], form: list[str]
) -> None:
    assert stoker("queue", "add", "--", "true").code == 0
    job = stoker.session.store.jobs(limit=1)[0].id

    def pressed(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", pressed)
    assert stoker(*asked, *([job] if asked[0] != "events" else []), *form).code == 130


def test_the_log_of_a_job_that_waits_has_the_shape_of_a_log(stoker: Stoker) -> None:
    assert stoker("queue", "add", "--", "true").code == 0
    job = stoker.session.store.jobs(limit=1)[0].id
    first = json.loads(stoker("logs", job, "--json").out.splitlines()[0])["value"]
    assert (first["job"], first["attempt"], first["data"]) == (job, 0, "")
    assert stoker("logs", job).out == ""


def test_watching_a_job_that_waits_shows_why(stoker: Stoker) -> None:
    assert stoker("queue", "add", "--", "true").code == 0
    row = stoker.session.store.jobs(limit=1)[0]
    with stoker.session.store.write() as transaction:
        transaction.change_job(row, {"detail": "no GPU is free"})
    assert f"{row.id}  queued: no GPU is free" in stoker("watch", "--once", row.id).out
