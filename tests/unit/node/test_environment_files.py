# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which projects share an environment: those that say the same, and take nothing from their own folder."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ansible_collections.stoker.fleet.plugins.module_utils.environment_files import Plan

URL = "https://example.com/pkg-1.0-py3-none-any.whl"
LOCK = 'version = 1\n[[package]]\nname = "fuel"\nsource = { registry = "https://pypi.org/simple" }\n'
MEMBER = '[[package]]\nname = "pkg"\nsource = { %s }\n'
CONDA = "channels: [conda-forge, https://example.com/channel]\ndependencies:\n  - python=3.11\n  - conda-forge::numpy\n"
LISTED = '[project]\nname = "x"\ndependencies = ["fuel"]\n'


def name(folder: Path, files: Mapping[str, str]) -> str:
    """The name of the environment of a project with these files; the first is the one that says what it needs."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return str(Plan(str(folder), next(iter(files)), "uv", None, sys.executable, "3.11").name)


def shared(tmp_path: Path, files: Mapping[str, str]) -> bool:
    return name(tmp_path / "a", files) == name(tmp_path / "b", files)


def requirements(line: str) -> dict[str, str]:
    return {"requirements.txt": f"numpy==2.0\n{line}\n"}


OWN = {
    "editable": requirements("-e ."),
    "editable with =": requirements("--editable=."),
    "a folder": requirements("./pkg"),
    "a folder without a dot": requirements("vendor/mypkg"),
    "a folder with extras": requirements("vendor/mypkg[all] ; python_version > '3'"),
    "above": requirements("../pkg"),
    "file:": requirements("mypkg @ file:./vendor/mypkg"),
    "a relative reference": requirements("mypkg @ vendor/mypkg"),
    "a wheel": requirements("mypkg-1.0-py3-none-any.whl"),
    "a relative index": requirements("--find-links wheels\nmypkg"),
    "included": {"requirements.txt": "-r base.txt\n", "base.txt": "-e .\n"},
    "included twice": {"requirements.txt": "-r more/base.in\n", "more/base.in": "-r x.in\n", "more/x.in": "./pkg\n"},
    "a constraint": {"requirements.txt": "mypkg\n-c lock.txt\n", "lock.txt": "mypkg @ file:./vendor/mypkg\n"},
    "a workspace": {"uv.lock": LOCK + MEMBER % 'editable = "pkg"'},
    "a folder in a lock": {"uv.lock": LOCK + MEMBER % 'directory = "vendor/pkg"'},
    "a member that is not built": {"uv.lock": LOCK + MEMBER % 'virtual = "pkg"'},
    "a wheel in a lock": {"uv.lock": LOCK + MEMBER % 'path = "vendor/pkg.whl"'},
    "a local index in a lock": {"uv.lock": LOCK + MEMBER % 'registry = "wheels"'},
    "what no lock says yet": {"uv.lock": LOCK + '[[package]]\nname = "pkg"\nsource = "elsewhere"\n'},
    "a project that is built": {"uv.lock": LOCK, "pyproject.toml": "[build-system]\nrequires = []\n"},
    "a folder in a pylock": {"pylock.toml": '[[packages]]\nname = "pkg"\n[packages.directory]\npath = "."\n'},
    "a source of uv": {"pyproject.toml": LISTED + '[tool.uv.sources]\nfuel = { path = "../fuel" }\n'},
    "a list of conda": {"environment.yml": CONDA + "  - pip:\n    - -e .\n"},
    "a list of conda in one line": {"environment.yml": "dependencies: [python, {pip: [vendor/mypkg]}]\n"},
    "included by conda": {"environment.yml": CONDA + "  - pip: [-r base.txt]\n", "base.txt": "./pkg\n"},
}
COMMON = {
    "versions": requirements("torch>=2 ; python_version > '3'  # not ./this"),
    "an address": requirements(URL),
    "a reference": requirements(f"pkg[all] @ {URL}#sha256=00"),
    "a repository": requirements("git+ssh://git@example.com/team/pkg.git@v1"),
    "an index": requirements("--index-url https://example.com/simple/\n-f /srv/wheels"),
    "hashes": requirements("fuel==1.0 \\\n    --hash=sha256:00/11 \\\n    --hash=sha256:22"),
    "included": {"requirements.txt": "-r base.txt\n", "base.txt": "fuel\n"},
    "a lock": {"uv.lock": LOCK + MEMBER % 'virtual = "."' + MEMBER % 'git = "https://example.com/x?rev=1#00"'},
    "a pylock": {"pylock.toml": f'[[packages]]\nname = "pkg"\nwheels = [{{ url = "{URL}" }}]\n'},
    "a list": {"pyproject.toml": LISTED},
    "a list of conda": {"environment.yml": CONDA + f"  - pip:\n    - pkg @ {URL}\nprefix: /home/me/env\n"},
}


@pytest.mark.accepts("V10")
@pytest.mark.parametrize("files", OWN.values(), ids=OWN)
def test_what_lies_in_the_folder_belongs_to_the_folder(tmp_path: Path, files: Mapping[str, str]) -> None:
    assert not shared(tmp_path, files)


@pytest.mark.accepts("V10")
@pytest.mark.parametrize("files", COMMON.values(), ids=COMMON)
def test_what_comes_from_elsewhere_is_shared(tmp_path: Path, files: Mapping[str, str]) -> None:
    assert shared(tmp_path, files)


@pytest.mark.parametrize("inner", ["base.txt", "base.in"])
def test_what_is_included_counts(tmp_path: Path, inner: str) -> None:
    for first, line in (("requirements.txt", f"-r '{inner}'\n"), ("environment.yml", f"- pip: [-r {inner}]\n")):
        one = name(tmp_path / "a", {first: line, inner: "-r deep.txt\n", "deep.txt": "fuel==1.0\n"})
        other = name(tmp_path / "b", {first: line, inner: "-r deep.txt\n", "deep.txt": "fuel==2.0\n"})
        assert one != other
