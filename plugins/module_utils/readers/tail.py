# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A file of metrics that grows: what is new in it since it was read last, and only those bytes."""

from __future__ import annotations

import csv
import io
import os
import zlib
from typing import TYPE_CHECKING, Any

from . import csv_table, jsonl, output_log, text_form, tfevents, wandb_file
from .reading import Reading, Table

if TYPE_CHECKING:
    from typing import BinaryIO

KINDS = ("jsonl", "csv", "log", "tensorboard", "wandb")
# At most so much is taken at once; the rest is new again the next time.
LIMIT = 64 * 1024 * 1024
# So many bytes before the place where it goes on are known again: a file that was written anew has others.
_MARK = 256
_BLOCK = 32768


class Tail:
    """One file. `state` is what a later Tail needs to go on, as JSON has it.

    `restarted` says why the last `read` began anew (moved away, cut, written anew), None where it went on.
    """

    def __init__(self, kind: str, path: str, state: dict[str, Any] | None = None) -> None:
        self.kind = kind
        self.path = path
        self.state: dict[str, Any] = dict(state or _begin())
        self.restarted: str | None = None
        self._ended = False

    def read(self, ended: bool = False) -> list[Reading]:
        """What is new: a reading, or two where the file was moved away and another is in its place. Raises OSError.

        A file that is not there has nothing new: whoever rotates it makes the next one in a moment. Where its writer
        has `ended`, the last line needs no end.
        """
        self.restarted = None
        self._ended = ended
        readings: list[Reading] = []
        try:
            with open(self.path, "rb") as file:
                self._from(file, readings)
        except FileNotFoundError:
            pass
        return readings

    def _from(self, file: BinaryIO, readings: list[Reading]) -> None:
        status = os.fstat(file.fileno())
        self.restarted = self._changed(file, status)
        if self.restarted is not None:
            self._moved_rest(readings)
            self.state = _begin()
        self.state["file"] = [status.st_dev, status.st_ino]
        if status.st_size > self.state["at"] and not self.state["broken"]:
            self._take(file, readings)

    def _start(self) -> int:
        """Where reading goes on: with W&B's files at the beginning of a block."""
        at: int = self.state["at"]
        return at - at % _BLOCK if self.kind == "wandb" else at

    def _changed(self, file: BinaryIO, status: os.stat_result) -> str | None:
        at = self.state["at"]
        if self.state["file"] is None:
            return None
        if self.state["file"] != [status.st_dev, status.st_ino]:
            return "it was moved away, and another is in its place"
        if status.st_size < at:
            return "it was cut"
        file.seek(max(0, at - _MARK))
        return "it was written anew" if zlib.crc32(file.read(min(at, _MARK))) != self.state["mark"] else None

    def _moved_rest(self, readings: list[Reading]) -> None:
        """What was still written into the file that was moved away, where that lies beside it under another name."""
        folder = os.path.dirname(self.path) or "."
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name)
            try:
                status = os.stat(path)
                # Whoever opens a pipe waits for its writer: only the file itself is opened.
                if [status.st_dev, status.st_ino] == self.state["file"]:
                    with open(path, "rb") as file:
                        if self._changed(file, status) is None and status.st_size > self.state["at"]:
                            self._take(file, readings)
                    return
            except OSError:
                continue  # it went away meanwhile

    def _take(self, file: BinaryIO, readings: list[Reading]) -> None:
        reading, start = Reading(self.kind, self.path), self._start()
        file.seek(start)
        data = file.read(LIMIT)
        take = {"tensorboard": self._events, "wandb": self._wandb}.get(self.kind, self._lines)
        self.state["at"] = at = start + take(data, reading)
        file.seek(max(0, at - _MARK))
        self.state["mark"] = zlib.crc32(file.read(min(at, _MARK)))
        readings.append(reading)

    def _lines(self, data: bytes, reading: Reading) -> int:
        if self.state["at"] == 0:
            self.state["encoding"] = text_form.encoding_of(data)
        encoding = self.state.get("encoding", "utf-8")
        whole, taken = text_form.whole_lines(data, encoding)
        if self._ended and len(data) < LIMIT:
            whole, taken = whole + self._rest(text_form.as_utf8(data[taken:], encoding), reading), len(data)
        if not whole and len(data) == LIMIT:
            reading.skip(f"line longer than {LIMIT >> 20} MiB")
            return LIMIT
        table = Table(self.state["rows"], self.state["step"], self.state["step_key"])
        # A progress bar draws over itself by carriage returns: only what ends a line for the whole file does so here.
        lines = whole.split(b"\n") if self.kind != "csv" else []
        for line in lines[:-1] if lines and not lines[-1] else lines:
            if self.kind == "jsonl":
                jsonl.add_line(line, table, reading)
            else:
                shown = output_log.last_state(line)
                reading.log.append(shown)
                output_log.add_text(shown, table)
        if self.kind == "csv":
            self._cells(whole, table, reading)
        table.finish(reading)
        self._remember(table, reading)
        return taken

    def _rest(self, rest: bytes, reading: Reading) -> bytes:
        """What is left of a file that nobody writes to any more; half a row of JSON is counted."""
        if self.kind == "jsonl" and not jsonl.is_complete(rest):
            if rest.strip():
                reading.skip("incomplete last line")
            return b""
        if self.kind == "csv" and rest:
            reading.notes.append(csv_table.CUT)
        return rest

    def _cells(self, whole: bytes, table: Table, reading: Reading) -> None:
        text = whole.decode("utf-8-sig", "replace").replace("\0", "�")
        if self.state["header"] is None:
            self.state["delimiter"] = text_form.delimiter_of(csv_table.first_line(text.split("\n")))
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=self.state.get("delimiter", ","))
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error:
                reading.skip("line that is no CSV")
                continue
            if self.state["header"] is None:
                self.state["header"] = csv_table.names_of(row)
            elif row and row != self.state["header"]:
                csv_table.add_row(row, self.state["header"], table, reading)

    def _events(self, data: bytes, reading: Reading) -> int:
        found = tfevents.frames(data, reading)
        self.state["broken"] = "bytes after damage" in reading.skipped
        _still_written(reading)
        bad = set(tfevents.check_content(data, found))
        reading.skip("damaged record", len(bad))
        tfevents.take(data, [frame for index, frame in enumerate(found) if index not in bad], reading)
        return found[-1][0] + found[-1][1] + 4 if found else 0

    def _wandb(self, data: bytes, reading: Reading) -> int:
        inside = self.state["at"] % _BLOCK
        if self.state["at"] == 0:
            head = len(wandb_file.HEADER)
            if not data.startswith(wandb_file.HEADER):
                if not wandb_file.HEADER.startswith(data):
                    reading.notes.append("this is no .wandb file")
                return 0
            inside = head
        table = Table(self.state["rows"], self.state["step"], self.state["step_key"])
        wandb_file.take(data, table, reading, inside)
        _still_written(reading)
        self._remember(table, reading)
        return reading.at

    def _remember(self, table: Table, reading: Reading) -> None:
        self.state["rows"] += table.rows
        self.state["step"], self.state["step_key"] = table.step, table.step_key
        # That rows are counted is no news each time.
        if table.first:
            reading.notes = [note for note in reading.notes if "rows are counted" not in note]


