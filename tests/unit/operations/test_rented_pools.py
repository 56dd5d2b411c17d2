# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs that ask for a pool: what is refused, what their spec gets, and what they are told while there is no machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from played import PlayedNodes

from stoker.errors import UsageError
from stoker.operations import policy, rented_hosts, rented_pools, submit
from stoker.operations.registry import find
from stoker.operations.rented_history import history
from stoker.operations.session import Session
from stoker.pool_settings import Pool
from stoker.rented import offers
from stoker.runner import rented_nodes
from stoker.store.instance_rows import InstanceRow

SETTINGS = """
pools:
  cheap: {price: 0.5, image: "pytorch/pytorch:2.4", gpu: [RTX 4090], max: 2, env: {HF_HOME: /data, A: pool}}
"""


@pytest.fixture
def pooled(session: Session) -> Session:
    Path("stoker.yml").write_text(SETTINGS)
    return session


def instance(**fields: Any) -> InstanceRow:
    now = time.time()
    base: dict[str, Any] = {
        "id": "a" * 12, "label": "stoker/s/" + "a" * 12, "pool": "cheap", "job": None, "kind": "on-demand", "offer": {},
        "machine_id": 1, "price": None, "gpu_rate": 0.3, "disk_rate": 0.01, "disk_gb": 20.0, "phase": "loading",
        "phase_since": now, "created_at": now - 200, "expires_at": now + 1000, "lease_s": 600.0, "provider_id": 7,
    }  # fmt: skip
    return InstanceRow(**{**base, **fields})


def told(session: Session, **said: str) -> str:
    return rented_pools.told(session, said or None)["cheap"]


def test_an_unknown_pool_is_refused_with_those_there_are(pooled: Session) -> None:
    with pytest.raises(UsageError, match=r"no pool 'chep': the pools are pool:cheap. Did you mean 'cheap'"):
        submit.run(pooled, ["true"], on="pool:chep")
    with pytest.raises(UsageError, match="--nodes 3: pool:cheap holds at most 2"):
        submit.run(pooled, ["true"], on="pool:cheap", nodes=3)
    assert pooled.store.jobs() == []


def test_what_the_project_needs_is_part_of_the_job_where_its_pool_says_so(pooled: Session) -> None:
    Path("stoker.yml").write_text(SETTINGS.replace("max: 2", "max: 2, environment: true"))
    with pytest.raises(UsageError, match=r"says nowhere what it needs: none of uv.lock, .* is among its files"):
        submit.run(pooled, ["true"], on="pool:cheap", snapshot=True)
    assert pooled.store.jobs() == []
    Path("requirements.txt").write_text("")
    asked = {
        "a project": {"snapshot": True},
        "a folder in it": {"snapshot": True, "workdir": "sub"},
        "a folder there": {"workdir": "proj"},
        "another user": {"workdir": "/srv", "user": "nobody"},
        "none": {},
    }
    jobs = {what: submit.run(pooled, ["true"], on="pool:cheap", **options).job for what, options in asked.items()}
    specs = {what: pooled.store.job(job.id) for what, job in jobs.items()}
    assert {what: row.spec.get("environment") for what, row in specs.items() if row is not None} == {
        "a project": True, "a folder in it": True, "a folder there": None, "another user": None,
        "none": None,
    }  # fmt: skip


def test_who_may_not_spend_gets_no_machine(pooled: Session) -> None:
    job = submit.run(pooled, ["true"], on="pool:cheap").job
    pooled.store.request_stop(job.id)
    policy.admit(pooled, policy.Caller("alice", "operate", "stdio"), find(submit.run), {})
    for ask in (lambda: submit.run(pooled, ["true"], on="pool:cheap"), lambda: submit.retry(pooled, job.id)):
        with pytest.raises(policy.DeniedError, match="your role may not spend"):
            ask()
    policy.admit(pooled, policy.Caller("alice", "spend", "stdio"), find(submit.run), {})
    assert submit.retry(pooled, job.id).job.retry_of == job.id


def test_without_pools_the_settings_are_named(session: Session) -> None:
    with pytest.raises(UsageError, match="none is set"):
        submit.run(session, ["true"], on="pool:cheap")


def test_a_job_gets_what_its_pool_s_machines_have(pooled: Session, nodes_played: PlayedNodes) -> None:
    job = submit.run(pooled, ["true"], on="pool:cheap", env={"A": "mine"}).job
    row = pooled.store.job(job.id)
    assert row is not None
    assert (row.target, row.spec["env"]) == ("pool:cheap", {"HF_HOME": "/data", "A": "mine"})
    # Not this machine's folder: it runs elsewhere.
    assert row.spec["workdir"] is None
    nobody = "pool cheap: nobody makes rounds: stoker dispatch --loop"
    assert nodes_played.rounds[-1]["pools"] == {"cheap": nobody}
    Path("code").mkdir()
    Path("code/a.py").write_text("1")
    taken = submit.run(pooled, ["true"], on="pool:cheap", snapshot=True, project="code").job
    brought = pooled.store.job(taken.id)
    assert brought is not None
    assert brought.results is not None
    assert brought.results["asked"] is True


