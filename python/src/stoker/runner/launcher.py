"""The warm launcher: a process that has imported Ansible and forks for each run, so that a run need not import.

Started by `client.py` as ``python -P -m stoker.runner.launcher SOCKET PROGRAM FINGERPRINT``. It is single-threaded
and runs nobody's code itself: each request is run by a forked child (see `child.py`). It ends when idle for
STOKER_LAUNCHER_IDLE_S seconds (300), when code on disk is no longer what it imported, and on SIGTERM after its
children. A launcher that cannot start leaves the reason in SOCKET.failed.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import select
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from stoker.runner import client
from stoker.runner.proctree import kill_tree

_CHECK_CODE_S = 10.0
# What a child whose client has gone gets to end on SIGTERM, before it is killed with all it started.
_GRACE_S = 2.0
_LARGEST_REQUEST = 64 * 1024 * 1024
_HEADER = len(client.PROTOCOL) + 8


@dataclass
class _Connection:
    """One client. ``pid`` is its child's, 0 before there is one; ``gone`` is true when the client has left."""

    socket: socket.socket
    data: bytearray = field(default_factory=bytearray)
    files: list[int] = field(default_factory=list)
    request: dict[str, Any] | None = None
    pid: int = 0
    gone: bool = False
    kill_at: float | None = None

    def close(self) -> None:
        self.socket.close()
        for file in self.files:
            os.close(file)
        self.files = []


@dataclass
class Task:
    """What a forked child has to do: the request, and the descriptors for files 0, 1, 2 and the folder."""

    request: dict[str, Any]
    files: list[int]


