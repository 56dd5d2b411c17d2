# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs that fail are tried again, for the failures that were named, until their retries are spent."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from cli import Cli
from testbed import PlainNode

Stoker = Callable[..., Cli]


def events(cli: Cli, job: str, kind: str) -> list[dict[str, Any]]:
    said = cli("events", "--json", "--job", job, "--type", kind)
    return [json.loads(line)["value"] for line in said.out.splitlines()]


@pytest.mark.accepts("C48")
def test_a_job_is_tried_again_after_1_2_4_seconds_and_then_dead(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    job = cli.run("sh", "-c", "echo try $STOKER_ATTEMPT; exit 3", options=("--retries", "3"))
    assert cli("wait", job).code == 1
    told = cli.job(job)
    assert (told["state"], told["reason"], told["exit_code"], told["attempt"]) == ("dead", "code", 3, 4)
    assert cli("jobs", "--state", "dead", "--json").json()["jobs"][0]["id"] == job
    started = [event["at"] for event in events(cli, job, "job.starting")]
    pauses = [later - before for before, later in pairwise(started)]
    assert len(pauses) == 3
    assert all(pause >= least for pause, least in zip(pauses, (1, 2, 4), strict=True)), pauses
    again = cli("retry", job, "--json").json()["job"]
    assert (again["retry_of"], again["max_attempts"]) == (job, 4)
    cli("stop", again["id"], "--grace", "0")


@pytest.mark.accepts("C48")
def test_another_failure_than_the_named_ones_is_the_end(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    script = "test $STOKER_ATTEMPT = 1 && exit 75; exit 4"
    job = cli.run("sh", "-c", script, options=("--retries", "5", "--retry-on", "64-78", "--retry-on", "SIGKILL"))
    assert cli("wait", job).code == 1
    told = cli.job(job)
    assert (told["state"], told["exit_code"], told["attempt"]) == ("dead", 4, 2)
    (dead,) = events(cli, job, "job.dead")
    assert (dead["data"]["reason"], dead["data"]["exit_code"]) == ("code", 4)
    assert f"{job}  dead (4)" in " ".join(cli("jobs").out.split()).replace(f"{job} ", f"{job}  ")
    refused = cli("run", "--retry-on", "sometimes", "--", "true")
    assert (refused.code, "'sometimes' is no way to fail" in refused.err) == (2, True)
