# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node whose variables are wrong was not asked: it is not unreachable, and nothing is placed there until mended."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from made import node, reply

from ansible_collections.stoker.fleet.plugins.plugin_utils.node_call import _checked
from stoker.dispatch import NodeResult, RoundRequest, begin_round, finish_round
from stoker.store import Store

NODES = (node("n1", "all"), node("n2", "all"))


def placed(store: Store, now: float) -> str | None:
    job = store.add_job("a", {"argv": ["true"]})
    begin_round(store, NODES, RoundRequest(), now)
    found = store.job(job.id)
    assert found is not None
    return found.node


def test_nothing_is_placed_there_until_it_is_mended(store: Store) -> None:
    finish_round(store, {"n1": reply()}, 10.0)
    summary = finish_round(store, {"n1": NodeResult(failed="stoker_state_dir is 5, not a path", wrong=True)}, 11.0)
    assert summary.failed == {"n1": "stoker_state_dir is 5, not a path"}
    (row,) = store.nodes()
    assert (row.unreachable_since, row.misses, row.last_seen) == (None, 0, 10.0)
    assert "node.unreachable" not in [event.type for event in store.events(since=0, limit=100)]
    assert placed(store, 12.0) != "n1"
    finish_round(store, {"n1": reply()}, 13.0)
    assert placed(store, 14.0) == "n1"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("stoker_state_dir", 5, "stoker_state_dir is 5, not a path"),
        ("stoker_lock_dir", ["/a"], "stoker_lock_dir is ['/a'], not a path"),
        ("stoker_backend", {"a": 1}, "stoker_backend is {'a': 1}, not a text"),
        ("stoker_launch", [1], "stoker_launch is [1], not a list of texts"),
        ("stoker_launch", "foo", "stoker_launch: 'foo' is no way to launch; there are systemd-system, "),
        ("stoker_busy_processes", True, "stoker_busy_processes is True, not a list of texts"),
    ],
)
def test_a_wrong_variable_is_told_by_its_name(name: str, value: Any, words: str) -> None:
    with pytest.raises(AnsibleActionFail) as told:
        _checked(name, value)
    assert words in str(told.value)
    assert told.value.result_contribution["wrong_variable"] == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stoker_state_dir", "~/x"), ("stoker_launch", "auto"), ("stoker_launch", "subreaper"),
        ("stoker_launch", ["cgroup", "subreaper"]), ("stoker_busy_processes", []), ("stoker_busy_processes", None),
    ],
)  # fmt: skip
def test_a_right_variable_is_taken_as_it_is(name: str, value: Any) -> None:
    assert _checked(name, value) == value
