# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory file of Stoker's own: what is written, and what stays as it was whatever goes wrong."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stoker.errors import StokerError, UsageError
from stoker.runner import Runner, own_nodes


def content(file: Path) -> object:
    return YAML(typ="safe").load(file.read_text())["all"]


def add_some(file: str, first: int) -> None:
    for number in range(first, first + 10):
        own_nodes.put(Path(file), f"n{number}", {"ansible_host": "h"}, ["gpu"])


@pytest.mark.accepts("C07")
def test_what_is_put_and_taken_out(tmp_path: Path) -> None:
    file = tmp_path / "stoker-nodes.yml"
    own_nodes.take_out(file, "spark")
    assert not file.exists()
    own_nodes.put(file, "spark", {"ansible_host": "10.0.0.7", "ansible_port": 22}, ["gpu", "lab"])
    own_nodes.put(file, "dgx", {"ansible_host": "on: off"}, ["gpu"])
    own_nodes.mark(file, "dgx", {"stoker_needs_approval": True})
    assert content(file) == {
        "hosts": {
            "spark": {"ansible_host": "10.0.0.7", "ansible_port": 22},
            "dgx": {"ansible_host": "on: off", "stoker_needs_approval": True},
        },
        "children": {"gpu": {"hosts": {"spark": {}, "dgx": {}}}, "lab": {"hosts": {"spark": {}}}},
    }
    own_nodes.put(file, "spark", {"ansible_host": "10.0.0.8"})
    assert content(file) == {
        "hosts": {
            "dgx": {"ansible_host": "on: off", "stoker_needs_approval": True},
            "spark": {"ansible_host": "10.0.0.8"},
        },
        "children": {"gpu": {"hosts": {"dgx": {}}}},
    }
    own_nodes.take_out(file, "dgx")
    assert (own_nodes.names(file), os.listdir(tmp_path)) == ({"spark"}, ["stoker-nodes.yml"])


def test_several_at_once_lose_nothing(tmp_path: Path) -> None:
    file = tmp_path / "stoker-nodes.yml"
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=add_some, args=(str(file), first)) for first in (0, 10, 20)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(own_nodes.names(file)) == 30


def test_a_file_that_is_not_ours_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "stoker-nodes.yml"
    for text, said in (("- a\n", "is not as stoker node add writes it"), ("all: [\n", "cannot be read")):
        file.write_text(text)
        with pytest.raises(StokerError, match=said):
            own_nodes.put(file, "spark", {})
        assert file.read_text() == text
    with pytest.raises(StokerError, match="cannot be written: No such file"):
        own_nodes.put(tmp_path / "gone" / "stoker-nodes.yml", "spark", {})


@pytest.mark.parametrize(
    "name", ["", "all", "localhost", "-x", "a b", "a,b", "a[1:3]", "!x", "&x", "x*", "n1\n", "a:b"]
)
def test_names_that_mean_something_else(name: str) -> None:
    with pytest.raises(UsageError, match="is no name for a node"):
        own_nodes.check_names(name, ())


def test_groups_that_are_none() -> None:
    own_nodes.check_names("spark-1.lan", ("gpu", "tag_a"))
    for group in ("all", "a-b", "1a"):
        with pytest.raises(UsageError, match="--group"):
            own_nodes.check_names("spark", (group,))


@pytest.mark.accepts("C07")
def test_ansible_reads_it_beside_the_users_inventory_or_in_it(tmp_path: Path) -> None:
    users = tmp_path / "inventory.yml"
    users.write_text("all: {hosts: {mine: {ansible_host: m}}}\n")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "hosts.yml").write_text("all: {hosts: {mine: {ansible_host: m}}}\n")
    for inventory in (users, folder):
        runner = Runner(inventory, launcher=False)
        assert [node.name for node in runner.inventory().nodes] == ["mine"]
        own_nodes.put(runner.own_file, "spark", {"ansible_host": "s"}, ["gpu"])
        runner.forget_inventory()
        found = runner.inventory()
        assert {node.name: node.vars["ansible_host"] for node in found.nodes} == {"mine": "m", "spark": "s"}
        assert found.groups["gpu"] == ("spark",)
        # Read again, and not from what was kept, when the file changes.
        own_nodes.put(runner.own_file, "spark", {"ansible_host": "elsewhere"})
        assert Runner(inventory, launcher=False).inventory().node("spark").vars["ansible_host"] == "elsewhere"
    assert users.read_text() == "all: {hosts: {mine: {ansible_host: m}}}\n"
    assert own_nodes.own_file(None).name == "stoker-nodes.yml"
