"""`stoker mcp`: serves one client over standard input and output, or several over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stoker.errors import StokerError
from stoker.mcp.worker import Worker
from stoker.operations.policy import Caller, user


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

    rules = config.load(asked.config).access
    named = [str(path.absolute()) if path is not None else None for path in (asked.inventory, asked.config)]
    worker = Worker(rules)
    try:
        _refuse_missing()
        if asked.http:
            from stoker.mcp.http import serve_http

            return serve_http(asked, worker, named[0], named[1], rules)
        from stoker.mcp.stdio import serve_stdio

        role = "read" if asked.read_only else rules.mcp
        return serve_stdio(worker, named[0], named[1], rules, Caller(user(), role, "stdio"))
    finally:
        worker.close()


def _refuse_missing() -> None:
    import importlib.util

    if importlib.util.find_spec("mcp") is None:
        raise StokerError("stoker mcp needs the package mcp", next_step="pip install 'stoker[mcp]'")
