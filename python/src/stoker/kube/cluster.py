"""One API server, asked through the official client, each time with a limit; what goes wrong is a typed error.

Answers are read as JSON, not as the client's models: a field that a model does not expect would take a whole list with
it, and its models of all kinds take two seconds to import.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, TypeGuard
from urllib.parse import urlsplit

from stoker.errors import StokerError
from stoker.kube import credentials as who
from stoker.kube.errors import Gone, KubeError, Refused, Unreachable, Untrusted, Unusable, of_status
from stoker.kube.kubeconfig import Context
from stoker.kube.said import mapped
from stoker.redaction import redact

PAGE = 500
# One question may take so long, in seconds, even where there is more time.
ONE_ASK_S = 30.0
MOST_BYTES = 128 << 20
_CHUNK = 1 << 18
# What it gets beyond the deadline to say itself what it waited for.
_GRACE_S = 0.25
# How often a list is begun again whose pages ran out.
_RESTARTS = 5
_MOST_WORDS = 500
# The hosts that are this machine, and what kubectl takes for a proxy.
_HERE = ("localhost", "127.0.0.1", "::1")
_PROXIES = ("http", "https", "socks5")
_JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"

Query = Sequence[tuple[str, str]]


def client_library() -> Any:
    """The official client. Raises StokerError where it is not installed."""
    try:
        import kubernetes.client as library
    except ImportError:
        raise StokerError(
            "the Kubernetes client is not installed", next_step="pip install 'stoker[kubernetes]'"
        ) from None
    return library


class Cluster:
    """The API server of a context. Whoever made it closes it. `deadline`: monotonic seconds; nothing lasts longer.

    `stop`: set by a caller that waits no more. Raises KubeError, StokerError where the client is not installed.
    """

    def __init__(self, context: Context, deadline: float, stop: threading.Event | None = None) -> None:
        self.name = context.name
        self.deadline = deadline
        self._context, self._stop = context, stop
        self._open: list[int] = []
        if context.problem is not None:
            raise Unusable(context.name, context.problem)
        self._library = client_library()
        self._api: Any = None
        self._renewable = False
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give connections and keys back."""
        if getattr(self, "_api", None) is not None:
            self._api.rest_client.close()
        while self._open:
            os.close(self._open.pop())

    def get(self, path: str, names: Mapping[str, str] | None = None, query: Query = ()) -> dict[str, Any]:
        """What is at this path. `names` fill the `{name}`s in it."""
        return self._asked("GET", path, names, query)

    def patch(self, path: str, names: Mapping[str, str], body: Mapping[str, Any]) -> dict[str, Any]:
        """Merge `body` into what is at this path (a JSON merge patch)."""
        return self._asked("PATCH", path, names, (), dict(body))

    def listed(
        self, path: str, names: Mapping[str, str] | None = None, query: Query = (),
        told: Callable[[int], None] | None = None,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """All items of a list, page by page. `told` gets their number as they come.

        One whose pages ran out (410) is begun again, so that the items are those of one moment.
        """
        for again in range(_RESTARTS):
            try:
                return self._pages(path, names, query, told)
            except Gone:
                if again == _RESTARTS - 1:
                    raise
        raise AssertionError

    def _pages(
        self, path: str, names: Mapping[str, str] | None, query: Query, told: Callable[[int], None] | None
    ) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        following = ""
        while True:
            more = [("continue", following)] if following else []
            page = self.get(path, names, [*query, ("limit", str(PAGE)), *more])
            items = page.get("items")
            if items is None and "items" in page:
                items = []  # how Go writes an empty list
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                raise Unreachable(self.name, f"{path} answered what is no list")
            found += items
            if told is not None:
                told(len(found))
            following = str(mapped(page.get("metadata")).get("continue") or "")
            if not following:
                return found

    def _connect(self) -> None:
        """Set the client up with credentials as they are now."""
        given = who.credentials(self._context, self.deadline, self._stop)
        cluster = self._context.cluster
        said = cluster.said if cluster is not None else {}
        server = (self._context.server or "").rstrip("/")
        scheme, host = self._address("server", server, ("http", "https"))
        proxy = said.get("proxy-url") or None
        if proxy is not None:
            self._address("proxy-url", proxy, _PROXIES)
        if scheme == "http" and given.secret and (host not in _HERE or proxy is not None):
            raise Unusable(
                self.name, f"its credentials would be sent without TLS{', through its proxy' if proxy else ''}",
                next_step="an https:// server",
            )  # fmt: skip
        settings = self._library.Configuration()
        settings.host = server
        settings.retries = False  # what is asked again, and when, is said here
        settings.verify_ssl = said.get("insecure-skip-tls-verify") is not True
        if not settings.verify_ssl:
            import urllib3

            # Whoever wrote the kubeconfig knows; it would be said for each question.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        trusted = who.authority(self._context)
        if isinstance(trusted, Path):
            settings.ssl_ca_cert = str(trusted)
        elif trusted is not None:
            settings.ca_cert_data = trusted.decode(errors="replace")
        if given.certificate is not None and given.key is not None:
            settings.cert_file, settings.key_file = self._file(given.certificate), self._file(given.key)
        elif given.certificate is not None or given.key is not None:
            raise Unusable(self.name, "its user has a client certificate without its key, or the key alone")
        settings.tls_server_name = str(said["tls-server-name"]) if said.get("tls-server-name") else None
        if proxy is not None or (scheme == "http" and host in _HERE):
            # The client would take a proxy of the environment even for this machine, and show it what is sent.
            settings.proxy = proxy
        if given.token is not None:
            settings.api_key["BearerToken"] = f"Bearer {given.token}"
        elif given.basic is not None:
            import urllib3

            spelled = urllib3.util.make_headers(basic_auth=":".join(given.basic))
            settings.api_key["BearerToken"] = spelled["authorization"]
        try:
            self._api = self._library.ApiClient(settings)
        except ImportError:
            raise Unusable(self.name, "its proxy-url takes PySocks", next_step="pip install PySocks") from None
        self._api.user_agent = "stoker"
        for name, value in given.headers.items():
            self._api.set_default_header(name, value)
        self._renewable = given.renewable

    def _address(self, what: str, said: Any, schemes: Sequence[str]) -> tuple[str, str]:
        """Scheme and host of an address. Raises Unusable for what is none."""
        try:
            parts = urlsplit(said if isinstance(said, str) else "")
            # To ask for the port is what reads it.
            if parts.scheme in schemes and parts.hostname and parts.port != 0:
                return parts.scheme, parts.hostname
        except ValueError:
            pass
        raise Unusable(self.name, f"its {what} {redact(str(said))!r} is no address")

    def _file(self, part: Path | bytes) -> str:
        """A name that the TLS library can open: it takes certificates from files alone. No key is written to a disk."""
        if isinstance(part, Path):
            return str(part)
        number = os.memfd_create("stoker-kube", os.MFD_CLOEXEC)
        self._open.append(number)
        with open(number, "wb", closefd=False) as file:
            file.write(part)
        return f"/proc/self/fd/{number}"

    def _asked(
        self, method: str, path: str, names: Mapping[str, str] | None, query: Query,
        body: dict[str, Any] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """The answer; asked again where the server says when (Retry-After), and once with new credentials."""
        renewed = False
        while True:
            answer, data = self._in_time(method, path, names, query, body)
            status, waits = answer.status, answer.headers.get("Retry-After")
            if 200 <= status <= 299:
                return self._document(path, data)
            if status == 401 and self._renewable and not renewed:
                renewed = True
                self.close()
                self._connect()
            elif _is_seconds(waits) and (status == 429 or (status >= 500 and method == "GET")):
                # Only 429 says that nothing came of it; what was perhaps written is not written once more here.
                self._wait(float(waits), status)
            else:
                raise self._problem(status, data, path)

    def _in_time(
        self, method: str, path: str, names: Mapping[str, str] | None, query: Query, body: dict[str, Any] | None
    ) -> tuple[Any, bytes]:
        """The answer and its body, by the deadline: one whose head comes byte by byte outlasts the limit of each read.

        It is asked in a thread, which then is given up.
        """
        come: Future[tuple[Any, bytes]] = Future()

        def ask() -> None:
            try:
                answer = self._sent(method, path, names, query, body)
                come.set_result((answer, self._read(answer)))
            except BaseException as problem:  # noqa: BLE001 - it is raised where it is waited for
                come.set_exception(problem)

        threading.Thread(target=ask, daemon=True).start()
        try:
            return come.result(max(0.0, self.deadline - time.monotonic()) + _GRACE_S)
        except TimeoutError:
            raise Unreachable(self.name, "it does not answer in time") from None

    def _sent(
        self, method: str, path: str, names: Mapping[str, str] | None, query: Query, body: dict[str, Any] | None
    ) -> Any:
        import urllib3

        headers = {"Accept": _JSON} | ({"Content-Type": MERGE_PATCH} if body is not None else {})
        request = self._api.param_serialize(
            method, path, dict(names or {}), list(query), headers, body, auth_settings=["BearerToken"]
        )
        limit = max(0.01, min(self.deadline - time.monotonic(), ONE_ASK_S))
        try:
            return self._api.call_api(*request, _request_timeout=(limit, limit)).response
        except self._library.ApiException as problem:
            raise Untrusted(self.name, _of_tls(str(problem.reason))) from None
        except (urllib3.exceptions.HTTPError, OSError) as problem:
            raise Unreachable(self.name, _in_words(problem)) from None
        except ValueError:
            # It may be of a header, and would show it.
            raise Unusable(self.name, "its credentials or its server cannot be put into a request") from None

    def _read(self, answer: Any) -> bytes:
        """The body, of a size and within a time."""
        import urllib3

        data = bytearray()
        try:
            while chunk := answer.read1(_CHUNK):
                data += chunk
                if len(data) > MOST_BYTES:
                    raise Unreachable(self.name, f"it sends more than {MOST_BYTES >> 20} MiB at once")
                if self._late():
                    raise Unreachable(self.name, "its answer did not end in time")
        except (urllib3.exceptions.HTTPError, OSError) as problem:
            raise Unreachable(self.name, f"its answer broke off: {_in_words(problem)}") from None
        finally:
            # One that was not read to its end would be the answer to the next question.
            answer.close()
        return bytes(data)

    def _document(self, path: str, data: bytes) -> dict[str, Any]:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise Unreachable(self.name, f"{path} answered what is no JSON of Kubernetes")
        return document

    def _late(self) -> bool:
        return time.monotonic() > self.deadline or (self._stop is not None and self._stop.is_set())

    def _wait(self, pause: float, status: int) -> None:
        """As long as the server asks for. Raises Failing where that is longer than there is time."""
        if time.monotonic() + pause > self.deadline:
            raise of_status(status)(self.name, f"it has too much to do ({status})", next_step=f"in {pause:g} s again")
        (self._stop or threading.Event()).wait(max(pause, 0.1))

    def _problem(self, status: int, data: bytes, path: str) -> KubeError:
        kind = of_status(status)
        said = _message(data)
        if kind is Refused:
            return Refused(self.name, "it refused the credentials (401)", next_step="log in to the cluster again")
        words = {403: "it does not allow that", 404: "it has no such thing", 410: "its list ran out"}
        plain = words.get(status, "it answered an error")
        return kind(self.name, f"{plain} ({status}{f': {said}' if said else f' for {path}'})")


def _is_seconds(text: str | None) -> TypeGuard[str]:
    return text is not None and text.isascii() and text.isdecimal()


def _message(data: bytes) -> str:
    """What an object Status says."""
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    text = said.get("message") if isinstance(said, dict) else None
    return redact(" ".join(text.split()))[:_MOST_WORDS] if isinstance(text, str) else ""


def _of_tls(reason: str) -> str:
    """`[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed ... (_ssl.c:1006)`, in words."""
    flat = " ".join(reason.split())
    if "certificate verify failed: " in flat:
        return (
            "its certificate is not to be trusted: " + flat.partition("certificate verify failed: ")[2].split(" (")[0]
        )
    said = flat.split("] ", 1)[-1].split(" (_ssl")[0].strip("()' ")
    return f"no TLS connection: {said}"


def _in_words(problem: BaseException) -> str:
    """What the HTTP library says, without the names of its objects."""
    name = type(problem).__name__
    if name == "ProxyError":
        return f"its proxy: {_in_words(problem.original_error)}"  # type: ignore[attr-defined]
    if name in ("ConnectTimeoutError", "ReadTimeoutError", "TimeoutError"):
        return "it does not answer in time"
    if name == "NameResolutionError":
        return "its name cannot be resolved"
    inner = problem.__cause__ or problem.__context__
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    if name in ("IncompleteRead", "ProtocolError", "InvalidChunkLength"):
        return "the connection was cut"
    return redact(" ".join(str(problem).split()))[:_MOST_WORDS] or name
