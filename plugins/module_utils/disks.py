# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disks of this node: every mount that holds files somewhere, with its room."""

from __future__ import annotations

import os
import re
import threading

# A share that is this full, in percent, is worth a warning.
WARN_PCT = 90
# A network file system whose server is gone does not answer.
TIMEOUT_S = 2.0
# File systems without a device that hold files all the same.
_REMOTE = re.compile(r"^(nfs4?|cifs|smb3|ceph|lustre|beegfs(_nodev)?|gpfs|glusterfs|fuse\..+|9p|virtiofs|zfs|afs)$")
_READ_ONLY_IMAGES = ("squashfs", "iso9660", "erofs")
_NOT_FILES = ("fuse.gvfsd-fuse", "fuse.portal", "fuse.lxcfs", "fuse.snapfuse")


def read():
    """One entry per real mount. One that does not answer has None for its sizes, and ``unknown`` says why."""
    found = []
    for device, point, kind in real_mounts():
        entry = {"device": device, "mount": point, "type": kind}
        entry.update(_room(point))
        found.append(entry)
    return found


def real_mounts(path="/proc/self/mounts"):
    """(device, mount point, type) of the mounts that hold files, one per device: the one nearest to the root.

    Bind mounts of single files into a container, and read-only images, are none.
    """
    with open(path, encoding="utf-8", errors="surrogateescape") as handle:
        mounts = [[_plain(word) for word in line.split(" ")[:3]] for line in handle]
    nearest = {}
    for device, point, kind in mounts:
        real = device.startswith("/") or _REMOTE.match(kind) or (kind == "overlay" and point == "/")
        if not real or kind in _READ_ONLY_IMAGES + _NOT_FILES or device.startswith("/dev/loop"):
            continue
        known = nearest.get((device, kind))
        if known is None or len(point) < len(known):
            nearest[device, kind] = point
    ordered = sorted(nearest.items(), key=lambda item: item[1])
    return [(device, point, kind) for (device, kind), point in ordered]


def _plain(word):
    """A field of the mount table without its octal escapes."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), word)


def _room(point):
    told = []

    def ask():
        try:
            told.append(os.statvfs(point))
        except OSError as exc:
            told.append(exc)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    nothing = {"total": None, "used": None, "free": None, "used_pct": None, "warn": None}
    if not told:
        return dict(nothing, unknown="no answer within {0:g} s".format(TIMEOUT_S))
    if isinstance(told[0], OSError):
        return dict(nothing, unknown=told[0].strerror or str(told[0]))
    usage = told[0]
    used = usage.f_blocks - usage.f_bfree
    # As df counts: what is kept for root is neither used nor free.
    share = 100.0 * used / (used + usage.f_bavail) if used + usage.f_bavail else None
    return {
        "total": usage.f_blocks * usage.f_frsize,
        "used": used * usage.f_frsize,
        "free": usage.f_bavail * usage.f_frsize,
        "used_pct": None if share is None else round(share, 1),
        "warn": None if share is None else share >= WARN_PCT,
        "unknown": None,
    }
