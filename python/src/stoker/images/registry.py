"""The tags of an image, from its registry: the HTTP API v2, with its tokens and its pages."""

from __future__ import annotations

import json
import os
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

from stoker.errors import StokerError
from stoker.images.reference import DOCKER_HUB, Reference

TIMEOUT_S = 20.0
PAGE = 1000
MOST_PAGES = 100
MOST_BYTES = 8 * 1024 * 1024
# How long a registry that asks for patience (429) gets altogether, in seconds.
PATIENCE_S = 30.0
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_NEXT = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')


class RegistryError(StokerError):
    """A registry did not tell. The message names it and says why."""


def tags(reference: Reference) -> list[str]:
    """All tags of the image's repository. Raises RegistryError."""
    registry = _Registry(reference)
    url: str | None = f"/v2/{reference.repository}/tags/list?n={PAGE}"
    found: list[str] = []
    for _ in range(MOST_PAGES):
        if url is None:
            return found
        answer, url = registry.page(url)
        found += [tag for tag in answer.get("tags") or () if isinstance(tag, str)]
    raise RegistryError(f"{reference.registry} has no end of tags for {reference.repository}")


class _Registry:
    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self.base = f"{_scheme(reference.registry)}://{reference.registry}"
        self.authorization: str | None = None
        self.patience_s = PATIENCE_S

    def page(self, url: str) -> tuple[Mapping[str, Any], str | None]:
        """One page of tags, and where the next one is."""
        where = urllib.parse.urljoin(self.base, url)
        # A registry that sends us elsewhere would get the token, too.
        if not where.startswith(self.base + "/"):
            raise RegistryError(f"{self.reference.registry} names another host for its next page")
        body, headers = self._get(where)
        following = _NEXT.search(headers.get("Link") or headers.get("link") or "")
        if not isinstance(body, dict):
            raise RegistryError(f"{self.reference.registry} said what is no list of tags")
        return body, urllib.parse.urljoin(where, following[1]) if following else None

    def _get(self, url: str) -> tuple[Any, Mapping[str, str]]:
        asked_for_token = False
        while True:
            try:
                return self._fetch(url, self.authorization)
            except urllib.error.HTTPError as problem:
                with problem:
                    if problem.code == 401 and not asked_for_token:
                        asked_for_token = True
                        self.authorization = self._authorize(problem.headers.get("WWW-Authenticate") or "")
                    elif problem.code == 429:
                        self._wait(problem.headers.get("Retry-After"))
                    else:
                        raise self._refused(problem.code) from problem

    def _fetch(self, url: str, authorization: str | None) -> tuple[Any, Mapping[str, str]]:
        request = urllib.request.Request(url, headers={"Accept": "application/json", "User-Agent": "stoker"})
        if authorization:
            # Not carried over to where a registry redirects.
            request.add_unredirected_header("Authorization", authorization)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                data = answer.read(MOST_BYTES + 1)
                if len(data) > MOST_BYTES:
                    raise RegistryError(f"{self.reference.registry} sends more than 8 MiB at once")
                return json.loads(data), dict(answer.headers.items())
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError as problem:
            raise self._unreachable(problem.reason) from problem
        except (OSError, HTTPException, ssl.SSLError) as problem:
            raise self._unreachable(problem) from problem
        except ValueError as problem:
            raise RegistryError(f"{self.reference.registry} said what is no JSON: {problem}") from problem

    def _authorize(self, challenge: str) -> str:
        """What to say after a 401: the token that the challenge names the place of, or the login itself."""
        login = _login(self.reference.registry)
        kind, _, rest = challenge.partition(" ")
        if kind.lower() == "basic" and login:
            return f"Basic {login}"
        named = dict(_CHALLENGE.findall(rest))
        realm = named.get("realm", "")
        if kind.lower() != "bearer" or not realm:
            raise self._refused(401)
        if login and not realm.startswith("https://") and not realm.startswith(self.base):
            raise RegistryError(f"{self.reference.registry} wants the login sent to {realm} without TLS")
        query = {"service": named.get("service"), "scope": f"repository:{self.reference.repository}:pull"}
        query = {key: value for key, value in query.items() if value}
        joint = "&" if "?" in realm else "?"
        try:
            answer, _ = self._fetch(
                f"{realm}{joint}{urllib.parse.urlencode(query)}", f"Basic {login}" if login else None
            )
        except urllib.error.HTTPError as problem:
            with problem:
                raise self._refused(problem.code) from problem
        token = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else None
        if not isinstance(token, str):
            raise RegistryError(f"{self.reference.registry} gave no token")
        return f"Bearer {token}"

    def _wait(self, told: str | None) -> None:
        pause = float(told) if told and told.isdigit() else 2.0
        if pause > self.patience_s:
            raise RegistryError(
                f"{self.reference.registry} has had too many questions from here", next_step=f"ask again in {pause:g} s"
            )
        self.patience_s -= max(pause, 0.1)
        time.sleep(pause)

    def _refused(self, code: int) -> RegistryError:
        where = f"{self.reference.registry}/{self.reference.repository}"
        if code in (401, 403):
            login = f"docker login {self.reference.registry} on this machine"
            return RegistryError(f"{where}: the registry wants a login ({code})", next_step=login)
        if code == 404:
            return RegistryError(f"{where}: the registry has no such image (404)")
        return RegistryError(f"{where}: the registry answered {code}")

    def _unreachable(self, reason: object) -> RegistryError:
        said = getattr(reason, "strerror", None) or reason
        return RegistryError(f"{self.reference.registry} cannot be reached: {said}")


def _scheme(registry: str) -> str:
    """Plain HTTP only to this very machine, as the engines do."""
    host = registry.rpartition(":")[0] or registry
    return "http" if host in ("localhost", "127.0.0.1", "[::1]") else "https"


def _login(registry: str) -> str | None:
    """`user:password` as base64, from where `docker login` and `podman login` put it; None where there is none."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    docker = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    places = [Path(os.environ["REGISTRY_AUTH_FILE"])] if os.environ.get("REGISTRY_AUTH_FILE") else []
    places += [Path(runtime) / "containers/auth.json"] if runtime else []
    places.append(docker / "config.json")
    names = (
        ("https://index.docker.io/v1/", "docker.io") if registry == DOCKER_HUB else (registry, f"https://{registry}")
    )
    for place in places:
        try:
            kept = json.loads(place.read_text()).get("auths") or {}
        except FileNotFoundError:
            continue
        except (OSError, ValueError, AttributeError) as problem:
            raise RegistryError(f"{place} cannot be read: {problem}") from problem
        for name in names:
            auth = (kept.get(name) or {}).get("auth")
            if isinstance(auth, str) and auth:
                return auth
    return None
