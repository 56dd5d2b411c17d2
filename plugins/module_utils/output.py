# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the output of a command goes.

By default stdout and stderr are the log file itself: no pipe that can break, the order exact. With ``split_output`` a
pump reads two pipes and writes each stream to its own file and both to out.log, in the order in which they became
readable; it needs a living recorder or pump.
"""

from __future__ import annotations

import os
import select
import signal
import time

from . import identity

STREAMS = ("stdout", "stderr")
RETRY_S = 1.0


def open_log(attempt, name):
    """Open a log to append, mode 0600."""
    return os.open(attempt.file(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


class Pump:
    """The process that copies two pipes into three files."""

    def __init__(self, attempt):
        self.attempt = attempt
        pairs = [os.pipe(), os.pipe()]
        self.readers = [pair[0] for pair in pairs]
        self.writers = [pair[1] for pair in pairs]
        self.pid = None

    def start(self):
        """Start it, or start it again: what waits in the pipes is not lost."""
        for fd in self.writers:
            os.close(fd)
        self.writers = []
        self._fork()

    def _fork(self):
        self.pid = os.fork()
        if self.pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                self._copy()
                os._exit(0)
            finally:
                os._exit(1)

    def take(self, statuses, ended):
        """Note reaped children: a pump that was killed while the command runs is replaced.

        One that came to the end of both pipes is not: the command closed them.
        """
        if self.pid in statuses:
            killed = statuses[self.pid] != 0
            self.pid = None
            if killed and not ended:
                self._fork()
                self.attempt.update_state(pump=identity.identify(self.pid))

    def drain(self, seconds):
        """Give the pump a moment to write what the ended command left in the pipes."""
        deadline = time.monotonic() + seconds
        while self.pid and time.monotonic() < deadline:
            done, _status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.pid = None
            time.sleep(0.01)

    def _copy(self):
        merged = _persist(open_log, self.attempt, "out.log")
        files = dict(zip(self.readers, (_persist(open_log, self.attempt, name + ".log") for name in STREAMS)))
        poll = select.epoll()
        for fd in files:
            os.set_blocking(fd, False)
            # Edge-triggered: the kernel then lists the pipes in the order in which they were written to.
            poll.register(fd, select.EPOLLIN | select.EPOLLHUP | select.EPOLLET)
        open_pipes = set(files)
        while open_pipes:
            for fd, _event in poll.poll():
                if fd in open_pipes and not self._copy_one(fd, files[fd], merged):
                    open_pipes.discard(fd)

    @staticmethod
    def _copy_one(source, own, merged):
        """Copy what one pipe holds; False at its end."""
        while True:
            try:
                data = os.read(source, 65536)
            except BlockingIOError:
                return True
            if not data:
                return False
            for target in (own, merged):
                _write_all(target, data)


class FifoPump(Pump):
    """A pump whose command opens its pipes by name: ``stdout`` and ``stderr`` in a folder that a container sees."""

    def __init__(self, attempt, folder, for_others):
        self.attempt = attempt
        self.pid = None
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self.readers = []
        for name in STREAMS:
            path = os.path.join(folder, name)
            os.mkfifo(path, 0o600)
            if for_others:
                os.chmod(path, 0o666)
            self.readers.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        # Held until the command is over, so that the pump does not see an end before the command opened them.
        self.writers = [os.open(os.path.join(folder, name), os.O_WRONLY) for name in STREAMS]

    def start(self):
        self._fork()

    def _copy(self):
        self.close()
        super()._copy()

    def close(self):
        """Let go of our ends: now the pump ends with the command's."""
        for fd in self.writers:
            os.close(fd)
        self.writers = []


def _write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[_persist(os.write, fd, view) :]


def _persist(act, *args):
    """Try until it works: while the disk is full, the output waits in the pipes, and the command with it."""
    while True:
        try:
            return act(*args)
        except OSError:
            time.sleep(RETRY_S)