def test_what_is_said_of_a_pool_without_a_machine(pooled: Session) -> None:
    store = pooled.store
    assert told(pooled, cheap="budget of $20 a day is spent") == "pool cheap: budget of $20 a day is spent"
    assert store.instances.add(instance()) is None
    assert told(pooled) == "pool cheap: renting (1 of 2, loading for 3 min)"
    [seen] = store.instances.all()
    row = store.instances.change(seen, {"phase": "stopped", "node": "vast-7", "problem": "outbid"})
    assert row is not None
    assert told(pooled) == "pool cheap: vast-7 is outbid for 0 min"


def test_only_what_is_ready_is_in_the_inventory(pooled: Session) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA=="
    reached = {"host": "1.2.3.4", "port": 40022, "host_key": key, "node": "vast-7"}
    rows = [instance(id=f"{n}" * 12, label=f"l{n}", phase=phase, **{**reached, "node": f"vast-{n}"})
            for n, phase in enumerate(("loading", "reachable", "ready", "pulling", "stopped", "gone"))]  # fmt: skip
    for row in rows:
        assert pooled.store.instances.add(row) is None
    # A controller whose key the machines do not know cannot ask them: to it they are no nodes.
    assert "vast-" not in rented_hosts.refresh(pooled).read_text()
    (rented_hosts.place_of(pooled).folder / "attached.json").write_text("[7]")
    text = rented_hosts.refresh(pooled).read_text()
    assert [name for name in (f"vast-{n}" for n in range(6)) if name in text] == ["vast-2", "vast-3"]
    nodes = [node for row in rows if (node := rented_hosts.node_of(row, frozenset({7}))) is not None]
    assert [(node.name, node.takes_jobs) for node in nodes] == [("vast-2", True), ("vast-3", False)]
    place = rented_hosts.place_of(pooled)
    assert place.known_hosts.read_text() == f"[1.2.3.4]:40022 {key}\n" * 2
    assert place.hosts.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("wrong", [{"host": "-oProxyCommand=x"}, {"port": 0}, {"host_key": "ssh-ed25519 A\nx y z"},
                                   {"name": "a b"}])  # fmt: skip
def test_what_a_provider_may_not_put_into_an_inventory(wrong: dict[str, Any]) -> None:
    good = {"name": "vast-7", "pool": "cheap", "host": "1.2.3.4", "port": 22, "host_key": "ssh-ed25519 AAAA"}
    assert rented_nodes.RentedNode(**good).wrong() is None
    assert rented_nodes.RentedNode(**{**good, **wrong}).wrong() is not None


@pytest.mark.accepts("V37")
def test_offers_are_ranked_by_how_long_such_jobs_took_there(pooled: Session, nodes_played: PlayedNodes) -> None:
    store = pooled.store
    for number, gpu, seconds in ((1, "RTX 4090", 7200.0), (2, "RTX 3090", 14400.0), (3, "RTX 3090", 15000.0)):
        node = f"vast-{number}"
        row = instance(id=f"{number}" * 12, label=f"l{number}", phase="gone", node=node, offer={"gpu_name": gpu})
        assert store.instances.add(row) is None
        name = "other" if number == 3 else "train"
        made = store.add_job(name, {"argv": ["true"]}, "pool:cheap")
        nodes_played.show(made.id, "succeeded", node=node, elapsed_s=seconds)
    assert history(pooled, store.instances, "cheap", "train").run_s == {"RTX 4090": 7200.0, "RTX 3090": 14400.0}
    known = history(pooled, store.instances, "cheap")
    assert known.run_s == {"RTX 4090": 7200.0, "RTX 3090": 14700.0}
    cheap, fast = offer(11, "RTX 3090", 0.20), offer(12, "RTX 4090", 0.30)
    # By the hour it is dearer, by the run it is not.
    best = offers.ranked([cheap, fast], Pool(price=0.5, image="x"), known)
    assert [each.offer["id"] for each in best] == [12, 11]
    assert "for a run of 2 h" in best[0].why
    assert offers.ranked([cheap, fast], Pool(price=0.5, image="x"))[0].offer["id"] == 11


def offer(number: int, gpu: str, price: float) -> dict[str, Any]:
    return {
        "id": number, "machine_id": number, "gpu_name": gpu, "num_gpus": 1, "dph_base": price, "dph_total": price,
        "verification": "verified", "reliability2": 0.99, "disk_space": 100.0, "geolocation": "Texas, US",
        "storage_cost": 0.1,
    }  # fmt: skip
