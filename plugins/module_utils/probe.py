# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One look at a health endpoint, made on the node itself."""

from __future__ import annotations

import os
import re
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
    except ValueError as exc:
        found["problem"] = "is no address: {0}".format(exc)
    except HTTPException as exc:
        found["problem"] = "did not speak HTTP: {0}".format(type(exc).__name__)


# -- whose endpoint it is -----------------------------------------------------------------------------------------


def answering_job(url):
    """The job whose process listens where ``url`` points to on this node; None where that is not known.

    By the listening socket and the environment that every process of a job has.
    """
    parts = urlsplit(url)
    if parts.hostname not in ("localhost", "127.0.0.1", "::1", socket.gethostname()):
        return None
    inodes = _listening(parts.port or (443 if parts.scheme == "https" else 80))
    for name in os.listdir("/proc") if inodes else ():
        if name.isdigit() and _holds(name, inodes):
            return _job_of(name)
    return None


def _listening(port):
    """The sockets that listen on a port, by their numbers, as links in /proc name them."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as handle:
                rows = [line.split() for line in handle][1:]
        except OSError:
            continue
        # 0A: listening.
        found |= {"socket:[{0}]".format(r[9]) for r in rows if r[3] == "0A" and r[1].endswith(":{0:04X}".format(port))}
    return found


def _holds(pid, sockets):
    folder = "/proc/{0}/fd".format(pid)
    try:
        return any(_link(folder + "/" + name) in sockets for name in os.listdir(folder))
    except OSError:
        return False  # gone, or another user's


def _link(path):
    try:
        return os.readlink(path)
    except OSError:
        return None


def _job_of(pid):
    try:
        with open("/proc/{0}/environ".format(pid), "rb") as handle:
            named = re.search(rb"(?:^|\0)STOKER_JOB=([^\0]+)", handle.read())
    except OSError:
        return None
    return named.group(1).decode("utf-8", "replace") if named else None
