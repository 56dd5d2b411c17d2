# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why two runs differ: what other runs say comes first, and what nobody wrote down is never taken for the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asked import Asked, jsonl, the_run

from stoker.analysis import read, runs_in
from stoker.analysis.cause import why

# name: (settings, final loss). The learning rate costs 0.5, the width nothing.
RUNS: dict[str, tuple[dict[str, Any], float]] = {
    "a": ({"lr": 1e-3, "width": 64, "seed": 1, "run_name": "a", "data": {"path": "/d/v1"}}, 1.0),
    "b": ({"lr": 1e-2, "width": 128, "seed": 2, "run_name": "b", "data": {"path": "/d/v2"}}, 1.5),
    "c": ({"lr": 1e-3, "width": 128, "seed": 3, "run_name": "c", "data": {"path": "/d/v1"}}, 1.02),
    "d": ({"lr": 1e-2, "width": 64, "seed": 3, "run_name": "d", "data": {"path": "/d/v1"}}, 1.48),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, (config, loss) in RUNS.items():
        jsonl(tmp_path / name / "m.jsonl", [{"step": s, "val/loss": loss + 1 - s / 9, "lr": 1} for s in range(10)])
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    return tmp_path


@pytest.mark.accepts("B06")
def test_what_other_runs_speak_for_comes_first(folder: Path, stoker: Asked) -> None:
    said = stoker("why", "a", "b", "--folder", folder, "--json").value
    assert (said["metric"]["name"], said["asked"]) == ("val/loss", 2)
    causes = {cause["name"]: cause for cause in said["causes"]}
    assert [cause["name"] for cause in said["causes"]] == ["lr", "data.path", "seed", "width", "run_name"]
    assert causes["lr"]["share"] == pytest.approx(0.46 / 0.5)
    assert causes["lr"]["evidence"] == "other runs: 1.02 with the one (1), 1.48 with the other (1)"
    assert causes["width"]["share"] == pytest.approx(-0.46 / 0.5)
    assert (causes["data.path"]["share"], causes["data.path"]["kind"]) == (None, "data")
    assert (causes["seed"]["kind"], causes["run_name"]["kind"]) == ("seed", "name")
    shown = stoker("why", "a", "b", "--folder", folder).out
    assert "val/loss  1 @9 in A, 1.5 @9 in B (+50.0%), A is better" in shown
    assert "92%" in shown


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("model_name", "setting"), ("model.name", "setting"), ("optimizer.name", "setting"), ("dataset.id", "data"),
        ("logit_scale", "other setting"), ("output_dim", "other setting"), ("log_scale", "other setting"),
        ("ghost", "other setting"), ("output_dir", "name"), ("model.save_dir", "name"), ("logging_steps", "name"),
        ("run_name", "name"), ("name", "name"), ("wandb.project", "name"), ("host", "name"), ("timestamp", "name"),
    ],
)  # fmt: skip
def test_only_what_names_the_run_is_a_name(tmp_path: Path, key: str, kind: str) -> None:
    for name in ("a", "b"):
        jsonl(tmp_path / name / "m.jsonl", [{"step": 1, "loss": 1.0 if name == "a" else 2.0}])
        first, _, second = key.partition(".")
        (tmp_path / name / "config.json").write_text(json.dumps({first: {second: name} if second else name}))
    (cause,) = why(the_run(tmp_path / "a"), the_run(tmp_path / "b")).causes
    assert (cause.name, cause.kind) == (key, kind)


def test_a_name_that_other_runs_speak_for_is_not_last(folder: Path) -> None:
    """Whatever it is called, runs that have it differ as these two do."""
    for name, (config, _) in RUNS.items():
        named = config | {"run_name": "one" if config["lr"] == 1e-3 else "two"}
        (folder / name / "config.json").write_text(json.dumps(named))
    found = {one.info.title: one for one in runs_in(folder)}
    a, b, *others = (next(one for title, one in found.items() if title.startswith(n)) for n in "abcd")
    causes = why(read(a), read(b), others=others, read=read).causes
    assert {cause.name for cause in causes[:2]} == {"lr", "run_name"}


@pytest.mark.accepts("B06")
def test_what_nobody_wrote_down_is_unknown_and_not_the_same(folder: Path, stoker: Asked) -> None:
    said = stoker("why", "a", "b", "--folder", folder, "--json").value
    assert {"commit of A and B", "packages of A and B", "gpu of A and B", "cuda of A and B"} <= set(said["unknown"])
    (folder / "e").mkdir()
    jsonl(folder / "e" / "m.jsonl", [{"step": 1, "val/loss": 3.0}])
    unset = stoker("why", "a", "e", "--folder", folder, "--json").value
    assert "settings of B" in unset["unknown"]
    assert "nobody wrote it down: commit of A and B" in stoker("why", "a", "b", "--folder", folder).out


@pytest.mark.accepts("B06")
def test_code_machine_and_packages_are_compared(wandb_runs: Path) -> None:
    found = {one.info.id: read(one) for one in runs_in(wandb_runs)}
    a, b = found["finished"], found["failed"]
    a = replace(a, info=replace(a.info, commit="a" * 40, facts={**a.info.facts, "gpu": "H100", "gpus": 8}))
    b = replace(b, info=replace(b.info, commit="b" * 40, facts={**b.info.facts, "gpu": "L4", "gpus": 8}))
    said = why(a, b, key="train/loss")
    assert [(cause.kind, cause.name) for cause in said.causes] == [("code", "commit"), ("machine", "gpu")]
    assert not {"packages of A and B", "python of A and B"} & set(said.unknown)
    listed = Path(b.info.segments[-1]).parent / "files" / "requirements.txt"
    before = listed.read_text()
    try:
        listed.write_text(before.replace("numpy==2.4.6", "numpy==1.0") + "torch==2.0\n")
        changed = {cause.name: (cause.kind, cause.a, cause.b) for cause in why(a, b, key="train/loss").causes}
    finally:
        listed.write_text(before)
    assert changed["numpy"] == ("package", "2.4.6", "1.0")
    assert changed["torch"] == ("package", "(not there)", "2.0")


@pytest.mark.accepts("B06")
def test_bad_questions_are_refused(folder: Path, stoker: Asked) -> None:
    jsonl(folder / "f" / "m.jsonl", [{"step": 1, "other": 3.0}])
    for asked, words in (
        (("a", "zz"), "no file, folder or run 'zz'"), (("a", "f"), "no metric in common"),
        (("a", "b", "--key", "val/los"), "Did you mean val/loss"),
    ):  # fmt: skip
        said = stoker("why", *asked, "--folder", folder)
        assert (said.code, said.out) == (2, "")
        assert words in said.err
    same = why(the_run(folder / "a"), the_run(folder / "a"))
    assert same.causes == ()
