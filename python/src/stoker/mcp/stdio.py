"""One client, over standard input and output."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

import anyio
from mcp.server.stdio import stdio_server

from stoker.config import Config
from stoker.mcp.calls import Calls
from stoker.mcp.server import StokerServer
from stoker.mcp.sessions import Sessions
from stoker.mcp.worker import Worker
from stoker.operations.policy import Caller


def serve_stdio(
    worker: Worker, inventory: str | None, config: str | None, settings: Config, caller: Caller, wire: int
) -> int:
    """Serve until the client closes its end; 0. What is for the client is written to the descriptor `wire`."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    if sys.stdin.isatty():
        sys.stderr.write("stoker: this speaks with an assistant, which starts it by itself; Ctrl-C ends it\n")
    try:
        asyncio.run(_serve(worker, inventory, config, settings, caller, wire))
    except* BrokenPipeError:
        pass  # the client went away in the middle of an answer
    return 0


async def _serve(
    worker: Worker, inventory: str | None, config: str | None, settings: Config, caller: Caller, wire: int
) -> None:
    sessions = Sessions(worker, config, caller.via, lambda _context: caller, caller)
    server = StokerServer(Calls(worker, inventory, config), settings, lambda _context: caller, sessions).protocol
    try:
        # A thread may still write to it when this is over, so that it is not closed.
        out = anyio.wrap_file(os.fdopen(wire, "w", encoding="utf-8", newline="\n", closefd=False))
        async with stdio_server(stdout=out) as (read, write):
            await server.run(read, write, server.create_initialization_options())
    finally:
        sessions.close()
