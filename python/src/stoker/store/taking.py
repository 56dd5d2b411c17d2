"""Copying a project while somebody may be writing to it: each file whole, and all of them of one moment."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

from stoker.errors import UsageError

# How often a file, and then the whole folder, is read again when it changed meanwhile.
READINGS = 5
_PROGRESS_S = 2.0
_TICK_NS = 20_000_000
Entry = tuple[str, str]  # mode, SHA-256
_Mark = tuple[int, ...]


class Taking:
    """One snapshot while it is taken: `entries` by name."""

    def __init__(
        self, source: bytes, target: Path, before: tuple[Path, Mapping[str, Entry]] | None, max_bytes: int,
        say: Callable[[str], None] | None,
    ) -> None:  # fmt: skip
        self._source, self._target, self._before = source, os.fsencode(target), before
        self._max_bytes, self._say, self._next_word = max_bytes, say, time.monotonic() + _PROGRESS_S
        self._marks: dict[bytes, _Mark | None] = {}
        self._sizes: dict[bytes, int] = {}
        self.entries: dict[bytes, Entry] = {}

    def all_of(self, names: list[bytes], names_now: Callable[[], list[bytes]]) -> None:
        """Take these, and again what changed, came or went meanwhile, until nothing did."""
        os.mkdir(self._target, 0o700)
        todo = set(names)
        for _ in range(READINGS):
            for number, name in enumerate(sorted(todo), 1):
                self._take(name)
                self._tell(number, len(todo))
            now = set(names_now())
            for name in set(self._marks) - now:
                self._drop(name)
            todo = {name for name in now if self._marks.get(name, ()) != _mark(self._path(name))}
            if not todo:
                return
        some = ", ".join(os.fsdecode(name).encode(errors="replace").decode() for name in sorted(todo)[:3])
        raise UsageError(
            f"the files in {os.fsdecode(self._source)} do not hold still: {some} changed each of {READINGS} times",
            next_step="leave out what is being written: name it in .gitignore or .stokerignore",
        )

    def digest(self) -> str:
        """The name of the snapshot."""
        from ansible_collections.stoker.fleet.plugins.module_utils import tree

        found = tree.Digest()
        for name, (mode, content) in self.entries.items():
            found.add(name, mode, content)
        return str(found.hex())

    def size(self) -> int:
        """The size of all files."""
        return sum(self._sizes.values())

    def _path(self, name: bytes) -> bytes:
        return os.path.join(self._source, name)

    def _drop(self, name: bytes) -> None:
        self._marks.pop(name, None)
        self.entries.pop(name, None)
        self._sizes.pop(name, None)
        path = os.path.join(self._target, name)
        if not self._holds(os.path.dirname(path)):
            return
        if os.path.islink(path) or os.path.isfile(path):
            os.unlink(path)
        # Empty folders: in the place of one may be a file now.
        while (path := os.path.dirname(path)) != self._target and os.path.isdir(path) and not os.listdir(path):
            os.rmdir(path)

    def _holds(self, place: bytes) -> bool:
        """Whether a folder of the copy really lies in it, not beyond a link that was copied."""
        inner, outer = os.path.realpath(place), os.path.realpath(self._target)
        return inner == outer or inner.startswith(outer + b"/")

    def _take(self, name: bytes) -> None:
        """One file or link as it is now. Its mark is that from before it was read: a later change differs from it."""
        from ansible_collections.stoker.fleet.plugins.module_utils import tree

        self._drop(name)
        path, target = self._path(name), os.path.join(self._target, name)
        mark = _mark(path)
        if mark is not None and abs(time.time_ns() - mark[2]) < _TICK_NS:
            # Written to just now: the clock of files has not moved on, and a next change might look like none.
            time.sleep(_TICK_NS / 1e9)
            mark = _mark(path)
        self._marks[name] = mark
        if mark is None or not self._holds(os.path.dirname(target)):
            return  # it went away, or a link came in the place of its folder; git will not list it the next time
        try:
            mode = tree.mode_of(os.lstat(path))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if mode == "link":
                content, size = tree.content_of_link(path), 0
                os.symlink(os.readlink(path), target)
            elif mode is not None:
                content, size = self._file(name, mode, path, target)
            else:
                return  # a socket or a pipe: no content to keep
        except (FileNotFoundError, NotADirectoryError):
            self._drop(name)
            self._marks[name] = None
            return
        self.entries[name], self._sizes[name] = (mode, content), size
        if self.size() > self._max_bytes:
            raise UsageError(
                f"{os.fsdecode(self._source)} has more than {self._max_bytes:,} bytes that git would commit",
                next_step="name in .gitignore or .stokerignore what no job needs",
            )

    def _file(self, name: bytes, mode: str, path: bytes, target: bytes) -> tuple[str, int]:
        from ansible_collections.stoker.fleet.plugins.module_utils import tree

        known = self._before[1].get(os.fsdecode(name)) if self._before is not None else None
        if known is not None and known[0] == mode:
            content, size = tree.content_of_file(path)
            if known[1] == content and self._link(name, content, target):
                return str(content), int(size)
        return _copied(path, target, mode)

    def _link(self, name: bytes, content: str, target: bytes) -> bool:
        """Take over the file of the earlier snapshot, unless that was damaged, cleared away, or linked too often."""
        from ansible_collections.stoker.fleet.plugins.module_utils import tree

        if self._before is None:
            return False
        old = os.path.join(os.fsencode(self._before[0]), name)
        try:
            if tree.content_of_file(old)[0] != content:
                return False
            os.link(old, target)
        except OSError:
            return False
        return True

    def _tell(self, number: int, of: int) -> None:
        if self._say is not None and time.monotonic() > self._next_word:
            self._next_word = time.monotonic() + _PROGRESS_S
            self._say(f"snapshot: {number:,} of {of:,} files, {self.size() / 1e6:,.0f} MB")


def _copied(path: bytes, target: bytes, mode: str) -> tuple[str, int]:
    """Copy a file; SHA-256 and size of what was written, whatever happens to the file meanwhile."""
    found, size = sha256(), 0
    with open(path, "rb") as source, open(target, "wb") as copy:
        while block := source.read(1024 * 1024):
            found.update(block)
            copy.write(block)
            size += len(block)
        status = os.fstat(source.fileno())
    os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))
    os.chmod(target, int(mode, 8))
    return found.hexdigest(), size


def _mark(path: bytes) -> _Mark | None:
    """What changes whenever a file does; None where there is none."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode
