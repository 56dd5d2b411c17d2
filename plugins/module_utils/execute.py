# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running one command to its end, now, with its streams apart and its exit code unchanged."""

from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess
import tempfile
import time

from . import launch, logs
from .recorder import NOT_EXECUTABLE, NOT_FOUND, NOT_STARTED

LIMIT_BYTES = 16 * 1024 * 1024
# The file that the answer goes to.
ANSWER = 1
# How often a command that has closed its streams is looked at, in seconds.
PAUSE_S = 0.1
# What a command gets to end itself when nobody waits for it any more, in seconds.
GRACE_S = 2.0
# How long what was killed may take to be gone, in seconds.
GONE_S = 10.0


def execute(request, state):
    """Run ``argv`` or ``script``. What goes past the limit is read and thrown away, and ``truncated`` says so."""
    script = None
    if request.get("argv"):
        argv = list(request["argv"])
    else:
        fd, script = tempfile.mkstemp(prefix="exec-", dir=state.path)
        with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape") as handle:
            handle.write(request["script"])
        argv = [*shlex.split(request.get("interpreter") or "/bin/sh"), script]
    try:
        return _run(argv, request)
    finally:
        if script:
            os.unlink(script)


def _run(argv, request):
    environ = launch.clean_environment(os.environ)
    environ.update(request.get("env") or {})
    workdir = launch.working_directory(request.get("workdir"))
    began = time.monotonic()
    if not os.path.isdir(workdir):
        return _not_started(NOT_STARTED, "working directory {0}: No such file or directory".format(workdir))
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=workdir,
            env=environ,
            start_new_session=True,
        )
    except FileNotFoundError as exc:
        return _not_started(NOT_FOUND, "{0}: {1}".format(argv[0], exc.strerror))
    except OSError as exc:
        return _not_started(NOT_EXECUTABLE, "{0}: {1}".format(argv[0], exc.strerror))
    streams, truncated, timed_out = _collect(process, request.get("limit") or LIMIT_BYTES, request.get("timeout_s"))
    code = process.wait()
    if timed_out:
        _wait_for_group(process.pid)
    return {
        "code": code if code >= 0 else None,
        "signal": -code if code < 0 else None,
        "stdout": logs.pack(streams[0]),
        "stderr": logs.pack(streams[1]),
        "truncated": truncated,
        "timed_out": timed_out,
        "elapsed_s": round(time.monotonic() - began, 3),
    }


def _not_started(code, words):
    return {
        "code": code,
        "signal": None,
        "stdout": logs.pack(b""),
        "stderr": logs.pack((words + "\n").encode("utf-8", "replace")),
        "truncated": False,
        "timed_out": False,
        "elapsed_s": 0.0,
    }


def _collect(process, limit, timeout_s):
    """Read both streams to their end, and wait for the command's. Returns ([stdout, stderr], truncated, timed out)."""
    deadline = None if not timeout_s else time.monotonic() + timeout_s
    found, truncated = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}, False
    poll = select.poll()
    for number in found:
        poll.register(number, select.POLLIN)
    # No event but its end: nobody waits for the answer any more (the caller was interrupted, the connection cut).
    poll.register(ANSWER, 0)
    reading = set(found)
    while reading or process.poll() is None:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not reading:
            left = PAUSE_S if left is None else min(left, PAUSE_S)
        for number, _event in poll.poll(None if left is None else left * 1000):
            if number == ANSWER:
                _end(process)
                return [bytes(item) for item in found.values()], truncated, False
            data = os.read(number, 65536)
            room = limit - len(found[number])
            truncated = truncated or len(data) > room
            found[number] += data[: max(0, room)]
            if not data:
                poll.unregister(number)
                reading.discard(number)
        if deadline is not None and time.monotonic() >= deadline:
            _kill(process, signal.SIGKILL)
            return [bytes(item) for item in found.values()], truncated, True
    return [bytes(item) for item in found.values()], truncated, False


def _end(process):
    _kill(process, signal.SIGTERM)
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        pass
    _kill(process, signal.SIGKILL)


def _wait_for_group(number):
    """What was killed with the command takes a moment to be gone. One that hangs in the kernel is not waited for."""
    deadline = time.monotonic() + GONE_S
    while time.monotonic() < deadline:
        try:
            os.killpg(number, 0)
        except (ProcessLookupError, PermissionError):
            return
        time.sleep(PAUSE_S / 10)


def _kill(process, number):
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass
