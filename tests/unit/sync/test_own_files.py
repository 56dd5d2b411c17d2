# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files here a node can never change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.stoker.fleet.plugins.module_utils.own_files import is_own


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("stoker.yml", True), ("sub/stoker.yml", True), ("ansible.cfg", True), (".git/hooks/post-merge", True),
        ("sub/.git/config", True), ("hosts.yml", True), ("group_vars/all.yml", True), ("host_vars", True),
        ("link/group_vars/all.yml", True), ("train.py", False), ("sub/group_vars/x.yml", False), ("git/x", False),
        ("inv/any", True), ("stoker.yml.md", False),
    ],
)  # fmt: skip
def test_settings_inventory_and_what_git_obeys_are_this_machines_own(tmp_path: Path, name: str, own: bool) -> None:
    (tmp_path / "hosts.yml").touch()
    (tmp_path / "inv").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    inventories = [os.fsencode(tmp_path / "hosts.yml"), os.fsencode(tmp_path / "inv")]
    assert is_own(os.fsencode(tmp_path / name), inventories) is own


def test_settings_of_another_name_are_this_machines_own(tmp_path: Path) -> None:
    (tmp_path / "real.yml").touch()
    (tmp_path / "fleet.yml").symlink_to("real.yml")
    (tmp_path / "link").symlink_to(tmp_path)
    settings = os.fsencode(tmp_path / "fleet.yml")
    for name, own in (("fleet.yml", True), ("real.yml", True), ("link/fleet.yml", True), ("other.yml", False)):
        assert is_own(os.fsencode(tmp_path / name), [], settings) is own, name
