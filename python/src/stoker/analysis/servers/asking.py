"""One question to a server: JSON there and back, patience for one that is busy, its own words when it refuses."""

from __future__ import annotations

import base64
import json
import netrc
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

from stoker.analysis.errors import Unreadable

TIMEOUT_S = 30.0
# How long a server that is busy (429, 502, 503, 504) is asked again, in seconds altogether.
PATIENCE_S = 30.0
MOST_BYTES = 256 * 1024 * 1024
# A server may ask for no pause at all, and be busy for as long as it likes.
LEAST_WAIT_S = 1.0
_BUSY = (429, 502, 503, 504)
_LONGEST_WORDS = 300


class Asker:
    """Asks one server. `login` is the value of its Authorization header, None without one; it goes nowhere else."""

    def __init__(self, url: str, login: str | None, next_step: str) -> None:
        self._url = url
        self._login = login
        self._next_step = next_step
        self._patience_s = PATIENCE_S

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """The JSON object that is answered to GET, or with a `body` to POST. Raises Unreadable."""
        while True:
            try:
                return self._once(path, body)
            except urllib.error.HTTPError as problem:
                with problem:
                    wait = max(LEAST_WAIT_S, _seconds(problem.headers.get("Retry-After")))
                    if problem.code not in _BUSY or wait > self._patience_s:
                        raise self._refused(problem) from problem
                self._patience_s -= wait
                time.sleep(wait)

    def _once(self, path: str, body: Mapping[str, Any] | None) -> Mapping[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json", "User-Agent": "stoker"}
        if data is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(self._url + path, data, headers)
        if self._login:
            # Not carried over to where a server redirects.
            request.add_unredirected_header("Authorization", self._login)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:
                text = reply.read(MOST_BYTES + 1)
        except urllib.error.HTTPError:
            raise
        except (OSError, HTTPException) as problem:
            why = getattr(problem, "reason", problem)
            raise Unreadable(f"{self._url} cannot be asked: {why}", next_step=self._next_step) from problem
        if len(text) > MOST_BYTES:
            raise Unreadable(f"{self._url} sends more than {MOST_BYTES >> 20} MiB at once")
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError) as problem:
            raise Unreadable(f"{self._url} said what is no JSON: {problem}", next_step=self._next_step) from problem
        if not isinstance(answer, dict):
            raise Unreadable(f"{self._url} said what is no JSON object", next_step=self._next_step)
        return answer

    def _refused(self, problem: urllib.error.HTTPError) -> Unreadable:
        said = words(problem.read(65536))
        return Unreadable(f"{self._url} refused ({problem.code}): {said or problem.reason}", next_step=self._next_step)


def words(data: bytes) -> str:
    """What an error says, in one line."""
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        told = None
    if isinstance(told, dict):
        listed = told.get("errors")
        first = listed[0] if isinstance(listed, list) and listed else told
        said = first.get("message", "") if isinstance(first, dict) else first
        return " ".join(str(said).split())[:_LONGEST_WORDS]
    return ""


def basic(user: str, password: str) -> str:
    """The header of a login by name and password."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def from_netrc(url: str, env: Mapping[str, str] = os.environ) -> tuple[str, str] | None:
    """User and password for this server from NETRC or ~/.netrc. Raises Unreadable when that file is wrong."""
    host = urllib.parse.urlsplit(url).hostname
    path = Path(env["NETRC"]) if env.get("NETRC") else Path.home() / ".netrc"
    try:
        found = netrc.netrc(str(path)).authenticators(host) if host and path.is_file() else None
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError) as problem:
        # The parser's words may hold what stands in the file.
        line = f" at line {problem.lineno}" if isinstance(problem, netrc.NetrcParseError) else ""
        raise Unreadable(f"{path} cannot be read{line}", next_step="correct it, or unset NETRC") from None
    return (found[0], found[2]) if found and found[2] else None


def next_page(answer: Mapping[str, Any], name: str, url: str, before: set[str]) -> str | None:
    """The token of the next page, None after the last. Raises Unreadable for one that came `before`."""
    page = answer.get(name) or None
    if page is None:
        return None
    if str(page) in before:
        raise Unreadable(
            f"{url} said what makes no sense: a page that it sent before comes next ('{name}' is the same)"
        )
    before.add(str(page))
    return str(page)


def objects(answer: Mapping[str, Any], name: str, url: str) -> list[Mapping[str, Any]]:
    """The objects in a list of an answer; none where it is left out. Raises Unreadable for anything else."""
    found = answer.get(name)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise Unreadable(f"{url} said what makes no sense: '{name}' is no list of objects")
    return found


def an_object(answer: Mapping[str, Any], name: str, url: str) -> Mapping[str, Any]:
    """An object in an answer; an empty one where it is left out. Raises Unreadable for anything else."""
    found = answer.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise Unreadable(f"{url} said what makes no sense: '{name}' is no object")
    return found


def _seconds(text: str | None) -> float:
    """What Retry-After asks for; it may be a date, too, for which the shortest wait does."""
    return float(text) if text and text.isascii() and text.isdecimal() else LEAST_WAIT_S
