# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Environments on real ssh nodes: installed once, by the real pip and uv, from wheels that the tests write."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli import Cli, until
from plays import Plays
from testbed import PlainNode
from testbed.bed import MissingError, find_python

PROJECT = "proj"


def wheel(folder: Path, name: str, version: str = "1.0", requires: str | None = None) -> Path:
    """A wheel of one module, written by hand: nothing has to be built or fetched."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": metadata + (f"Requires-Dist: {requires}\n" if requires else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name}-version = {name}_main:main\n",
        f"{name}_main.py": f"def main():\n    print({name!r}, {version!r})\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}\n"
        for path, text in files.items()
    )
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inner, text in {**files, f"{info}/RECORD": record + f"{info}/RECORD,,\n"}.items():
            archive.writestr(inner, text)
    return path


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel(folder, "fuel", "1.0")
    wheel(folder, "fuel", "2.0")
    wheel(folder, "broken", "1.0", requires="no-such-thing-at-all")
    return folder


@pytest.fixture
def project(node: PlainNode, wheels: Path) -> Path:
    """The project's folder on the node. Its pip looks at the wheels and nowhere else."""
    folder = node.home / PROJECT
    folder.mkdir()
    (node.home / ".config/pip").mkdir(parents=True)
    (node.home / ".config/pip/pip.conf").write_text(f"[global]\nno-index = true\nfind-links = {wheels}\n")
    return folder


@pytest.fixture
def quick(node: PlainNode, project: Path, wheels: Path) -> Callable[[str], None]:
    """The node gets uv, which is quick. Returns what writes down a need of the project."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent))
    assert uv is not None, "uv belongs to what the tests install: make venv"
    (node.home / ".local/bin").mkdir(parents=True)
    (node.home / ".local/bin/uv").symlink_to(uv)

    def needs(what: str) -> None:
        (project / "requirements.txt").write_text(f"--no-index\n--find-links {wheels}\n{what}\n")

    return needs


def made(said: Any) -> dict[str, Any]:
    answer: dict[str, Any] = said.json()["environments"][0]
    return answer


def environment(cli: Cli, *options: str, **more: Any) -> dict[str, Any]:
    said = cli("environment", "n1", "--project", PROJECT, "--json", *options, **more)
    assert said.code == 0, said
    return made(said)


def folders(node: PlainNode) -> list[str]:
    """The environments' own folders on the node."""
    return sorted(path.name for path in (node.state_dir / "environments").iterdir() if path.is_dir())


@pytest.mark.accepts("V10")
def test_the_same_is_not_installed_again_and_another_is(
    stoker: Callable[..., Cli], node: PlainNode, project: Path
) -> None:
    cli = stoker(node)
    (project / "requirements.txt").write_text("-r more.txt\n")
    (project / "more.txt").write_text("fuel==1.0\n")
    assert environment(cli, "--tool", "pip", "--dry-run")["state"] == "missing"
    first = environment(cli, "--tool", "pip")
    assert (first["state"], first["changed"]) == ("ready", True)
    assert (first["source"], first["tool"]) == ("requirements.txt", "pip")
    script = node.ssh(f"{first['folder']}/bin/fuel-version")
    assert script.stdout == "fuel 1.0\n"
    installed = (Path(first["folder"]) / "pyvenv.cfg").stat().st_mtime_ns
    again = environment(cli, "--tool", "pip")
    assert (again["changed"], again["folder"]) == (False, first["folder"])
    assert (Path(first["folder"]) / "pyvenv.cfg").stat().st_mtime_ns == installed
    # Only what is included has changed.
    (project / "more.txt").write_text("fuel==2.0\n")
    other = environment(cli, "--tool", "pip")
    assert (other["changed"], node.ssh(f"{other['folder']}/bin/fuel-version").stdout) == (True, "fuel 2.0\n")
    # And back: both are kept.
    (project / "more.txt").write_text("fuel==1.0\n")
    assert environment(cli, "--tool", "pip")["folder"] == first["folder"]
    assert len(folders(node)) == 2


