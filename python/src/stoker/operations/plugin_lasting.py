"""Plugins in a process that lasts: started and stopped with it, and told what changes. Each call is bounded."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from stoker.errors import StokerError
from stoker.operations import plugin_failures, plugin_loading
from stoker.operations.events import Event, EventStream, Question
from stoker.operations.plugin_hooks import PluginContext
from stoker.operations.plugin_loading import Installed, Plugins
from stoker.operations.session import Session
from stoker.operations.values import Problem
from stoker.paths import private_folder, state_dir

PATIENCE_S = 10.0
# So many events are handed over at a time; the rest at the next.
_AT_ONCE = 1000


class Lasting:
    """The plugins of one process that lasts. Not for several threads at a time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._plugins: Plugins = plugin_loading.load(session.config)
        self._started: list[Installed] = []
        self._hung: dict[str, threading.Thread] = {}

    def start(self) -> tuple[Problem, ...]:
        """Start each; what went wrong. One that did not start is told nothing, and offers its operations still."""
        problems = []
        for one in self._plugins.working:
            problem = self._call(one, "start", partial(self._hook, one, "stoker_start"))
            problems += [problem] if problem else []
            self._started += [] if problem else [one]
        return tuple(problems)

    def stop(self) -> tuple[Problem, ...]:
        """Stop each that had started, the last one first; what went wrong."""
        started, self._started = self._started[::-1], []
        found = [self._call(one, "stop", partial(self._hook, one, "stoker_stop")) for one in started]
        return tuple(problem for problem in found if problem)

    def tell(self) -> tuple[Problem, ...]:
        """Tell each that listens what changed since it was told last; what went wrong.

        An event on which a listener raises or hangs is not told to it again. While it hangs it is told nothing.
        """
        problems = []
        for one in self._started:
            if not self._plugins.has(one, "stoker_event"):
                continue
            if (thread := self._hung.get(one.name)) is not None and thread.is_alive():
                continue
            try:
                problem = self._tell(one, _Cursor(self._session, one.name))
            except (StokerError, OSError) as cause:
                problem = Problem(None, f"the plugin {one.name} could not be told what changed: {cause}", None)
            problems += [problem] if problem else []
        return tuple(problems)

    def _tell(self, one: Installed, cursor: _Cursor) -> Problem | None:
        events = iter(EventStream(self._session, Question(cursor.seen, None, (), None, None), False))
        failed, told, until = None, False, time.monotonic() + PATIENCE_S
        for _, event in zip(range(_AT_ONCE), events, strict=False):
            cursor.seen = event.seq
            said = self.hand(one, event)
            failed, told = said or failed, True
            if one.name in self._hung or time.monotonic() > until:
                break
        cursor.keep()
        if told and failed is None:
            plugin_failures.clear(one.name, "event")
        return failed

    def hand(self, one: Installed, event: Event) -> Problem | None:
        """Tell one plugin of one event; what went wrong."""
        return self._call(one, "event", partial(self._event, one, event))

    def _hook(self, one: Installed, hook: str, context: PluginContext) -> None:
        self._plugins.ask(one, hook, context=context)

    def _event(self, one: Installed, event: Event, context: PluginContext) -> None:
        self._plugins.ask(one, "stoker_event", context=context, event=event)

    def _call(self, one: Installed, where: str, act: Callable[[PluginContext], None]) -> Problem | None:
        """Call a hook and wait for it a while; what went wrong, which is kept for `stoker plugins`, too."""
        with plugin_loading.quiet():
            reason = self._bounded(one, act)
        if reason is not None:
            plugin_failures.note(one.name, where, reason)
            return Problem(None, f"the plugin {one.name} failed in {where}: {reason}", "stoker plugins")
        if where != "event":
            plugin_failures.clear(one.name, where)
        return None

    def _bounded(self, one: Installed, act: Callable[[PluginContext], None]) -> str | None:
        """Why it was no success; None: it was one."""
        raised: list[BaseException] = []

        def run() -> None:
            try:
                act(self._plugins.context(one, self._session))
            except BaseException as problem:  # noqa: BLE001  told by the thread that waits
                raised.append(problem)

        # It cannot be ended from outside, and must not keep this process from ending.
        thread = threading.Thread(target=run, name=f"plugin {one.name}", daemon=True)
        thread.start()
        thread.join(PATIENCE_S)
        self._hung.pop(one.name, None)
        if thread.is_alive():
            self._hung[one.name] = thread
            return f"it did not come back within {PATIENCE_S:.0f} s"
        return plugin_failures.reason_of(raised[0]) if raised else None


class _Cursor:
    """Up to which event a plugin was told, on this machine and of this store. At first: the newest there is."""

    def __init__(self, session: Session, plugin: str) -> None:
        folder = private_folder(private_folder(state_dir() / "plugins") / ".told")
        store = hashlib.sha256(str(session.store.url).encode()).hexdigest()[:16]
        self._file: Path = folder / f"{plugin}-{store}"
        try:
            self.seen = int(self._file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            self.seen = session.store.last_event()
            self.keep()

    def keep(self) -> None:
        """Keep it for the next process."""
        number, name = tempfile.mkstemp(dir=self._file.parent, prefix=".")
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(str(self.seen))
            file.flush()
            os.fsync(number)
        Path(name).replace(self._file)


@contextmanager
def lasting(session: Session, tell: Callable[[Problem], None]) -> Iterator[Lasting]:
    """The plugins while this process lasts: started, and stopped at the end. What goes wrong is told."""
    plugins = Lasting(session)
    for problem in plugins.start():
        tell(problem)
    try:
        yield plugins
    finally:
        for problem in plugins.stop():
            tell(problem)


def tell_once(session: Session) -> tuple[Problem, ...]:
    """Start the plugins that listen, tell them what changed, and stop them: for a process that makes one round."""
    problems: list[Problem] = []
    with lasting(session, problems.append) as plugins:
        problems += plugins.tell()
    return tuple(problems)
