# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Skills: found where stoker.yml says, checked, read anew; and Stoker's own, which has to be right."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest
from typed import Stoker

from stoker.cli.build import Call, build, command_named
from stoker.cli.main import split
from stoker.operations.registry import commands
from stoker.operations.skill_files import own_folder, read

GOOD = "---\nname: {name}\ndescription: Does what {name} does.\n---\n# {name}\n\nText.\n"


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text(text)
    return folder


@pytest.mark.accepts("C55")
def test_skills_are_found_at_home_and_beside_stoker_yml(
    stoker: Stoker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write(tmp_path / "home/skills/deploy", GOOD.format(name="deploy"))
    write(Path("more/tune"), GOOD.format(name="tune"))
    write(Path("single"), GOOD.format(name="single"))
    Path("stoker.yml").write_text("skills: [~/skills, more, single]\n")
    Path("below").mkdir()
    monkeypatch.chdir("below")
    listed = stoker("skill", "list", "--json").json()["value"]
    assert [skill["name"] for skill in listed["skills"]] == ["deploy", "single", "stoker", "tune"]
    assert listed["left_out"] == []
    assert stoker("skill", "show", "tune").out == "# tune\n\nText.\n"
    assert "Did you mean 'tune'?" in stoker("skill", "show", "tone").err
    assert stoker("skill", "check").code == 0
    # A change counts at once.
    (tmp_path / "here/more/tune/SKILL.md").write_text(GOOD.format(name="tune").replace("Text", "New text"))
    assert "New text" in stoker("skill", "show", "tune").out


@pytest.mark.accepts("C55")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# no front matter\n", "x/SKILL.md:1: does not begin with --- and its front matter"),
        ("", "x/SKILL.md:1: does not begin with ---"),
        ("---\nname: x\n", "x/SKILL.md:2: the front matter has no end (---)"),
        ("---\nname: [x\n---\n", "x/SKILL.md:2: not valid YAML"),
        ("---\njust a text\n---\n", "x/SKILL.md:1: the front matter is not a mapping"),
        ("---\nname: x\n---\n", "description is missing"),
        ("---\ndescription: d\nname:\n---\n", "x/SKILL.md:3: name is missing"),
        ("---\nname: x\ndescription: d\ntriggers: [a]\n---\n", "x/SKILL.md:4: triggers: there is no such field"),
        ("---\nname: y\ndescription: d\n---\n", "x/SKILL.md:2: name: 'y' is not the name of its folder, 'x'"),
        ("---\ndescription: d\n\nname: X--y\n---\n", "x/SKILL.md:4: name: 'X--y' is not of small letters"),
        (f"---\nname: x\ndescription: {'d' * 1025}\n---\n", "x/SKILL.md:3: description: has 1,025 characters"),
        (f"---\nname: {'x' * 65}\ndescription: d\n---\n", "x/SKILL.md:2: name: has 65 characters, at most 64"),
        ("---\nname: x\ndescription: [d]\n---\n", "x/SKILL.md:3: description: ['d'] is not a text"),
        ("---\nname: x\ndescription: d\nmetadata: {version: 1}\n---\n", "x/SKILL.md:4: metadata: is not a mapping"),
        ("---\nname: stoker\ndescription: d\n---\n", "x/SKILL.md:2: name: 'stoker' is not the name of its folder"),
        ("---\nname: x\ndescription: d\n---\n\udcff", "x/SKILL.md:5: is not a text in UTF-8"),
    ],
)  # fmt: skip
def test_a_bad_skill_is_left_out_with_file_and_line(stoker: Stoker, text: str, said: str) -> None:
    Path("s/x").mkdir(parents=True)
    Path("s/x/SKILL.md").write_bytes(text.encode("utf-8", "surrogateescape"))
    write(Path("s/fine"), GOOD.format(name="fine"))
    Path("stoker.yml").write_text("skills: [s]\n")
    listed = stoker("skill", "list", "--json").json()["value"]
    assert [skill["name"] for skill in listed["skills"]] == ["fine", "stoker"]
    (fault,) = listed["left_out"]
    assert fault["reason"].startswith(f"s/{said}") or said in fault["reason"]
    assert fault["file"] == "s/x/SKILL.md"
    checked = stoker("skill", "check")
    assert checked.code == 1
    assert "2 skills are right, 1 wrong" in checked.out
    assert said in checked.err
    assert said in stoker("skill", "show", "x").err


