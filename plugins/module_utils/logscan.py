# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An incremental scan of a log: errors with their lines, metrics, and the last visible line.

The result depends on the bytes alone, not on how they were cut: byte by byte, in chunks with the state saved and
restored between them, or at once.
"""

from __future__ import annotations

import base64
import re
import signal
import threading
import zlib
from typing import Any, Iterator

from . import run_links
from .log_metrics import Metric
from .log_patterns import DEFAULT_PATTERNS, EXAMPLE_METRICS
from .terminal_text import ESCAPE_SEQUENCE, safe_text

__all__ = ["DEFAULT_PATTERNS", "EXAMPLE_METRICS", "LINE_LIMIT", "LogScanner", "safe_text"]

LINE_LIMIT = 65536
# A user's regex may be quadratic: 4 KiB bound that.
USER_LINE_LIMIT = 4096
FINDING_LIMIT = 50
TEXT_LIMIT = 300
_BLOCK = 1 << 20
# A single search of a user's regex that lasts longer than one to two ticks of CPU time is given up.
_TICK_S = 0.25
_TRACEBACK = "Traceback (most recent call last)"
_TRACEBACK_LINES = 500
_TRACEBACKS_AT_ONCE = 16
# How torchrun and PyTorch mark whose line it is: "[rank0]:" or "[default0]:".
_RANK_PREFIX = re.compile(r"\[[\w.-]{1,40}\]: ?\Z")


class _TooSlowError(Exception):
    """A search of a user's regex takes too long."""


class _Pattern:
    def __init__(self, entry: dict[str, Any], own: bool) -> None:
        self.name: str = entry["name"]
        self.severity: str = entry.get("severity") or "error"
        self.regex = re.compile(entry["regex"])
        self.needles: list[str] = [] if own else entry["needles"]
        self.own = own
        self.value_group: int | str = "value" if "value" in self.regex.groupindex else 1


