# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading the logs of an attempt, by byte offset, and scanning them once, wherever they are asked for."""

from __future__ import annotations

import base64
import os
import time
import zlib

from .logscan import LogScanner
from .statedir import Lock, NodeError

# A run of Ansible costs the controller as much as some 10 MB of log; the node holds one chunk in memory, packed too.
CHUNK_LIMIT_BYTES = 16 * 1024 * 1024
SCAN_STEP_BYTES = 4 * 1024 * 1024
POLL_S = 0.1
FINISH_WAIT_S = 20.0
FILES = {"out": "out.log", "stdout": "stdout.log", "stderr": "stderr.log"}


def pack(data):
    """Bytes as text that JSON can carry."""
    return base64.b64encode(zlib.compress(data, 1)).decode("ascii")


def size(attempt, stream="out"):
    """Bytes of a log now; 0 where the command has not begun."""
    try:
        return os.stat(attempt.file(FILES[stream])).st_size
    except FileNotFoundError:
        return 0


def read(attempt, stream, offset, limit, ended):
    """One chunk from ``offset`` on. ``ended``: nothing will be added any more."""
    if stream != "out" and not (attempt.read("spec.json") or {}).get("split_output"):
        raise NodeError(
            "not_supported",
            "{0!r} did not keep its streams apart".format(attempt),
            "its out log has both; run it with --split-output to have them apart",
        )
    total = size(attempt, stream)
    data = b""
    if total > offset:
        with open(attempt.file(FILES[stream]), "rb") as handle:
            handle.seek(offset)
            data = handle.read(min(limit, CHUNK_LIMIT_BYTES))
    end = offset + len(data)
    return {"offset": offset, "next": end, "size": total, "data": pack(data), "eof": bool(ended and end >= total)}


def tail_offset(attempt, stream, lines):
    """Where the last ``lines`` lines begin."""
    total = size(attempt, stream)
    if lines <= 0 or not total:
        return total
    with open(attempt.file(FILES[stream]), "rb") as handle:
        handle.seek(total - 1)
        # A last line without its end is a line.
        wanted = lines + 1 if handle.read(1) == b"\n" else lines
        position = total
        while position > 0:
            step = min(65536, position)
            position -= step
            handle.seek(position)
            block = handle.read(step)
            count = block.count(b"\n")
            if count >= wanted:
                for _index in range(wanted):
                    cut = block.rindex(b"\n")
                    block = block[:cut]
                return position + len(block) + 1
            wanted -= count
    return 0


def last_text(attempt, stream, limit):
    """The last ``limit`` bytes of a log as text, from the beginning of a line where there is one."""
    total = size(attempt, stream)
    if not total:
        return ""
    with open(attempt.file(FILES[stream]), "rb") as handle:
        handle.seek(max(0, total - limit))
        data = handle.read(limit)
    if total > limit and b"\n" in data[:-1]:
        data = data[data.index(b"\n") + 1 :]
    return data.decode("utf-8", "replace")


def wait_for_more(attempt, stream, offset, seconds, ended):
    """Long poll: until there are bytes past ``offset``, the attempt ended, or the time is over."""
    deadline = time.monotonic() + seconds
    while size(attempt, stream) <= offset and not ended() and time.monotonic() < deadline:
        time.sleep(min(POLL_S, max(0.0, deadline - time.monotonic())))


def scan(attempt, spec, budget_bytes, finish=False):
    """Scan what is new in out.log, at most ``budget_bytes`` (None: all). Returns what is known so far.

    Whoever comes first scans; the others read what it knew last. ``finish``: the log has ended, and what is returned is
    what stays known, so the supervisor's own last scan is waited for.
    """
    lock = Lock(attempt.file("scan.lock"))
    try:
        if not _acquire(lock, FINISH_WAIT_S if finish else 0.0):
            return attempt.read("scan.json")
    except OSError:
        # A full or read-only disk: what the log says can be told all the same, it is only not kept.
        return _scan(attempt, spec, budget_bytes, finish)
    try:
        found = _scan(attempt, spec, budget_bytes, finish)
        if found.pop("new"):
            _keep(attempt, found)
        return found
    finally:
        lock.release()


def _acquire(lock, patience_s):
    deadline = time.monotonic() + patience_s
    while not lock.acquire():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S / 2)
    return True


def _keep(attempt, found):
    try:
        attempt.write("scan.json", found)
    except OSError as exc:
        found["unsaved"] = str(exc)  # the next look scans these bytes again


def _scan(attempt, spec, budget_bytes, finish):
    saved = attempt.read("scan.json") or {}
    scanner = LogScanner(
        spec.get("log_patterns") or [], spec.get("metrics") or [], saved.get("scanner"), spec.get("outputs") or []
    )
    total = size(attempt)
    if saved.get("finished") or (scanner.position >= total and not finish):
        return dict(saved, new=False)
    _feed(attempt, scanner, total if budget_bytes is None else min(total, scanner.position + budget_bytes))
    if finish and scanner.position >= total:
        scanner.finish()
        saved["finished"] = True
    saved.update(
        scanner=scanner.state(),
        findings=scanner.findings,
        finding_counts=scanner.finding_counts,
        metrics=scanner.metrics,
        outputs=scanner.outputs,
        trackers=scanner.trackers,
        last_line=scanner.last_line or None,
        new=True,
    )
    return saved


def _feed(attempt, scanner, end):
    if scanner.position >= end:
        return
    with open(attempt.file(FILES["out"]), "rb") as handle:
        handle.seek(scanner.position)
        while scanner.position < end:
            data = handle.read(min(SCAN_STEP_BYTES, end - scanner.position))
            if not data:
                break
            scanner.feed(data, scanner.position)
