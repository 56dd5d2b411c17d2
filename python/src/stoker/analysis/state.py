"""Whether a run goes on: by its exit record, else by who has its file open. A file's age proves nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from stoker.analysis.values import State

Writers = Mapping[tuple[int, int], int]
_WRITES = os.O_WRONLY | os.O_RDWR


def writers() -> Writers | None:
    """(device, inode) -> pid of each file that a process here has open for writing; None where that cannot be told.

    Processes of other users are seen by root alone.
    """
    if not Path("/proc/self/fdinfo").is_dir():
        return None
    found: dict[tuple[int, int], int] = {}
    for process in os.listdir("/proc"):
        if process.isdigit():
            try:
                _open_files(process, found)
            except OSError:
                continue  # it has ended, or is somebody else's
    return found


def _open_files(process: str, found: dict[tuple[int, int], int]) -> None:
    for number in os.listdir(f"/proc/{process}/fd"):
        link = f"/proc/{process}/fd/{number}"
        try:
            if not os.readlink(link).startswith("/"):
                continue
            said = Path(f"/proc/{process}/fdinfo/{number}").read_text()
            flags = int(said.partition("flags:")[2].split()[0], 8)
            if flags & _WRITES:
                status = os.stat(link)
                found[status.st_dev, status.st_ino] = int(process)
        except FileNotFoundError:
            continue  # closed meanwhile


def judge(exits: Sequence[int], paths: Sequence[Path], records_end: bool, open_files: Writers | None) -> State:
    """The state of a run with these exit codes in these files. `records_end`: its format notes an end at all."""
    code = exits[-1] if exits else None
    if code is not None:
        several = f", the last of {len(exits)}" if len(exits) > 1 else ""
        return State("failed" if code else "finished", f"exit record: code {code}{several}", code)
    missing = "no exit record" if records_end else "this format records no end"
    if open_files is None:
        return State("unknown", f"{missing}, and this system does not tell who has the file open")
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        pid = open_files.get((status.st_dev, status.st_ino))
        if pid is not None:
            return State("running", f"process {pid} has {path.name} open for writing")
    nobody = "no process that can be seen from here has it open for writing"
    return State("unfinished" if records_end else "unknown", f"{missing}; {nobody}")
