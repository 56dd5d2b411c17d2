# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What reaches the command: its arguments, script, environment and secrets, unchanged, and nowhere else."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any

import pytest
from conformance.backend import Backend
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from testbed.command_lines import CommandLines

ECHO = "import json, sys; print(json.dumps(sys.argv[1:]))"
HOSTILE = [
    "", " ", "a b", "'", '"', "'\"'\"'", "\\", "\\\\n", "$HOME", "${HOME}", "$(touch /tmp/no)", "`id`", "|", "a|b", "&",
    ";", ">", "< /dev/null", "*", "?", "~", "!!", "#", "%s", "{{ 1 + 1 }}", "{% raw %}", "{a,b}", "-", "--", "-n",
    "-rf", "--help", "\n", "a\nb\n", "\r\n", "\t", "\x01\x1b[31m", "\x7f", "äöü", "日本語", "🔥", "e\u0301", "\u202e",
    "\ufeff", "None", "null", "1e3", "STOKER-REPLY {}", "=", "A=b", "[]", '{"a": 1}',
]  # fmt: skip
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=30)


def echoed(backend: Backend, job: str, arguments: list[str]) -> list[str]:
    seen = backend.run(job, backend.node.python, "-c", ECHO, *arguments)
    assert seen["state"] == "succeeded", seen
    found: list[str] = json.loads(backend.log(job))
    return found


@pytest.mark.accepts("V14")
def test_arguments_arrive_unchanged(backend: Backend, job: str) -> None:
    assert echoed(backend, job, HOSTILE) == HOSTILE


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(arguments=st.lists(st.one_of(TEXTS, st.sampled_from(HOSTILE)), min_size=50, max_size=300))
def test_any_arguments_arrive_unchanged(backend: Backend, arguments: list[str]) -> None:
    """Each example is one job with many arguments."""
    assert echoed(backend, f"any-{uuid.uuid4().hex[:8]}", arguments) == arguments


def test_one_argument_of_100_kb(backend: Backend, job: str) -> None:
    arguments = ["x" * 99_990 + "'$(id)\n\"ä", "-"]
    assert echoed(backend, job, arguments) == arguments


def test_a_name_with_spaces_is_the_program(backend: Backend, job: str) -> None:
    backend.node.ssh("""printf '#!/bin/sh\\necho ran "$0"\\n' > "$HOME/my 'prog"; chmod +x "$HOME/my 'prog" """)
    backend.run(job, "./my 'prog")
    assert backend.log(job) == b"ran ./my 'prog\n"


@pytest.mark.parametrize("field", ["argv", "script", "env", "workdir"])
def test_nul_is_refused(backend: Backend, job: str, field: str) -> None:
    hostile: dict[str, Any] = {
        "argv": ["echo", "a\0b"],
        "script": "echo a\0b",
        "env": {"A": "a\0b"},
        "workdir": "/tmp\0",
    }
    spec = backend.side.spec(job, **{"argv": ["true"], field: hostile[field]})
    if field == "script":
        del spec["argv"]
    answer = backend.try_start(spec)
    assert answer["ok"] is False
    assert answer["error"]["code"] == "bad_request", answer
    assert "NUL" in answer["error"]["message"]


def test_script_of_100_kb(backend: Backend, job: str) -> None:
    lines = [f"echo 'line {number}: $HOME `id` \"quoted\" ä' # {'x' * 30}" for number in range(1400)]
    script = "\n".join(lines)
    assert len(script) > 100_000
    assert backend.run(job, script=script)["state"] == "succeeded"
    expected = "".join(f'line {number}: $HOME `id` "quoted" ä\n' for number in range(1400))
    assert backend.log(job).decode() == expected


def test_script_with_an_interpreter(backend: Backend, job: str) -> None:
    script = "import sys\nprint('''it's \"python\"''', sys.argv[1:])\n"
    backend.run(job, script=script, interpreter=f"{backend.node.python} -u")
    assert backend.log(job) == b'it\'s "python" []\n'


