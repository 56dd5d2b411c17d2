# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Podman or Docker on this node, through its own command line: every call has a time limit, every answer is JSON."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile

from .statedir import NodeError

ENGINES = ("podman", "docker")
NAME = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$")
# Seconds. What an engine does by itself is quick; images travel, and what runs in a container takes what it takes.
QUICK_S = 30.0
PULL_S = 7200.0
_MISSING = re.compile(r"no such (object|container|image)|image not known|no container with name or id", re.I)


class Engine:
    """One engine's command line. ``name`` is podman or docker, ``tool`` its path."""

    def __init__(self, name, tool):
        self.name = name
        self.tool = tool

    def run(self, argv, timeout_s=QUICK_S, stdin=None):
        """(exit code, stdout, stderr) as text. Raises NodeError when it cannot be run or takes longer."""
        try:
            process = subprocess.Popen(
                [self.tool, *argv],
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as exc:
            raise NodeError("not_supported", "{0} cannot be run: {1}".format(self.tool, exc.strerror)) from None
        try:
            out, err = process.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise NodeError(
                "not_supported", "{0} {1} gave no answer within {2:g} s".format(self.name, argv[0], timeout_s)
            ) from None
        return process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")

    def call(self, argv, timeout_s=QUICK_S):
        """What it printed. Raises NodeError in the engine's own words when it fails."""
        code, out, err = self.run(argv, timeout_s)
        if code != 0:
            raise NodeError("not_supported", "{0} {1} failed: {2}".format(self.name, argv[0], words(err or out, code)))
        return out

    def container(self, name):
        """What ``inspect`` tells of a container; None where there is none."""
        return self._inspect("container", name)

    def image(self, name):
        """What ``inspect`` tells of an image that is on the node; None where it is not."""
        return self._inspect("image", name)

    def pull(self, image):
        self.call(["pull", "--quiet", image], PULL_S)

    def remove(self, container):
        """End it at once, and remove it. One that is gone already is gone."""
        # `rm --force` alone waits for the end of each process, 10 s in all.
        self.run(["kill", container])
        code, out, err = self.run(["rm", "--force", container], 60.0)
        if code != 0 and not _MISSING.search(err):
            raise NodeError("not_supported", "{0} rm failed: {1}".format(self.name, words(err or out, code)))

    def _inspect(self, kind, name):
        code, out, err = self.run([kind, "inspect", name])
        if code != 0 and _MISSING.search(err):
            return None
        if code != 0:
            raise NodeError("not_supported", "{0} {1} inspect failed: {2}".format(self.name, kind, words(err, code)))
        try:
            return json.loads(out)[0]
        except (ValueError, LookupError) as exc:
            raise NodeError(
                "not_supported", "{0} {1} inspect said what is not understood: {2!r}".format(self.name, kind, exc)
            ) from None


def words(text, code):
    """The last lines that a tool wrote, as one; most tools say last what was wrong."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return " ".join(lines[-3:])[:600] or "exit code {0}, and no word".format(code)


def engines(wanted=None):
    """(engines that answer, one sentence for each that does not). Raises NodeError where none does."""
    names = [wanted] if wanted else list(ENGINES)
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
        more = " ({0})".format("; ".join(faults)) if faults else ""
        raise NodeError(
            "bad_request", "there is no container {0} on this node{1}".format(name, more), "stoker container list"
        )
    return engine, found


def last_words(engine, name):
    """The last lines that a container wrote, as one."""
    code, out, err = engine.run(["logs", "--tail", "3", name])
    return words(out + err, code)


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