@pytest.mark.accepts("V10")
def test_the_file_is_chosen_in_order(stoker: Callable[..., Cli], node: PlainNode, project: Path) -> None:
    cli = stoker(node)

    def chosen(*options: str) -> str:
        return str(environment(cli, "--dry-run", *options)["source"])

    said = cli("environment", "n1", "--project", PROJECT)
    assert said.code == 1
    assert f"{project} says nowhere what it needs" in said.err
    (project / "environment.yml").write_text("dependencies: [python=3.11]\n")
    said = cli("environment", "n1", "--project", PROJECT)
    assert "environment.yml needs conda, and there is no micromamba or mamba or conda on this node" in said.err
    (project / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1"\ndependencies = ["fuel<2"]\n')
    assert chosen() == "pyproject.toml"
    (project / "requirements.txt").write_text("fuel\n")
    assert chosen() == "requirements.txt"
    (project / "requirements-gpu.txt").write_text("fuel==2.0\n")
    assert chosen("--file", "requirements-gpu.txt") == "requirements-gpu.txt"
    # A project that is not built itself: what it depends on, and no more.
    listed = environment(cli, "--file", "pyproject.toml", "--tool", "pip")
    assert node.ssh(f"{listed['folder']}/bin/fuel-version").stdout == "fuel 1.0\n"
    for options, words in (
        (["--file", "setup.py"], "setup.py is none of the files that can be read"),
        (["--file", "absent.txt"], "there is no file absent.txt"),
        (["--tool", "conda"], "conda does not read requirements.txt"),
        (["--python", "3.99"], "there is no Python 3.99 on this node"),
    ):
        said = cli("environment", "n1", "--project", PROJECT, *options)
        assert (said.code, words in said.err) == (1, True), said
    (project / "uv.lock").write_text("version = 1\n")
    said = cli("environment", "n1", "--project", PROJECT, "--tool", "pip")
    assert "pip does not read uv.lock" in said.err or "uv.lock needs uv" in said.err
    assert cli("environment", "n1", "--python", "three").code == 2
    assert "there is no folder" in cli("environment", "n1", "--project", "absent").err


@pytest.mark.accepts("V10")
def test_uv_where_the_node_has_it(
    stoker: Callable[..., Cli], node: PlainNode, project: Path, quick: Callable[[str], None]
) -> None:
    quick("fuel==1.0")
    cli = stoker(node)
    first = environment(cli)
    assert (first["tool"], first["changed"]) == ("uv", True)
    assert node.ssh(f"{first['folder']}/bin/fuel-version").stdout == "fuel 1.0\n"
    assert environment(cli)["changed"] is False
    assert environment(cli, "--tool", "pip", "--dry-run")["name"] != first["name"]
    # Its own lock, of a project that names no dependency.
    (project / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.8"\n')
    uv = str(node.home / ".local/bin/uv")
    subprocess.run([uv, "lock", "--offline", "-q"], cwd=project, check=True, env={**os.environ, "HOME": str(node.home)})
    locked = environment(cli)
    assert (locked["source"], locked["changed"], locked["state"]) == ("uv.lock", True, "ready")


@pytest.mark.accepts("V10")
def test_conda_reads_its_own_file(stoker: Callable[..., Cli], node: PlainNode, project: Path) -> None:
    """With a stand-in for micromamba that takes exactly the command line that the real one documents."""
    (node.home / "bin").mkdir()
    program = node.home / "bin/micromamba"
    program.write_text(
        '#!/bin/sh\n[ "$#" = 6 ] && [ "$1 $2 $3 $5" = "create --yes --prefix --file" ] && grep -q depend "$6" ||\n'
        '  { echo "error: unexpected arguments: $*" >&2; exit 109; }\n'
        'mkdir -p "$4/bin" && printf "#!/bin/sh\\necho conda-python\\n" >"$4/bin/python" && chmod 755 "$4/bin/python"\n'
    )
    program.chmod(0o755)
    (project / "environment.yml").write_text("dependencies: [python=3.11]\n")
    cli = stoker(node)
    first = environment(cli)
    assert (first["tool"], first["changed"]) == ("conda", True)
    assert first["activate"]["CONDA_PREFIX"] == first["folder"]
    assert environment(cli)["changed"] is False
    job = cli.run("python", options=("--environment", "--workdir", PROJECT))
    cli("wait", job)
    assert cli("logs", job).out == "conda-python\n"


@pytest.mark.accepts("V11")
def test_a_failed_install_leaves_its_code_and_log_and_nothing_ready(
    stoker: Callable[..., Cli], node: PlainNode, quick: Callable[[str], None]
) -> None:
    cli = stoker(node)
    quick("broken==1.0")
    said = cli("environment", "n1", "--project", PROJECT, "--json")
    assert said.code == 1
    failed = made(said)
    assert (failed["state"], failed["exit_code"], failed["folder"], failed["activate"]) == ("failed", 1, None, None)
    assert "no-such-thing-at-all" in " ".join(failed["lines"])
    assert "no-such-thing-at-all" in node.ssh(f"cat {failed['log']}").stdout
    assert folders(node) == []
    # In words: how it ended, what it said, where the rest is.
    said = cli("environment", "n1", "--project", PROJECT)
    assert said.code == 1
    assert "n1: the install of requirements.txt with uv" in said.out
    assert "ended with 1" in said.out
    assert "no-such-thing-at-all" in said.err
    assert f"stoker exec n1 -- cat {failed['log']}" in said.err
    listed = cli("environments", "--json").json()["kept"]
    assert [(e["state"], e["exit_code"]) for e in listed] == [("failed", 1)]
    # It is tried again, and works when the cause is gone.
    quick("fuel")
    assert environment(cli)["state"] == "ready"


@pytest.mark.accepts("V11")
def test_a_failed_install_stops_before_the_job(stoker: Callable[..., Cli], node: PlainNode, project: Path) -> None:
    cli = stoker(node)
    (project / "requirements.txt").write_text("broken==1.0\n")
    said = cli("run", "--environment", "--workdir", PROJECT, "--", "touch", "started")
    assert said.code == 1
    assert "the install of requirements.txt ended with 1: ERROR: No matching distribution found" in said.err
    assert "no job was submitted" in said.err
    assert cli("jobs", "--json").json()["jobs"] == []
    assert not (project / "started").exists()
    log = re.findall(r"cat (\S+\.log)", said.err)[0]
    assert "no-such-thing-at-all" in node.ssh(f"cat {log}").stdout


@pytest.mark.accepts("V10", "V11")
def test_a_job_runs_in_the_environment(
    stoker: Callable[..., Cli], node: PlainNode, quick: Callable[[str], None]
) -> None:
    cli = stoker(node)
    quick("fuel==1.0")
    job = cli.run("sh", "-c", "fuel-version; python -c 'import fuel, sys; print(sys.prefix)'; echo $VIRTUAL_ENV",
                  options=("--environment", "--workdir", PROJECT))  # fmt: skip
    assert cli("wait", job).code == 0
    folder = environment(cli)["folder"]
    assert cli("logs", job).out.splitlines() == ["fuel 1.0", folder, folder]
    for options, words in (
        (["--environment"], "--environment needs the project's folder on the node"),
        (["--environment", "--workdir", "absent"], "there is no folder"),
    ):
        said = cli("run", *options, "--", "true")
        assert words in said.err, said


def test_two_that_ask_at_once_install_once(
    stoker: Callable[..., Cli], node: PlainNode, quick: Callable[[str], None]
) -> None:
    cli = stoker(node)
    quick("fuel==1.0")
    answers: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: answers.append(environment(cli))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [a["state"] for a in answers] == ["ready", "ready"]
    assert sorted(a["changed"] for a in answers) == [False, True]
    assert len(folders(node)) == 1


@pytest.mark.slow
def test_an_install_that_is_killed_is_told_and_made_again(
    stoker: Callable[..., Cli], node: PlainNode, project: Path, tmp_path: Path
) -> None:
    cli = stoker(node)
    hold = tmp_path / "hold"
    os.mkfifo(hold)
    # uv, as this node has it, waits for ever.
    (node.home / "bin").mkdir()
    (node.home / "bin/uv").write_text(f"#!/bin/sh\nprintf 'Resolving \\033[2Jfor ever\\n'; read x <{hold}\n")
    (node.home / "bin/uv").chmod(0o755)
    (project / "requirements.txt").write_text("fuel==1.0\n")
    process = cli.start("environment", "n1", "--project", PROJECT)
    until(lambda: [p for p in node.processes() if p.name == "uv"], "uv to run")
    listed = cli("environments", "--json").json()["kept"]
    assert [e["state"] for e in listed] == ["installing"]
    for one in node.processes():
        if one.name == "uv" or b"\0install\0" in Path(f"/proc/{one.pid}/cmdline").read_bytes():
            os.kill(one.pid, 9)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert b"was interrupted: its process is gone" in out
    # As progress, or, where the kill was faster than the next look, as the last words of its log.
    assert b"Resolving for ever" in out + err
    assert b"\033" not in out + err
    assert [e["state"] for e in cli("environments", "--json").json()["kept"]] == ["interrupted"]
    (node.home / "bin/uv").unlink()
    assert environment(cli)["state"] == "ready"
    # What took too long is ended, and says so.
    (node.home / "bin/uv").write_text(f"#!/bin/sh\nread x <{hold}\n")
    (node.home / "bin/uv").chmod(0o755)
    said = cli("environment", "n1", "--project", PROJECT, "--timeout", "1s", "--json")
    assert (said.code, made(said)["reason"], made(said)["exit_code"]) == (1, "took longer than 1 s", None)
    assert len(folders(node)) == 1


def test_old_ones_are_removed_and_those_of_jobs_are_not(
    stoker: Callable[..., Cli], node: PlainNode, quick: Callable[[str], None]
) -> None:
    cli = stoker(node)
    quick("fuel==1.0")
    job = cli.run("sleep", "600", options=("--environment", "--workdir", PROJECT))
    quick("fuel==2.0")
    environment(cli)
    said = cli("environments", "--remove-unused", "30d", "--json").json()
    assert (len(said["kept"]), said["removed"]) == (2, [])
    dry = cli("environments", "--remove-unused", "0s", "--dry-run", "--json").json()
    assert [len(dry["kept"]), len(dry["removed"]), len(folders(node))] == [1, 1, 2]
    said = cli("environments", "--remove-unused", "0s", "--json").json()
    assert [e["used_by"] for e in said["kept"]] == [[job]]
    assert len(folders(node)) == 1
    # Neither does that of one that only the store knows of yet.
    active = f"VIRTUAL_ENV={said['kept'][0]['folder']}"
    queued = cli("queue", "add", "--on", "n1", "--env", active, "--json", "--", "true").json()["job"]["id"]
    cli("stop", job)
    said = cli("environments", "--remove-unused", "0s", "--json").json()
    assert ([e["used_by"] for e in said["kept"]], len(folders(node))) == ([[queued]], 1)
    cli("stop", queued)
    cli("environments", "--remove-unused", "0s")
    assert folders(node) == []
    assert cli("environments").out == "no environments\n"


@pytest.mark.accepts("V10", "V11")
def test_from_a_playbook(
    node: PlainNode, quick: Callable[[str], None], tmp_path: Path, inventory: Callable[..., Path]
) -> None:
    plays = Plays(tmp_path, inventory([node], groups={"fleet": ["n1"]}))
    quick("fuel==1.0")
    task = "- stoker.fleet.environment: { project: proj }\n  register: made\n"
    assert plays.run(task, "--check").results["n1"]["made"]["changed"] is True
    assert not (node.state_dir / "environments").exists() or folders(node) == []
    first = plays.run(task).results["n1"]["made"]
    assert (first["changed"], first["environment"]["state"]) == (True, "ready")
    assert plays.run(task).results["n1"]["made"]["changed"] is False
    quick("broken==1.0")
    failed = plays.run(task).results["n1"]["made"]
    assert (failed["failed"], failed["rc"]) == (True, 1)
    assert "the install ended with 1" in failed["msg"]
    assert "no-such-thing-at-all" in failed["msg"]


def test_another_python(stoker: Callable[..., Cli], node: PlainNode, quick: Callable[[str], None]) -> None:
    try:
        (node.home / ".pyenv/versions/3.10.0/bin").mkdir(parents=True)
        (node.home / ".pyenv/versions/3.10.0/bin/python3.10").symlink_to(find_python("3.10"))
    except MissingError as missing:
        pytest.skip(str(missing))
    quick("fuel==1.0")
    other = environment(stoker(node), "--python", "3.10")
    assert other["python"].startswith("3.10.")
    assert node.ssh(f"{other['folder']}/bin/python -c 'import sys; print(sys.version_info[:2])'").stdout == "(3, 10)\n"
