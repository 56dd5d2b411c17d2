# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A path that somebody named of a job: whether it is of that job. Whoever may look at runs may not read the node."""

from __future__ import annotations

import os

from .project_files import looks_secret
from .readers import kinds
from .statedir import NodeError


def path_of(wanted, folder, attempt, state, theirs):
    """The path that `wanted` names, relative to the job's `folder`. `theirs` are files known to be of the job.

    Raises NodeError where it is none of the job's, looks like a secret, or is not there.
    """
    top = os.path.normpath(os.path.join(folder, os.path.expanduser(wanted)))
    real = os.path.realpath(top)
    for path in theirs:
        if top in (path, _inside(path)) or real == path:
            top = real = path
            break
    else:
        if not _is_within(real, attempt.path) and (_is_within(real, state.path) or not _is_within(real, folder)):
            raise NodeError(
                "bad_request",
                "{0} is not of {1}: it is not below {2}, and no process of the job writes to it".format(
                    top, attempt.job, folder
                ),
                "name a file below its folder; stoker exec reads any other",
            )
    if looks_secret(top) or looks_secret(real):
        raise NodeError("bad_request", "{0} looks like a file of keys or passwords, and is not read".format(top))
    if not os.path.exists(top):
        raise NodeError("bad_request", "there is no file or folder {0} on this node".format(top))
    return top


def kind_of(path):
    """What a file that was named is. Raises NodeError where it is neither metrics nor a log, OSError."""
    kind = kinds.kind_of_named(path)
    if kind is None:
        raise NodeError("bad_request", "{0} is {1}".format(path, kinds.NO_RUN), "stoker exec shows any file")
    return kind


def _inside(path):
    """What a file is called in the sandbox that it is in."""
    return path.partition("/root")[2] if path.startswith("/proc/") else path


def _is_within(real, folder):
    base = os.path.realpath(folder)
    return real == base or real.startswith(base.rstrip(os.sep) + os.sep)
