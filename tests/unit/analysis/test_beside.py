# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings beside a run's metrics: as plain values, whatever the file holds, and why not where they cannot be."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from asked import Asked, jsonl, the_run
from hypothesis import given
from hypothesis import strategies as st

from stoker.analysis import yaml_text

BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def run_with(folder: Path, name: str, text: str | bytes) -> Path:
    path = jsonl(folder / "m.jsonl", [{"step": step, "loss": 1 / (step + 1)} for step in range(5)])
    path.with_name(name).write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.accepts("R41")
def test_dates_sets_and_bytes_are_plain_values(tmp_path: Path, stoker: Asked) -> None:
    text = "when: 2024-01-02\nat: 2024-01-02 03:04:05\nset: !!set {b, a}\ndata: !!binary aGk=\n? [1, 2]\n: pair\n"
    path = run_with(tmp_path, "config.yaml", text + f"large: 0x{'f' * 9000}\n")
    settings = stoker("config", path, "--json").value["settings"]
    assert settings.pop("large") == f"0x{'f' * 9000}"
    assert settings == {
        "when": "2024-01-02", "at": "2024-01-02T03:04:05", "set": ["a", "b"], "data": "hi", "[1, 2]": "pair",
    }  # fmt: skip
    for command in ("config", "summary", "list", "check"):
        assert stoker(command, path).code == 0


@pytest.mark.accepts("R25")
@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("config.yaml", BOMB, "config.yaml:6 beside it is not taken for its settings: its aliases come to more than"),
        ("config.yaml", "a: &a [*a]", "config.yaml:1 beside it is not taken for its settings: a value holds itself"),
        ("config.yaml", "[" * 100_000, "it is nested more than 40 deep"),
        ("config.json", '{"a":' * 100 + "1" + "}" * 100, "it is nested more than 40 deep"),
        ("config.json", '{"a":' * 50_000, "it is nested more than 40 deep"),
        ("config.json", '{"lr": 1,\n}', "config.json:2 beside it is not taken for its settings: not valid JSON"),
        ("config.json", "[1]", "it holds a list, no mapping"),
        ("hparams.yaml", "a: [1", "hparams.yaml:1 beside it is not taken for its settings: not valid YAML"),
        ("hparams.yaml", "a: 2024-02-31", "a value does not fit its kind (ValueError: day is out of range for month)"),
        ("hparams.yaml", "!!python/object:os.system {}", "not valid YAML: could not determine a constructor"),
        ("hparams.yaml", b"\xff\xfe\x00", "it is no UTF-8 at byte 0"),
        ("hparams.yaml", "a" * 300_000, "it is larger than 256 KiB"),
    ],
)
def test_what_cannot_be_taken_is_named_with_the_reason(
    name: str, text: str | bytes, reason: str, tmp_path: Path, stoker: Asked
) -> None:
    path = run_with(tmp_path, name, text)
    (remark,) = the_run(path).remarks
    assert reason in remark
    assert remark.startswith(name)
    assert f"! {name}" in stoker("summary", path).out
    said = stoker("config", path)
    assert (said.code, reason in said.err) == (0, True)


@pytest.mark.accepts("R25")
def test_the_next_file_counts_where_one_is_broken(tmp_path: Path, stoker: Asked) -> None:
    path = run_with(tmp_path, "config.json", "{")
    path.with_name("config.yaml").write_text("lr: 2\n")
    said = stoker("config", path, "--json")
    assert said.value["settings"] == {"lr": 2}
    assert "config.json:1" in said.err
    (tmp_path / "stoker-metrics.yml").write_text("a: &a [*a]")
    refused = stoker("summary", path)
    assert (refused.code, "stoker-metrics.yml:1: a value holds itself" in refused.err) == (2, True)


@given(st.text(alphabet=st.sampled_from("ab:&*[]{}!-?<'\"#|>% \n0.,2"), max_size=60))
def test_any_text_is_plain_values_or_refused(text: str) -> None:
    with contextlib.suppress(yaml_text.NotPlain):
        json.dumps(yaml_text.loaded(text))
