# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The process that installs an environment. It outlives the connection, and holds the environment's lock to its end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time

from .launch import clean_environment
from .statedir import read_json, write_json

# What would make an installer look at, or write to, another environment than its own.
_OTHERS = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_PREFIX", "PIP_USER")
_SETTINGS = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
_TIMED_OUT = 124


def run(order_path, lock_fd):
    """Carry out the order that lies in ``order_path``; the end is written down whatever it is. Returns an exit code.

    The installer inherits the lock: while it writes, nobody else begins, also when this process is killed.
    """
    order = read_json(order_path)
    began = time.monotonic()
    failed = _install(order, began + order["timeout_s"], lock_fd)
    record = dict(order["record"], ended_at=time.time(), elapsed_s=round(time.monotonic() - began, 3))
    if failed is None:
        _remove(order["failed"])
        write_json(order["ready"], record)
    else:
        shutil.rmtree(record["folder"], ignore_errors=True)
        write_json(order["failed"], dict(record, **failed))
    _remove(order_path)
    return 0 if failed is None else 1


def _install(order, deadline, lock_fd):
    """None, or how it failed: {exit_code, command, reason}."""
    environ = {name: value for name, value in clean_environment(os.environ).items() if name not in _OTHERS}
    environ.update(_SETTINGS)
    with open(order["log"], "ab", buffering=0) as log:
        for step in order["steps"]:
            words = " ".join(step["argv"])
            log.write("$ {0}\n".format(words).encode("utf-8", "surrogateescape"))
            try:
                code = _run(step["argv"], dict(environ, **step["env"]), order["project"], log, deadline, lock_fd)
            except OSError as exc:
                log.write("{0}: {1}\n".format(exc.filename, exc.strerror).encode("utf-8", "surrogateescape"))
                return {"exit_code": 127, "command": words, "reason": "cannot be run: {0}".format(exc.strerror)}
            if code == _TIMED_OUT and time.monotonic() >= deadline:
                return {
                    "exit_code": None,
                    "command": words,
                    "reason": "took longer than {0:g} s".format(order["timeout_s"]),
                }
            if code != 0:
                how = "ended with {0}".format(code) if code > 0 else "was killed by signal {0}".format(-code)
                return {"exit_code": code if code > 0 else None, "command": words, "reason": how}
    return None


def _run(argv, environ, folder, log, deadline, lock_fd):
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd=folder,
        env=environ,
        start_new_session=True,
        pass_fds=(lock_fd,),
    )
    try:
        return process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return _TIMED_OUT


def _remove(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
