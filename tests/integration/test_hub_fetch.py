# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that a node fetches from the hub with, against a server that keeps the hub's contract."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from contracts.hub import COMMIT, Hub, serving

from ansible_collections.stoker.fleet.plugins.module_utils import hub_fetch

FILES = {
    "config.json": b'{"hidden": 8}',
    "model.safetensors": os.urandom(300_000),
    "sub folder/tokenizer.json": b"tokens",
    "empty": b"",
}


def fetch(hub: Hub, folder: Path, token: str | None = None) -> tuple[int, str]:
    env = {
        "PATH": os.environ["PATH"], "HUB_ENDPOINT": hub.url, "HUB_KIND": hub.kind, "HUB_REPO": hub.repo,
        "HUB_REVISION": "main", "HUB_FOLDER": str(folder), **({"HF_TOKEN": token} if token else {}),
    }  # fmt: skip
    words = [sys.executable, "-I", str(hub_fetch.__file__)]
    ended = subprocess.run(words, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert ended.stderr == "", ended
    return ended.returncode, ended.stdout


@pytest.mark.accepts("V05")
@pytest.mark.parametrize(("kind", "repo"), [("models", "org/tiny"), ("datasets", "org/tiny"), ("models", "gpt2")])
def test_everything_comes_whole_once_and_the_token_stays_with_the_hub(tmp_path: Path, kind: str, repo: str) -> None:
    with serving(Hub(repo, FILES, token="hf_s3cret", kind=kind)) as hub:
        code, said = fetch(hub, tmp_path, "hf_s3cret")
        place = tmp_path / f"{kind}--{repo.replace('/', '--')}" / COMMIT
        assert (code, said.splitlines()[-1]) == (0, f"ready: {place}"), said
        assert {name: (place / name).read_bytes() for name in FILES} == FILES
        assert (hub.faults, "hf_s3cret" in said) == ([], False), said
        before = len(hub.asked)
        assert fetch(hub, tmp_path, "hf_s3cret")[0] == 0
        assert len(hub.asked) == before + 1, "only the listing is asked again"
        code, said = fetch(hub, tmp_path / "other")
        assert (code, "export HF_TOKEN" in said) == (1, True), said


@pytest.mark.accepts("V05")
def test_room_is_looked_at_before_anything_comes(tmp_path: Path) -> None:
    with serving(Hub("org/huge", FILES, sizes={"model.safetensors": 10**18})) as hub:
        code, said = fetch(hub, tmp_path)
        assert (code, "it needs 1,000,000,000,000,000,0" in said, "are free" in said) == (1, True, True), said
        assert all("/resolve/" not in path for path, _ in hub.asked)


def test_what_breaks_off_goes_on_and_what_is_wrong_does_not_count(tmp_path: Path) -> None:
    faults = {
        "cut": {"model.safetensors": 100_000},
        "busy": {"config.json": 1},
        "wrong": {"sub folder/tokenizer.json": 1},
    }
    with serving(Hub("org/tiny", FILES, **faults)) as hub:
        code, said = fetch(hub, tmp_path)
        assert code == 0, said
        place = tmp_path / "models--org--tiny" / COMMIT
        assert {name: (place / name).read_bytes() for name in FILES} == FILES
        assert hub.bytes["model.safetensors"] == len(FILES["model.safetensors"]), "nothing came twice"
        assert hub.bytes["sub folder/tokenizer.json"] == 2 * len(b"tokens")
        assert "not what the hub says" in said
        assert not list(place.rglob("*.incomplete"))


def test_a_path_that_leads_out_is_refused(tmp_path: Path) -> None:
    with serving(Hub("org/evil", {"../../evil": b"x"})) as hub:
        code, said = fetch(hub, tmp_path / "in")
        assert (code, "no path within a repository" in said) == (1, True), said
        assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("commit", ["../../../out", "main", COMMIT.upper(), COMMIT + "\n"])
def test_a_commit_that_is_none_names_no_folder(tmp_path: Path, commit: str) -> None:
    with serving(Hub("org/evil", FILES, commit=commit)) as hub:
        code, said = fetch(hub, tmp_path / "a" / "b" / "in")
        assert (code, "names a commit" in said) == (1, True), said
        assert not list(tmp_path.rglob("*")), "nothing was made"


def test_no_more_than_the_hub_said_is_written_and_a_part_that_is_too_long_goes(tmp_path: Path) -> None:
    with serving(Hub("org/tiny", FILES, more={"config.json": 10_000_000})) as hub:
        place = tmp_path / "models--org--tiny" / COMMIT
        place.mkdir(parents=True)
        part = place / "model.safetensors.incomplete"
        part.write_bytes(bytes(300_001))
        code, said = fetch(hub, tmp_path)
        assert (code, part.exists()) == (0, False), said
        assert {name: (place / name).read_bytes() for name in FILES} == FILES


@pytest.mark.parametrize("end", ["\n", "\r\n", " "])
def test_the_end_of_a_line_is_no_part_of_a_token(tmp_path: Path, end: str) -> None:
    with serving(Hub("org/tiny", FILES, token="hf_s3cret")) as hub:
        code, said = fetch(hub, tmp_path, "hf_s3cret" + end)
        assert (code, "hf_s3cret" in said) == (0, False), said


@pytest.mark.parametrize("token", ["hf_s3cret\nX-More: 1", "hf_s3cr\u00e9t", "hf_s3c ret"])
def test_what_cannot_be_a_token_is_refused_and_not_told(tmp_path: Path, token: str) -> None:
    with serving(Hub("org/tiny", FILES, token="hf_s3cret")) as hub:
        code, said = fetch(hub, tmp_path, token)
        assert (code, "HF_TOKEN holds" in said, "hf_s3c" in said, hub.asked) == (1, True, False, []), said


def test_an_error_that_nobody_foresaw_tells_its_kind_alone(tmp_path: Path) -> None:
    code, said = fetch(Hub("org/tiny", FILES, url="http://127.0.0.1:hf_s3cret"), tmp_path)
    assert (code, said) == (1, "org/tiny was not fetched: InvalidURL\n")
