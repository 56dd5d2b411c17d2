"""The process that writes a server's sessions down, and their end: also that of a server that was killed.

It is forked for that as a call is; its socket is its life line. When the server goes, however it goes, the socket
closes, and the sessions have ended.
"""

from __future__ import annotations

import json
import queue
import socket
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from stoker import credentials
from stoker.errors import StokerError
from stoker.operations.remembered import project_word
from stoker.operations.session import Session
from stoker.store.memory_rows import SessionRow

BEAT_S = 30.0
# A client on standard input is there as long as its server is; one over HTTP may be silent while it thinks.
_LEASE_S: Mapping[str, float] = {"stdio": 3 * BEAT_S, "http": 1800.0}
_LONGEST_NAME = 100


def keep(request: Mapping[str, Any], lines: Iterable[bytes]) -> None:
    """Write down what the lines of a server say of its sessions, until there are no more: then these have ended.

    `request` has `pid`, `via`, `config`. A line has `id`, `who`, `client` and `version`, or `seen`, an id.
    """
    said: queue.Queue[bytes | None] = queue.Queue()
    threading.Thread(target=_read, args=(lines, said), daemon=True).start()
    session = Session(config_file=Path(request["config"]) if request.get("config") else None)
    keeper = _Keeper(session, request)
    try:
        while True:
            try:
                line = said.get(timeout=BEAT_S)
            except queue.Empty:
                keeper.beat()
                continue
            if line is None:
                break
            keeper.take(json.loads(line))
        keeper.end()
    finally:
        session.close()


def _read(lines: Iterable[bytes], said: queue.Queue[bytes | None]) -> None:
    for line in lines:
        said.put(line)
    said.put(None)


class _Keeper:
    """The sessions of one server, as they are to be in the store."""

    def __init__(self, session: Session, request: Mapping[str, Any]) -> None:
        self._session, self._request = session, request
        self._rows: dict[str, SessionRow] = {}
        self._unwritten: set[str] = set()
        self._complained = False

    def take(self, line: Mapping[str, Any]) -> None:
        """What one line says."""
        if "seen" in line:
            self._write([str(line["seen"])])
            return
        now, via = time.time(), str(self._request["via"])
        old = self._rows.get(line["id"])
        self._rows[line["id"]] = SessionRow(
            line["id"], via, line["who"], _name(line["client"]), _name(line["version"]), project_word(None),
            socket.gethostname(), int(self._request["pid"]), _LEASE_S[via], old.started_at if old else now, now, None,
        )  # fmt: skip
        self._unwritten.add(line["id"])
        self._write([])

    def beat(self) -> None:
        """A client on standard input is still there."""
        self._write(list(self._rows) if self._request["via"] == "stdio" else [])

    def end(self) -> None:
        """The server has gone."""
        self._try(lambda: self._session.store.sessions.end(list(self._rows)))

    def _write(self, seen: list[str]) -> None:
        """Write down what is new or was not written before, for the store was away; and that these are there."""
        for name in list(self._unwritten):
            row = replace(self._rows[name], seen_at=time.time())
            if self._try(lambda row=row: self._session.store.sessions.begin(row)):
                self._unwritten.discard(name)
        if seen:
            self._try(lambda: self._session.store.sessions.seen(seen))

    def _try(self, act: Any) -> bool:
        """Whether it went well. The client has no part in it: that it did not is said once, to the operator."""
        try:
            act()
        except StokerError as problem:
            if not self._complained:
                sys.stderr.write(f"stoker: this session cannot be written down: {problem.message}\n")
            self._complained = True
            return False
        self._complained = False
        return True


def _name(text: Any) -> str | None:
    """What a client calls itself, as it may be kept."""
    return str(credentials.redacted(str(text)[:_LONGEST_NAME])) if text else None
