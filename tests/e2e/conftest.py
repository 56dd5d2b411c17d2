# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real command line against real ssh nodes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cli import Cli
from contracts.vast import Boot, Double, vast_double
from testbed import PlainNode


@pytest.fixture
def stoker(tmp_path: Path, inventory: Callable[..., Path]) -> Iterator[Callable[..., Cli]]:
    """A factory: ``stoker(node, ...)`` is a command line with these nodes, an empty folder, a store of its own."""
    made: list[Cli] = []

    def make(*nodes: object, **options: object) -> Cli:
        folder = tmp_path / f"cli{len(made)}"
        folder.mkdir()
        made.append(Cli(folder, inventory(list(nodes), **options)))
        return made[-1]

    yield make
    for cli in made:
        cli.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def stores(request: pytest.FixtureRequest) -> Callable[[Cli], None]:
    """Runs a test on each database: ``stores(cli)`` lets a command line use this one.

    Where tests of the store and of the round prove it on both already, the test names one of them."""

    def use(cli: Cli) -> None:
        if request.param == "postgresql":
            cli.env["STOKER_STORE_URL"] = request.getfixturevalue("postgres_url")

    return use


@pytest.fixture
def double(nodes: Callable[..., list[PlainNode]]) -> Iterator[Double]:
    """The stand-in of vast.ai, in real time; its machines are two real ssh nodes."""
    with vast_double(machines=nodes(2), speed=1.0) as double:
        double.boot = Boot(0.2, 0.5, 1.0)
        yield double


@pytest.fixture
def renter(tmp_path: Path, double: Double, request: pytest.FixtureRequest) -> Iterator[Cli]:
    """A command line, its stoker.yml SETTINGS of the test's module. No inventory: this machine, and what is rented."""
    (tmp_path / "proj").mkdir()
    cli = Cli(tmp_path / "proj", tmp_path / "none")
    del cli.env["STOKER_INVENTORY"]
    cli.env |= {**double.environment, "STOKER_STORE_URL": f"sqlite:///{tmp_path}/store.db"}
    (cli.folder / "stoker.yml").write_text(request.module.SETTINGS)
    yield cli
    cli.close()
