# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of rsync: the words it is given, and what it said."""

from __future__ import annotations

import calendar
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass

from ansible_collections.stoker.fleet.plugins.module_utils.project_files import PARTIAL_DIR

_MARK = b"STOKER "
_LINE = re.compile(rb"^STOKER (.{11}) ([\d,]+) (\S+) (.*)$")
_ESCAPE = re.compile(rb"\\#([0-3][0-7]{2})")
VANISHED = 24
# What rsync 3.4.1 and later say where a folder at the target is a link.
_LOOPS = "Too many levels of symbolic links"
_LINKED = " (next: rsync follows no link in the place of a folder: sync that folder by itself, to where it is)"


class RsyncError(Exception):
    """rsync failed. ``code`` is its exit code (negative: the signal that ended it), the text what it said."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Item:
    """A file or link that rsync brought (or would bring) up to date. ``bytes`` is its size where its content moves.

    ``change``: ``new``, ``changed``, or ``attributes`` (time or mode only). ``mtime`` is the sender's, whole seconds.
    """

    name: bytes
    change: str
    bytes: int
    mtime: int


@dataclass(frozen=True)
class Moved:
    """What one run did. ``wire_bytes`` went over the connection, both ways; ``said`` are its warnings."""

    items: list[Item]
    wire_bytes: int
    said: list[str]


def move(
    source: bytes,
    target: bytes,
    names: list[bytes],
    *,
    shell: str | None = None,
    dry_run: bool = False,
    recursive: bool = False,
    update: bool = False,
    link_dest: str | None = None,
    copy_dest: str | None = None,
    checksum: bool = False,
    told: str | None = None,
    most: int | None = None,
) -> Moved:
    """Bring ``names`` (relative to ``source``) to ``target``; one of the two may be ``host:/folder``, by ``shell``.

    ``recursive``: names of folders stand for what is in them. ``update``: a newer file at the target stays. Nothing is
    deleted. What an interrupted run had of a file is kept and used by the next one. ``link_dest``: a folder beside the
    target; a file that is the same there becomes a hard link; with ``copy_dest`` a copy.
    ``checksum``: contents are compared, not sizes and times. ``told``: the file that gets what rsync says while it
    works, with its progress. ``most``: a file of more bytes stays where it is. Raises RsyncError.
    """
    words = [
        "rsync", "-lptO", "--keep-dirlinks", "--secluded-args", "-8", "--no-human-readable", "--from0",
        "--files-from=-", "--ignore-missing-args", "--partial-dir={0}".format(os.fsdecode(PARTIAL_DIR)), "--stats",
        "--out-format={0}%i %l %M %n".format(_MARK.decode()),
        # A repository of the node's own is no result, and would destroy the one here.
        "--exclude=.git", "--exclude={0}".format(os.fsdecode(PARTIAL_DIR)),
    ]  # fmt: skip
    words += ["--dry-run"] * dry_run + ["--recursive"] * recursive + ["--update"] * update
    words += ["--link-dest={0}".format(link_dest)] if link_dest else []
    words += ["--copy-dest={0}".format(copy_dest)] if copy_dest else []
    words += ["--checksum"] * checksum + (["-e", shell] if shell else [])
    words += ["--info=progress2"] if told else []
    # 0 is no limit to some versions.
    words += ["--max-size={0}".format(max(most, 1))] if most is not None else []
    code, out, err = _run([*words, "--", source, target], names, told)
    said = [line for line in err.splitlines() if line.strip()]
    if code not in (0, VANISHED):
        raise RsyncError(code, _words(code, said))
    return Moved(_items(out), _number(out, b"Total bytes sent") + _number(out, b"Total bytes received"), said)


def installed() -> bool:
    """Whether this machine has rsync."""
    return shutil.which("rsync") is not None


def _run(words: list[str | bytes], names: list[bytes], told: str | None) -> tuple[int, bytes, str]:
    # Files, not pipes: a shared connection that ssh leaves in the background would hold a pipe open for minutes.
    env = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    place = open(told, "w+b") if told else tempfile.TemporaryFile()  # noqa: SIM115
    with tempfile.TemporaryFile() as listed, place as out, tempfile.TemporaryFile() as err:
        # A name that begins with # or ; would be a comment.
        listed.write(b"".join(b"./" + name + b"\0" for name in names))
        listed.seek(0)
        code = subprocess.run(words, stdin=listed, stdout=out, stderr=err, env=env, check=False).returncode
        out.seek(0)
        err.seek(0)
        return code, out.read(), err.read().decode("utf-8", "replace")


def _words(code: int, said: list[str]) -> str:
    how = "was ended by {0}".format(signal.Signals(-code).name) if code < 0 else "failed with code {0}".format(code)
    told = "; ".join(line.strip() for line in said[-6:])
    if _LOOPS in told:
        told += _LINKED
    return "rsync {0}: {1}".format(how, told) if told else "rsync {0}".format(how)


def _items(out: bytes) -> list[Item]:
    found = []
    for line in out.splitlines():
        match = _LINE.match(line)
        # Folders come along by themselves and are no content.
        if match is None or match[1][1:2] == b"d":
            continue
        moves = match[1][:1] in b"<>"
        change = "new" if match[1][2:3] == b"+" else "changed" if moves or match[1][:1] == b"c" else "attributes"
        size = int(match[2].replace(b",", b"")) if moves else 0
        when = calendar.timegm(time.strptime(match[3].decode("ascii"), "%Y/%m/%d-%H:%M:%S"))
        found.append(Item(_ESCAPE.sub(lambda octal: bytes([int(octal[1], 8)]), match[4]), change, size, when))
    return found


def _number(out: bytes, what: bytes) -> int:
    match = re.search(rb"^" + what + rb": ([\d,]+)", out, re.MULTILINE)
    return int(match[1].replace(b",", b"")) if match else 0
