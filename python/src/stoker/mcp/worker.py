"""Where calls happen: each in a process of its own, forked from one that has everything imported.

A call that hangs, crashes or is given up by its client takes nothing with it, and one that is cancelled is interrupted
as Ctrl-C interrupts a command. The server itself stays free for its client.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from stoker.config import Config

# How long an interrupted call may take to end by itself: that of a round in its last steps.
_GRACE_S = 30.0
_CALL = b"call"


class Worker:
    """The process that forks one for each call. To be started before there are threads or an event loop.

    Of `settings` who may do what holds for each call as it is now, whatever becomes of the file. `wire` is the
    descriptor of the protocol, which no call has.
    """

    def __init__(self, settings: Config, wire: int | None = None) -> None:
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control = here
        self.pid = os.fork()
        if self.pid == 0:
            here.close()
            if wire is not None:
                os.close(wire)
            _become_quiet()
            _serve(there, settings)
        there.close()

    def begin(self, request: Mapping[str, Any]) -> socket.socket:
        """Begin a call; what it says comes from the socket, a JSON object a line. Closing that cancels the call.

        Raises OSError when the worker is gone.
        """
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with there:
            socket.send_fds(self._control, [_CALL], [there.fileno()])
        here.sendall(json.dumps(request).encode() + b"\n")
        return here

    def close(self) -> None:
        """End it; calls that are under way are interrupted when their sockets close."""
        self._control.close()
        os.waitpid(self.pid, 0)


def _become_quiet() -> None:
    """Standard input and output are the client's: nothing of a call may read or write there."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def _serve(control: socket.socket, settings: Config) -> NoReturn:
    for module in (
        "stoker.mcp.perform",
        "stoker.mcp.keeper",
        "stoker.store",
        "stoker.runner",
        "stoker.operations.views",
    ):
        importlib.import_module(module)
    while True:
        said, descriptors, _flags, _address = socket.recv_fds(control, len(_CALL), 1)
        if not said:
            os._exit(0)
        if os.fork() == 0:
            control.close()
            _call(socket.socket(fileno=descriptors[0]), settings)
        os.close(descriptors[0])


def _call(connection: socket.socket, settings: Config) -> NoReturn:
    """One call, from its request to its answer; ends this process."""
    from stoker.mcp.perform import perform

    os.setpgid(0, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    lines = connection.makefile("rb")
    request = json.loads(lines.readline())
    if "keep" in request:
        _keep(request, lines)
    threading.Thread(target=_interrupt_at_end, args=(lines.read,), daemon=True).start()

    def send(frame: Mapping[str, Any]) -> None:
        try:
            connection.sendall(json.dumps(frame).encode() + b"\n")
        except OSError:
            pass  # the client has gone, and the thread above knows

    code = 0
    try:
        answer = perform(request, lambda text: send({"say": text}), settings)
        # From here on the end of the socket is no news.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        send({"answer": answer})
    except KeyboardInterrupt:
        code = 130
    except BaseException:  # noqa: BLE001  the client is told, and the trace is the operator's
        traceback.print_exc()
        send({"broken": f"{type(sys.exc_info()[1]).__name__}: {sys.exc_info()[1]}"})
        code = 1
    sys.stderr.flush()
    os._exit(code)


def _keep(request: Mapping[str, Any], lines: Iterable[bytes]) -> NoReturn:
    """The note of a server's sessions; ends this process when the server ends."""
    from stoker.mcp.keeper import keep

    code = 0
    try:
        keep(request, lines)
    except BaseException:  # noqa: BLE001  nobody waits for it: the trace is the operator's
        traceback.print_exc()
        code = 1
    sys.stderr.flush()
    os._exit(code)


def _interrupt_at_end(read: Callable[[], bytes]) -> None:
    """Interrupt this call when its client gives it up; end it by force when that does not help."""
    read()
    os.killpg(os.getpgrp(), signal.SIGINT)
    time.sleep(_GRACE_S)
    os.killpg(os.getpgrp(), signal.SIGKILL)