class LogScanner:
    r"""Scans the bytes of one log in order.

    `patterns` are the user's: {name, regex, severity}; one that has the name of a default replaces it. `metrics`:
    {name, regex, keep}. `outputs`: {name, regex}; the texts that were found last are in `outputs`. `trackers` is where
    W&B and MLflow say that they keep runs. `state` is what `state()` returned before. Raises re.error for a regex that
    does not compile.

    Lines are counted by \n, as an editor does; a carriage return ends a piece of a line. A line longer than
    64 KiB is scanned in its first 64 KiB and counted in `long_lines`. Patterns of the user that took too long
    are in `slow` and no longer searched for.
    """

    def __init__(
        self,
        patterns: list[dict[str, Any]] | None = None,
        metrics: list[dict[str, Any]] | None = None,
        state: dict[str, Any] | None = None,
        outputs: list[dict[str, Any]] | None = None,
    ) -> None:
        state = state or {}
        own = {entry["name"]: entry for entry in patterns or []}
        self._defaults = [_Pattern(entry, own=False) for entry in DEFAULT_PATTERNS if entry["name"] not in own]
        self._needles = [needle.encode() for pattern in self._defaults for needle in pattern.needles]
        self._needles += [needle.encode() for needle in run_links.NEEDLES]
        self._exception = next((entry for entry in self._defaults if entry.name == "exception"), None)
        self._own = [_Pattern(entry, own=True) for entry in own.values()]
        self._measured = [
            (_Pattern(entry, own=True), Metric(entry.get("keep", "last"), state.get("metrics", {}).get(entry["name"])))
            for entry in metrics or []
        ]
        self._named = [_Pattern(entry, own=True) for entry in outputs or []]
        self.outputs: dict[str, str] = dict(state.get("outputs", {}))
        self.trackers: list[dict[str, Any]] = list(state.get("trackers", []))
        self.position: int = state.get("position", 0)
        self.line: int = state.get("line", 1)
        self.long_lines: int = state.get("long_lines", 0)
        self.finding_counts: dict[str, int] = dict(state.get("finding_counts", {}))
        self.slow: list[str] = list(state.get("slow", []))
        self._first: list[dict[str, Any]] = list(state.get("findings", []))
        self._last: dict[str, Any] | None = state.get("last_finding")
        self._last_line: str = state.get("last_line", "")
        self._skipping: bool = state.get("skipping", False)
        self._tracebacks: dict[str, int] = dict(state.get("tracebacks", {}))
        self._rest = zlib.decompress(base64.b64decode(state["rest"])) if state.get("rest") else b""
        self._searches = 0
        self._searching = False

    # ---- what was found ----

    @property
    def findings(self) -> list[dict[str, Any]]:
        """The first 50 and the last: {line, offset (of the line's piece, bytes), name, severity, text}."""
        if self._last is None or self._last in self._first:
            return list(self._first)
        return [*self._first, self._last]

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """Each metric that was seen: {first, last, min, max, count, series}."""
        return {pattern.name: metric.report() for pattern, metric in self._measured if metric.count}

    @property
    def last_line(self) -> str:
        """The last visible text, also of a line or progress bar that has not ended."""
        return _visible(self._rest) or self._last_line

    def state(self) -> dict[str, Any]:
        """Return what a new LogScanner needs to go on at `position`, as JSON."""
        return {
            "position": self.position,
            "line": self.line,
            "long_lines": self.long_lines,
            "finding_counts": dict(self.finding_counts),
            "findings": list(self._first),
            "last_finding": self._last,
            "last_line": self._last_line,
            "slow": list(self.slow),
            "skipping": self._skipping,
            "tracebacks": dict(self._tracebacks),
            "metrics": {pattern.name: metric.state() for pattern, metric in self._measured},
            "outputs": dict(self.outputs),
            "trackers": list(self.trackers),
            "rest": base64.b64encode(zlib.compress(self._rest)).decode("ascii") if self._rest else "",
        }

    # ---- the scan ----

    def feed(self, data: bytes, offset: int) -> None:
        """Scan the bytes of the log that begin at `offset`; those before `position` were seen and are left out.

        Raises ValueError when bytes between `position` and `offset` are missing.
        """
        if offset > self.position:
            raise ValueError(f"the log was scanned up to byte {self.position}, these bytes begin at {offset}")
        view = memoryview(data)[self.position - offset :]
        with _Watch(self):
            for start in range(0, len(view), _BLOCK):
                self._feed_block(bytes(view[start : start + _BLOCK]))

    def finish(self) -> None:
        """Scan what is left: the log has ended, with or without a line end."""
        rest, self._rest = self._rest, b""
        if rest:
            with _Watch(self):
                self._scan_piece(rest, self.line, self.position - len(rest))
                self._last_line = _visible(rest) or self._last_line

    def _feed_block(self, data: bytes) -> None:
        self.position += len(data)
        if self._skipping:
            end = _line_end(data)
            if end < 0:
                return
            self.line += data[: end + 1].count(b"\n")
            self._skipping = False
            data = data[end + 1 :]
        data = self._rest + data
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if end:
            self._scan_lines(data[:end], self.position - len(data))
        self._rest = data[end:]
        if len(self._rest) > LINE_LIMIT:
            self._scan_piece(self._rest[:LINE_LIMIT], self.line, self.position - len(self._rest))
            self._last_line = _visible(self._rest) or self._last_line
            self.long_lines += 1
            self._skipping, self._rest = True, b""

    def _scan_lines(self, block: bytes, offset: int) -> None:
        """Scan whole pieces of lines: `block` ends with a line end and begins at byte `offset` of the log."""
        pieces = block.replace(b"\r", b"\n") if b"\r" in block else block
        self._count_long(pieces)
        line, counted = self.line, 0
        hits = self._hits(pieces)
        for start in (
            _starts(pieces) if self._own or self._measured or self._named else self._candidates(pieces, sorted(hits))
        ):
            end = pieces.find(b"\n", start)
            line += block.count(b"\n", counted, start)
            counted = start
            self._scan_piece(pieces[start : min(end, start + LINE_LIMIT)], line, offset + start, start in hits)
        self.line = line + block.count(b"\n", counted)
        for piece in _from_the_end(pieces):
            visible = _visible(piece)
            if visible:
                self._last_line = visible
                break

    def _candidates(self, pieces: bytes, hits: list[int]) -> Iterator[int]:
        """Yield where the pieces begin that hold a needle or follow a traceback, in order."""
        after = 0
        for start in hits:
            # What follows a traceback is looked at line by line, until its exception was seen.
            while self._tracebacks and after < start:
                yield after
                after = pieces.find(b"\n", after) + 1
            if start >= after:
                yield start
                after = pieces.find(b"\n", start) + 1
        while self._tracebacks and after < len(pieces):
            yield after
            after = pieces.find(b"\n", after) + 1

    def _hits(self, pieces: bytes) -> set[int]:
        """Return where the pieces begin that hold a needle of a default pattern."""
        if b"\x1b" not in pieces:
            return {pieces.rfind(b"\n", 0, at) + 1 for at in self._needle_lines(pieces)}
        plain = ESCAPE_SEQUENCE.sub(b"", pieces)
        starts, index, counted, start = set(), 0, 0, 0
        for at in sorted(self._needle_lines(plain)):
            # Escape sequences hold no line end: the n-th line of the one is the n-th of the other.
            for _line in range(plain.count(b"\n", counted, at)):
                start = pieces.find(b"\n", start) + 1
                index += 1
            counted = at
            starts.add(start)
        return starts

    def _needle_lines(self, pieces: bytes) -> set[int]:
        """Return one place within each line that holds a needle, for each needle."""
        found = set()
        for needle in self._needles:
            at = pieces.find(needle)
            while at >= 0:
                found.add(at)
                at = pieces.find(needle, pieces.find(b"\n", at))
        return found

    def _count_long(self, pieces: bytes) -> None:
        start = 0
        while len(pieces) - start > LINE_LIMIT:
            end = pieces.rfind(b"\n", start, start + LINE_LIMIT + 1)
            if end < 0:
                self.long_lines += 1
                end = pieces.find(b"\n", start)
            start = end + 1

    def _scan_piece(self, piece: bytes, line: int, offset: int, hit: bool = True) -> None:
        text = (ESCAPE_SEQUENCE.sub(b"", piece) if b"\x1b" in piece else piece).decode("utf-8", "replace")
        bounded = text[:USER_LINE_LIMIT]
        for pattern in self._own:
            if self._search(pattern, bounded):
                self._note(pattern, line, offset, text)
        for pattern, metric in self._measured:
            match = self._search(pattern, bounded)
            value = _number(match.group(pattern.value_group)) if match else None
            if value is not None:
                metric.add(line, value)
        for pattern in self._named:
            match = self._search(pattern, bounded)
            if match and match.group(pattern.value_group) is not None:
                self.outputs[pattern.name] = match.group(pattern.value_group)
        if hit or self._tracebacks:
            self._scan_for_defaults(text, line, offset)

    def _scan_for_defaults(self, text: str, line: int, offset: int) -> None:
        if any(needle in text for needle in run_links.NEEDLES):
            link = run_links.link_in(text[:USER_LINE_LIMIT])
            if link and link not in self.trackers and len(self.trackers) < run_links.MOST:
                self.trackers.append(link)
        raised = self._raised(text)
        for pattern in self._defaults:
            if pattern is self._exception:
                found = raised is not None and pattern.regex.search(raised)
            else:
                found = any(needle in text for needle in pattern.needles) and pattern.regex.search(text)
            if found:
                self._note(pattern, line, offset, text)
                break

    def _raised(self, text: str) -> str | None:
        """Follow tracebacks; return the text of the line that ends one: its exception."""
        at = text.find(_TRACEBACK)
        if at >= 0:
            prefix = text[:at] if _RANK_PREFIX.match(text[:at]) else ""
            if len(self._tracebacks) < _TRACEBACKS_AT_ONCE:
                self._tracebacks[prefix] = 0
            return None
        for prefix, seen in list(self._tracebacks.items()):
            if seen >= _TRACEBACK_LINES:
                del self._tracebacks[prefix]
                continue
            self._tracebacks[prefix] = seen + 1
            body = text[len(prefix) :] if text.startswith(prefix) else ""
            if body.strip() and not body[0].isspace():
                del self._tracebacks[prefix]
                return body
        return None

    def _search(self, pattern: _Pattern, text: str) -> re.Match[str] | None:
        if pattern.name in self.slow:
            return None
        try:
            self._searches += 1
            self._searching = True
            match = pattern.regex.search(text)
            self._searching = False
        except _TooSlowError:
            self.slow.append(pattern.name)
            return None
        return match

    def _note(self, pattern: _Pattern, line: int, offset: int, text: str) -> None:
        self.finding_counts[pattern.name] = self.finding_counts.get(pattern.name, 0) + 1
        self._last = {
            "line": line,
            "offset": offset,
            "name": pattern.name,
            "severity": pattern.severity,
            "text": safe_text(text.strip(), TEXT_LIMIT),
        }
        if len(self._first) < FINDING_LIMIT:
            self._first.append(self._last)


