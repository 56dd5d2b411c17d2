# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is built from this repository holds what it must, and works where nothing else of the repository is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "ansible_collections/stoker/fleet"
PLACES = "import stoker, ansible_collections.stoker.fleet.plugins.module_utils as m; print(stoker.__file__, m.__file__)"
BIN = Path(sys.executable).parent


def run(*command: str | Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> str:
    """What a program printed; the test fails with all of it when the program does."""
    called = [str(part) for part in command]
    environment = {**os.environ, **(env or {})}
    ended = subprocess.run(called, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, f"{called}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def sources(folder: str) -> set[str]:
    """The source files below a folder of the repository, relative to the repository."""
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git would give to somebody else, with what is not committed yet."""
    listed = run("git", "ls-files", "-co", "--exclude-standard", "-z").split("\0")
    folder = tmp_path_factory.mktemp("checkout")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def archive(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection as ansible-galaxy builds it."""
    folder = tmp_path_factory.mktemp("galaxy")
    run(BIN / "ansible-galaxy", "collection", "build", "--output-path", folder, cwd=checkout)
    (built,) = folder.glob("stoker-fleet-*.tar.gz")
    return built


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source archive, as an index would have it."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, "python", cwd=checkout)
    (built,) = folder.glob("stoker-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose first Stoker is the one of the wheel."""
    folder = tmp_path_factory.mktemp("site")
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", folder, wheel)
    return {"PYTHONPATH": str(folder), "ANSIBLE_COLLECTIONS_PATH": str(folder)}


@pytest.mark.accepts("C01")
def test_the_collection_holds_what_ansible_loads_and_nothing_else(archive: Path) -> None:
    with tarfile.open(archive) as tar:
        names = {member.name for member in tar.getmembers() if member.isfile()}
    assert sources("plugins") | sources("playbooks") | {"meta/runtime.yml", "LICENSE", "README.md"} <= names
    tops = {name.partition("/")[0] for name in names}
    expected = {"CHANGELOG.md", "FILES.json", "LICENSE", "MANIFEST.json", "README.md", "changelogs", "docs"}
    expected |= {"inventories", "meta", "playbooks", "plugins", "requirements.txt", "roles"}
    assert tops <= expected


@pytest.mark.accepts("C01")
def test_the_wheel_holds_the_package_and_the_collection(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {name.removeprefix("python/src/") for name in sources("python/src")}
    assert package | {f"{COLLECTION}/{name}" for name in sources("plugins") | sources("playbooks")} <= names
    assert {"stoker/py.typed", f"{COLLECTION}/galaxy.yml", f"{COLLECTION}/meta/runtime.yml"} <= names
    assert f"{COLLECTION}/inventories/local/hosts.yml" in names
    assert any(re.fullmatch(r"stoker/store/.*migrations/.+\.py", name) for name in names), "no migrations"
    assert {name.partition("/")[0] for name in names} == {"stoker", "ansible_collections", "stoker-0.1.0.dist-info"}


@pytest.mark.accepts("C01")
def test_python_and_ansible_find_the_collection_in_the_wheel(installed: dict[str, str], tmp_path: Path) -> None:
    site = installed["PYTHONPATH"]
    for place in run(sys.executable, "-c", PLACES, cwd=tmp_path, env=installed).split():
        assert place.startswith(site)
    listed = run(BIN / "ansible-doc", "--list", "--type", "module", "stoker.fleet", cwd=tmp_path, env=installed)
    for module in (ROOT / "plugins/modules").glob("[a-z]*.py"):
        assert f"stoker.fleet.{module.stem} " in listed


@pytest.mark.accepts("C01")
def test_the_checkout_is_found_like_the_wheel(tmp_path: Path) -> None:
    for place in run(sys.executable, "-c", PLACES, cwd=tmp_path).split():
        assert Path(place).resolve().is_relative_to(ROOT)
    where = run(BIN / "ansible-galaxy", "collection", "list", "--format", "yaml", cwd=tmp_path)
    assert "stoker.fleet" in where


def test_one_version() -> None:
    import stoker

    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text())
    assert galaxy["version"] == stoker.__version__
    assert f"stoker=={stoker.__version__}" in (ROOT / "requirements.txt").read_text()


def test_every_module_that_a_playbook_calls_on_nodes_is_in_the_action_group() -> None:
    own = {"plan", "record", "workflow"}  # they run on the controller, and take none of the nodes' settings
    groups = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["action_groups"]
    every = {path.stem for path in (ROOT / "plugins/modules").glob("[a-z]*.py")}
    # Those that ask the provider of rented machines take its key instead.
    rented = {name for name in every if name.startswith("vast_")}
    assert (set(groups["stoker"]), set(groups["vast"])) == (every - own - rented, rented)


def test_the_version_is_known_without_importing_the_rest() -> None:
    script = "import sys, stoker; stoker.__version__; print(*(m for m in sys.modules if m.startswith('stoker.')))"
    assert run(sys.executable, "-c", script).split() == []
