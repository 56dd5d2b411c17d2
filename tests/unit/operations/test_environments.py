# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Environments: what the nodes are told of the jobs that are to come."""

from __future__ import annotations

from typing import Any

from played import PlayedNodes

from stoker.operations import environments, jobs, submit
from stoker.operations.session import Session


def test_the_environments_of_jobs_that_are_not_over_are_named_to_the_node(
    session: Session, nodes_played: PlayedNodes
) -> None:
    asked: list[dict[str, Any]] = []

    def answer(_playbook: str, _node: str, request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request)
        return {"reply": {"environments": [], "removed_environments": []}}

    nodes_played.answers = answer
    first = submit.run(session, ["true"], on="n1", env={"VIRTUAL_ENV": "/e/aa-1"}).job.id
    second = submit.run(session, ["true"], on="n1", env={"CONDA_PREFIX": "/e/bb-1", "VIRTUAL_ENV": "/e/aa-1"}).job.id
    submit.run(session, ["true"], on="n1", env={"A": "b"})
    environments.environments(session, "n1", remove_unused="0s")
    assert {folder: sorted(ids) for folder, ids in asked[-1]["keep"].items()} == {
        "/e/aa-1": sorted([first, second]), "/e/bb-1": [second],
    }  # fmt: skip
    jobs.stop(session, second)
    environments.environments(session, "n1", remove_unused="0s")
    assert asked[-1]["keep"] == {"/e/aa-1": [first]}
