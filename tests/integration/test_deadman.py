# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rented instance that nobody asks stops itself: on a real node, with the provider's double."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from contracts.vast import Boot, Double, vast_double
from testbed import Bed, PlainNode, wait_until
from testbed.node_side import NodeSide

from ansible_collections.stoker.fleet.plugins.module_utils import deadman
from stoker.pool_settings import MOST_ONSTART

LEASE_S = 4.0


@pytest.fixture
def double(nodes: Callable[..., list[PlainNode]]) -> Iterator[Double]:
    with vast_double(machines=nodes(1), speed=1.0) as made:
        made.boot = Boot(0, 0, 0)
        yield made


def rented(double: Double, bed: Bed, lease_s: float) -> tuple[int, PlainNode]:
    """An instance with a lease, and its node."""
    with double.server.lock:
        ask = double.offers[0]["id"]
        body = {"image": "a/b", "disk": 10.0, "label": "x", "onstart": deadman.onstart(lease_s, double.url)}
        double.provider.keys[1] = Path(f"{bed.key}.pub").read_text()
        one = double.provider.create(ask, body)
    assert one.machine is not None
    return one.id, one.machine.node


def orders(double: Double) -> list[int]:
    """The answers to all that asked for a change of the instance."""
    return [one.status for one in double.requests if one.endpoint == "change"]


def stopped(double: Double, number: int) -> bool:
    return double.instances[number].current == "stopped"


def test_it_stops_when_nobody_asks_for_as_long_as_the_provider_takes_to_agree(double: Double, bed: Bed) -> None:
    double.fault("too-frequent", endpoint="change", times=1)
    double.fault("broken", endpoint="change", status=503, times=1)
    number, node = rented(double, bed, 0.5)
    wait_until(lambda: stopped(double, number), "the instance's own stop", 120)
    assert (sorted(orders(double)), node.processes()) == ([200, 429, 503], [])
    assert all(one.path == f"/api/v0/instances/{number}/" for one in double.requests)


@pytest.mark.slow
def test_it_runs_on_while_somebody_asks_and_stops_after_that(double: Double, bed: Bed) -> None:
    number, node = rented(double, bed, LEASE_S)
    # The watcher makes the file that the calls touch.
    wait_until((node.state_dir / deadman.ALIVE).exists, "the watcher", 180)
    side = NodeSide(node)
    began = last = time.monotonic()
    widest = 0.0
    while time.monotonic() < began + 2 * LEASE_S:
        assert side.ask("reconcile")["ok"]
        widest, last = max(widest, time.monotonic() - last), time.monotonic()
    # On a machine that is too slow to ask in time it may stop, and rightly so.
    assert orders(double) == [] or widest > LEASE_S / 2
    wait_until(lambda: stopped(double, number), "the instance's own stop", 120)


def test_a_call_makes_no_lease_where_there_is_none(node: PlainNode) -> None:
    assert NodeSide(node).ask("reconcile")["ok"]
    assert not (node.state_dir / deadman.ALIVE).exists()


def test_who_removes_the_file_has_not_asked(double: Double, bed: Bed) -> None:
    number, node = rented(double, bed, LEASE_S)
    alive = node.state_dir / deadman.ALIVE

    def removed_and_stopped() -> bool:
        alive.unlink(missing_ok=True)
        return stopped(double, number)

    wait_until(removed_and_stopped, "the instance's own stop", 120)


def test_the_settings_leave_room_for_the_lease() -> None:
    longest = "https://" + "x" * 100 + ".example.com"
    # So much the provider takes in all.
    assert len(deadman.onstart(1e9, longest)) + MOST_ONSTART <= 4096


@pytest.mark.parametrize(("lease_s", "url"), [(0, "https://x"), (-1, "https://x"), (9, "http://example.org")])
def test_a_lease_or_address_that_is_none_is_refused(lease_s: float, url: str) -> None:
    with pytest.raises(ValueError, match=r"the lease of an instance|begins with https"):
        deadman.onstart(lease_s, url)


def test_it_waits_for_python_which_a_setup_may_bring_later(tmp_path: Path) -> None:
    """The first look finds none; the pause between two looks is what brings it."""
    begun = tmp_path / "begun"
    (tmp_path / "python3.later").write_text(f'#!/bin/sh\necho "$@" >{begun}.new; mv {begun}.new {begun}\n')
    (tmp_path / "python3.later").chmod(0o755)
    pause = f"#!/bin/sh\n[ -e {begun} ] && kill $PPID\nmv {tmp_path}/python3.later {tmp_path}/python3\n"
    (tmp_path / "sleep").write_text(pause)
    (tmp_path / "sleep").chmod(0o755)
    (tmp_path / "mv").symlink_to("/bin/mv")
    text = deadman.onstart(60.0, "https://console.vast.ai")
    ran = subprocess.run(
        ["/bin/sh", "-c", text], env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=180, check=True
    )
    assert ran.stdout == "stoker: no python3 here yet: nothing stops this instance by itself\n"
    wait_until(begun.exists, "the lease, once there is a python3", 180)
    assert begun.read_text().startswith("-I -c ")
