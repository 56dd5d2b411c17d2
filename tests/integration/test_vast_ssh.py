# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host keys of rented machines, pinned by name: real sshd, real ssh."""

from __future__ import annotations

from pathlib import Path

import pytest
from contracts.vast.machines import Machine
from testbed import Bed, PlainNode

from ansible_collections.stoker.fleet.plugins.module_utils.vast import ssh
from ansible_collections.stoker.fleet.plugins.module_utils.vast.errors import VastError


def public(file: Path) -> str:
    return " ".join(file.read_text().split()[:2])


@pytest.mark.root
@pytest.mark.accepts("V01")
def test_a_host_key_is_pinned_at_first_contact_and_held_to(node: PlainNode, bed: Bed, tmp_path: Path) -> None:
    file, key = tmp_path / "a b" / "known_hosts", str(bed.key)
    keys = ssh.host_keys(node.address, node.port)
    assert keys == [public(node.folder / "host_key.pub")]
    assert ssh.pin(str(file), "vast-101", keys)
    assert not ssh.pin(str(file), "vast-101", keys)
    ssh.login(node.address, node.port, "vast-101", str(file), key)
    # An instance is not its address: another one there is met for the first time.
    ssh.login(node.address, node.port, "vast-102", str(file), key)
    assert ssh.pinned_keys(file.read_text(), "vast-102") == set(keys)

    machine = Machine(node)
    machine.new_host_key()
    machine.authorize([public(Path(f"{key}.pub"))])
    machine.listen()
    with pytest.raises(VastError, match="another host key") as caught:
        ssh.pin(str(file), "vast-101", ssh.host_keys(node.address, node.port))
    assert caught.value.kind == "refused"
    with pytest.raises(VastError, match="Host key verification failed") as caught:
        ssh.login(node.address, node.port, "vast-101", str(file), key)
    assert caught.value.kind == "refused"


def test_where_nothing_listens_there_is_no_handshake(node: PlainNode) -> None:
    node.down()
    with pytest.raises(VastError, match="does not answer") as caught:
        ssh.host_keys(node.address, node.port)
    assert caught.value.kind == "unanswered"
