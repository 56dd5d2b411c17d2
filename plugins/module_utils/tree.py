# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A tree of files as one value: the digest of its names, modes and contents; and a real copy of it.

Names are bytes, relative to the folder. Folders count only by what is in them, as with git.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator

BLOCK_BYTES = 1024 * 1024
# Makes one file share the blocks of another until either is written to; <linux/fs.h>.
_FICLONE = 0x40049409
# What no sync moves.
_LEFT = frozenset((b".git", b".stoker-partial"))


class Digest:
    """Collects the entries of a tree, in any order; `hex` is the same for the same tree anywhere."""

    def __init__(self) -> None:
        self.entries: dict[bytes, tuple[str, str]] = {}

    def add(self, name: bytes, mode: str, content: str) -> None:
        """An entry: ``mode`` as of ``mode_of``, ``content`` the SHA-256 (hex) of the bytes or of a link's target."""
        self.entries[name] = (mode, content)

    def hex(self) -> str:
        """64 hexadecimal digits."""
        total = hashlib.sha256(b"stoker tree 1\n")
        for name in sorted(self.entries):
            mode, content = self.entries[name]
            total.update(b"%d %s\0%s %s\n" % (len(name), name, mode.encode("ascii"), content.encode("ascii")))
        return total.hexdigest()


def mode_of(status: os.stat_result) -> str | None:
    """``link``, the permissions of a regular file in octal (``755``), or None for what is neither."""
    if stat.S_ISLNK(status.st_mode):
        return "link"
    return "{0:o}".format(status.st_mode & 0o777) if stat.S_ISREG(status.st_mode) else None


def content_of_link(path: bytes) -> str:
    """What stands for the content of a link."""
    return hashlib.sha256(os.readlink(path)).hexdigest()


def content_of_file(path: bytes) -> tuple[str, int]:
    """SHA-256 (hex) of a file, and how many bytes it has."""
    total, count = hashlib.sha256(), 0
    with open(path, "rb") as source:
        for block in iter(lambda: source.read(BLOCK_BYTES), b""):
            total.update(block)
            count += len(block)
    return total.hexdigest(), count


def names(folder: bytes) -> Iterator[bytes]:
    """Every file and link below a folder. Raises OSError for a folder that cannot be read."""

    def stop(problem: OSError) -> None:
        raise problem

    for place, folders, files in os.walk(folder, onerror=stop):
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        for name in files + links:
            yield os.path.relpath(os.path.join(place, name), folder)


def beside(path: bytes) -> list[bytes]:
    """Every file and link of ``path``, a file or a folder, relative to the folder above it; no repository of git."""
    if not os.path.isdir(path):
        return [os.path.basename(path)]
    found = (os.path.join(os.path.basename(path), name) for name in names(path))
    return [name for name in found if not _LEFT.intersection(name.split(b"/"))]


def digest(folder: bytes) -> tuple[str, int, int]:
    """(digest, files, bytes) of the tree in ``folder`` (bytes), read from the disk now. Raises OSError."""
    found, total = Digest(), 0
    for name in names(folder):
        path = os.path.join(folder, name)
        mode = mode_of(os.lstat(path))
        if mode == "link":
            found.add(name, mode, content_of_link(path))
        else:
            # What is neither file nor link belongs to no tree: under its own word it changes the digest.
            content, size = content_of_file(path) if mode else ("0" * 64, 0)
            found.add(name, mode or "other", content)
            total += size
    return found.hex(), len(found.entries), total


def copy(source: bytes, target: bytes) -> None:
    """A real copy of a tree: nothing that is done to it reaches ``source``.

    Where the disk can, blocks are shared until they are written to. ``target`` must not exist. Raises OSError.
    """
    os.mkdir(target, 0o700)
    for name in names(source):
        old, new = os.path.join(source, name), os.path.join(target, name)
        os.makedirs(os.path.dirname(new), exist_ok=True)
        if os.path.islink(old):
            os.symlink(os.readlink(old), new)
        else:
            _copy_file(old, new)


def _copy_file(old: bytes, new: bytes) -> None:
    with open(old, "rb") as source, open(new, "wb") as target:
        try:
            fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
        except OSError:
            # Another disk, or one that cannot share blocks.
            shutil.copyfileobj(source, target, BLOCK_BYTES)
        status = os.fstat(source.fileno())
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.chmod(new, status.st_mode & 0o777)