class _Watch:
    """While it is open, a user's search that takes too much CPU time raises _TooSlowError (main thread only)."""

    def __init__(self, scanner: LogScanner) -> None:
        self._scanner = scanner
        self._seen = -1
        own = bool(scanner._own or scanner._measured or scanner._named)
        self._on = own and threading.current_thread() is threading.main_thread()

    def __enter__(self) -> None:
        if self._on:
            self._before = signal.signal(signal.SIGVTALRM, self._tick)
            signal.setitimer(signal.ITIMER_VIRTUAL, _TICK_S, _TICK_S)

    def __exit__(self, *_error: object) -> None:
        if self._on:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, self._before or signal.SIG_DFL)

    def _tick(self, _number: int, _frame: object) -> None:
        if self._scanner._searching and self._seen == self._scanner._searches:
            self._scanner._searching = False
            raise _TooSlowError
        self._seen = self._scanner._searches


def _line_end(data: bytes) -> int:
    ends = [at for at in (data.find(b"\n"), data.find(b"\r")) if at >= 0]
    return min(ends) if ends else -1


def _starts(pieces: bytes) -> Iterator[int]:
    start = 0
    while start < len(pieces):
        yield start
        start = pieces.find(b"\n", start) + 1


def _from_the_end(pieces: bytes) -> Iterator[bytes]:
    end = len(pieces.rstrip(b" \t\n"))
    while end > 0:
        start = pieces.rfind(b"\n", 0, end) + 1
        stop = pieces.find(b"\n", start)
        yield pieces[start : stop if stop >= 0 else len(pieces)]
        end = start - 1


def _visible(piece: bytes) -> str:
    piece = piece[:LINE_LIMIT]
    text = ESCAPE_SEQUENCE.sub(b"", piece).decode("utf-8", "replace")
    if "\b" in text:
        text = _rubbed_out(text)
    return safe_text(text.strip(), TEXT_LIMIT)


def _rubbed_out(text: str) -> str:
    """Show a line as a terminal does that goes back with backspaces and writes over."""
    cells: list[str] = []
    at = 0
    for character in text:
        if character == "\b":
            at = max(0, at - 1)
        else:
            cells[at : at + 1] = [character]
            at += 1
    return "".join(cells)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
