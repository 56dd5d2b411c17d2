# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role `dispatcher`: molecule against a node with systemd. Stoker is the wheel; what it needs comes from here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from testbed import Bed, Network, PlainNode, SystemdNode, write_inventory

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder), "python"]
    subprocess.run(build, cwd=ROOT, check=True, timeout=120, capture_output=True)
    (built,) = folder.glob("stoker-*.whl")
    return built


@pytest.fixture(scope="module")
def controller(machine: Machine) -> Path:
    """The inventory of s8."""
    return machine.inventory


@pytest.fixture(scope="module")
def machine(bed: Bed, network: Network, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """s8, which is to dispatch to itself."""
    folder = tmp_path_factory.mktemp("dispatcher")
    # The node sees this machine's files: all that the wheel needs is there, and it has no way to an index.
    here = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "stoker_launch": ["subreaper"],
        "stoker_state_dir": "/srv/root/.stoker",
    }
    (folder / "nodes.yml").write_text(yaml.safe_dump({"all": {"hosts": {"here": here}}}))
    own = {
        "dispatcher_wheel": str(wheel),
        "dispatcher_pip_args": ["--no-index", "--no-deps"],
        "dispatcher_python": os.path.realpath(sys.executable),
        "dispatcher_inventory": str(folder / "nodes.yml"),
        "dispatcher_environment": {
            "PYTHONPATH": sysconfig.get_path("purelib"),
            "PATH": f"{BIN}:/usr/sbin:/usr/bin",
            "WORDS": 'a "quoted" \\ word',
        },
        "dispatcher_store_url": "sqlite:////srv/root/jobs.db",
        "dispatcher_interval": "1s",
        # The service has a /tmp of its own: it would not see an environment that lies in this one.
        "dispatcher_hardening": not sys.prefix.startswith("/tmp/"),
        # Nobody tells systemd in there that a control group is empty: it waits that long for each stop.
        "dispatcher_stop_timeout_s": 10,
    }
    node = SystemdNode(bed, network, "s8", python="/usr/bin/python3", host_vars=own)
    node.start()
    yield Machine(node, write_inventory(bed.folder / "dispatcher.yml", [node]))
    node.close()


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.accepts("B16")
@pytest.mark.timeout(900)
def test_converge_idempotence_verify(controller: Path, tmp_path: Path) -> None:
    env = {
        **os.environ, "STOKER_MOLECULE_INVENTORY": str(controller), "PATH": f"{BIN}:{os.environ['PATH']}",
        "MOLECULE_EPHEMERAL_DIRECTORY": str(tmp_path / "molecule"), "HOME": str(tmp_path), "NO_COLOR": "1",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(controller.parent / "cp"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache/collections"), "ANSIBLE_PIPELINING": "True",
    }  # fmt: skip
    subprocess.run([sys.executable, ".ci/link-collection", ".cache/collections"], cwd=ROOT, check=True, timeout=180)
    done = subprocess.run(
        [BIN / "molecule", "test", "--scenario-name", "dispatcher", "--destroy", "never"], cwd=ROOT / "extensions",
        env=env, stdin=subprocess.DEVNULL, text=True, timeout=850, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
    assert "[dispatcher > idempotence] Executed: Successful" in done.stdout
    assert "[dispatcher > verify] Executed: Successful" in done.stdout


@dataclass
class Machine:
    """s8, where the role is applied with other settings."""

    node: SystemdNode
    inventory: Path

    def apply(self, **settings: str) -> int:
        """How many tasks changed something."""
        play = {"hosts": "all", "gather_facts": False, "roles": ["stoker.fleet.dispatcher"]}
        (self.inventory.parent / "apply.yml").write_text(yaml.safe_dump([play]))
        words = [word for name, value in settings.items() for word in ("-e", f"dispatcher_{name}={value}")]
        done = subprocess.run(
            [BIN / "ansible-playbook", "-i", self.inventory, self.inventory.parent / "apply.yml", *words],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600,
            env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "NO_COLOR": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-4000:]
        (changed,) = re.findall(r" changed=(\d+)", done.stdout)
        return int(changed)

    def unit(self, option: str) -> dict[str, str]:
        """What systemd says of the unit, of the system's or of the user's (`--user`)."""
        asked = "LoadState,ActiveState,UnitFileState,MainPID"
        done = self.node.ssh(
            f"XDG_RUNTIME_DIR=/run/user/0 systemctl {option} show -p {asked} stoker-dispatch", timeout_s=180
        )
        assert done.returncode == 0, done.stderr
        return dict(line.split("=", 1) for line in done.stdout.split())


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.accepts("B16")
@pytest.mark.timeout(900)
def test_a_service_of_a_user_and_its_removal(machine: Machine) -> None:
    machine.apply(state="absent")
    # For root systemd takes this folder, whatever the session's HOME is, which the test bed sets.
    link = machine.node.ssh(
        f"mkdir -p /root/.config && ln -s {machine.node.home}/.config/systemd /root/.config/systemd"
    )
    assert link.returncode == 0, link.stderr
    assert machine.unit("--system")["LoadState"] == "not-found"
    assert machine.apply(scope="user") > 0
    seen = machine.unit("--user")
    assert (seen["LoadState"], seen["ActiveState"], seen["UnitFileState"]) == ("loaded", "active", "enabled")
    assert machine.apply(scope="user") == 0
    assert machine.unit("--user")["MainPID"] == seen["MainPID"], "it was left alone"
    assert machine.apply(scope="user", state="absent") > 0
    seen = machine.unit("--user")
    assert (seen["LoadState"], seen["MainPID"]) == ("not-found", "0"), seen
    assert machine.apply(scope="user", state="absent") == 0


def test_a_machine_without_systemd_is_left_as_it_is(node: PlainNode, tmp_path: Path) -> None:
    """Decided by a folder that is there or not: here it is looked for where there is none."""
    if Path("/run/systemd/system").exists():
        pytest.skip("this machine runs systemd")
    inventory = write_inventory(tmp_path / "inventory.yml", [node])
    (tmp_path / "play.yml").write_text(
        yaml.safe_dump([{"hosts": "all", "gather_facts": False, "roles": ["stoker.fleet.dispatcher"]}])
    )
    done = subprocess.run(
        [BIN / "ansible-playbook", "-i", inventory, "play.yml"], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout
    assert "n1 has no systemd: nothing was changed. A cron line" in " ".join(done.stdout.split())
    assert not (Path(node.home) / ".local").exists()


def test_a_user_who_cannot_linger_is_told_what_that_means(node: PlainNode, tmp_path: Path) -> None:
    owner = "no-such-user"
    done = a_part(node, tmp_path, "linger.yml", (), dispatcher_owner=owner, dispatcher_scope="user")
    assert done.returncode == 0, done.stdout
    said = " ".join(done.stdout.split())
    assert f"n1: {owner} does not linger (" in said
    assert (
        "): the dispatcher ends with the last log-out, and jobs on this machine may end when the dispatcher does"
        in said
    )
    assert f"As root: loginctl enable-linger {owner}" in said
    assert "changed=0" in said


def in_check_mode(node: PlainNode, folder: Path, part: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """A part of the role, where nothing is changed: the whole of it needs systemd."""
    return a_part(node, folder, part, ("--check",), **settings)


def a_part(
    node: PlainNode, folder: Path, part: str, options: Sequence[str], **settings: Any
) -> subprocess.CompletedProcess[str]:
    inventory = write_inventory(folder / "inventory.yml", [node])
    taken = {"ansible.builtin.include_role": {"name": "stoker.fleet.dispatcher", "tasks_from": part}}
    own = {"dispatcher_bus": {}, "dispatcher_running": {"changed": False}, **settings}
    play = {"hosts": "all", "gather_facts": True, "gather_subset": ["user"], "vars": own, "tasks": [taken]}
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    return subprocess.run(
        [BIN / "ansible-playbook", *options, "-i", inventory, "play.yml"], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=120, cwd=folder,
    )  # fmt: skip


def test_check_mode_with_a_wheel_that_is_not_there_yet_changes_nothing(node: PlainNode, tmp_path: Path) -> None:
    wheel = tmp_path / "stoker-1-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    done = in_check_mode(
        node, tmp_path, "install.yml", dispatcher_wheel=str(wheel), dispatcher_python=node.python,
        dispatcher_owner="{{ ansible_facts.user_id }}", dispatcher_folder=f"{node.home}/service",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "Write its environment" in done.stdout
    assert not Path(node.home, "service").exists()


@pytest.mark.root
@pytest.mark.parametrize(("owner", "told"), [("ann", "changed: [n1]"), ("root", "skipping: [n1]")])
def test_who_lingers_for_a_service_of_the_system(node: PlainNode, tmp_path: Path, owner: str, told: str) -> None:
    done = in_check_mode(
        node, tmp_path, "unit.yml", dispatcher_owner=owner, dispatcher_made={"path": f"{node.home}/service"}
    )
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    (task,) = (number for number, line in enumerate(lines) if "live without a login" in line)
    assert lines[task + 1] == told
