# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One request to the provider and its answer: JSON, or a VastError that says of what kind. Nothing is repeated here."""

from __future__ import annotations

import functools
import json
import re
import time
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener

from ansible.module_utils.urls import make_context

from ..terminal_text import safe_text
from .errors import VastError

_MOST_BYTES = 64 << 20
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
# What the provider calls an instance that it does not have, and an offer that cannot be had (any more).
_GONE = ("no_such_instance", "not_found")
_THRESHOLD = re.compile(r"threshold\s*=\s*([0-9]+(?:\.[0-9]+)?)")
# Failures to get a connection at all, by the names of their classes: the request never left.
_NO_CONNECTION = ("ConnectionRefusedError", "gaierror", "SSLCertVerificationError")


def check_url(url):
    """The address of the service without a slash at its end. Raises VastError: the key goes by https, or stays here."""
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query or parts.fragment or not parts.hostname:
        raise VastError("the address of vast.ai is no plain address: {0}".format(_line(url)), "refused", sent=False)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise VastError("the address of vast.ai has to be https: {0}".format(_line(url)), "refused", sent=False)
    return url.rstrip("/")


def send(method, url, key=None, body=None, timeout_s=30.0):
    """(status, headers, bytes) of the answer, whatever its status. Raises VastError (unanswered, or never sent).

    ``timeout_s`` holds for the whole answer. No redirect is followed, no netrc is read: the key goes nowhere else.
    """
    request = Request(url, method=method, headers={"Accept": "application/json", "User-Agent": "stoker"})
    if key is not None:
        request.add_unredirected_header("Authorization", "Bearer " + key)
    if body is not None:
        request.add_header("Content-Type", "application/json")
        request.data = json.dumps(body).encode("utf-8")
    until = time.monotonic() + timeout_s
    try:
        answer = _opener(request.host.partition(":")[0] in _LOOPBACK).open(request, timeout=timeout_s)
    except HTTPError as problem:
        answer = problem
    except (URLError, OSError, HTTPException, ValueError) as problem:
        raise _unanswered(method, url, problem) from None
    try:
        with answer:
            return answer.status, answer.headers, _read(answer, until)
    except (OSError, HTTPException, ValueError) as problem:
        raise _unanswered(method, url, problem) from None


class _NoRedirect(HTTPRedirectHandler):
    """What sends elsewhere is an answer like any other."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        return None


@functools.lru_cache(maxsize=None)
def _opener(here):
    """An opener of our own: Ansible's becomes the one of the whole process. ``here``: this machine needs no proxy."""
    proxies = ProxyHandler({}) if here else ProxyHandler()
    # Certificates are checked, as Ansible does it.
    return build_opener(proxies, HTTPSHandler(context=make_context()), _NoRedirect())


def _read(answer, until):
    parts, size = [], 0
    while True:
        part = answer.read(65536)
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
        if size > _MOST_BYTES:
            raise ValueError("the answer is longer than 64 MiB")
        if time.monotonic() > until:
            raise ValueError("the answer did not end in time")


def _unanswered(method, url, problem):
    reason = getattr(problem, "reason", None)
    cause = reason if isinstance(reason, BaseException) else problem
    never = type(cause).__name__ in _NO_CONNECTION
    words = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    place = "{0} {1}{2}".format(method, urlsplit(url).hostname, urlsplit(url).path)
    if never:
        return VastError("vast.ai cannot be reached ({0}): {1}".format(place, _line(words)), "unanswered", sent=False)
    return VastError("no answer of vast.ai ({0}): {1}".format(place, _line(words)), "unanswered")


def document(method, path, status, headers, data):
    """What an answer says, as JSON. Raises VastError where it says no, or nothing of the contract."""
    text = data.decode("utf-8", "replace")
    try:
        body = json.loads(text, parse_constant=_no_number) if text.strip() else None
    except ValueError:
        body = None
    said = body if isinstance(body, dict) else {}
    if 200 <= status < 300 and body is not None and said.get("success") is not False and not said.get("error"):
        return body
    place = "{0} {1}".format(method, path)
    if status == 429:
        raise _too_frequent(place, headers, text, said)
    words, code = _words(said), said.get("error") if isinstance(said.get("error"), str) else None
    contract = said.get("new_contract")
    contract = contract if isinstance(contract, int) and not isinstance(contract, bool) else None
    if status >= 500:
        message = "vast.ai failed ({0}): {1} {2}".format(place, status, words).rstrip()
        raise VastError(message, "unanswered", status, code, instance=contract)
    if not said and status in (404, 410) and "no_such_ask" in text:
        words = _line(text)
    elif not said:
        shown = _line(text, 80) or "nothing"
        raise VastError(
            "vast.ai answered what cannot be read ({0}): {1}, {2}".format(place, status, shown), "unreadable", status
        )
    kind = _kind(status, code, words)
    message = "vast.ai said no ({0}): {1} {2}".format(place, status, words or _line(code or "without a reason"))
    raise VastError(message, kind, status, code, instance=contract)


def _no_number(word):
    raise ValueError("{0} is no number of JSON".format(word))


def _kind(status, code, words):
    # A bad key is a 404 of some endpoints: what the body says counts, not the number.
    if code == "auth_error" or status == 401 or "session expired" in words.lower():
        return "auth"
    if "no_such_ask" in "{0} {1}".format(code, words):
        return "taken"
    if code in _GONE:
        return "gone"
    return "unreadable" if 300 <= status < 400 else "refused"


def _words(said):
    for name in ("msg", "message", "detail", "error"):
        if isinstance(said.get(name), str) and said[name].strip():
            return _line(said[name])
    return ""


def _too_frequent(place, headers, text, said):
    code = said.get("error") if isinstance(said.get("error"), str) else None
    if code == "search_quota_exceeded":
        words = "the provider allows no more searches today ({0})".format(place)
        # 00:00 UTC by the documentation; the header says it of this account.
        return VastError(words, "quota", 429, code, retry_after_s=_until(headers.get("X-RateLimit-Reset")))
    named = _seconds(headers.get("Retry-After"))
    if named is None or named > 60:
        found = _THRESHOLD.search(text)
        named = float(found.group(1)) if found else None
    return VastError("vast.ai was asked too often ({0})".format(place), "busy", 429, code, retry_after_s=named)


def _seconds(text):
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if 0 <= value < 1e12 else None


def _until(text):
    """Seconds until a moment that is given as seconds since the epoch, or as seconds from now."""
    value = _seconds(text)
    return max(0.0, value - time.time()) if value is not None and value > 1e9 else value


def _line(text, limit=300):
    return safe_text(" ".join(str(text).split()), limit)