def _begin() -> dict[str, Any]:
    return {"file": None, "at": 0, "mark": 0, "rows": 0, "step": 0.0, "step_key": None, "header": None,
            "broken": False, "encoding": "utf-8", "delimiter": ","}  # fmt: skip


def is_state(state: Any) -> bool:
    """Whether something is the state of a Tail: it has been with somebody else meanwhile."""
    begin = _begin()
    if not isinstance(state, dict) or state.keys() != begin.keys():
        return False
    whole = all(isinstance(state[name], int) and state[name] >= 0 for name in ("at", "mark", "rows"))
    number = isinstance(state["step"], (int, float)) and isinstance(state["broken"], bool)
    texts = [state["step_key"], *(state["header"] if isinstance(state["header"], list) else [state["header"]])]
    file = state["file"] is None or (isinstance(state["file"], list) and len(state["file"]) == 2)
    form = state["encoding"] in text_form.ENCODINGS and state["delimiter"] in text_form.DELIMITERS
    return whole and number and file and form and all(text is None or isinstance(text, str) for text in texts)


def _still_written(reading: Reading) -> None:
    """A record that has not ended is the next one's, and no damage."""
    reading.skipped.pop("incomplete last record", None)
    reading.notes = [note for note in reading.notes if "the file ends within a record" not in note]
