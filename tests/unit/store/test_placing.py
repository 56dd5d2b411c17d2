# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a round reads for its choice of nodes, on each database."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from stoker.dispatch.score import keys_of
from stoker.store import SampleRow, Store

DIGEST = "ab" * 32


def ran(store: Store, node: str, started_at: float | None, spec: dict[str, Any], **more: Any) -> None:
    job = store.add_job("a", {"argv": ["true"], **spec}, **more)
    with store.write() as transaction:
        transaction.add_attempt(
            {"job_id": job.id, "number": 1, "node": node, "state": "running", "claimed_at": 1.0,
             "started_at": started_at, "log_start": 0, "log_end": 0}
        )  # fmt: skip


@pytest.mark.accepts("C11")
def test_where_jobs_ran_with_the_same_files_image_and_data(store: Store) -> None:
    image = {"container": {"image": "reg/a_b:1"}}
    ran(store, "n1", 5.0, {"workdir": "/srv/p"})
    ran(store, "n2", 5.0, image)
    ran(store, "n3", None, image)
    ran(store, "n4", 5.0, {"container": {"image": "reg/aXb:1"}})
    ran(store, "n5", 5.0, {"argv": ["echo", '"image": "reg/a_b:1"', '"imagenet": 1']})
    ran(store, "n6", 5.0, {}, wants={"data": {"imagenet": 1}})
    ran(store, "n7", 5.0, {}, wants={"apart": "imagenet"})
    wanted = store.add_job(
        "b", {"argv": ["true"], "workdir": "/srv/p", **image}, wants={"data": {"imagenet": 1, "coco": 1}}
    )
    with store.write() as transaction:
        found = transaction.ran_with(keys_of(wanted))
    assert found == {
        "folder /srv/p": {"n1"}, "image reg/a_b:1": {"n2"}, "data imagenet": {"n6"}, "data coco": set()
    }  # fmt: skip


def test_the_two_newest_samples_of_each_node(store: Store) -> None:
    empty = SampleRow("n1", 0.0, None, 1.0, None, None, None, {})
    with store.write() as transaction:
        for node, at in (("n1", 10.0), ("n1", 20.0), ("n1", 30.0), ("n2", 5.0), ("n2", 15.0)):
            transaction.add_sample(dataclasses.replace(empty, node=node, at=at), 1e9)
        found = transaction.recent_samples(10.0)
    assert {node: [sample.at for sample in samples] for node, samples in found.items()} == {
        "n1": [20.0, 30.0], "n2": [15.0]
    }  # fmt: skip
    assert found["n1"][0].detail == {"schema": "stoker.sample/1"}


@pytest.mark.accepts("V34")
def test_a_gang_is_written_as_one(store: Store) -> None:
    first = store.add_job("g", {"argv": ["true"]}, ranks=3, wants={"ranks": 3, "where": ["stoker_a=1"]})
    ranks = store.gang(first.id)
    assert [(job.id, job.rank) for job in ranks] == [
        (first.id, 0), (f"{first.id}-1", 1), (f"{first.id}-2", 2)
    ]  # fmt: skip
    assert len({job.uid for job in ranks}) == len({job.spec["uid"] for job in ranks}) == 3
    assert {job.wants["where"][0] for job in ranks if job.wants} == {"stoker_a=1"}
    assert store.job(first.id) == first, "its id is no beginning of the others"
    plain = store.add_job("g", {"argv": ["true"]})
    assert (plain.gang, plain.rank, plain.wants) == (None, None, None)
