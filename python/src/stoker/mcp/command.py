"""`stoker mcp`: serves one client over standard input and output, or several over HTTP."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from stoker.errors import StokerError
from stoker.mcp.worker import Worker
from stoker.operations.policy import Caller, user
from stoker.operations.session import Session
from stoker.operations.values import Problem


@dataclass(frozen=True)
class Asked:
    """What the command line said."""

    inventory: Path | None
    config: Path | None
    read_only: bool
    http: bool
    listen: str
    allow_host: tuple[str, ...]
    tls_cert: Path | None
    tls_key: Path | None
    client_ca: Path | None


def serve(asked: Asked) -> int:
    """Serve until the client goes away, or a signal. Raises StokerError where it cannot begin."""
    # The settings first: what is wrong with them is said before anything is started.
    from stoker import config
    from stoker.operations import plugin_loading
    from stoker.operations.plugin_lasting import lasting

    settings = config.load(asked.config)
    wire = None if asked.http else _wire()
    # Before the worker: each call is to have them.
    plugin_loading.load(settings)
    named = [str(path.absolute()) if path is not None else None for path in (asked.inventory, asked.config)]
    worker, session = Worker(settings, wire), Session(asked.inventory, config_file=asked.config)
    try:
        _refuse_missing()
        with lasting(session, _warn):
            if wire is None:
                from stoker.mcp.http import serve_http

                return serve_http(asked, worker, named[0], named[1], settings)
            from stoker.mcp.stdio import serve_stdio

            role = "read" if asked.read_only else settings.access.mcp
            return serve_stdio(worker, named[0], named[1], settings, Caller(user(), role, "stdio"), wire)
    finally:
        session.close()
        worker.close()


def _wire() -> int:
    """The client's end, alone: whatever else is written to standard output from now on goes to standard error.

    Until the process ends, since what a plugin began may print at any time.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    return kept


def _warn(problem: Problem) -> None:
    sys.stderr.write(f"stoker: {problem.message}\n")
    sys.stderr.flush()


def _refuse_missing() -> None:
    import importlib.util

    if importlib.util.find_spec("mcp") is None:
        raise StokerError("stoker mcp needs the package mcp", next_step="pip install 'stoker[mcp]'")
