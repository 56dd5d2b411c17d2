# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of `stoker` that need not import it: each is forked from one that has, and is a process of its own.

Most of what a short command costs is the import of libraries; a suite of thousands of commands pays for it once.
As a program: the process that they are forked from. It ends with its standard input.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

# What Python reads from the environment as it starts is as it was when the first process started.
_AT_START = ("PYTHON", "LC_", "LANG")
_LIBRARIES = ("sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql.psycopg", "psycopg", "rich.table", "yaml")
_PARTS = ("cli", "operations", "store", "dispatch", "runner")


class WarmProcesses:
    """Starts them. `fits` says whether an environment can have one."""

    def __init__(self) -> None:
        self._path = str(Path(tempfile.mkdtemp(prefix="stoker-warm-")) / "s")
        self._started = _at_start(os.environ)
        self._process = subprocess.Popen(
            [sys.executable, __file__, self._path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def fits(self, env: Mapping[str, str]) -> bool:
        """Whether Python would start with this environment as it did with the tests' own."""
        return _at_start(env) == self._started

    def run(self, argv: list[str], *, cwd: Path, env: Mapping[str, str], timeout_s: float) -> tuple[int, bytes, bytes]:
        """Exit code (negative: the signal), output and errors. Raises subprocess.TimeoutExpired, the process killed."""
        asked = json.dumps({"argv": argv, "cwd": str(cwd), "env": dict(env)}).encode()
        with socket.socket(socket.AF_UNIX) as server, contextlib.ExitStack() as files:
            out, err = (files.enter_context(tempfile.TemporaryFile(buffering=0)) for _ in range(2))
            server.connect(self._path)
            socket.send_fds(server, [len(asked).to_bytes(4, "big")], [out.fileno(), err.fileno()])
            server.sendall(asked)
            replies = files.enter_context(server.makefile("r"))
            pid = int(replies.readline())
            server.settimeout(timeout_s)
            try:
                code = int(replies.readline())
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(argv, timeout_s) from None
            for file in (out, err):
                file.seek(0)
            return code, out.read(), err.read()

    def close(self) -> None:
        """End the process that they are forked from."""
        self._process.communicate()


def _at_start(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_AT_START)}


def _preload() -> None:
    import stoker

    for name in _LIBRARIES:
        importlib.import_module(name)
    for part in _PARTS:
        package = importlib.import_module(f"stoker.{part}")
        for module in pkgutil.iter_modules(package.__path__, f"stoker.{part}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    assert stoker.__file__ is not None
    sys.argv[0] = str(Path(stoker.__file__).with_name("__main__.py"))


def _receive(client: socket.socket) -> tuple[dict[str, object], list[int]]:
    head, files, _flags, _address = socket.recv_fds(client, 4, 2)
    left, parts = int.from_bytes(head, "big"), []
    while left:
        part = client.recv(min(left, 65536))
        left -= len(part)
        parts.append(part)
    return json.loads(b"".join(parts)), files


def _become(asked: Mapping[str, object], files: list[int]) -> None:
    """In the new process: be as one that was started with that command line, environment, folder and streams."""
    for target, source in enumerate((os.open(os.devnull, os.O_RDONLY), *files)):
        os.dup2(source, target)
    os.closerange(3, 1024)
    env, argv = asked["env"], asked["argv"]
    assert isinstance(env, dict)
    assert isinstance(argv, list)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    os.chdir(str(asked["cwd"]))
    sys.path[0] = os.getcwd()
    sys.argv[1:] = argv


def serve(path: str) -> object:
    """Fork a process for each that asks; in the new one return what must not be closed, its numbers are others' now."""
    choice, listening = selectors.DefaultSelector(), socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(64)
    choice.register(listening, selectors.EVENT_READ)
    choice.register(0, selectors.EVENT_READ)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        for key, _ in choice.select():
            if key.fileobj == 0:  # a worker of the tests ends without a word: the folder is removed here
                os.unlink(path)
                os.rmdir(os.path.dirname(path))
                os._exit(0)
            if key.data is not None:
                choice.unregister(key.fd)
                os.close(key.fd)
                _ended(*key.data)
                continue
            client, _ = listening.accept()
            asked, files = _receive(client)
            pid = os.fork()
            if pid == 0:
                _become(asked, files)
                return choice, listening, client
            for file in files:
                os.close(file)
            client.sendall(f"{pid}\n".encode())
            choice.register(os.pidfd_open(pid), selectors.EVENT_READ, (client, pid))


def _ended(client: socket.socket, pid: int) -> None:
    _, status = os.waitpid(pid, 0)
    with client, contextlib.suppress(OSError):  # it may have given up
        client.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    _preload()
    from stoker.cli.main import program

    gc.freeze()
    kept = serve(sys.argv[1])
    program()
