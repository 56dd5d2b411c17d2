# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a GPU can be trusted with a job: Xid errors, ECC, row remapping, slowdown and NVLink.

Xids are classed as NVIDIA's catalog does (docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html): fatal are
those whose immediate action is to reset the GPU or to restart the machine, those of memory that fails, and those that
NVIDIA's own health monitor (DCGM) takes for a failed GPU. After the others the program has to be looked at.
"""

from __future__ import annotations

from . import gpu_record, identity, kernel_log

FATAL_XIDS = {
    46: "it stopped processing",
    48: "uncorrectable memory error (double bit)",
    62: "its controller (PMU) halted",
    63: "a memory row or page was taken out of use: a reset has to follow",
    64: "a bad memory row or page could not be taken out of use",
    74: "NVLink error",
    79: "it has fallen off the bus",
    94: "contained memory error",
    95: "uncontained memory error",
    109: "context switch timeout",
    110: "security fault",
    119: "its system processor (GSP) does not answer",
    120: "error in its system processor (GSP)",
    136: "NVLink training failed",
    140: "unrecovered memory error",
    143: "it could not be initialised",
    156: "a resource was taken out of use: a reset has to follow",
    158: "fatal timeout",
}
# The program's doing, not the GPU's: the action is to restart or to mend the application.
APPLICATION_XIDS = (11, 13, 31, 37, 43, 45, 69, 80, 137)
# The driver's summary of another Xid, in words such as "GPU Reset Required".
_RECOVERY_XID, _RECOVERY_WORDS = 154, ("GPU Reset Required", "Node Reboot Required", "Drain and Reset")
SLOWDOWNS = ("hardware thermal slowdown", "hardware power brake")
QUARANTINE_S = 24 * 3600.0
# A slowdown passes; it keeps a GPU away this long after it was last seen.
SLOWDOWN_S = 600.0


def check(state, found, quarantine_s=None):
    """Judge each GPU of ``found``: adds ``quarantine`` (None: it may be used), ``xids`` and ``health_unknown``."""
    told, why = kernel_log.xids()
    for gpu in found:
        where = kernel_log.bus(gpu.get("bus"))
        gpu["xids"] = None if told is None or where is None else told.get(where, [])
        for xid in gpu["xids"] or ():
            xid["class"] = xid_class(xid["code"])
        gpu["health_unknown"] = _unknown(gpu, why)
        gpu["quarantine"] = _judge(state, gpu, quarantine_s or QUARANTINE_S) if gpu["uuid"] else None


def _judge(state, gpu, quarantine_s):
    evidence = evidence_of(gpu, quarantine_s)
    passed = gpu_record.accepted(state, gpu["uuid"])
    gone = [key for key in passed if _is_gone(key, gpu, evidence)]
    if gone:
        gpu_record.forget_accepted(state, gpu["uuid"], gone)
    fresh = [item for item in evidence if item["key"] not in passed or item["value"] > passed[item["key"]]]
    if fresh:
        return gpu_record.keep_away(state, gpu["uuid"], fresh, max(item["until"] for item in fresh))
    return gpu_record.quarantine(state, gpu["uuid"])


def _is_gone(key, gpu, evidence):
    figure = {"ecc": "ecc_uncorrected", "slowdown": "throttle"}.get(key.split(":")[0], key)
    known = gpu["xids"] is not None if key.startswith("xid:") else gpu.get(figure) is not None
    return known and key not in {item["key"] for item in evidence}


def evidence_of(gpu, quarantine_s=QUARANTINE_S):
    """What speaks against a GPU: ``{"key", "value", "text", "at", "until"}`` each; more of it has a higher value."""
    now = identity.now()
    found = []

    def add(key, value, text, at=now, lasts_s=quarantine_s):
        found.append({"key": key, "value": value, "text": text, "at": at, "until": at + lasts_s})

    boot = identity.boot_identity()["boot_id"]
    for xid in gpu["xids"] or ():
        text = _fatal(xid)
        if text and now - xid["at"] < quarantine_s:
            add("xid:{0}:{1}".format(boot, xid["code"]), xid["boot_s"], text, xid["at"])
    if gpu["ecc_uncorrected"]:
        add("ecc", gpu["ecc_uncorrected"], "{0} uncorrected ECC errors".format(gpu["ecc_uncorrected"]))
    if gpu["remap_pending"]:
        add("remap_pending", 1, "a row remap is pending: a reset has to follow")
    if gpu["remap_failure"]:
        add("remap_failure", 1, "a memory row could not be remapped")
    for word in gpu["throttle"] or ():
        if word in SLOWDOWNS:
            add("slowdown:" + word, 1, word, lasts_s=min(SLOWDOWN_S, quarantine_s))
    if gpu["nvlink_recoveries"]:
        add(
            "nvlink_recoveries", gpu["nvlink_recoveries"], "{0} NVLink recovery errors".format(gpu["nvlink_recoveries"])
        )
    # Of one kind only the newest counts.
    return list({item["key"]: item for item in found}.values())


def _fatal(xid):
    if xid["code"] in FATAL_XIDS:
        return "Xid {0}: {1}".format(xid["code"], FATAL_XIDS[xid["code"]])
    if xid["code"] == _RECOVERY_XID:
        # "... action changed from 0x0 (None) to 0x1 (GPU Reset Required)": what it is now comes last.
        words = [word for word in _RECOVERY_WORDS if word in xid["text"].rpartition(" to ")[2]]
        return "Xid 154: {0}".format(words[0]) if words else None
    return None


def xid_class(code):
    """``fatal``, ``application`` or ``other``."""
    return "fatal" if code in FATAL_XIDS else "application" if code in APPLICATION_XIDS else "other"


def _unknown(gpu, why_no_xids):
    """What could not be checked, and why."""
    unknown = {}
    if gpu["xids"] is None:
        unknown["xids"] = why_no_xids or "its PCI address is not told"
    for figure in ("ecc_uncorrected", "remap_pending", "remap_failure", "throttle", "nvlink_recoveries"):
        if gpu.get(figure) is None:
            unknown[figure] = gpu["unknown"].get(figure) or "not told"
    return unknown
