"""The backend ``polite``: every job of a node gives way to what its owner does there.

Runs on the node: standard library only, Python 3.8 or later. `stoker_node` is Stoker's part there.
"""

from __future__ import annotations

import os

from stoker_node.backends.process import ProcessBackend

LOWER_BY = 10
LOWEST = 19


class Backend(ProcessBackend):
    """A process under a supervisor, as `process`, but with low priority: what is started inherits it."""

    def __init__(self, state, entry, rungs=None):
        super().__init__(state, entry, rungs)
        self.niceness = min(LOWEST, os.getpriority(os.PRIO_PROCESS, 0) + LOWER_BY)

    def start(self, spec, attempt_number, secrets=None, promise=None):
        """Begin one attempt."""
        os.setpriority(os.PRIO_PROCESS, 0, self.niceness)
        return super().start(spec, attempt_number, secrets, promise)

    def relaunch(self, attempt):
        """Give an attempt that lost its supervisor a new one."""
        os.setpriority(os.PRIO_PROCESS, 0, self.niceness)
        return super().relaunch(attempt)
