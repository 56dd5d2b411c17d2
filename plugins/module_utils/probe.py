# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One look at a health endpoint, made on the node itself."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

TIMEOUT_S = 5.0


def http(url, timeout_s=TIMEOUT_S):
    """{ok, status, evidence, elapsed_s}: healthy is an answer of 200 to 399, within the time, to a GET."""
    began = time.monotonic()
    found = {"status": None, "problem": None}
    # An endpoint that sends a byte now and then never meets a socket's time limit: the whole look has one of its own.
    look = threading.Thread(target=_look, args=(url, timeout_s, found), daemon=True)
    look.start()
    look.join(timeout_s)
    status, problem = found["status"], found["problem"]
    if status is None and problem is None:
        problem = "gave no answer within {0:g} s".format(timeout_s)
    said = "answered {0}".format(status) if problem is None else problem
    return {
        "ok": problem is None and 200 <= status < 400,
        "status": status,
        "evidence": "{0} {1}".format(url, said),
        "elapsed_s": round(time.monotonic() - began, 3),
    }


def _look(url, timeout_s, found):
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    try:
        connection = kind(parts.hostname, parts.port, timeout=timeout_s)
        try:
            path = (parts.path or "/") + ("?" + parts.query if parts.query else "")
            connection.request("GET", path, headers={"User-Agent": "stoker", "Connection": "close"})
            found["status"] = connection.getresponse().status
        finally:
            connection.close()
    except ssl.SSLError as exc:
        found["problem"] = "refused TLS: {0}".format(exc)
    except socket.timeout:
        found["problem"] = "gave no answer within {0:g} s".format(timeout_s)
    except OSError as exc:
        found["problem"] = "cannot be reached: {0}".format(exc.strerror or exc)
    except HTTPException as exc:
        found["problem"] = "did not speak HTTP: {0}".format(type(exc).__name__)
