# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lease of a rented instance: it stops itself, with its own key, when nobody has asked it anything for too long.

``onstart`` is what the provider runs in the instance at each of its starts, so that the lease holds also when Stoker
never reaches it. ``renew`` is what each call of ``ctl`` does. An instance that stopped still costs its disk.
"""

from __future__ import annotations

import json
import os
import sys
import time

ALIVE = "alive"


def renew(state_path):
    """Somebody asked: where there is a lease, it begins again."""
    try:
        os.utime(os.path.join(state_path, ALIVE))
    except FileNotFoundError:
        pass


def onstart(lease_s, url, folder="~/.stoker"):
    """The text for the provider's ``onstart``, for /bin/sh, with python3 now or later. More may follow.

    ``lease_s``: seconds without a call of ``ctl``, by a clock that no one sets, until the instance asks to be stopped.
    ``url``: the provider's. ``folder``: Stoker's on the instance. Raises ValueError for a lease or an address that is
    none.
    """
    import base64
    import inspect
    import shlex
    import zlib

    if not lease_s > 0:
        raise ValueError("the lease of an instance is a number of seconds, more than 0, not {0!r}".format(lease_s))
    if not url.startswith(("https://", "http://127.0.0.1:")):
        raise ValueError("the provider's address begins with https://, since the instance's key goes there")
    parts = ["import json, os, sys, time", *(inspect.getsource(part) for part in (_say, _touched, _stop, _watch))]
    program = "\n".join([*parts, "_watch(float(sys.argv[1]), sys.argv[2], sys.argv[3])"])
    packed = base64.b64encode(zlib.compress(program.encode(), 9)).decode()
    code = "import base64,zlib;exec(zlib.decompress(base64.b64decode('{0}')))".format(packed)
    words = ["python3", "-I", "-c", code, str(lease_s), url.rstrip("/"), folder]
    return _TEXT.format(" ".join(shlex.quote(word) for word in words))


# In the background, deaf to a terminal that goes away, and again when something kills it.
# Python may come later, with the setup of the machine: it is waited for.
_TEXT = """command -v python3 >/dev/null || echo 'stoker: no python3 here yet: nothing stops this instance by itself'
(trap '' HUP; while :; do if command -v python3 >/dev/null; then {0}; fi; sleep 5; done) </dev/null &
"""


# What follows runs on the instance, on any Python 3, and is all that it has: each function is sent as it stands here.


def _say(text):
    sys.stdout.write("stoker: {0}\n".format(text))
    sys.stdout.flush()


def _touched(alive):
    try:
        return os.stat(alive).st_mtime_ns
    except OSError:
        return None


def _stop(url):
    import http.client
    import urllib.request

    address = "{0}/api/v0/instances/{1}/".format(url, os.environ.get("CONTAINER_ID"))
    key = os.environ.get("CONTAINER_API_KEY")
    headers = {"Authorization": "Bearer {0}".format(key), "Content-Type": "application/json"}
    request = urllib.request.Request(address, b'{"state": "stopped"}', headers, method="PUT")
    try:
        with urllib.request.build_opener().open(request, timeout=30) as answer:
            said = json.loads(answer.read(65536).decode())
    except (OSError, ValueError, http.client.HTTPException) as problem:
        return str(problem)
    return None if isinstance(said, dict) and said.get("success") is True else "it said no"


def _watch(lease_s, url, folder):
    folder = os.path.expanduser(folder)
    alive = os.path.join(folder, "alive")
    # The times of the file are the wall clock's, which may be set: they only show that something changed.
    seen, at, pause = _touched(alive), time.clock_gettime(time.CLOCK_BOOTTIME), 2
    while True:
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        touched = _touched(alive)
        if touched is None:
            try:  # who removes it has not asked anything
                os.makedirs(folder, mode=0o700, exist_ok=True)
                os.close(os.open(alive, os.O_CREAT | os.O_WRONLY, 0o600))
            except OSError as problem:
                _say(problem)
            seen = _touched(alive)
        elif touched != seen:
            seen, at, pause = touched, now, 2
        left = at + lease_s - now
        if left > 0:
            time.sleep(min(left, 5))
            continue
        problem = _stop(url)
        _say("nobody asked for {0:.0f} s, stop: {1}".format(now - at, problem or "accepted"))
        time.sleep(pause)
        pause = min(2 * pause, 60)
