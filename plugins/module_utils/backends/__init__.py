# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a node runs a job. A backend has four functions: start, cancel, observe, read_log.

start(order, attempt)                 begin one attempt, once: asking again changes nothing. Returns an object
                                      with settled(), polled until it is True, or None where nothing was to do
cancel(job, attempt, grace_s, reason) ask for the end of an attempt. True where that changed anything
observe(jobs, specs)                  observations of the attempts of jobs: "all", "live" or a list of ids
read_log(job, attempt, ...)           one chunk of a log by byte offset
"""

from __future__ import annotations

from ..statedir import NodeError

NAMES = ("process", "container")


def get(request, state, entry):
    """The backend that a request asks for: by default a process, or a container for each spec that names one."""
    from .container import ContainerBackend

    name = request.get("backend") or "process"
    if name not in NAMES:
        raise NodeError(
            "not_supported",
            "there is no backend {0!r} on this node".format(name),
            "set stoker_backend to " + " or ".join(NAMES),
        )
    image, engine = request.get("container_image"), request.get("container_engine")
    return ContainerBackend(state, entry, request.get("rungs"), image, engine, always=name == "container")
