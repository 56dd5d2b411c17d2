# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that is named for a run: metrics and logs are read, any other file and what looks like a secret are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from asked import Asked

SHELL = "export KEY=hidden\nHISTSIZE=1000\nf() { return 1; }\n"


@pytest.mark.accepts("R25")
@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (".bashrc", SHELL, "is no file of metrics, and not called as a log is (.log, .out, .err, .txt)"),
        ("notes.md", SHELL, "is no file of metrics"),
        ("server.pem", "step 1 loss hidden\nstep 2 loss 0.5\n", "looks like a file of keys or passwords"),
        ("prod.env", SHELL, "looks like a file of keys or passwords"),
        (".netrc", "machine x password hidden", "looks like a file of keys or passwords"),
        (".ssh/known.log", "hidden", "looks like a file of keys or passwords"),
        ("credentials", "hidden", "looks like a file of keys or passwords"),
    ],
)
@pytest.mark.parametrize("command", ["notes", "summary"])
def test_a_file_that_is_no_run_is_not_shown(
    command: str, name: str, text: str, said: str, stoker: Asked, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    answer = stoker(command, path)
    assert (answer.code, answer.out) == (1, "")
    assert said in answer.err
    assert "hidden" not in answer.err


@pytest.mark.accepts("R25")
def test_a_link_does_not_make_a_secret_a_log(stoker: Asked, tmp_path: Path) -> None:
    (tmp_path / "id_rsa").write_text("hidden\n")
    (tmp_path / "train.log").symlink_to("id_rsa")
    answer = stoker("notes", tmp_path / "train.log")
    assert (answer.code, "looks like a file of keys" in answer.err, "hidden" in answer.out) == (1, True, False)


@pytest.mark.accepts("R25")
@pytest.mark.parametrize("name", ["said.log", "slurm-7.out", "said.err", "said.txt", "nohup"])
def test_a_log_is_known_by_its_name_or_by_its_metrics(name: str, stoker: Asked, tmp_path: Path) -> None:
    (tmp_path / name).write_text("begin\nstep 1 loss 0.5\nstep 2 loss 0.25\n")
    assert "loss 0.25" in stoker("notes", tmp_path / name).out
