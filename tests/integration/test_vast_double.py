# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The double of the provider with real machines, and as the provider's own client finds it."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from contracts.vast import Boot, Double, vast_double
from testbed import Bed, PlainNode, wait_until
from testbed.programs import programs_of

VASTAI = Path(__file__).parents[1] / "contracts/vast/vastai.txt"
Vastai = Callable[..., Any]


@pytest.fixture
def double(nodes: Callable[..., list[PlainNode]]) -> Iterator[Double]:
    with vast_double(machines=nodes(2)) as made:
        made.boot = Boot(0, 0, 10)
        yield made


@pytest.fixture
def vastai(double: Double, tmp_path: Path) -> Vastai:
    """`vastai("show", "instance", 7)`: what the official command line makes of the double's answer."""
    python = programs_of("vastai", VASTAI, "vast.ai's client")
    homes = {name: str(tmp_path) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")}
    environment = {**double.environment, **homes, "PATH": "/usr/bin:/bin"}

    def run(*words: object) -> Any:
        command = [str(python.with_name("vastai")), *map(str, words), "--raw"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr or done.stdout
        # Some of its commands say plain words whatever is asked for.
        return json.loads(done.stdout) if done.stdout[:1] in ("[", "{") else done.stdout.strip()

    return run


def public_key(bed: Bed) -> str:
    return Path(f"{bed.key}.pub").read_text().strip()


def machine_of(double: Double, number: int) -> PlainNode:
    machine = double.provider.known(number).machine
    assert machine is not None
    return machine.node


@pytest.mark.slow
def test_the_official_client_rents_stops_starts_and_destroys(double: Double, vastai: Vastai, bed: Bed) -> None:
    vastai("create", "ssh-key", public_key(bed))
    assert [key["public_key"] for key in vastai("show", "ssh-keys")] == [public_key(bed)]
    offers = vastai("search", "offers", "gpu_name=RTX_4090 num_gpus=1 gpu_ram>=20", "-o", "dph", "--storage", 20)
    assert len(offers) == 2
    assert offers[0]["dph_total"] == pytest.approx(0.36 + 0.144 * 20 / 720)
    made = vastai(
        "create", "instance", offers[0]["id"], "--image", "a/b", "--disk", 20, "--label", "x", "--ssh", "--direct"
    )
    number = made["new_contract"]
    double.advance(10)
    [row] = vastai("show", "instances")
    assert (row["id"], row["label"], row["actual_status"]) == (number, "x", "running")
    node = machine_of(double, number)
    assert node.ssh("echo hello").stdout == "hello\n"
    assert str(node.port) in vastai("ssh-url", number)

    vastai("stop", "instance", number)
    assert vastai("show", "instance", number)["cur_state"] == "stopped"
    assert not node.greets()
    vastai("start", "instance", number)
    double.advance(10)
    assert vastai("show", "instance", number)["actual_status"] == "running"
    assert node.ssh("true").returncode == 0

    others = [double.foreign() for _ in range(25)]
    assert [row["id"] for row in vastai("show", "instances")] == [number, *others]
    vastai("destroy", "instance", number, "-y")
    assert (vastai("show", "instance", number), list(double.ended)) == ({"instances": None}, [number])


def rent(double: Double, bed: Bed, **fields: Any) -> int:
    """An instance that runs, with the bed's key attached; its number."""
    ask = double.offers[0]["id"]
    body = {"client_id": "me", "image": "a/b", "disk": 10.0, "runtype": "ssh_direc ssh_proxy", **fields}
    call(double, "PUT", f"/api/v0/asks/{ask}/", body)
    number = max(double.instances)
    call(double, "POST", f"/api/v0/instances/{number}/ssh/", {"ssh_key": public_key(bed)})
    double.advance(10)
    return number


def call(double: Double, method: str, path: str, body: dict[str, Any]) -> Any:
    headers = {"Authorization": f"Bearer {double.key}", "Content-Type": "application/json"}
    request = urllib.request.Request(double.url + path, json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(request, timeout=180) as answer:
        return json.load(answer)


def host_key(node: PlainNode) -> str:
    """What sshd itself shows, whatever is written down."""
    command = ["ssh-keyscan", "-t", "ed25519", "-p", str(node.port), node.address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    return done.stdout.split()[-1]


def test_what_runs_ends_with_the_instance_and_the_disk_only_with_its_contract(double: Double, bed: Bed) -> None:
    number = rent(double, bed, price=0.2)
    node = machine_of(double, number)
    first, port = host_key(node), node.port
    assert node.ssh("echo kept > file; nohup sleep 600 >/dev/null 2>&1 & echo $!").returncode == 0
    assert len(node.processes()) == 1
    double.outbid(number)
    assert (node.processes(), node.greets()) == ([], False)
    double.market(number, 0.1)
    double.advance(10)
    assert (node.ssh("cat file").stdout, host_key(node) == first, node.port == port) == ("kept\n", True, False)

    call(double, "PUT", f"/api/v0/instances/recycle/{number}/", {})
    double.advance(10)
    assert (node.ssh("cat file").returncode, host_key(node) == first) == (1, False)
    call(double, "DELETE", f"/api/v0/instances/{number}/", {})
    assert not node.greets()
    assert [row["machine_id"] for row in double.offers] == [2, 1]  # on offer again


def test_an_instance_lets_in_who_has_an_attached_key_and_nobody_else(double: Double, bed: Bed) -> None:
    number = rent(double, bed)
    node = machine_of(double, number)
    assert node.ssh("true").returncode == 0
    keys = call(double, "GET", f"/api/v0/instances/{number}/ssh/", {})["ssh_keys"]
    [key] = json.loads(keys)
    call(double, "DELETE", f"/api/v0/instances/{number}/ssh/{key['id']}/", {})
    assert "Permission denied" in node.ssh("true").stderr


def test_ssh_can_be_closed_late_or_somebody_elses(double: Double, bed: Bed) -> None:
    double.fault("port-closed", times=1)
    number = rent(double, bed)
    node = machine_of(double, number)
    assert (double.instances[number].actual, node.greets()) == ("running", False)
    double.fault("sshd-late", times=1, seconds=20.0)
    for seconds, greets in ((10, False), (20, True)):
        if seconds == 10:
            call(double, "PUT", f"/api/v0/instances/reboot/{number}/", {})
        double.advance(seconds)
        assert (double.instances[number].actual, node.greets()) == ("running", greets)
    first = host_key(node)
    double.fault("host-key", times=1)
    call(double, "PUT", f"/api/v0/instances/reboot/{number}/", {})
    double.advance(10)
    assert host_key(node) != first


def test_a_host_can_be_away_and_come_back_with_what_ran(double: Double, bed: Bed) -> None:
    number = rent(double, bed)
    node = machine_of(double, number)
    assert node.ssh("nohup sleep 600 >/dev/null 2>&1 &").returncode == 0
    double.offline(number)
    assert (node.greets(), len(node.processes())) == (False, 1)
    double.online(number)
    assert node.ssh("pgrep -f 'sleep 600'").returncode == 0


def test_the_start_script_has_the_containers_environment_and_a_session_has_not(double: Double, bed: Bed) -> None:
    script = "echo $VAST_CONTAINERLABEL $CONTAINER_ID $COLOUR"
    number = rent(double, bed, onstart=script, env={"COLOUR": "red", "-p 80:80": "1"})
    node = machine_of(double, number)
    wait_until(lambda: "red" in log_of(double, number), "the script's word", 180)
    assert log_of(double, number) == f"C.{number} {number} red\n"
    assert node.ssh("echo [$CONTAINER_ID]").stdout == "[]\n"


def log_of(double: Double, number: int) -> str:
    said = call(double, "PUT", f"/api/v0/instances/request_logs/{number}/", {"tail": "5"})
    with urllib.request.urlopen(said["result_url"], timeout=180) as answer:
        return str(answer.read().decode())
