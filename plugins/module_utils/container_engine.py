# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which engine of this node has a container, and what a container's definition is handed to it with."""

from __future__ import annotations

import os
import re
import shutil
import tempfile

from . import engines as tools
from .statedir import NodeError

NAME = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$")
# Seconds. What an engine does by itself is quick; what runs in a container takes what it takes.
QUICK_S = 30.0


class Engine(tools.Engine):
    """An engine that is asked about containers of the node, not about those of jobs."""

    def run(self, argv, timeout_s=QUICK_S, joined=False):
        """(exit code, stdout, stderr) as text; ``joined``: both in stdout, in order.

        Raises NodeError when it cannot be run or takes longer.
        """
        try:
            return self.ask(argv, timeout_s, joined=joined)
        except OSError as exc:
            raise NodeError("not_supported", "{0} cannot be run: {1}".format(self.tool, exc.strerror)) from None

    def call(self, argv, timeout_s=QUICK_S):
        """What it printed. Raises NodeError in the engine's own words when it fails."""
        code, out, err = self.run(argv, timeout_s)
        if code != 0:
            raise NodeError("not_supported", "{0} {1} failed: {2}".format(self.name, argv[0], words(err or out, code)))
        return out

    def container(self, name):
        """What ``inspect`` tells of a container; None where there is none."""
        return self.inspect("container", name, QUICK_S)

    def image(self, name):
        """What ``inspect`` tells of an image that is on the node; None where it is not."""
        return self.inspect("image", name, QUICK_S)


def words(text, code):
    """The last lines that a tool wrote, as one; most tools say last what was wrong."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return " ".join(lines[-3:])[:600] or "exit code {0}, and no word".format(code)


def engines(wanted=None):
    """(engines that answer, one sentence for each that does not). Raises NodeError where none does."""
    names = [wanted] if wanted else list(tools.ENGINES)
    present = [Engine(name, shutil.which(name)) for name in names if shutil.which(name)]
    if not present:
        raise NodeError(
            "not_supported", "there is no {0} on this node".format(" and no ".join(names)), "install podman"
        )
    alive, faults = [], []
    for engine in present:
        try:
            # Needs the daemon, where there is one.
            engine.call(["ps", "--quiet"])
            alive.append(engine)
        except NodeError as exc:
            faults.append(exc.message)
    if not alive:
        raise NodeError("not_supported", "; ".join(faults))
    return alive, faults


def find(name, wanted=None):
    """(engine, what it tells of the container ``name`` or None, faults of other engines).

    Where no engine has it, the engine is the one that would make it.
    """
    if not NAME.match(name):
        raise NodeError("bad_request", "{0!r} is not a name of a container".format(name))
    alive, faults = engines(wanted)
    for engine in alive:
        found = engine.container(name)
        # `inspect` also takes the beginning of an id.
        if found is not None and found.get("Name", "").lstrip("/") == name:
            return engine, found, faults
    return alive[0], None, faults


def existing(name, wanted=None):
    """(engine, what it tells of the container). Raises NodeError where there is none."""
    engine, found, faults = find(name, wanted)
    if found is None:
        raise missing(name, faults)
    return engine, found


def missing(name, faults, next_step="stoker container list"):
    """The error for a container that was not found: that there is none is said only where every engine answered."""
    if faults:
        words = "whether there is a container {0} on this node is not known: {1}".format(name, "; ".join(faults))
        return NodeError("not_supported", words, "have that engine answer, or name the other one (engine)")
    return NodeError("bad_request", "there is no container {0} on this node".format(name), next_step)


def last_words(engine, name):
    """The last lines that a container wrote, as one."""
    code, out, _none = engine.run(["logs", "--tail", "3", name], joined=True)
    return words(out, code)


class EnvFile:
    """A file of mode 0600 with the container's environment, there while the engine reads it: none of it is in argv."""

    def __init__(self, folder, env):
        for name, value in env.items():
            if "\n" in value:
                raise NodeError("bad_request", "the value of {0} has several lines: an engine takes none".format(name))
        self.folder = folder
        self.env = env
        self.path = None

    def __enter__(self):
        if not self.env:
            return []
        fd, self.path = tempfile.mkstemp(prefix="env-", dir=self.folder)
        with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape") as handle:
            handle.writelines("{0}={1}\n".format(name, value) for name, value in self.env.items())
        return ["--env-file", self.path]

    def __exit__(self, *_exc):
        if self.path:
            os.unlink(self.path)
