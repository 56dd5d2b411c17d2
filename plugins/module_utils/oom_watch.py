# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a group of somebody else's ran out of memory, told also after the group is gone.

Of version 1 control groups only: there an engine may miss it, and the group's own count goes with the group.
"""

from __future__ import annotations

import ctypes
import os
import struct
import time

# How long the kernel may take to say that a group is gone, in seconds.
FAREWELL_S = 0.3


class OomWatch:
    """Counts by an eventfd, from now on. Raises OSError where this user may not."""

    def __init__(self, folder):
        self.folder = folder
        self.count = 0
        self.fd = ctypes.CDLL(None, use_errno=True).eventfd(0, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        control = os.open(os.path.join(folder, "memory.oom_control"), os.O_RDONLY)
        try:
            with open(os.path.join(folder, "cgroup.event_control"), "w", encoding="ascii") as handle:
                handle.write("{0} {1}".format(self.fd, control))
        finally:
            os.close(control)

    def happened(self):
        """Whether it ran out of memory since the watch began."""
        deadline = time.monotonic() + FAREWELL_S
        while True:
            gone = not os.path.isdir(self.folder)
            self._read()
            if not gone and os.path.isdir(self.folder):
                return self.count > 0
            # The end of the group counts once, too, a moment after it.
            if self.count > 1 or time.monotonic() > deadline:
                return self.count > 1
            time.sleep(0.02)

    def _read(self):
        try:
            self.count += struct.unpack("Q", os.read(self.fd, 8))[0]
        except BlockingIOError:
            return


def watch(groups):
    """The watch over the memory of such groups; None where it is not needed, or not allowed."""
    folder = groups.folders.get("memory")
    if not folder:
        return None
    try:
        return OomWatch(folder)
    except OSError:
        return None
