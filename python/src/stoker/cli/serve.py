"""`stoker mcp`, the one command that is no operation: it offers the operations to others."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

COMMAND = "mcp"


def add_to(app: App, common: dict[str, Any]) -> None:
    """Add the command; `common` are the options of every command."""
    app.command(_mcp(common["inventory"], common["config"]), name=COMMAND)


def _mcp(inventory_option: Any, config_option: Any) -> Callable[..., int]:
    def mcp(
        *,
        http: bool = False,
        read_only: bool = False,
        listen: str = "127.0.0.1:8377",
        allow_host: Annotated[list[str] | None, Parameter(negative=())] = None,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
        client_ca: Path | None = None,
        inventory: Path | None = None,
        config: Path | None = None,
    ) -> int:
        """Serve an assistant by the Model Context Protocol, on standard input and output or over HTTP.

        Over HTTP each request needs a bearer token (stoker token add) and has its role. On standard input and output
        the role is that of `access.mcp` in stoker.yml: operate, by default.

        Args:
            http: Serve Streamable HTTP at /mcp instead.
            read_only: Offer nothing that changes anything, whoever asks.
            listen: Address and port for HTTP. Beyond this machine it needs TLS.
            allow_host: A name that clients may call this server by, beside those of this machine. Repeatable.
            tls_cert: Certificate, and those it hangs on, for HTTPS.
            tls_key: Its key.
            client_ca: Let only clients in whose certificate this authority signed.
        """
        # By name: stoker.mcp uses the renderers here, and so stands above this package.
        command = importlib.import_module("stoker.mcp.command")
        asked = command.Asked(
            inventory, config, read_only, http, listen, tuple(allow_host or ()), tls_cert, tls_key, client_ca
        )
        return int(command.serve(asked))

    mcp.__annotations__ |= {"inventory": inventory_option, "config": config_option}
    return mcp
