# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a row of an instance says: states by the table, and any row at all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.stoker.fleet.plugins.module_utils.vast.reading import ENDED, address, judge, shown

DIRECT = {"22/tcp": [{"HostIp": "0.0.0.0", "HostPort": "40022"}]}
PROXY = {"ssh_host": "ssh4.vast.ai", "ssh_port": 10100, "image_runtype": "ssh_direc ssh_proxy"}


def row(
    actual: Any, intended: str = "running", current: str = "running", following: str = "running", **more: Any
) -> Any:
    states = {"actual_status": actual, "intended_status": intended, "cur_state": current, "next_state": following}
    return {"id": 101, "status_msg": None, **states, **more}


STOPPED = ("stopped", "stopped", "stopped")
OCI = "Error response from daemon: failed to create task: OCI runtime create failed: runc create failed"
PULL = "Error response from daemon: pull access denied for me/none, repository does not exist"


@pytest.mark.parametrize(
    ("seen", "phase", "passing"),
    [
        (row(None, current="unloaded"), "creating", True),
        (row("created", current="unloaded"), "creating", True),
        (row("loading", status_msg="9f1: Pulling from library/pytorch"), "loading", True),
        (row("running"), "running", False),
        (row("running", "stopped", "running", "stopped"), "unknown", True),
        (row("exited", *STOPPED), "stopped", False),
        (row("stopped", *STOPPED, is_bid=True, min_bid=0.2, dph_base=0.3), "stopped", False),
        (row("exited", *STOPPED, is_bid=True, min_bid=0.4, dph_base=0.3), "outbid", False),
        (row("exited", *STOPPED, is_bid=False, min_bid=0.4, dph_base=0.3), "stopped", False),
        (row("exited", "running", "stopped", "running"), "stopped", True),
        (row("exited"), "exited", False),
        (row("offline"), "offline", False),
        (row("offline", *STOPPED), "offline", False),
        (row("frozen"), "frozen", True),
        (row("rebooting"), "rebooting", True),
        (row("unknown"), "unknown", False),
        (row("created", status_msg=OCI), "failed", False),
        (row("loading", status_msg=PULL), "failed", False),
        (row("loading", status_msg="manifest for me/app:9 not found: manifest unknown"), "failed", False),
        (row("something new"), "unknown", False),
        ({"id": 101, "actual_status": 7}, "unknown", False),
    ],
)
def test_the_phase_is_the_one_of_the_table(seen: dict[str, Any], phase: str, passing: bool) -> None:
    assert judge(seen)[::2] == (phase, passing)
    assert not (passing and phase in ENDED and "stop" not in judge(seen).evidence)


@pytest.mark.accepts("V09")
def test_a_bad_image_shows_the_message_of_the_provider() -> None:
    assert PULL in judge(row("loading", status_msg=PULL)).evidence
    assert shown(row("loading", status_msg="\x1b]0;x\x07" + PULL))["status_msg"] == PULL


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"public_ipaddr": "203.0.113.7\n", "ports": DIRECT, **PROXY}, ("203.0.113.7", 40022)),
        ({"public_ipaddr": "203.0.113.7", "ports": None, **PROXY}, ("ssh4.vast.ai", 10100)),
        ({"public_ipaddr": "203.0.113.7", "ports": {"80/tcp": []}, **PROXY}, ("ssh4.vast.ai", 10100)),
        ({"ports": None, **PROXY, "image_runtype": "jupyter_proxy ssh_proxy"}, ("ssh4.vast.ai", 10101)),
        ({"public_ipaddr": "203.0.113.7", "ports": DIRECT, "image_runtype": "jupyter_direc ssh_direc ssh_proxy"},
         ("203.0.113.7", 40022)),
        ({"public_ipaddr": "-oProxyCommand=id", "ports": DIRECT}, None),
        ({"public_ipaddr": "203.0.113.7 -v", "ports": DIRECT}, None),
        ({"public_ipaddr": None, "ports": None}, None),
        ({"ssh_host": "ssh4.vast.ai", "ssh_port": 70000}, None),
        ({"ssh_host": "ssh4.vast.ai", "ssh_port": True}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_the_address_is_direct_else_the_proxy(fields: dict[str, Any], expected: Any) -> None:
    assert address(fields) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FIELDS = ("actual_status", "intended_status", "status_msg", "ports", "public_ipaddr", "ssh_host", "ssh_port", "is_bid",
          "min_bid", "image_runtype", "label", "extra_env", "jupyter_token")  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON)))
def test_any_row_is_read(fields: dict[str, Any]) -> None:
    told = shown({"id": 5, **fields})
    assert told["phase"]
    assert told["node"] == "vast-5"
    assert not {"extra_env", "jupyter_token", "onstart", "image_args"} & set(told)
