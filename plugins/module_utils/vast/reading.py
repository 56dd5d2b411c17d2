# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a row of an instance says: pure, from the provider's fields to one word with its evidence."""

from __future__ import annotations

import re
from collections import namedtuple

from ..terminal_text import safe_text

# phase: creating loading running stopped outbid exited offline frozen rebooting failed unknown.
# evidence: the fields that say so. passing: whether it may change to running by waiting alone.
Reading = namedtuple("Reading", "phase evidence passing")

# Phases that no waiting mends: an instance in one of them will not come to run.
ENDED = ("exited", "offline", "failed", "unknown")
_START_FAILED = ": OCI runtime create failed:"
_IMAGE_FAILED = re.compile(r"pull|manifest|unauthorized|denied|no such image", re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.:-]*[A-Za-z0-9])?\Z")
_ERROR = re.compile(r"error|fail|invalid|unauthorized|denied|not found|no such|unknown", re.IGNORECASE)
_SHOWN = (
    "id", "label", "machine_id", "host_id", "actual_status", "intended_status", "cur_state", "next_state", "image_uuid",
    "image_runtype", "start_date", "end_date", "uptime_mins", "num_gpus", "gpu_name", "gpu_ram", "gpu_util", "gpu_temp",
    "cpu_util", "cpu_cores_effective", "mem_usage", "mem_limit", "disk_space", "disk_usage", "geolocation", "is_bid",
    "min_bid", "dph_base", "dph_total", "storage_total_cost", "inet_up", "inet_down", "inet_up_cost", "inet_down_cost",
    "reliability2", "verification", "driver_version", "cuda_max_good", "direct_port_count", "static_ip",
)  # fmt: skip


def judge(row):
    """The phase of an instance. Anything that the contract does not know is ``unknown``, with what it said."""
    actual, intended = row.get("actual_status"), row.get("intended_status")
    message = _message(row)
    states = "actual {0}, intended {1}, now {2}, next {3}".format(
        *(_word(row.get(name)) for name in ("actual_status", "intended_status", "cur_state", "next_state"))
    )
    evidence = "{0}: {1}".format(states, message) if message else states
    if actual == "offline":
        return Reading("offline", evidence, False)
    if actual != "running" and _start_failed(actual, message):
        return Reading("failed", evidence, False)
    if row.get("cur_state") == intended == row.get("next_state") == "stopped":
        return Reading("outbid" if _is_outbid(row) else "stopped", evidence, False)
    if intended == "stopped" and actual in (None, "created", "loading", "running"):
        return Reading("unknown", "it is on its way to a stop: " + evidence, True)
    if actual is None or actual == "created":
        return Reading("creating", evidence, True)
    if actual in ("loading", "rebooting"):
        return Reading(actual, evidence, True)
    waits = intended == row.get("next_state") == "running" and row.get("cur_state") == "stopped"
    if actual == "stopped" or (actual == "exited" and waits):
        return Reading("stopped", ("it waits for its GPUs: " if waits else "") + evidence, waits)
    if actual in ("running", "exited", "frozen"):
        return Reading(actual, evidence, actual == "frozen")
    return Reading("unknown", evidence, False)


def _start_failed(actual, message):
    if actual == "created" and _START_FAILED in message:
        return True
    return actual in (None, "created", "loading") and bool(_IMAGE_FAILED.search(message) and _ERROR.search(message))


def _is_outbid(row):
    """Whether a stopped instance is a bid that is lower than what would win now."""
    least, own = _number(row.get("min_bid")), _number(row.get("dph_base"))
    return row.get("is_bid") is True and least is not None and own is not None and least > own


def address(row):
    """(host, port) for ssh as root: the direct one, else the provider's proxy; None where the row has neither.

    Ports change at each start: never kept longer than the row they come from.
    """
    ports = row.get("ports")
    mapped = ports.get("22/tcp") if isinstance(ports, dict) else None
    if isinstance(mapped, list) and mapped and isinstance(mapped[0], dict):
        found = _pair(row.get("public_ipaddr"), mapped[0].get("HostPort"))
        if found:
            return found
    found = _pair(row.get("ssh_host"), row.get("ssh_port"))
    if found and "jupyter" in str(row.get("image_runtype") or ""):
        return (found[0], found[1] + 1) if found[1] < 65535 else None
    return found


def _pair(host, port):
    """Both checked: what the provider sends ends up in a command line of ssh."""
    if isinstance(port, str) and port.strip().isascii() and port.strip().isdigit():
        port = int(port)
    host = host.strip() if isinstance(host, str) else ""
    if not _HOST.match(host) or not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
        return None
    return host, port


def node_name(row):
    """The name of its node. Numbers of instances are never given twice."""
    return "vast-{0}".format(row["id"])


def hourly(row):
    """US dollars per hour that it costs while it runs, disk included; None where the row does not say."""
    return _number(row.get("dph_total"))


def shown(row):
    """What may be shown of a row: no environment, no tokens, no start script. Text is safe for a terminal."""
    found = {}
    for name in _SHOWN:
        value = row.get(name)
        found[name] = safe_text(value, 500) if isinstance(value, str) else value if _is_plain(value) else None
    reading, place = judge(row), address(row)
    found["status_msg"] = _message(row) or None
    found["phase"], found["evidence"] = reading.phase, reading.evidence
    found["node"] = node_name(row)
    found["ssh_host"], found["ssh_port"] = place or (None, None)
    return found


def _is_plain(value):
    return value is None or isinstance(value, (bool, int, float))


def _number(value):
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _word(value):
    return "none" if value is None else safe_text(" ".join(str(value).split()), 40)


def _message(row):
    message = row.get("status_msg")
    return safe_text(" ".join(message.split()), 500) if isinstance(message, str) else ""
