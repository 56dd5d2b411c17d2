"""The sessions of a server's clients: who they say they are is handed on to the keeper, and each call has its id."""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Callable
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

from stoker.mcp.worker import Worker
from stoker.operations.policy import Caller

Context = ServerRequestContext[Any, Any]
_SEEN_EVERY_S = 30.0
_MOST = 200


class Sessions:
    """The sessions of one server. Over standard input there is one, which begins with the server.

    Over HTTP there is one for each token and each name of a client. More than 200 of them have none.
    """

    def __init__(
        self, worker: Worker, config: str | None, via: str, caller_of: Callable[[Context], Caller], own: Caller | None
    ) -> None:
        self._caller_of = caller_of
        self._keeper: socket.socket | None = worker.begin(
            {"keep": via, "via": via, "pid": os.getpid(), "config": config}
        )
        self._keeper.setblocking(False)
        self._ids: dict[tuple[str, str | None, str | None], str] = {}
        self._seen: dict[str, float] = {}
        self._own = _new_id() if own is not None else None
        self._named: tuple[str | None, str | None] = (None, None)
        if own is not None:
            self._tell({"id": self._own, "who": own.who, "client": None, "version": None})

    async def watch(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Middleware of the server: see who the client is, with each request, and after its `initialize`."""
        self.of(ctx)
        try:
            return await call_next(ctx)
        finally:
            if ctx.method == "initialize":
                self.of(ctx)

    def of(self, context: Context) -> str | None:
        """The id of the session of a request; None: it has none."""
        given = context.session.client_params
        client = (given.client_info.name, given.client_info.version) if given is not None else (None, None)
        if self._own is not None:
            if given is not None and client != self._named:
                self._named = client
                who = self._caller_of(context).who
                self._tell({"id": self._own, "who": who, "client": client[0], "version": client[1]})
            return self._own
        return self._of_many(self._caller_of(context).who, client)

    def _of_many(self, who: str, client: tuple[str | None, str | None]) -> str | None:
        if client == (None, None):
            return None
        key = (who, *client)
        now = time.monotonic()
        if key not in self._ids:
            if len(self._ids) >= _MOST:
                return None
            self._ids[key] = _new_id()
            self._tell({"id": self._ids[key], "who": who, "client": client[0], "version": client[1]})
            self._seen[self._ids[key]] = now
        found = self._ids[key]
        if now - self._seen[found] > _SEEN_EVERY_S:
            self._seen[found] = now
            self._tell({"seen": found})
        return found

    def _tell(self, line: dict[str, Any]) -> None:
        """Hand a line on. A keeper that is gone, or hangs, must not hold up the client."""
        if self._keeper is None:
            return
        try:
            self._keeper.sendall(json.dumps(line).encode() + b"\n")
        except OSError:
            self.close()

    def close(self) -> None:
        """The server ends, and its sessions with it."""
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None


def _new_id() -> str:
    return f"session-{secrets.token_hex(4)}"
