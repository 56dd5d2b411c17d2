# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that answers ssh and is no node yet: its key is pinned, and it is set up once, whoever is killed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from testbed import PlainNode

from stoker.operations import rented_setup, rented_ssh
from stoker.operations.rented_setup import SetUp
from stoker.runner.rented_nodes import RentedNode, RentedPlace, write

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="rented machines are logged in to as root")


@pytest.fixture
def machine(nodes: Callable[..., list[PlainNode]], place: RentedPlace) -> PlainNode:
    [node] = nodes()
    with (node.folder / "authorized_keys").open("a") as keys:
        keys.write(rented_ssh.public_key(place) + "\n")
    return node


@pytest.fixture
def place(tmp_path: Path) -> RentedPlace:
    return RentedPlace(tmp_path / "rented" / "0123456789ab")


def host_key(node: PlainNode) -> str:
    return " ".join((node.folder / "host_key.pub").read_text().split()[:2])


def settled(place: RentedPlace, node: PlainNode, commands: Sequence[str], env: dict[str, str]) -> SetUp:
    deadline = time.monotonic() + 120
    while True:
        found = rented_setup.ask(place, node.address, node.port, host_key(node), commands, env)
        if found.state not in ("running", "unknown") or time.monotonic() > deadline:
            return found


def test_the_first_contact_pins_the_key_and_another_one_is_refused(machine: PlainNode, place: RentedPlace) -> None:
    contact = rented_ssh.first_contact(place, machine.address, machine.port)
    assert contact == rented_ssh.Contact(host_key(machine))
    good = rented_ssh.ask(place, machine.address, machine.port, host_key(machine), "exit 7", 20)
    assert (good.code, good.problem) == (7, None)
    other = host_key(machine)[:-4] + "AAAA"
    bad = rented_ssh.ask(place, machine.address, machine.port, other, "exit 7", 20)
    assert bad.code is None
    assert "verification failed" in (bad.problem or "").lower()
    # Two that ask for the key get the same one, and nobody else can read it.
    assert rented_ssh.public_key(place) == rented_ssh.public_key(place)
    assert place.key.stat().st_mode & 0o777 == 0o600


def test_who_does_not_answer_is_told_in_ssh_s_own_words(machine: PlainNode, place: RentedPlace) -> None:
    machine.stop()
    contact = rented_ssh.first_contact(place, machine.address, machine.port)
    assert contact.host_key is None
    assert "refused" in (contact.problem or "").lower()


def test_it_is_set_up_once_and_says_what_failed(machine: PlainNode, place: RentedPlace) -> None:
    log, alive = machine.home / "runs", machine.state_dir / "alive"
    machine.state_dir.mkdir()
    alive.touch()
    os.utime(alive, (1, 1))
    commands = ['echo "$WHO" >> runs', "touch 'a file'"]
    assert settled(place, machine, commands, {"WHO": "it's me; $(id)"}) == SetUp("done")
    assert settled(place, machine, commands, {"WHO": "it's me; $(id)"}) == SetUp("done")
    assert (log.read_text(), (machine.home / "a file").exists()) == ("it's me; $(id)\n", True)
    assert alive.stat().st_mtime > 1
    failed = settled(place, machine, ["echo no room left >&2; exit 28", "touch never"], {})
    assert failed == SetUp("failed", "the setup ended with 28: no room left")
    assert not (machine.home / "never").exists()


def test_a_setup_that_its_machine_s_restart_ended_begins_again(machine: PlainNode, place: RentedPlace) -> None:
    gate = machine.home / "gate"
    command = f"[ -e {gate} ] || {{ touch begun; sleep 600; }}"
    # Nobody waits for its end; what asks again does not start a second one.
    for _ in range(2):
        found = rented_setup.ask(place, machine.address, machine.port, host_key(machine), [command], {}, 0.2)
        assert found.state == "running"
    machine.stop()
    gate.touch()
    machine.start()
    assert settled(place, machine, [command], {}) == SetUp("done")


def test_the_inventory_of_rented_nodes_is_what_ansible_reads(machine: PlainNode, place: RentedPlace) -> None:
    from stoker.runner import Runner

    node = RentedNode("vast-7", "cheap", machine.address, machine.port, host_key(machine))
    away = RentedNode("vast-8", "cheap", "10.1.1.1", 22, host_key(machine), takes_jobs=False)
    write(place, [node, away])
    stamp = place.hosts.stat().st_mtime_ns
    write(place, [away, node])
    assert place.hosts.stat().st_mtime_ns == stamp
    runner = Runner(None, launcher=False, more=lambda: [place.hosts])
    inventory = runner.inventory()
    assert inventory.match("pool:cheap") == ["vast-7"]
    assert inventory.groups["pool_cheap"] == ("vast-7",)
    assert inventory.meant(None) == ["localhost"]
    assert inventory.node("vast-7").vars["stoker_lease"] == "move"
    played = runner.play("stoker.fleet.exec", extra_vars=exec_request("echo it is $((6*7)) > said"), limit="vast-7")
    assert (played.unreachable, played.failed) == ({}, {})
    assert (machine.home / "said").read_text() == "it is 42\n"


def exec_request(script: str) -> dict[str, str]:
    import base64
    import json

    request = {"*": {"argv": ["sh", "-c", script]}}
    return {"stoker_requests": base64.b64encode(json.dumps(request).encode()).decode()}
