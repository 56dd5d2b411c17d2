# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures over the test bed (tests/testbed/README.md)."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

# A shell starts what runs in its background with Ctrl-C ignored, and all that the tests start would inherit it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from testbed import (
    Bed,
    Browser,
    IsolatedNode,
    MissingError,
    Network,
    PlainNode,
    PodmanEngine,
    PodmanNode,
    Postgres,
    SshNode,
    SystemdNode,
    start_all,
    start_isolated,
    write_inventory,
)

# Which folder of tests waits for most: what takes long is begun first, and the short ones fill what is left at the end.
LONGEST_FIRST = ("e2e", "integration", "conformance", "unit")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several workers share the tests, modules of many and of slow tests come first. A module stays together."""
    if not hasattr(config, "workerinput"):
        return
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    parts = {item.path: item.path.relative_to(Path(__file__).parent).parts[0] for item in items}
    rank = {name: number for number, name in enumerate(LONGEST_FIRST)}
    weight = Counter(item.path for item in items)
    weight.update({path: 10 * count for path, count in slow.items()})
    items.sort(key=lambda item: (rank.get(parts[item.path], len(rank)), -weight[item.path], str(item.path)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Any:
    """What this machine lacks skips a test, with the one line that says what."""
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root")
    try:
        return (yield)
    except MissingError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def bed() -> Iterator[Bed]:
    """The folder and client key of this run, /tmp/stk-XXXXXX; at its end every node is closed."""
    with Bed() as bed:
        yield bed


@pytest.fixture(scope="session", autouse=True)
def own_state(bed: Bed) -> Iterator[Path]:
    """Stoker's and Ansible's own folders inside the bed: a test run never touches those of the user."""
    folders = {
        "STOKER_STATE_HOME": bed.folder / "state",
        "XDG_RUNTIME_DIR": bed.folder / "run",
        "ANSIBLE_HOME": bed.folder / "ansible",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, folder in folders.items():
            folder.mkdir(mode=0o700)
            patch.setenv(name, str(folder))
        yield folders["STOKER_STATE_HOME"]


@pytest.fixture
def nodes(bed: Bed) -> Iterator[Callable[..., list[PlainNode]]]:
    """A factory: ``nodes(4)`` starts n1..n4; keywords go to each PlainNode. All are closed after the test."""
    made: list[PlainNode] = []

    def make(count: int = 1, **options: Any) -> list[PlainNode]:
        new = [PlainNode(bed, f"n{len(made) + 1 + index}", **options) for index in range(count)]
        made.extend(new)
        start_all(new)
        return new

    yield make
    for node in made:
        node.close()


@pytest.fixture
def node(nodes: Callable[..., list[PlainNode]]) -> PlainNode:
    """One plain node without GPUs."""
    return nodes(1)[0]


@pytest.fixture
def gpu_node(nodes: Callable[..., list[PlainNode]]) -> PlainNode:
    """One plain node with two fake H100."""
    return nodes(1, gpus=2)[0]


@pytest.fixture
def inventory(tmp_path: Path) -> Callable[..., Path]:
    """A factory: ``inventory(nodes, groups={"gpu": ["n1"]})`` writes an inventory.yml and gives its path."""

    def write(nodes: list[SshNode], **options: Any) -> Path:
        return write_inventory(tmp_path / "inventory.yml", nodes, **options)

    return write


@pytest.fixture(scope="session")
def network(bed: Bed) -> Network:
    """The bridge that isolated and systemd nodes hang on."""
    return Network(bed)


@pytest.fixture
def isolated_nodes(bed: Bed, network: Network) -> Iterator[Callable[..., list[IsolatedNode]]]:
    """A factory: ``isolated_nodes(2)`` boots i1, i2; keywords go to each node. All are closed after the test."""
    made: list[IsolatedNode] = []

    def make(count: int = 1, **options: Any) -> list[IsolatedNode]:
        new = [IsolatedNode(bed, network, f"i{len(made) + 1 + index}", **options) for index in range(count)]
        made.extend(new)
        start_isolated(new)
        return new

    yield make
    for node in made:
        node.close()


@pytest.fixture
def podman(isolated_nodes: Callable[..., list[IsolatedNode]]) -> PodmanEngine:
    """A real Podman on an isolated node i1."""
    # No control groups of Stoker's own: the node's are those of this machine, and would outlive it.
    return PodmanEngine(isolated_nodes(1, host_vars={"stoker_launch": ["subreaper"]})[0])


@pytest.fixture(scope="session")
def systemd_node(bed: Bed, network: Network) -> SystemdNode:
    """One node s1 with systemd, shared by the whole run (booting takes a second), login as root, two fake H100."""
    return booted(SystemdNode(bed, network, "s1", gpus=2))


@pytest.fixture(scope="session")
def systemd_user_node(bed: Bed, network: Network) -> SystemdNode:
    """The same as s2, with login as the lingering user ``stoker``."""
    return booted(SystemdNode(bed, network, "s2", gpus=2, user="stoker"))


def booted(node: SystemdNode) -> SystemdNode:
    node.start()
    return node


@pytest.fixture(scope="session")
def podman_node(bed: Bed) -> PodmanNode:
    """One node p1 with a real Podman, shared by the whole run, two fake H100 that it may give to containers."""
    node = PodmanNode(bed, "p1", gpus=2)
    assert node.gpus
    node.cdi(node.gpus.uuids)
    node.start()
    return node


@pytest.fixture(scope="session")
def rootless_node(bed: Bed) -> PodmanNode:
    """The same as p2 without GPUs, with login as an ordinary user."""
    node = PodmanNode(bed, "p2", rootless=True)
    node.start()
    return node


@pytest.fixture(scope="session")
def postgres(bed: Bed) -> Postgres:
    """A running PostgreSQL, shared by the whole run."""
    server = Postgres(bed)
    server.start()
    return server


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """The SQLAlchemy URL of a fresh database, dropped after the test."""
    url = postgres.new_database()
    yield url
    postgres.drop(url)


@pytest.fixture(scope="session")
def browser(bed: Bed) -> Browser:
    """A real Chromium, shared by the whole run; `browser.page(file)` opens a tab."""
    return Browser(bed)
