# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running one command to its end, now, with its streams apart and its exit code unchanged."""

from __future__ import annotations

import os
import selectors
import shlex
import subprocess
import tempfile
import time

from . import launch, logs
from .recorder import NOT_EXECUTABLE, NOT_FOUND, NOT_STARTED

LIMIT_BYTES = 16 * 1024 * 1024


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
    """Read both streams to their end. Returns ([stdout, stderr], truncated, timed out)."""
    deadline = None if not timeout_s else time.monotonic() + timeout_s
    found, truncated, timed_out = [bytearray(), bytearray()], False, False
    with selectors.DefaultSelector() as selector:
        for index, stream in enumerate((process.stdout, process.stderr)):
            selector.register(stream, selectors.EVENT_READ, index)
        while selector.get_map():
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            for key, _events in selector.select(left):
                data = os.read(key.fileobj.fileno(), 65536)
                room = limit - len(found[key.data])
                truncated = truncated or len(data) > room
                found[key.data] += data[: max(0, room)]
                if not data:
                    selector.unregister(key.fileobj)
            if deadline is not None and time.monotonic() >= deadline and not timed_out:
                timed_out = True
                os.killpg(process.pid, 9)
                break
    return [bytes(item) for item in found], truncated, timed_out
