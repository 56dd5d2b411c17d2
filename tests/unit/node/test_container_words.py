# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a spec means to an engine, and what an engine's times mean."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.stoker.fleet.plugins.module_utils import container_words, engines
from ansible_collections.stoker.fleet.plugins.module_utils.statedir import NodeError, StateDir

STATE = {"token": "0123456789abcdef", "gpus": []}


def words(tmp_path: Path, engine: str, gpus: list[str] | None = None, **fields: Any) -> list[str]:
    attempt = StateDir(str(tmp_path)).create_attempt("j", 1, {}) and StateDir(str(tmp_path)).attempt("j")
    spec = {"uid": "u", "argv": ["run", "--it"], "workdir": str(tmp_path), "container": {"image": "img"}, **fields}
    state = {**STATE, "gpus": gpus or []}
    found: list[str] = container_words.create_words(
        attempt, spec, state, engines.Engine(engine, engine), {"A": "secret"}
    )
    return found


def test_no_value_of_the_environment_is_a_word(tmp_path: Path) -> None:
    found = words(tmp_path, "podman")
    assert "--env=A" in found
    assert not any("secret" in word for word in found)
    assert found[-4:] == ["img", "/run/stoker/begin", "run", "--it"]


def test_docker_gets_its_gpus_as_one_field_of_csv(tmp_path: Path) -> None:
    assert '--gpus="device=GPU-1,GPU-2"' in words(tmp_path, "docker", ["GPU-1", "GPU-2"])
    assert not any(word.startswith("--gpus") for word in words(tmp_path / "b", "docker"))


def test_by_default_it_is_the_node_s_own_user(tmp_path: Path) -> None:
    """Docker's root would be the machine's; a rootless Podman's root is the user itself."""
    assert f"--user={os.geteuid()}:{os.getegid()}" in words(tmp_path, "docker")
    assert "--user=0:0" in words(tmp_path / "b", "podman")


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("a b", "--mount=type=bind,source={0}/a b,target=/t"),
        ("a,b", "--volume={0}/a,b:/t"),
        ('a"b', '--volume={0}/a"b:/t'),
        ("a:b", "--mount=type=bind,source={0}/a:b,target=/t"),
    ],
)
def test_odd_names_are_mounted(tmp_path: Path, name: str, word: str) -> None:
    (tmp_path / name).mkdir()
    container = {"image": "img", "mounts": [{"source": str(tmp_path / name), "target": "/t"}]}
    assert word.format(tmp_path) in words(tmp_path, "podman", container=container)


def test_what_no_engine_can_mount_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a,:b").mkdir()
    container = {"image": "img", "mounts": [{"source": str(tmp_path / "a,:b"), "target": "/t"}]}
    with pytest.raises(NodeError, match="a comma and a colon"):
        words(tmp_path, "podman", container=container)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-22T09:40:52.5Z", 1795340452.5),
        ("2026-11-22T10:40:52.5+01:00", 1795340452.5),
        ("2026-11-22 09:40:52 +0000 UTC", 1795340452.0),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        (None, None),
    ],
)
def test_times(text: str | None, seconds: float | None) -> None:
    assert engines.unix_time(text) == seconds


def test_an_exit_code_is_told_only_of_what_has_ended() -> None:
    """Podman shows 0 for a container that was created and never started, and after a boot."""
    times = {"StartedAt": "2026-11-22T09:40:52Z", "FinishedAt": "2026-11-22T09:40:53Z"}
    told = {"Id": "1", "State": {"Status": "created", "Running": False, "ExitCode": 0, "Pid": 0}}
    assert engines.Seen(told).code is None
    ended = {"Id": "1", "State": {"Status": "exited", "Running": False, "ExitCode": 3, "Pid": 0, **times}}
    assert engines.Seen(ended).code == 3
