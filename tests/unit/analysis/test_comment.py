# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run as a comment for GitHub: links to its commit, tables that hold, and text that is only text."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asked import Asked, jsonl, the_run
from hypothesis import given
from hypothesis import strategies as st

from stoker.analysis.comment import code, comment, repository

SHA = "4f1c2aa90b" * 4


def linked(run: Any, commit: str | None = SHA, remote: str | None = "git@github.com:me/pine.git") -> Any:
    return replace(run, info=replace(run.info, commit=commit, facts={"remote": remote} if remote else {}))


@pytest.mark.accepts("R32")
@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        ("git@github.com:me/pine.git", "https://github.com/me/pine"),
        ("https://github.com/me/pine", "https://github.com/me/pine"),
        ("https://user:secret@github.com/me/pine.git", "https://github.com/me/pine"),
        ("ssh://git@github.com:22/me/pine.git", "https://github.com/me/pine"),
        ("https://github.com/me/pine\n", "https://github.com/me/pine"),
        ("https://github.firm.example/a/b", None), ("git@gitlab.com:me/pine.git", None), ("/srv/pine.git", None),
        ("https://github.com.evil.example/me/pine", None), ("https://evil.example/github.com/me", None),
        ("https://github.com/me/pine)](javascript:x", None), ("https://github.com/me/..", None),
        ("", None), (None, None),
    ],
)  # fmt: skip
def test_the_repository_of_a_remote(remote: str | None, expected: str | None) -> None:
    assert repository(remote) == expected


@pytest.mark.accepts("R32")
def test_an_own_github_counts_where_the_caller_names_it(two: Path) -> None:
    own = "https://github.firm.example/a/b.c/"
    assert repository(own, own_hosts=True) == "https://github.firm.example/a/b.c"
    assert comment(linked(the_run(two / "a"), remote=own)).commit_url is None
    said = comment(linked(the_run(two / "a")), remote=own)
    assert said.commit_url == f"https://github.firm.example/a/b.c/commit/{SHA}"


@pytest.mark.accepts("R32")
def test_a_run_is_linked_to_its_commit_and_pull_request(two: Path) -> None:
    run = linked(the_run(two / "a"))
    said = comment(run)
    assert said.commit_url == f"https://github.com/me/pine/commit/{SHA}"
    assert said.pull_url == f"https://github.com/me/pine/pulls?q={SHA}"
    assert f"commit [`{SHA[:10]}`]({said.commit_url})" in said.text
    assert comment(run, pull=12).pull_url == "https://github.com/me/pine/pull/12"
    assert said.unknown == ()
    other = comment(linked(the_run(two / "a"), remote=None), remote="https://github.com/x/y")
    assert other.commit_url == f"https://github.com/x/y/commit/{SHA}"


@pytest.mark.accepts("R32")
def test_what_nobody_wrote_down_is_unknown(two: Path, stoker: Asked) -> None:
    said = stoker("comment", two / "a")
    assert said.code == 0
    assert "commit unknown" in said.out
    assert "http" not in said.out
    assert "not known, so not linked: commit, repository" in said.err
    assert comment(linked(the_run(two / "a"), commit="main; rm -rf")).commit is None
    refused = stoker("comment", two / "a", "--pull", 3)
    assert (refused.code, refused.out) == (2, "")
    assert "--remote URL" in refused.err


@pytest.mark.accepts("R32")
def test_a_run_against_its_base(two: Path, stoker: Asked) -> None:
    said = stoker("comment", two / "b", two / "a", "-k", "val/*").out
    assert "### Run `b/metrics.jsonl`: unknown" in said
    assert "Against `a/metrics.jsonl`:" in said
    assert "| `val/loss` | 300 at 1,000 | 650 at 2,000 | +116.7% | worse |" in said
    assert "| `val/acc` | 0.25 at 1,000 | 1 at 2,000 | +300.0% | better |" in said
    assert "| `model.depth` | `12` | `24` |" in said
    assert "| `only` | not set | `None` |" in said
    assert "Mind: " in said


def tables(text: str) -> list[list[str]]:
    return [block.splitlines() for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]


@pytest.mark.accepts("R32")
def test_hostile_text_is_code(tmp_path: Path) -> None:
    odd = "x|y` @everyone <b> [a](b) \n# no\u202e"
    rows = [{"step": step, odd: 1.0, "``": 2.0, "\\|": 3.0} for step in range(3)]
    run = the_run(jsonl(tmp_path / "m.jsonl", rows))
    said = comment(replace(run, info=replace(run.info, name=odd, host="`@host`", commit=SHA)))
    assert "`` x\\|y` @everyone <b> [a](b) # no\\u202e ``" in said.text or "``x\\|y` @everyone" in said.text
    assert "\u202e" not in said.text
    for table in tables(said.text):
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {6}


@given(text=st.text(max_size=40))
def test_code_ends_where_it_should(text: str) -> None:
    said = code(text)
    fence = re.match(r"`+", said)
    assert fence is not None
    inner = said[len(fence[0]) : -len(fence[0])]
    assert said.endswith(fence[0])
    assert fence[0] not in re.findall(r"`+", inner)
    assert "\n" not in said
    assert not re.search(r"(?<!\\)\|", said)


@pytest.mark.accepts("R32")
def test_real_runs_of_a_git_repository(wandb_runs: Path, stoker: Asked) -> None:
    said = stoker("comment", "failed", "--folder", wandb_runs, "--remote", "https://github.com/me/pine", "--json").value
    assert said["info"]["id"] == "failed"
    assert "### Run `a failed run`: failed (3)" in said["text"]
    assert (said["commit"] is None) == (said["commit_url"] is None)
