"""Several clients over Streamable HTTP, each with a bearer token; nothing is answered without one."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
import sys
import time
from collections.abc import Callable
from typing import Any

import anyio.to_thread
import uvicorn
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.provider import AccessToken
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.routing import Route

from stoker.config import Config
from stoker.errors import StokerError, UsageError
from stoker.mcp.calls import Calls
from stoker.mcp.command import Asked
from stoker.mcp.server import GONE, StokerServer
from stoker.mcp.sessions import Context, Sessions
from stoker.mcp.worker import Worker
from stoker.operations.access import digest_of
from stoker.operations.policy import Caller
from stoker.operations.session import Session
from stoker.store import Store

_LOG = logging.getLogger("stoker")
_PATH = "/mcp"
_LONGEST_TOKEN = 256
_THIS_MACHINE = ("127.0.0.1", "localhost", "[::1]")


def serve_http(asked: Asked, worker: Worker, inventory: str | None, config: str | None, settings: Config) -> int:
    """Serve until a signal; 0.

    Raises UsageError for an address that it must not serve on, StokerError for one that it cannot, and for certificates
    that are none.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    host, port = _address(asked)
    tls, listening = _tls(asked), _listening(asked.listen, host, port)
    session = Session(config_file=asked.config)
    try:
        server = uvicorn.Config(
            _application(asked, session.store, worker, Calls(worker, inventory, config), settings),
            host=host, port=port,
            log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=5, **tls,
        )  # fmt: skip
        if not session.store.tokens.list():
            print_line("there are no tokens yet, and nobody is let in without one: stoker token add NAME --role read")
        _Announced(server, f"http{'s' if asked.tls_cert else ''}://{asked.listen.rpartition(':')[0]}").run([listening])
    finally:
        session.close()
        listening.close()
    return 0


def print_line(text: str) -> None:
    """A line for the operator."""
    sys.stderr.write(f"stoker: {text}\n")
    sys.stderr.flush()


class _Announced(uvicorn.Server):
    """Says where it listens, once it does: with port 0 nobody knows before."""

    def __init__(self, settings: uvicorn.Config, address: str) -> None:
        super().__init__(settings)
        self._address = address

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            print_line(f"listening on {self._address}:{port}{_PATH}")


def _address(asked: Asked) -> tuple[str, int]:
    host, colon, port = asked.listen.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"--listen: {asked.listen!r} is not HOST:PORT", next_step="--listen 127.0.0.1:8377")
    if (asked.tls_cert is None) != (asked.tls_key is None):
        raise UsageError("--tls-cert and --tls-key belong together", next_step="give both")
    if asked.client_ca is not None and asked.tls_cert is None:
        raise UsageError("--client-ca needs --tls-cert and --tls-key", next_step="give all three")
    host = host.strip("[]")
    if not _is_this_machine(host) and asked.tls_cert is None:
        raise UsageError(
            f"--listen: {host} is reached from other machines, and tokens would pass in the clear",
            next_step="--tls-cert and --tls-key, or 127.0.0.1 and ssh -L",
        )
    for option, file in (
        ("--tls-cert", asked.tls_cert),
        ("--tls-key", asked.tls_key),
        ("--client-ca", asked.client_ca),
    ):
        if file is not None and not file.is_file():
            raise UsageError(f"{option}: there is no file {file}")
    return host, int(port)


def _listening(shown: str, host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # Of a name that has several addresses the old one: that is what clients try.
        family, _kind, _protocol, _name, address = min(found, key=lambda entry: entry[0])
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as problem:
        raise StokerError(
            f"--listen: nobody can listen on {shown}: {problem.strerror or problem}",
            next_step="another address or port: --listen 127.0.0.1:0 takes one that is free",
        ) from None


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _tls(asked: Asked) -> dict[str, Any]:
    if asked.tls_cert is None:
        return {}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # A key with a password is not asked for one: nobody may be there.
    _loaded("--tls-cert and --tls-key", context.load_cert_chain, asked.tls_cert, asked.tls_key, lambda: b"")
    if asked.client_ca is not None:
        _loaded("--client-ca", context.load_verify_locations, asked.client_ca)
    given: dict[str, Any] = {"ssl_certfile": str(asked.tls_cert), "ssl_keyfile": str(asked.tls_key)}
    if asked.client_ca is not None:
        given |= {"ssl_ca_certs": str(asked.client_ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}
    return given


def _loaded(options: str, load: Callable[..., None], *files: Any) -> None:
    try:
        load(*files)
    except (ssl.SSLError, OSError) as problem:
        why = getattr(problem, "reason", None) or problem.strerror or str(problem)
        raise StokerError(
            f"{options}: cannot be used: {why.replace('_', ' ').lower()}",
            next_step="PEM files: a certificate and its own key, without a password",
        ) from None


def _application(asked: Asked, store: Store, worker: Worker, calls: Calls, settings: Config) -> Starlette:
    def caller_of(context: Context) -> Caller:
        request: Any = context.request
        token: AccessToken = request.user.access_token
        role = "read" if asked.read_only else token.scopes[0]
        return Caller(token.client_id, role, "http")

    config = str(asked.config.absolute()) if asked.config is not None else None
    # Its socket closes with this process.
    sessions = Sessions(worker, config, "http", caller_of, None)
    server = StokerServer(calls, settings, caller_of, sessions).protocol
    names = (*_THIS_MACHINE, *asked.allow_host)
    scheme = "https" if asked.tls_cert is not None else "http"
    manager = StreamableHTTPSessionManager(
        server,
        # A page that a browser got elsewhere must not reach us: neither by its own name for this address, nor openly.
        security_settings=TransportSecuritySettings(
            enable_dns_rebinding_protection=True,
            allowed_hosts=[form for name in names for form in (name, f"{name}:*")],
            allowed_origins=[form for name in names for form in (f"{scheme}://{name}", f"{scheme}://{name}:*")],
        ),
    )
    guarded = RequireAuthMiddleware(_Watched(StreamableHTTPASGIApp(manager)), [], None)
    return Starlette(
        routes=[Route(_PATH, endpoint=guarded)],
        middleware=[
            Middleware(AuthenticationMiddleware, backend=BearerAuthBackend(_Verifier(store))),
            Middleware(AuthContextMiddleware),
        ],
        lifespan=lambda _app: manager.run(),
    )


class _Watched:
    """Notes with a request when its client has gone: the protocol goes on with what such a client asked."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope[GONE] = gone = asyncio.Event()

        async def received() -> Any:
            message = await receive()
            if message["type"] == "http.disconnect":
                gone.set()
            return message

        await self._app(scope, received, send)


class _Verifier:
    """Whose token it is. Asked anew with each request: one that was taken back is refused at once."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def verify_token(self, token: str) -> AccessToken | None:
        """The token's name and role; None for one that is unknown or expired."""
        if len(token) > _LONGEST_TOKEN:
            return None
        row = await anyio.to_thread.run_sync(self._store.tokens.of_digest, digest_of(token))
        if row is None:
            _LOG.warning("refused: a token that is unknown here")
            return None
        if row.expires_at is not None and row.expires_at <= time.time():
            _LOG.warning("refused: the token %s, which has expired", row.name)
            return None
        return AccessToken(token="", client_id=row.name, scopes=[row.role])