class Server:
    """Serves one socket until it is idle, told to stop, or out of date."""

    def __init__(self, path: str, fingerprint: str, idle_s: float) -> None:
        self._path, self._fingerprint, self._idle_s = path, fingerprint, idle_s
        self._connections: dict[int, _Connection] = {}
        self._stopping = False
        self._last_use = self._last_check = time.monotonic()
        self._wake_r, self._wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._listener = self._listen()
        self._poll = select.poll()
        self._poll.register(self._listener, select.POLLIN)
        self._poll.register(self._wake_r, select.POLLIN)

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        fresh = f"{self._path}.{os.getpid()}"
        listener.bind(fresh)
        os.chmod(fresh, 0o600)
        listener.listen(128)
        listener.setblocking(False)
        self._inode = os.stat(fresh).st_ino
        os.rename(fresh, self._path)  # Replaces the socket of a launcher that was killed.
        return listener

    def run(self) -> Task | None:
        """Serve. Returns None at the end, and in each forked child the child's task."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._stop)
        for name in ("SIGHUP", "SIGINT"):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
        signal.set_wakeup_fd(self._wake_w, warn_on_full_buffer=False)
        while not self._finished():
            for number, _what in self._poll.poll(self._wait_ms()):
                if number == self._wake_r:
                    self._drain()
                elif not self._stopping and number == self._listener.fileno():
                    self._accept()
                elif number in self._connections:
                    task = self._readable(self._connections[number])
                    if task is not None:
                        return task
            self._reap()
            self._kill_overdue()
        self._close_listener()
        return None

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _finished(self) -> bool:
        now = time.monotonic()
        if self._connections:
            self._last_use = now
        elif self._stopping or now - self._last_use >= self._idle_s:
            return True
        if now - self._last_check >= _CHECK_CODE_S and not self._stopping:
            from stoker.runner.fingerprint import code_fingerprint

            self._last_check = now
            self._stopping = not self._is_ours() or code_fingerprint() != self._fingerprint
        if self._stopping:
            self._close_listener()
        return self._stopping and not self._connections

    def _is_ours(self) -> bool:
        """Whether the socket's name still leads here: its folder may have been removed."""
        try:
            return os.stat(self._path).st_ino == self._inode
        except OSError:
            return False

    def _wait_ms(self) -> float:
        until = [_CHECK_CODE_S, max(0.0, self._idle_s - (time.monotonic() - self._last_use))]
        until += [max(0.0, c.kill_at - time.monotonic()) for c in self._connections.values() if c.kill_at is not None]
        return 1000 * min(until) + 1

    def _drain(self) -> None:
        try:
            while os.read(self._wake_r, 4096):
                pass
        except BlockingIOError:
            pass

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except OSError:
            return  # The client left before it was accepted.
        credentials = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", credentials)[1] != os.getuid():
            accepted.close()
            return
        accepted.setblocking(False)
        self._connections[accepted.fileno()] = _Connection(accepted)
        self._poll.register(accepted, select.POLLIN)

    def _drop(self, connection: _Connection) -> None:
        number = connection.socket.fileno()
        self._connections.pop(number, None)
        if not connection.gone:
            self._poll.unregister(number)
        connection.close()

    def _readable(self, connection: _Connection) -> Task | None:
        try:
            data, files, _flags, _from = socket.recv_fds(connection.socket, 65536, 4)
        except BlockingIOError:
            return None
        except OSError:
            data, files = b"", []
        connection.files += files
        if not data:
            self._left(connection)
            return None
        connection.data += data
        if connection.pid:
            self._pass_signals(connection)
        elif connection.request is None:
            self._take_request(connection)
        elif connection.data[:1] == client.GO and len(connection.files) == 4:
            del connection.data[:1]
            return self._fork(connection)
        else:
            self._drop(connection)
        return None

    def _left(self, connection: _Connection) -> None:
        """The client closed, or was killed: its child must not outlive it."""
        if not connection.pid:
            self._drop(connection)
            return
        connection.gone = True
        self._poll.unregister(connection.socket)
        for number in (signal.SIGTERM, signal.SIGCONT):
            _send_group(connection.pid, number)
        connection.kill_at = time.monotonic() + _GRACE_S

    def _take_request(self, connection: _Connection) -> None:
        data = connection.data
        if len(data) < _HEADER:
            return
        size = int.from_bytes(data[_HEADER - 8 : _HEADER], "big")
        if data[: len(client.PROTOCOL)] != client.PROTOCOL or size > _LARGEST_REQUEST:
            self._drop(connection)
        elif len(data) == _HEADER + size:
            connection.request = marshal.loads(bytes(data[_HEADER:]))
            connection.data = bytearray()
            self._send(connection, client.READY)

    def _send(self, connection: _Connection, data: bytes) -> bool:
        try:
            connection.socket.send(data)
        except OSError:
            if not connection.pid:
                self._drop(connection)
            return False
        return True

    def _fork(self, connection: _Connection) -> Task | None:
        assert connection.request is not None
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            pid = os.fork()
        except OSError:
            self._send(connection, client.REFUSED)
            return None
        if pid == 0:
            return self._become_child(connection)
        connection.pid = pid
        for file in connection.files:
            os.close(file)
        connection.files = []
        self._send(connection, client.STARTED)
        return None

    def _become_child(self, connection: _Connection) -> Task:
        """In the child: let go of all that is the server's."""
        signal.set_wakeup_fd(-1)
        files = [os.dup(file) for file in connection.files]
        for other in self._connections.values():
            other.close()
        self._listener.close()
        for number in (self._wake_r, self._wake_w):
            os.close(number)
        request = connection.request
        assert request is not None
        self._connections = {}
        return Task(request, files)

    def _pass_signals(self, connection: _Connection) -> None:
        while len(connection.data) >= 2 and connection.data[:1] == client.SIGNAL:
            _send_group(connection.pid, connection.data[1])
            del connection.data[:2]

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for connection in list(self._connections.values()):
                if connection.pid == pid:
                    if not connection.gone:
                        self._send(connection, client.ENDED + status.to_bytes(4, "big"))
                    self._drop(connection)

    def _kill_overdue(self) -> None:
        for connection in self._connections.values():
            if connection.kill_at is not None and connection.kill_at <= time.monotonic():
                connection.kill_at = None
                kill_tree(connection.pid)

    def _close_listener(self) -> None:
        if self._listener.fileno() >= 0:
            if self._is_ours():
                os.unlink(self._path)
            self._poll.unregister(self._listener)
            self._listener.close()


def _send_group(pid: int, number: int) -> None:
    """Signal a child and its group. Ansible's workers lead groups of their own, and Ansible tells them itself."""
    for send in (os.killpg, os.kill):
        try:
            send(pid, number)
            return
        except ProcessLookupError:
            continue  # The child has not made its group yet, or is a zombie by now.


def _lock(path: str) -> bool:
    """Take the lock that only one launcher of a socket can hold. It lasts until this process ends."""
    number = os.open(path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(number)
        return False
    return True


def _idle_s() -> float:
    try:
        return float(os.environ.get("STOKER_LAUNCHER_IDLE_S", "") or 300)
    except ValueError:
        return 300.0


def main(path: str, program: str, fingerprint: str) -> None:
    """Import, serve, and end; in a child, run the request's program instead, which ends the process."""
    if not _lock(path):
        return
    from stoker.runner import child

    try:
        child.warm_up(program)
        server = Server(path, fingerprint, _idle_s())
    except BaseException as error:
        with open(path + ".failed", "w", encoding="utf-8") as file:
            file.write(f"{type(error).__name__}: {error}\n")
        raise
    os.chdir("/")
    task = server.run()
    if task is not None:
        child.become(task.request, task.files)
    else:
        _forget(path)


def _forget(path: str) -> None:
    for name in (path + ".failed", path + ".lock"):
        try:
            os.unlink(name)
        except FileNotFoundError:
            pass


if __name__ == "__main__":
    main(*sys.argv[1:])
