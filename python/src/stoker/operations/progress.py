"""How far a transfer is, told while it lasts: read from what rsync writes, node by node."""

from __future__ import annotations

import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stoker.operations.session import Session

# What is over within this needs no progress.
FIRST_S = 2.0
_EVERY_S = 0.5
_BAR_WIDTH = 20
_LAST_BYTES = 4096
_LINE = re.compile(rb"\r\s+([\d,]+)\s+(\d+)%\s+(\S+)\s+(\S+)(?: \(xfr#\d+, (?:ir|to)-chk=(\d+)/(\d+)\))?")


@contextmanager
def shown(session: Session, verb: str) -> Iterator[str | None]:
    """A folder in which each node's action lets rsync write what it says; its progress is shown while the block lasts.

    None where nobody wants to see it.
    """
    if session.progress is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="stoker-progress-") as folder:
        over = threading.Event()
        thread = threading.Thread(target=_watch, args=(session, verb, Path(folder), over), daemon=True)
        thread.start()
        try:
            yield folder
        finally:
            over.set()
            thread.join()
            session.progress("")


def _watch(session: Session, verb: str, folder: Path, over: threading.Event) -> None:
    began = time.monotonic()
    while not over.wait(_EVERY_S):
        if time.monotonic() - began < FIRST_S or session.progress is None:
            continue
        told = [f"{path.name} {text}" for path in sorted(folder.iterdir()) if (text := in_words(_tail(path)))]
        if told:
            session.progress(f"{verb} {' · '.join(told)}")


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LAST_BYTES))
            return file.read()
    except OSError:
        return b""  # it was just begun, or is over


def in_words(said: bytes) -> str | None:
    """`█████░░░░░ 26 %  12.0 MB  2.0 MB/s  3 of 5,000 files left` for the last word of rsync; None before the first.

    The share is that of all bytes of the files; those that need not be sent count as well, so it may jump to the end.
    """
    every = list(_LINE.finditer(said))
    if not every:
        return None
    found = every[-1]
    moved, share = int(found[1].replace(b",", b"")), min(100, int(found[2]))
    full = round(share * _BAR_WIDTH / 100)
    text = f"{'█' * full}{'░' * (_BAR_WIDTH - full)} {share} %  {moved / 1e6:,.1f} MB  {found[3].decode('ascii')}"
    if found[5] is not None:
        text += f"  {int(found[5]):,} of {int(found[6]):,} files to look at"
    return text
