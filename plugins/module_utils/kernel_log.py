# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Xid errors of this boot, as the NVIDIA driver wrote them into the kernel's log."""

from __future__ import annotations

import re
import shutil

from . import gpus, identity
from .statedir import NodeError

TIMEOUT_S = 5.0
# The ring of the kernel first: it needs no journal. Both stamp with seconds since boot.
_TOOLS = (
    ("dmesg",),
    ("journalctl", "--dmesg", "--boot=0", "--output=short-monotonic", "--no-pager", "--quiet", "--lines=20000"),
)
# Of a GPU with MIG the instance follows the address: (PCI:0000:01:00 GPU-I:05 GPU-CI:00).
_XID = re.compile(r"^\[\s*(\d+(?:\.\d+)?)\].*?\bNVRM: Xid \(PCI:([0-9A-Fa-f:.]+)[^)]*\): (\d+)\b[,\s]*(.*)$")
_BUS = re.compile(r"^(?:([0-9A-Fa-f]+):)?([0-9A-Fa-f]+):([0-9A-Fa-f]+)(?:\.[0-9A-Fa-f]+)?$")


def xids():
    """(bus -> Xids, None), or (None, why they are unknown). An Xid is ``{"code", "boot_s", "at", "text"}``.

    ``boot_s`` is seconds since boot, ``at`` about the same as Unix seconds.
    """
    refused = []
    for argv in _TOOLS:
        tool = shutil.which(argv[0])
        if tool is None:
            refused.append("no {0}".format(argv[0]))
            continue
        try:
            code, out, err = gpus.run_bounded([tool, *argv[1:]], TIMEOUT_S, argv[0])
        except NodeError as exc:
            refused.append(exc.message)
            continue
        if code == 0 and out.strip():
            return parse(out), None
        words = (err.strip().splitlines() or ["it shows nothing"])[-1][:200]
        refused.append(words if argv[0] in words else "{0}: {1}".format(argv[0], words))
    return None, "the kernel log cannot be read ({0})".format("; ".join(refused))


def parse(text):
    """bus -> Xids, oldest first."""
    found = {}
    began = identity.now() - identity.boottime()
    for line in text.splitlines():
        match = _XID.match(line)
        where = bus(match.group(2)) if match else None
        if where is not None:
            boot_s = float(match.group(1))
            found.setdefault(where, []).append(
                {"code": int(match.group(3)), "boot_s": boot_s, "at": began + boot_s, "text": match.group(4)[:200]}
            )
    return found


def bus(text):
    """A PCI address as numbers (domain, bus, device), however it is spelled; None: not told, or none."""
    match = _BUS.match(text or "")
    return tuple(int(part or "0", 16) for part in match.groups()) if match else None
