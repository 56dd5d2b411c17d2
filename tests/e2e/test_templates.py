# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates over a real node: saved, run with values, deleted under a running job."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cli import Cli, until
from testbed import PlainNode

Stoker = Callable[..., Cli]
FOLLOWED = 'echo "$0" "$1" "$LR"; echo loss 0.5; until test -e "$1"; do sleep 0.1; done; echo loss 0.25'


@pytest.mark.accepts("D16", "D19", "D29", "D30")
def test_a_template_from_saving_to_the_comparison_of_its_jobs(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    go = node.home / "go"
    saved = cli(
        "template", "save", "train", "-p", "lr=1e-3", "--require", "until", "-e", "LR={{lr}}", "--retries", "0",
        "--metric", "loss=loss ([0-9.]+)", "--", "sh", "-c", FOLLOWED, "{{lr}} {{ lr }} $x", "{{until}}",
    )  # fmt: skip
    assert saved.code == 0, saved
    # Another machine: a state folder of its own, the same database.
    other = {"STOKER_STATE_HOME": str(cli.folder / "other")}
    assert [t["name"] for t in cli("template", "list", "--json", env=other).json()["templates"]] == ["train"]
    running = cli("template", "run", "train", "-p", f"until={go}", "--on", "n1", "--json").json()["job"]["id"]
    until(lambda: cli.job(running, "--live")["state"] == "running", "the job")
    assert cli("template", "delete", "train").code == 0
    assert cli("template", "list", "--json").json()["templates"] == []
    assert cli("template", "run", "train").code == 2
    assert cli.job(running, "--live")["state"] == "running"
    go.touch()
    assert cli("wait", running).code == 0
    assert cli("logs", running).out.splitlines()[0] == f"1e-3 {{{{ lr }}}} $x {go} 1e-3"
    assert (cli.job(running)["state"], cli.job(running)["template"]) == ("succeeded", "train")
    again = cli("retry", running, "--json", "-e", "LR=3").json()["job"]["id"]
    assert cli("wait", again).code == 0
    (group,) = cli("stats", "--json").json()["groups"]
    assert (group["group"], group["finished"], group["succeeded"], group["runtime_known"]) == ("train", 2, 2, 2)
    told = [cli.job(job)["elapsed_s"] for job in (running, again)]
    assert (group["runtime_min_s"], group["runtime_max_s"]) == (min(told), max(told))
    (loss,) = cli("compare", running, again, "--json").json()["metrics"]
    assert (loss["figures"]["first"]["a"], loss["figures"]["last"]["delta"]) == (0.5, 0.0)
