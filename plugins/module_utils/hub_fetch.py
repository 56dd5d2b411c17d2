# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fetches a repository of the Hugging Face hub to this node. Runs as the script of a job, and imports nothing of ours.

The environment says what: HUB_REPO, HUB_KIND (models, datasets), HUB_REVISION, HUB_FOLDER, HUB_ENDPOINT, and HF_TOKEN
where one is needed. Nothing is fetched before it is known that there is room for all of it. A file gets its name when
it has the size and the digest that the hub says; what is there is not fetched again, and a part is gone on from.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

BLOCK_BYTES = 1024 * 1024
TIMEOUT_S = 60.0
TRIES = 5
PAUSE_S = 2.0
LONGEST_PAUSE_S = 60.0
TELL_S = 5.0
ROOM_BYTES = 64 * 1024 * 1024
_PASSING = (408, 429, 500, 502, 503, 504)


class HubError(Exception):
    """What cannot be done, in one sentence that never holds the token."""


class _SameHost(urllib.request.HTTPRedirectHandler):
    """The token is for the hub: another host that it sends us to does not get it."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is not None and urllib.parse.urlsplit(newurl)[:2] != urllib.parse.urlsplit(req.full_url)[:2]:
            new.remove_header("Authorization")
        return new


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


_opener = urllib.request.build_opener(_SameHost)


class Hub:
    """One repository at one revision."""

    def __init__(self, endpoint, kind, repo, revision, token):
        self.endpoint, self.kind, self.repo, self.token = endpoint.rstrip("/"), kind, repo, token
        self.revision = revision

    def listing(self):
        """(commit, [(name, size, how its digest is made, digest)]). Raises HubError."""
        path = "/api/{0}/{1}/revision/{2}?blobs=true".format(
            self.kind, urllib.parse.quote(self.repo), urllib.parse.quote(self.revision, safe="")
        )
        with self._open(path) as answer:
            try:
                told = json.loads(answer.read())
                return _commit(told["sha"]), [_entry(each) for each in told["siblings"]]
            except (ValueError, KeyError, TypeError) as problem:
                raise HubError("the answer of {0} cannot be read: {1!r}".format(self.endpoint, problem)) from None

    def content(self, commit, name, start):
        """The bytes of a file from ``start`` on, as an answer to read from, and where they really begin."""
        path = "/{0}{1}/resolve/{2}/{3}".format(
            "datasets/" if self.kind == "datasets" else "", urllib.parse.quote(self.repo), commit,
            urllib.parse.quote(name),
        )  # fmt: skip
        answer = self._open(path, {"Range": "bytes={0}-".format(start)} if start else {})
        return answer, start if answer.status == 206 else 0

    def _open(self, path, more=None):
        headers = {"User-Agent": "stoker", "Accept-Encoding": "identity"}
        headers.update(more or {})
        request = urllib.request.Request(self.endpoint + path, headers=headers)
        if self.token:
            request.add_header("Authorization", "Bearer " + self.token)
        try:
            return _opener.open(request, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as problem:
            problem.close()
            if problem.code in (401, 403):
                raise HubError(
                    "{0} refuses {1} ({2}): it is private, gated or not there (next: export HF_TOKEN=..., and accept "
                    "its terms on its page)".format(self.endpoint, self.repo, problem.code)
                ) from None
            if problem.code == 404:
                what = "{0} at {1}".format(self.repo, self.revision)
                raise HubError("there is no {0} on {1}".format(what, self.endpoint)) from None
            raise


def _commit(told):
    if not re.fullmatch("[0-9a-f]{40}", str(told)):
        raise HubError("the hub names a commit {0!r}, which is none".format(str(told)[:100]))
    return str(told)


def _entry(told):
    name, lfs = str(told["rfilename"]), told.get("lfs")
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "" in parts or "\0" in name:
        raise HubError("the hub names a file {0!r}, which is no path within a repository".format(name))
    if lfs:
        return name, int(lfs["size"]), "sha256", str(lfs["sha256"])
    return name, int(told["size"]), "git", str(told["blobId"])


def digest_of(path, how, size):
    """SHA-256, or what git calls a blob of this content."""
    total = hashlib.sha256() if how == "sha256" else hashlib.sha1(b"blob %d\0" % size)
    with open(path, "rb") as source:
        for block in iter(lambda: source.read(BLOCK_BYTES), b""):
            total.update(block)
    return total.hexdigest()


def fetch(hub, folder):
    """Have the repository below ``folder``, whole; the folder of its commit. Raises HubError, OSError."""
    commit, entries = hub.listing()
    place = os.path.join(folder, "{0}--{1}".format(hub.kind, hub.repo.replace("/", "--")), commit)
    os.makedirs(place, mode=0o700, exist_ok=True)
    with open(place + ".lock", "w") as lock:
        # Of two jobs that fetch the same the second waits, and finds all of it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [entry for entry in entries if _size(os.path.join(place, entry[0])) != entry[1]]
        _require_room(place, missing)
        total, done, told = sum(entry[1] for entry in missing), 0, time.monotonic()
        say("{0} of {1} files to fetch, {2:,} bytes".format(len(missing), len(entries), total))
        for name, size, how, digest in missing:
            _fetch_file(hub, commit, os.path.join(place, name), name, size, how, digest)
            done += size
            if time.monotonic() - told > TELL_S:
                told = time.monotonic()
                say("{0:,} of {1:,} bytes".format(done, total))
    return place


def _require_room(place, missing):
    needed = sum(entry[1] - (_size(_part(os.path.join(place, entry[0]))) or 0) for entry in missing)
    free = shutil.disk_usage(place).free
    if needed + ROOM_BYTES > free:
        raise HubError(
            "it needs {0:,} bytes, and {1:,} are free in {2} (next: free some, or --to another folder)".format(
                needed, free, place
            )
        )


def _size(path):
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return None


def _part(path):
    return path + ".incomplete"


def _fetch_file(hub, commit, path, name, size, how, digest):
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    part = _part(path)
    for tried in range(1, TRIES + 1):
        pause = min(LONGEST_PAUSE_S, PAUSE_S * 2 ** (tried - 1))
        try:
            _append(hub, commit, name, part, size)
            if _size(part) == size and digest_of(part, how, size) == digest:
                os.rename(part, path)
                return
            why = "what came is not what the hub says it is"
            if _size(part) == size:
                os.unlink(part)  # going on from it would not help
        except urllib.error.HTTPError as problem:
            if problem.code not in _PASSING:
                raise HubError("{0}: {1} said {2}".format(name, hub.endpoint, problem.code)) from None
            why = "{0} said {1}".format(hub.endpoint, problem.code)
            said = problem.headers.get("Retry-After") or ""
            pause = min(LONGEST_PAUSE_S, float(said)) if said.isdigit() else pause
        except (urllib.error.URLError, ConnectionError, TimeoutError) as problem:
            why = str(getattr(problem, "reason", None) or problem)
        if tried < TRIES:
            say("{0}: {1}; again in {2:g} s".format(name, why, pause))
            time.sleep(pause)
    raise HubError("{0} could not be fetched: {1}".format(name, why))


def _append(hub, commit, name, part, size):
    """Read on from where the part ends."""
    import http.client

    start = _size(part) or 0
    if start == size and size:
        return
    if start > size:
        os.unlink(part)  # it is of another one of that name
        start = 0
    answer, start = hub.content(commit, name, start)
    with answer, open(part, "r+b" if start else "wb") as target:
        target.seek(start)
        target.truncate()
        try:
            _copy(answer, target, size - start)
        except http.client.IncompleteRead as problem:
            raise ConnectionError("the connection ended early") from problem
        finally:
            target.flush()
            os.fsync(target.fileno())


def _copy(answer, target, most):
    """Write what comes, ``most`` bytes at most: more is none of it."""
    while most > 0:
        block = answer.read(min(BLOCK_BYTES, most))
        if not block:
            return
        target.write(block)
        most -= len(block)


def token_of(said):
    """The token as it is sent: without the blanks and ends of lines about it; None: there is none. Raises HubError."""
    token = (said or "").strip()
    if not all("!" <= sign <= "~" for sign in token):
        raise HubError("HF_TOKEN holds what no token has: blanks, or signs that are not ASCII (next: set it again)")
    return token or None


def main():
    """Fetch what the environment says."""
    said = os.environ
    repo = said["HUB_REPO"]
    try:
        hub = Hub(
            said.get("HUB_ENDPOINT") or "https://huggingface.co", said["HUB_KIND"], repo, said["HUB_REVISION"],
            # Nothing that is started from here gets it.
            token_of(os.environ.pop("HF_TOKEN", None)),
        )  # fmt: skip
        place = fetch(hub, os.path.expanduser(said["HUB_FOLDER"]))
    except (HubError, OSError) as problem:
        say("{0} was not fetched: {1}".format(repo, problem))
        return 1
    except Exception as problem:  # noqa: BLE001  its text may hold a header, and with that the token
        say("{0} was not fetched: {1}".format(repo, type(problem).__name__))
        return 1
    say("ready: {0}".format(place))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
