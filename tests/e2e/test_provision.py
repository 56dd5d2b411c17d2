# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role `node`: molecule against an isolated node and one with systemd, and plain plays for the rest."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from testbed import Bed, FakeGpus, FakeNvml, IsolatedNode, Network, PlainNode, SystemdNode, find_python, write_inventory
from testbed.bed import need_tools, run
from testbed.node_side import NodeSide

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
EXTRA = "stoker-extra"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real nvidia-ml-py, as a wheel."""
    folder = tmp_path_factory.mktemp("wheels")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        str(folder),
    ]
    subprocess.run([*pip, "nvidia-ml-py"], check=True, timeout=120, stdin=subprocess.DEVNULL)
    return folder


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that apt takes for a repository, with one small package in it."""
    need_tools("dpkg-deb")
    folder = tmp_path_factory.mktemp("repository")
    tree = folder / "tree"
    control = (
        f"Package: {EXTRA}\nVersion: 1.0\nArchitecture: all\nMaintainer: Tests <tests@example.org>\nDescription: test\n"
    )
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(control)
    (tree / "usr/bin").mkdir(parents=True)
    (tree / f"usr/bin/{EXTRA}").write_text("#!/bin/sh\necho 1.0\n")
    (tree / f"usr/bin/{EXTRA}").chmod(0o755)
    file = folder / f"{EXTRA}.deb"
    run(["dpkg-deb", "--build", "--root-owner-group", str(tree), str(file)])
    data = file.read_bytes()
    index = f"{control}Filename: ./{file.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
    (folder / "Packages").write_text(index)
    return folder


def furnish(node: IsolatedNode | SystemdNode, wheels: Path, package: Path) -> None:
    """Put wheels and packages where the node finds them: it has no way to the outside."""
    upper = node.folder / "upper"
    for source, name in ((wheels, "wheels"), (package, "repository")):
        run(["cp", "-r", str(source), str(upper / "srv" / name)])
        run(["chmod", "-R", "a+rX", str(upper / "srv" / name)])
    sources = upper / "etc/apt/sources.list.d"
    sources.mkdir(parents=True)
    os.setxattr(sources, "trusted.overlay.opaque", b"y")
    (upper / "etc/apt/sources.list").write_text("deb [trusted=yes] file:/srv/repository ./\n")
    for folder in (upper / "srv", upper / "etc/apt", sources):
        folder.chmod(0o755)


@pytest.fixture(scope="module")
def fleet(bed: Bed, network: Network, wheels: Path, package: Path) -> Iterator[Path]:
    """The inventory of i1 (no systemd) and s9 (systemd, a user to be made), both with root."""
    shared = {
        "node_packages": ["python3", "python3-venv", "rsync", "git", EXTRA],
        "node_pip_args": ["--no-index", "--find-links", "/srv/wheels"],
    }
    own = {"node_user": "trainer", "stoker_state_dir": "/home/trainer/.stoker", "ansible_become_method": "su"}
    made: list[Any] = [
        IsolatedNode(bed, network, "i9", python="/usr/bin/python3", host_vars=shared),
        SystemdNode(bed, network, "s9", python="/usr/bin/python3", host_vars={**shared, **own}),
    ]
    for node in made:
        furnish(node, wheels, package)
    for node in made:
        node.start()
    yield write_inventory(bed.folder / "provision.yml", made)
    for node in made:
        node.close()


