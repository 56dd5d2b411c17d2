# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines of vast.ai from plain playbooks: the provider is its double, what it rents out are real sshd nodes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from contracts.vast import Boot, Double, vast_double
from plays import Plays
from testbed import Bed, PlainNode

LIST = Path(sys.executable).parent / "ansible-inventory"


@pytest.fixture
def double(nodes: Callable[..., list[PlainNode]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    with vast_double(machines=nodes(1), speed=1.0, paced=True) as made:
        made.boot = Boot(0, 0, 1)
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.fixture
def plays(tmp_path: Path, bed: Bed) -> Plays:
    """Hosts come from the inventory plugin."""
    inventory = tmp_path / "rented.vast.yml"
    options = {
        "plugin": "stoker.fleet.vast",
        "known_hosts": str(tmp_path / "known_hosts"),
        "private_key_file": str(bed.key),
        "compose": {"ansible_python_interpreter": repr(sys.executable)},
    }
    inventory.write_text(json.dumps(options))
    return Plays(tmp_path, inventory)


def public_key(bed: Bed) -> str:
    return Path(f"{bed.key}.pub").read_text().strip()


def wanted(plays: Plays, bed: Bed, *lines: str) -> str:
    """Parameters of vast_instance."""
    files = [f"known_hosts: {plays.folder}/known_hosts", f"private_key_file: {bed.key}"]
    every = ["label: me/1", "image: 'ubuntu:24.04'", f"public_keys: ['{public_key(bed)}']", *files]
    return "{" + ", ".join([*every, *lines]) + "}"


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.accepts("V01", "V02")
def test_a_machine_is_rented_used_and_given_back(double: Double, plays: Plays, bed: Bed) -> None:
    rent = wanted(plays, bed, "offers: [1, '{{ found.offers[0].id }}']", "wait: login", "on_failure: destroy")
    done = plays.run(
        f"""
        - stoker.fleet.vast_offer_info: {{disk_gb: 10, filters: {{num_gpus: {{eq: 1}}}}}}
          register: found
        - stoker.fleet.vast_instance: {rent}
          check_mode: true
          register: checked
        - stoker.fleet.vast_instance_info:
          register: before
        - stoker.fleet.vast_instance: {rent}
          register: rented
        - stoker.fleet.vast_instance: {rent}
          register: again
        """,
        "-vvv", "--diff", hosts="localhost",
    )  # fmt: skip
    told = done.results["localhost"]
    assert [told[name]["changed"] for name in ("checked", "rented", "again")] == [True, True, False], done.output
    assert told["before"]["instances"] == []
    instance = told["rented"]["instance"]
    assert (instance["phase"], instance["label"], told["rented"]["created"]) == ("running", "me/1", True)
    assert told["rented"]["diff"] == {"before": {"state": "absent"}, "after": {"state": "running"}}
    [number] = double.instances
    name = f"vast-{number}"
    assert (plays.folder / "known_hosts").read_text().startswith(f"{name} ssh-ed25519 ")
    assert double.key not in done.output

    used = plays.run(
        """
        - stoker.fleet.node_exec: {argv: [sh, -c, 'echo ran >>~/runs; exit 7']}
          register: said
        - ansible.builtin.slurp: {src: ~/runs}
          register: runs
        - stoker.fleet.vast_instance_info:
          register: refused
        """,
        "-vvv", hosts="vast_label_me_1:&vast_state_running",
    )  # fmt: skip
    assert used.results[name]["said"]["code"] == 7, used.output
    assert used.results[name]["runs"]["content"] == "cmFuCg=="
    assert "controller only" in used.results[name]["refused"]["msg"]
    assert double.key not in used.output
    machine = double.instances[number].machine
    assert machine is not None
    files = [path for path in machine.node.home.rglob("*") if path.is_file()]
    assert not [path for path in files if double.key.encode() in path.read_bytes()]

    end = plays.run(
        """
        - stoker.fleet.vast_instance: {label: me/1, state: absent}
          register: gone
        - stoker.fleet.vast_instance: {label: me/1, state: absent}
          register: again
        - stoker.fleet.vast_cost_info: {start: 0}
          register: cost
        """,
        hosts="localhost",
    )  # fmt: skip
    told = end.results["localhost"]
    assert [told[name]["changed"] for name in ("gone", "again")] == [True, False], end.output
    assert (list(double.instances), list(double.ended)) == ([], [number])
    assert float(told["cost"]["total"]) == pytest.approx(float(double.billed().total), abs=1e-3)
    assert told["cost"]["per_hour"] == "0"


@pytest.mark.slow
@pytest.mark.accepts("V01")
def test_without_an_sshd_it_is_not_ready_and_is_kept_or_destroyed(double: Double, plays: Plays, bed: Bed) -> None:
    double.fault("port-closed")
    offer = double.offers[0]["id"]
    rent = wanted(plays, bed, f"offers: [{offer}]", "wait: running")
    keep, destroy = (wanted(plays, bed, "wait: ssh", "timeout: 1", f"on_failure: {how}") for how in ("keep", "destroy"))
    done = plays.run(
        f"""
        - stoker.fleet.vast_instance: {rent}
          register: made
        - stoker.fleet.vast_instance: {keep}
          register: kept
        - stoker.fleet.vast_instance: {destroy}
          register: destroyed
        """,
        hosts="localhost",
    ).results["localhost"]
    assert done["made"]["created"]
    assert "ssh does not answer at 127.0.0.1:" in done["kept"]["msg"]
    assert "it was kept and is billed" in done["kept"]["msg"]
    assert "it was destroyed" in done["destroyed"]["msg"]
    assert not double.instances


@pytest.mark.slow
@pytest.mark.accepts("V09")
def test_a_registry_login_and_a_bad_image(double: Double, plays: Plays, bed: Bed) -> None:
    offer = double.offers[0]["id"]
    login = "-u me -p hidden-token registry.example.org"
    rent = wanted(plays, bed, f"offers: [{offer}]", f"image_login: '{login}'", "onstart: echo up", "wait: none")
    done = plays.run(f"- stoker.fleet.vast_instance: {rent}\n  register: made", "-vvv", hosts="localhost")
    [number] = double.instances
    body = double.instances[number].body
    assert (body["image"], body["image_login"], body["onstart"]) == ("ubuntu:24.04", login, "echo up")
    assert "hidden-token" not in done.output
    double.fail(number, "pull access denied for ubuntu, repository does not exist or may require 'docker login'")
    again = plays.run("- stoker.fleet.vast_instance: {label: me/1}\n  register: bad", hosts="localhost")
    assert "pull access denied for ubuntu" in again.results["localhost"]["bad"]["msg"]


def test_a_key_of_the_account(double: Double, plays: Plays, bed: Bed) -> None:
    task = "- stoker.fleet.vast_ssh_key: {public_key: '%s', state: %s}\n  register: %s\n"
    states = [("present", "one"), ("present", "two"), ("absent", "three"), ("absent", "four")]
    tasks = [task % (public_key(bed), state, name) for state, name in states]
    told = plays.run("".join(tasks) + task % ("~/.ssh/id.pub", "present", "bad"), hosts="localhost").results[
        "localhost"
    ]
    assert [told[name]["changed"] for _state, name in states] == [True, False, True, False]
    assert "no line of an OpenSSH public key" in told["bad"]["msg"]


@pytest.mark.slow
def test_an_instance_is_stopped_started_and_not_guessed_at(double: Double, plays: Plays) -> None:
    number = double.foreign("me/1")
    states = ["stopped", "stopped", "running", "running"]
    tasks = [
        f"- stoker.fleet.vast_instance: {{id: {number}, state: {state}, wait: running}}\n  register: was{index}\n"
        for index, state in enumerate(states)
    ]
    done = plays.run(
        "".join(tasks)
        + f"- stoker.fleet.vast_instance: {{id: {number}, state: absent}}\n  check_mode: true\n  register: checked\n"
        + "- stoker.fleet.vast_instance: {label: me/2}\n  register: nothing\n"
        + "- stoker.fleet.vast_instance: {label: me/2, state: stopped}\n  register: missing\n"
        + "- stoker.fleet.vast_instance_info: {label: me/1, api_key: wrong}\n  register: wrong\n",
        hosts="localhost",
    )
    told = done.results["localhost"]
    assert [told[f"was{index}"]["changed"] for index in range(4)] == [True, False, True, False], done.output
    assert [told[f"was{index}"]["instance"]["phase"] for index in range(4)] == states
    assert told["checked"]["changed"]
    assert number in double.instances
    assert "to rent one offers and image is needed" in told["nothing"]["msg"]
    assert (told["missing"]["kind"], told["wrong"]["kind"]) == ("gone", "auth")


class Listed:
    """What ``ansible-inventory --list`` says of an inventory."""

    def __init__(self, plays: Plays) -> None:
        done = subprocess.run(
            [LIST, "-i", plays.inventory, "--list"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            env={**os.environ, "ANSIBLE_INVENTORY_UNPARSED_FAILED": "True"}, cwd=plays.folder, timeout=180,
        )  # fmt: skip
        self.code, self.err, self.out = done.returncode, done.stderr, done.stdout
        self.found = json.loads(done.stdout) if done.returncode == 0 else {}
        self.hosts: dict[str, Any] = self.found.get("_meta", {}).get("hostvars", {})


def test_the_inventory_has_what_runs_and_an_error_is_no_empty_one(double: Double, plays: Plays) -> None:
    one, two = double.foreign("me/1"), double.foreign("{{ lookup('pipe', 'id') }}")
    double.advance(60)
    listed = Listed(plays)
    # Without sshd or not: that it answers is for whoever connects.
    assert set(listed.hosts) == {f"vast-{one}", f"vast-{two}"}, listed.err
    assert {"vast", "vast_label_me_1", "vast_state_running"} <= set(listed.found)
    assert "HostKeyAlias=vast-" in listed.out
    assert "uid=" not in listed.out
    assert double.key not in listed.out
    cache = plays.folder / "cache"
    kept = {"cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(cache)}
    plain = plays.inventory.read_text()
    plays.inventory.write_text(json.dumps({**json.loads(plain), **kept}))
    assert set(Listed(plays).hosts) == set(listed.hosts)
    double.exit(one)
    assert set(Listed(plays).hosts) == set(listed.hosts)
    [file] = cache.iterdir()
    assert double.key not in file.read_text()
    plays.inventory.write_text(plain)
    assert set(Listed(plays).hosts) == {f"vast-{two}"}
    double.fault("list-nonsense", body="html")
    broken = Listed(plays)
    assert broken.code != 0
    assert "cannot be read" in broken.err
