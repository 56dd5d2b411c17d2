# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ssh command that shares Ansible's connection: the one that Ansible itself would use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ansible.plugins.loader import connection_loader, init_plugin_loader

from ansible_collections.stoker.fleet.plugins.plugin_utils.ssh_words import as_rsync_takes_it, shared, ssh_words


@pytest.fixture(scope="module")
def plugin() -> Iterator[Any]:
    from ansible.playbook.play_context import PlayContext
    from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

    init_plugin_loader()
    yield connection_loader.get("ansible.builtin.ssh", PlayContext())
    # Ansible's own way of importing collections would stay for all tests that follow.
    _AnsibleCollectionFinder._remove()


@pytest.mark.parametrize(
    "options",
    [
        {"ansible_host": "h"},
        {"ansible_host": "h", "ansible_port": 2222, "ansible_user": "me", "ansible_ssh_private_key_file": "~/k y"},
        {"ansible_host": "h", "ansible_ssh_common_args": "-J 'a b' -o ProxyCommand='ssh -W %h:%p \"j\"'"},
        {"ansible_host": "h", "ansible_ssh_extra_args": "-4", "ansible_ssh_executable": "/usr/bin/ssh"},
        {"ansible_host": "h", "ansible_control_path": "%(directory)s/%%C", "ansible_control_path_dir": "/tmp/cp"},
        {"ansible_host": "h", "ansible_ssh_args": "-o ControlPath=none"},
        {"ansible_host": "h", "ansible_ssh_timeout": 33},
    ],
)
def test_it_is_the_command_that_ansible_uses(plugin: Any, options: dict[str, Any]) -> None:
    plugin.set_options(var_options=options)
    theirs = [word.decode() for word in plugin._build_command("ssh", "ssh")]
    theirs[0] = plugin.get_option("ssh_executable")
    if theirs[-1] == "NumberOfPasswordPrompts=1":  # newer Ansible only, and not about where or how
        theirs = theirs[:-2]
    assert ssh_words(plugin.get_option, plugin.control_path) == theirs


def test_host_keys_are_checked_also_where_ansible_was_told_not_to(plugin: Any) -> None:
    plugin.set_options(var_options={"ansible_host": "h", "ansible_host_key_checking": False})
    words = ssh_words(plugin.get_option)
    assert not any("StrictHostKeyChecking" in word for word in words)


def test_a_connection_is_shared_where_there_is_a_control_path() -> None:
    assert shared(["ssh", "-o", 'ControlPath="/x/%C"'])
    assert not shared(["ssh", "-o", "ControlPath=none"])
    assert not shared(["ssh"])


def test_blanks_and_quotes_arrive_as_rsync_splits_them() -> None:
    assert as_rsync_takes_it(["ssh", "-o", "ProxyCommand=a 'b'"]) == "'ssh' '-o' 'ProxyCommand=a ''b'''"
