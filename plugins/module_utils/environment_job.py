# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The environment of a job that brings its project along: installed on its node, before its command may begin."""

from __future__ import annotations

import os

from . import environments
from .environment_files import ORDER
from .launch import working_directory
from .output import open_log
from .statedir import NodeError

_LOOK_S = 1.0
# Of what an installer said, so many last lines become the log of the job that did not begin.
_LINES = 2000


def install(attempt, spec, entry, go_on):
    """The spec with what makes the environment its active one; None where ``go_on`` said no meanwhile.

    The install itself goes on then: others of this node may wait for it. Raises NodeError where there is none: what the
    installer said is the attempt's log.
    """
    folder, build = _project(attempt, spec), None
    while True:
        request = {"folder": folder, "make": True, "build": build, "wait": _LOOK_S}
        told = environments.ensure(attempt.state_dir, entry, request)["environment"]
        if told["state"] not in ("installing", "missing"):
            break
        build = told["build"]
        attempt.update_state(phase="installing", installing="{source} with {tool}".format(**told))
        if not go_on():
            return None
    if told["state"] == "failed":
        raise _failed(attempt, told)
    attempt.update_state(phase="starting", environment=told["folder"])
    return dict(spec, env=_active(told["activate"], spec.get("env") or {}))


def _project(attempt, spec):
    """The folder in which the job runs, where that says what it needs; else the whole of its files."""
    folder = working_directory(spec.get("workdir"))
    if spec.get("snapshot") and not any(os.path.isfile(os.path.join(folder, name)) for name in ORDER):
        return attempt.file("tree")
    return folder


def _active(active, env):
    """The job's own variables; in a PATH of its own the environment comes first."""
    if "PATH" in env:
        env = dict(env, PATH=os.pathsep.join((active["PATH"].partition(os.pathsep)[0], env["PATH"])))
    return dict(active, **env)


def _failed(attempt, told):
    place = environments.Place(attempt.state_dir, told["name"])
    lines = place.lines(_LINES)
    log = open_log(attempt, "out.log")
    try:
        os.write(log, "".join(line + "\n" for line in lines).encode("utf-8", "replace"))
    finally:
        os.close(log)
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
    words = "the install of {0} {1}: {2}".format(told["source"], told["reason"], last)
    return NodeError("internal", words, "stoker logs {0} shows what it said".format(attempt.job))
