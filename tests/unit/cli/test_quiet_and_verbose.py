# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`--quiet` takes away what is said beside an answer and nothing else; `--verbose` adds what was used, and causes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typed import Stoker

from stoker.operations import operations


@pytest.mark.accepts("R25")
def test_every_command_takes_them(stoker: Stoker) -> None:
    for operation in operations():
        told = stoker(*operation.command.split(), "--help").out
        assert {"--quiet", "--verbose"} <= set(re.findall(r"--[a-z]+", told)), operation.command


@pytest.mark.accepts("R25")
def test_quiet_says_nothing_beside_the_answer(stoker: Stoker) -> None:
    Path("metrics.jsonl").write_text('{"step": 1, "loss": 2}\n')
    Path("broken.db").write_bytes(b"SQLite format 3\0" + b"x" * 500)
    loud = stoker("runs", "best", "loss")
    assert "broken.db cannot be read" in loud.err
    for spelled in (("--quiet", "runs", "best", "loss"), ("runs", "best", "loss", "-q")):
        quiet = stoker(*spelled)
        assert (quiet.code, quiet.out, quiet.err) == (loud.code, loud.out, "")


@pytest.mark.accepts("R25")
def test_quiet_hides_no_error(stoker: Stoker) -> None:
    Path("metrics.jsonl").write_text('{"step": 1, "loss": 2}\n')
    said = stoker("runs", "stats", "metrics.jsonl", "-k", "los", "-q")
    assert (said.code, said.out) == (2, "")
    assert said.err == "stoker: metrics.jsonl has no metric 'los'. Did you mean loss? (next: stoker runs keys RUN)\n"


@pytest.mark.accepts("R25")
@pytest.mark.parametrize(
    ("command", "code", "file", "following"),
    [
        (("runs", "summary", "gone.jsonl"), 2, "gone.jsonl", "stoker runs list"),
        (("runs", "summary", "empty"), 2, "empty", "stoker runs list --help"),
        (("runs", "summary", "metrics.jsonl", "--folder", "gone"), 2, "gone", "stoker runs list"),
        (("runs", "check", "schema"), 2, "stoker-metrics.yml", ""),
        (("runs", "list", "wandb:x/y"), 2, "settings", ""),
        (("jobs", "--config", "gone.yml"), 2, "gone.yml", "stoker init"),
        (("nodes", "-i", "gone.yml"), 2, "gone.yml", "stoker init --inventory"),
        (("jobs", "--config", "bad.yml"), 2, "bad.yml:1", "Did you mean"),
        (("run", "--on", "n1", "--secret", "NOBODY_HAS_IT", "--", "true"), 2, "NOBODY_HAS_IT", ""),
        (("joobs",), 2, "joobs", "stoker --help"),
    ],
)
def test_an_error_names_the_file_and_what_to_do(
    stoker: Stoker, command: tuple[str, ...], code: int, file: str, following: str
) -> None:
    Path("metrics.jsonl").write_text('{"step": 1, "loss": 2}\n')
    Path("empty").mkdir()
    Path("bad.yml").write_text("inventori: x\n")
    Path("schema").mkdir()
    Path("schema/metrics.jsonl").write_text('{"step": 1, "loss": 2}\n')
    Path("schema/stoker-metrics.yml").write_text("metrics: 7\n")
    Path("wandb").mkdir()
    Path("wandb/settings").write_text("no section\n")
    said = stoker(*command)
    assert (said.code, said.out) == (code, "")
    assert said.err.startswith("stoker: ") or said.err.startswith(f"{file}:") or file in said.err.splitlines()[0]
    assert file in said.err
    assert following in said.err
    assert "Traceback" not in said.err


@pytest.mark.accepts("R25")
def test_verbose_says_what_was_used_and_how_long_it_took(stoker: Stoker) -> None:
    plain, said = stoker("jobs"), stoker("jobs", "--verbose")
    assert said.out == plain.out
    assert re.search(
        r"^settings: .*\nstore: sqlite:///.*store\.db\njobs\.list took \d+\.\d\d s$", said.err, re.MULTILINE
    )


@pytest.mark.accepts("R25")
def test_verbose_says_what_an_error_came_from(stoker: Stoker) -> None:
    said = stoker("runs", "list", "gone", "-v")
    assert said.code == 2
    assert "because of NotThere" in said.err
    assert "because of" not in stoker("runs", "list", "gone").err
