# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is repeated when there is no connection: never what was answered."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.stoker.fleet.plugins.plugin_utils.connecting import connected


class Node:
    """Fails so many times, then answers."""

    def __init__(self, failures: int, words: str = "Connection refused") -> None:
        self.failures, self.words, self.calls = failures, words, 0

    def __call__(self) -> dict[str, int]:
        self.calls += 1
        if self.calls <= self.failures:
            raise AnsibleConnectionFailure(self.words)
        return {"rc": 7}


@pytest.mark.accepts("V02")
def test_no_connection_is_tried_again_after_2_4_8_16_and_32_seconds() -> None:
    slept: list[float] = []
    assert connected(Node(5), 5, slept.append) == {"rc": 7}
    assert slept == [2, 4, 8, 16, 32]
    slept.clear()
    with pytest.raises(AnsibleConnectionFailure):
        connected(Node(6), 5, slept.append)
    assert slept == [2, 4, 8, 16, 32]


@pytest.mark.accepts("V02")
def test_an_exit_code_is_an_answer_given_once() -> None:
    slept: list[float] = []
    node = Node(0)
    assert connected(node, 5, slept.append) == {"rc": 7}
    assert (node.calls, slept) == (1, [])


@pytest.mark.parametrize("words", ["root@h: Permission denied (publickey).", "Host key verification failed."])
def test_what_no_waiting_mends_is_not_tried_again(words: str) -> None:
    slept: list[float] = []
    with pytest.raises(AnsibleConnectionFailure):
        connected(Node(9, words), 5, slept.append)
    assert slept == []
