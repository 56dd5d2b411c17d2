# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which folder a command is about: what was named goes before where one is, and that before what is remembered."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker.errors import StokerError, UsageError
from stoker.operations.project import project_folder
from stoker.operations.session import Session


class Place:
    """A user in folders: `of` is the project of a command there, `said` what it told about that."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._patch, self.said = folder, monkeypatch, list[str]()
        monkeypatch.setenv("STOKER_STATE_HOME", str(folder / "state"))

    def of(self, here: str, named: str | None = None, local: str | None = None) -> str:
        self.said = []
        (self.folder / here).mkdir(parents=True, exist_ok=True)
        self._patch.chdir(self.folder / here)
        found = project_folder(Session(say=self.said.append), named, local)
        return str(found.relative_to(self.folder))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    for folder in ("a", "b/sub", "git/.git", "git/sub", "c/a"):
        (tmp_path / folder).mkdir(parents=True)
    return Place(tmp_path, monkeypatch)


@pytest.mark.accepts("D28")
def test_the_order_in_which_a_project_is_looked_for(place: Place) -> None:
    assert (place.of("x"), place.said) == ("x", [])
    assert (place.of("x", named=str(place.folder / "a")), place.said) == ("a", [])
    last = [f"project a: {place.folder}/a, the last one named (--project says another)"]
    assert (place.of("x"), place.said) == ("a", last)
    # A folder given by hand, and a project of its own, are not replaced, nor remembered.
    assert (place.of("x", local="../b"), place.said) == ("x/../b", [])
    assert (place.of("git"), place.said) == ("git", [])
    assert (place.of("git/sub"), place.said) == ("git/sub", [])
    assert (place.of("x"), place.said) == ("a", last)
    # A known one around is.
    assert place.of("git", named=".") == "git"
    assert (place.of("git/sub"), place.said) == (
        "git", [f"project git: {place.folder}/git, around the current folder"],
    )  # fmt: skip
    assert (place.of("x"), place.said[0].startswith("project git:")) == ("git", True)
    # But not one of its own within a known one.
    (place.folder / "a/inner/.git").mkdir(parents=True)
    assert (place.of("a/inner"), place.said) == ("a/inner", [])
    assert place.of("a/plain") == "a"
    # By name, from anywhere; then it is the last one.
    assert (place.of("x", named="a"), place.said) == ("a", [])
    assert (place.of("x"), place.said) == ("a", last)


@pytest.mark.accepts("D28")
def test_what_is_not_clear_is_not_guessed(place: Place) -> None:
    assert place.of("x", named="../a") == "a"
    with pytest.raises(UsageError, match=r"--project a may be any of .*/a, .*/c/a"):
        place.of("c", named="a")
    assert place.of("c", named="./a") == "c/a"
    with pytest.raises(UsageError, match="may be any of"):
        place.of("x", named="a")
    with pytest.raises(UsageError, match="Did you mean 'a'"):
        place.of("x", named="aa")
    with pytest.raises(UsageError, match="give one of them"):
        place.of("x", named="a", local="b")
    (place.folder / "c/a").rmdir()
    with pytest.raises(UsageError, match=r"the last project, .*/c/a, is not there any more"):
        place.of("x")
    (place.folder / "state/projects.json").write_text("{")
    with pytest.raises(StokerError, match="is no list of projects"):
        place.of("x")
