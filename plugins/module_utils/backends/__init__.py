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

import importlib
import re

from ..statedir import NodeError

NAMES = ("process", "container")
# The name of one that a package adds: it is pushed along as added_NAME.py, with a class Backend.
ADDED = re.compile(r"[a-z][a-z0-9_]{0,30}")


def get(request, state, entry):
    """The backend that a request asks for: by default a process, or a container for each spec that names one."""
    from .container import ContainerBackend

    name = request.get("backend") or "process"
    if name not in NAMES:
        return _added(name)(state, entry, request.get("rungs"))
    image, engine = request.get("container_image"), request.get("container_engine")
    return ContainerBackend(state, entry, request.get("rungs"), image, engine, always=name == "container")


def _added(name):
    """The class of a backend that was pushed along. Raises NodeError."""
    missing = "there is no backend {0!r} on this node".format(name)
    step = "set stoker_backend to " + " or ".join(NAMES)
    if not ADDED.fullmatch(name):
        raise NodeError("not_supported", missing, step)
    module = "{0}.added_{1}".format(__name__, name)
    try:
        return importlib.import_module(module).Backend
    except Exception as problem:  # it is of somebody else, and may raise anything
        if isinstance(problem, ModuleNotFoundError) and problem.name == module:
            raise NodeError("not_supported", missing, step) from None
        words = "the backend {0!r} cannot be loaded: {1}: {2}".format(name, type(problem).__name__, problem)
        raise NodeError("not_supported", words, "tell the author of its package") from problem