def molecule(inventory: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run molecule where it leaves nothing behind in the repository."""
    env = {
        **os.environ, "STOKER_MOLECULE_INVENTORY": str(inventory), "PATH": f"{BIN}:{os.environ['PATH']}",
        "MOLECULE_EPHEMERAL_DIRECTORY": str(folder / "molecule"), "HOME": str(folder), "NO_COLOR": "1",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(inventory.parent / "cp"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache/collections"), "ANSIBLE_PIPELINING": "True",
    }  # fmt: skip
    subprocess.run([sys.executable, ".ci/link-collection", ".cache/collections"], cwd=ROOT, check=True, timeout=180)
    return subprocess.run(
        [BIN / "molecule", *command], cwd=ROOT / "extensions", env=env, stdin=subprocess.DEVNULL, text=True,
        timeout=280, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


@pytest.mark.root
@pytest.mark.slow
def test_converge_idempotence_verify(fleet: Path, tmp_path: Path) -> None:
    done = molecule(fleet, tmp_path, "test", "--destroy", "never")
    assert done.returncode == 0, done.stdout[-6000:]
    assert "[default > idempotence] Executed: Successful" in done.stdout
    assert "[default > verify] Executed: Successful" in done.stdout


@pytest.mark.root
def test_without_root_it_does_what_it_can_and_says_what_it_left_out(
    systemd_user_node: SystemdNode, tmp_path: Path
) -> None:
    inventory = write_inventory(tmp_path / "inventory.yml", [systemd_user_node])
    values = {"node_packages": ["git", EXTRA], "node_nvml": False, "node_state_dir": "/home/stoker/other"}
    (tmp_path / "values.yml").write_text(yaml.safe_dump(values))

    def play(*options: str) -> subprocess.CompletedProcess[str]:
        values = ["-e", f"@{tmp_path}/values.yml", *options]
        return subprocess.run(
            [BIN / "ansible-playbook", "-i", inventory, "stoker.fleet.provision", *values],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, cwd=tmp_path,
        )  # fmt: skip

    checked = play("--check")
    assert checked.returncode == 0, checked.stdout
    assert systemd_user_node.ssh("ls -d /home/stoker/other").returncode == 2
    done = play()
    assert done.returncode == 0, done.stdout
    assert f"left out, since root cannot be had: packages {EXTRA}" in done.stdout
    assert systemd_user_node.ssh("stat -c %a /home/stoker/other").stdout == "700\n"
    assert "changed=0" in play().stdout
    refused = play("-e", "node_user=somebody")
    assert refused.returncode == 2
    assert "the user somebody can only be made by root" in refused.stdout


@pytest.mark.root
def test_another_system_is_refused_before_anything_is_changed(
    bed: Bed, isolated_nodes: Callable[..., list[IsolatedNode]], tmp_path: Path
) -> None:
    (node,) = isolated_nodes(1, python="/usr/bin/python3")
    node.stop()
    (node.folder / "upper/etc/os-release").write_text('NAME="Fedora Linux"\nID=fedora\nVERSION_ID=43\n')
    (node.folder / "upper/etc/redhat-release").write_text("Fedora release 43 (Forty Three)\n")
    node.start()
    inventory = write_inventory(tmp_path / "inventory.yml", [node])
    done = subprocess.run(
        [BIN / "ansible-playbook", "-i", inventory, "stoker.fleet.provision"], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout
    assert "i1 is Fedora: this role knows Debian and Ubuntu. Nothing was changed." in " ".join(done.stdout.split())
    assert node.ssh(f"ls -d {node.state_dir}").returncode == 2


def test_gpus_are_read_by_the_pynvml_that_the_role_installs(
    nodes: Callable[..., list[PlainNode]], tmp_path: Path
) -> None:
    """The node's own Python has no pynvml; the environment in the state folder does."""
    nvml = FakeNvml(tmp_path / "nvml", find_python("3.8"))
    nvml.show([{"uuid": "GPU-a"}])
    (node,) = nodes(1, gpus=FakeGpus.h100(1), python=find_python("3.8"), env=nvml.env)
    side = NodeSide(node)

    def gpu() -> tuple[str, str | None]:
        (told,) = side.ask("info", parts=["gpus"])["node"]["gpus"]
        return told["source"], told.get("not_by_nvml")

    assert gpu() == ("nvidia-smi", "no pynvml in the node's Python")
    (node.state_dir / "nvml").symlink_to(tmp_path / "nvml/venv")
    assert gpu() == ("nvml", None)