def test_environment_and_working_directory(backend: Backend, job: str) -> None:
    backend.node.ssh('mkdir -p "$HOME/wörk dir"')
    hostile = {f"HOSTILE_{index}": text for index, text in enumerate(HOSTILE)}
    code = "import json, os; print(json.dumps([os.getcwd(), os.environ['PWD'], dict(os.environ)]))"
    backend.run(job, backend.node.python, "-c", code, env=hostile, workdir="~/wörk dir")
    folder, pwd, found = json.loads(backend.log(job))
    assert folder == pwd == f"{backend.node.home}/wörk dir"
    assert {name: found.get(name) for name in hostile} == hostile
    assert (found["STOKER_JOB"], found["STOKER_ATTEMPT"]) == (job, "1")
    assert found["HOME"] == str(backend.node.home)
    assert not [name for name in found if name.startswith(("SSH_", "ANSIBLE_"))], "how it was started shows"


def test_relative_working_directory_is_below_home(backend: Backend, job: str) -> None:
    backend.node.ssh("mkdir -p $HOME/proj/sub")
    backend.run(job, "pwd", workdir="proj/sub")
    assert backend.log(job).decode() == f"{backend.node.home}/proj/sub\n"


def test_home_is_the_working_directory(backend: Backend, job: str) -> None:
    backend.run(job, "pwd")
    assert backend.log(job).decode() == f"{backend.node.home}\n"


def test_secrets_reach_the_command_and_nothing_else(backend: Backend, job: str) -> None:
    secret = f"s3cret-{uuid.uuid4()}-'$x\nä"
    mark = secret[7:43]
    code = "import hashlib, os; print(hashlib.sha256(os.environ['TOKEN'].encode()).hexdigest(), flush=True)"
    script = f'{backend.node.python} -c "{code}"; sleep 30'
    with CommandLines(mark) as lines:
        backend.start(job, script=script, secret_env=["TOKEN"], secrets={"TOKEN": secret})
        backend.wait_for_line(job, hashlib.sha256(secret.encode()).hexdigest())
    assert lines.found == set()
    if "job folder" in backend.promises:
        held = backend.node.ssh(f"grep -rl -e {mark} {backend.side.state_dir}").stdout
        assert held == "", "a file on the node holds the secret"
    reply = backend.side.ask("reconcile", observe={"jobs": [job], "specs": True})
    assert mark not in json.dumps(reply)
    assert reply["attempts"][0]["spec"]["secret_env"] == ["TOKEN"]
    backend.cancel(job, grace_s=0)


def test_a_secret_without_a_value_is_refused(backend: Backend, job: str) -> None:
    answer = backend.try_start(
        backend.side.spec(job, argv=["true"], secret_env=["TOKEN", "OTHER"]), secrets={"OTHER": "x"}
    )
    assert answer["error"]["code"] == "bad_request", answer
    assert answer["error"]["message"] == "no value came for the secret TOKEN"


def test_secrets_of_a_job_that_never_began_are_gone(backend: Backend, job: str) -> None:
    """Cancelled while it waits for a GPU, or not startable at all."""
    backend.needs("job folder")
    backend.start(f"{job}-h", "sleep", "72.5", gpus=1)
    seen = backend.start(job, "true", gpus=1, secret_env=["TOKEN"], secrets={"TOKEN": "still-waiting-value"})
    assert seen["state"] == "queued", seen
    assert backend.cancel(job)[0]["state"] == "cancelled"
    backend.cancel(f"{job}-h", grace_s=0)
    backend.run(f"{job}-n", "true", gpus=9, secret_env=["TOKEN"], secrets={"TOKEN": "still-waiting-value"})
    assert backend.node.ssh(f"grep -rl still-waiting-value {backend.side.state_dir}/jobs").stdout == ""


def test_files_are_the_owners_alone(backend: Backend, job: str) -> None:
    backend.needs("job folder")
    backend.start(job, script="sleep 600", gpus=1, split_output=True)
    backend.wait(job, lambda seen: seen["state"] == "running")
    top = backend.side.state_dir
    folders = backend.node.ssh(
        f"find {top} -maxdepth 1 -type d -printf '%m %p\\n'; find {top}/jobs/{job} -type d -printf '%m %p\\n'"
    )
    assert {line.split()[0] for line in folders.stdout.splitlines()} == {"700"}, folders.stdout
    files = backend.node.ssh(
        f"find {top}/jobs/{job} {top}/queue {top}/locks -type f -printf '%m %f\\n'"
    ).stdout.splitlines()
    assert "600 spec.json" in files
    modes = {name: mode for mode, name in (line.split() for line in files)}
    assert modes.pop("script") == "700"
    assert set(modes.values()) == {"600"}, modes
    backend.cancel(job, grace_s=0)
