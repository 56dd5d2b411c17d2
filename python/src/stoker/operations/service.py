"""Being a service: what systemd is told, and the signals that end a loop."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def tell_systemd(*lines: str) -> None:
    """Send `READY=1`, `WATCHDOG=1`, `STATUS=...` to the manager that started this process; nothing where none did.

    One that does not listen is no reason to end: it has its own means to notice.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to, _unheard():
        to.sendto("\n".join(lines).encode(), address)


@contextmanager
def _unheard() -> Iterator[None]:
    try:
        yield
    except OSError:
        pass


def watchdog_s() -> float | None:
    """How long systemd waits for a sign of life of this process (WatchdogSec); None: it does not."""
    try:
        wait_s = int(os.environ["WATCHDOG_USEC"]) / 1e6
        meant = int(os.environ.get("WATCHDOG_PID") or os.getpid()) == os.getpid()
    except (KeyError, ValueError):
        return None
    return wait_s if meant and wait_s > 0 else None


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait until the block has ended, which is short. Outside of the main thread nothing comes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came = threading.Event()
    before = signal.signal(signal.SIGINT, lambda _number, _frame: came.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came.is_set():
            signal.raise_signal(signal.SIGINT)


@contextmanager
def ended_by(*signals: signal.Signals) -> Iterator[threading.Event]:
    """An event that these signals set, in place of what they do otherwise; Ctrl-C sets it besides what it does.

    Outside of the main thread, where Python takes no signals, it is never set.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(_number: int, _frame: FrameType | None) -> None:
        asked.set()

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        # Python drops an exception that is raised while it forks: the event is still there then.
        asked.set()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, ask) for number in signals}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, interrupt)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