@pytest.mark.accepts("C55")
def test_folders_that_are_none_and_names_that_are_two_are_told(stoker: Stoker) -> None:
    write(Path("a/same"), GOOD.format(name="same"))
    write(Path("b/same"), GOOD.format(name="same"))
    Path("empty").mkdir()
    Path("stoker.yml").write_text("skills:\n  - a\n  - b\n  - empty\n  - nowhere\n")
    checked = stoker("skill", "check")
    assert "b/same/SKILL.md: there is a skill 'same' already: a/same/SKILL.md" in checked.err
    assert "stoker.yml:4: skills[2]: " in checked.err
    assert "holds no folder with a SKILL.md" in checked.err
    assert "stoker.yml:5: skills[3]: " in checked.err
    assert "cannot be read: No such file or directory" in checked.err


@pytest.mark.accepts("C55")
def test_what_cannot_be_a_skill_hides_no_other(stoker: Stoker) -> None:
    write(Path("s/fine"), GOOD.format(name="fine"))
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9}]\n" for n in range(1, 9))
    write(Path("s/bomb"), GOOD.format(name="bomb").replace("description", f"{bomb}description"))
    write(Path("s/deep"), GOOD.format(name="deep").replace("description", f"metadata: {'[' * 5000}\ndescription"))
    Path("s/pipe").mkdir()
    os.mkfifo("s/pipe/SKILL.md")
    Path("s/round").mkdir()
    Path("s/round/SKILL.md").symlink_to("SKILL.md")
    Path("stoker.yml").write_text("skills: ['~no-such-user/x', s]\n")
    listed = stoker("skill", "list", "--json").json()["value"]
    assert [skill["name"] for skill in listed["skills"]] == ["fine", "stoker"]
    reasons = " ".join(fault["reason"] for fault in listed["left_out"])
    for said in (
        "skills[0]: ",
        "more than 20,000 values",
        "s/deep/SKILL.md: is more than 20 deep",
        "no regular file",
        "s/round: ",
    ):
        assert said in reasons, reasons


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every folder")
def test_a_folder_that_is_shut_hides_no_other(stoker: Stoker) -> None:
    write(Path("s/fine"), GOOD.format(name="fine"))
    write(Path("s/shut"), GOOD.format(name="shut")).chmod(0)
    Path("stoker.yml").write_text("skills: [s]\n")
    listed = stoker("skill", "list", "--json").json()["value"]
    Path("s/shut").chmod(0o700)
    assert [skill["name"] for skill in listed["skills"]] == ["fine", "stoker"]
    assert "s/shut: cannot be read: Permission denied" in listed["left_out"][0]["reason"]


@pytest.mark.accepts("C55")
def test_the_commands_of_stoker_s_own_skill_are_those_of_the_command_line() -> None:
    skill = read(own_folder() / "stoker/SKILL.md")
    lines = re.findall(r"^    (stoker .*?)(?:  +#.*)?$", skill.text, re.MULTILINE)
    assert len(lines) >= 18
    for line in lines:
        before, after = split(shlex.split(line)[1:])
        calls: list[Call] = []
        app = build(lambda call, calls=calls: calls.append(call) or 0, after, command_named(before))  # type: ignore[func-returns-value]
        app(before, exit_on_error=False, print_error=False)
        assert calls[0].operation.command == " ".join(before[: len(calls[0].operation.command.split())]), line
    (warned,) = [line for line in skill.text.splitlines() if line.startswith("- `stop`")]
    for named in re.findall(r"`(.*?)`", warned):
        assert named in commands()


@pytest.mark.accepts("C55")
def test_stoker_s_own_skill_costs_few_tokens() -> None:
    # As for the tools: 3.9 bytes a token.
    whole = (own_folder() / "stoker/SKILL.md").read_bytes()
    assert len(whole) / 3.9 < 1200
