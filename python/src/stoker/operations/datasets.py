"""Data that jobs read: a file or folder here, known by its digest, brought to a node once.

What was read before and has the same size, time and number is not read again to know its digest.
"""

from __future__ import annotations

import json
import os
import platform
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoker.errors import StokerError, UsageError
from stoker.operations import progress
from stoker.operations.rounds import ask_nodes
from stoker.paths import cache_dir, private_folder

if TYPE_CHECKING:
    from stoker.operations.session import Session

_TELL_S = 2.0


def described(session: Session, named: str) -> dict[str, Any]:
    """What a spec says of the data at `named`. Raises UsageError where there is none, StokerError while it changes."""
    path = Path(named).expanduser().absolute()
    path = path.resolve() if path.is_symlink() or path.name == ".." else path
    session.may_name(path)
    if not path.exists():
        raise UsageError(f"--dataset: there is no {path}")
    if not path.name:
        raise UsageError(f"--dataset: {path} is all of this machine", next_step="name a file or a folder in it")
    try:
        _refuse_secrets(path)
        digest, files, total = _read(session, path)
    except OSError as problem:
        why = problem.strerror or problem
        raise StokerError(f"--dataset: {problem.filename or path} cannot be read: {why}") from problem
    if not files:
        raise UsageError(f"--dataset: {path} is empty")
    session.store.snapshots.note_data(digest, path)
    return {
        "digest": digest, "name": path.name, "files": files, "bytes": total, "folder": str(path),
        "host": platform.node(),
    }  # fmt: skip


def _refuse_secrets(path: Path) -> None:
    """Data stays on its node for every job there: what may be a key or a password is no part of it."""
    from ansible_collections.stoker.fleet.plugins.module_utils import project_files, tree

    found = [os.fsdecode(name) for name in sorted(tree.beside(os.fsencode(path))) if project_files.is_secret(name)]
    if found:
        shown = ", ".join(ascii(name)[1:-1] for name in found[:3])
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise UsageError(f"--dataset: {path} holds what may be secrets: {shown}{more}", next_step="take them out of it")


def label(dataset: Mapping[str, Any]) -> str:
    """Under which name placement knows that a node has it."""
    return f"dataset:{dataset['digest'][:32]}"


def brought(session: Session, dataset: Mapping[str, Any], on: str | None) -> None:
    """Bring it to the one node that is meant, before the job is submitted, and show how far it is.

    Where the node is not known yet the round that starts the job brings it. Raises StokerError where it failed.
    """
    target = on if on is not None else session.config.defaults.on
    nodes = session.inventory.match(target) if target is not None else [node.name for node in session.inventory.nodes]
    if len(nodes) != 1:
        return
    request = {
        "snapshots": {dataset["digest"]: dataset["folder"]}, "datasets": [dataset["digest"]],
        "locks": str(session.store.snapshots.locks_of_data()),
    }  # fmt: skip
    with progress.shown(session, "bringing data to") as folder:
        asked = {**request, **({"progress": folder} if folder else {})}
        answers, problems = ask_nodes(session, "stoker.fleet.stage", {"*": asked}, nodes)
    if problems:
        if problems[0].kind == "unreachable":
            return  # the job waits for its node, and is given its data then
        raise StokerError(f"{problems[0].node}: {problems[0].message}", next_step=problems[0].next_step)
    told = answers[nodes[0]].res["staged"][dataset["digest"]]
    if told["bytes"] is not None:
        size = f"{dataset['files']:,} file{'s' * (dataset['files'] != 1)}, {dataset['bytes']:,} bytes"
        session.say(f"✓ {dataset['name']} brought to {nodes[0]}: {size}")
    else:
        session.say(f"✓ {dataset['name']} is on {nodes[0]} already")


def _read(session: Session, path: Path) -> tuple[str, int, int]:
    """(digest, files, bytes) as it is now. Raises StokerError where a file changes while it is read."""
    from ansible_collections.stoker.fleet.plugins.module_utils import tree

    kept, total, size, tell = _Kept(path), tree.Digest(), 0, time.monotonic() + _TELL_S
    names = tree.beside(os.fsencode(path))
    for number, name in enumerate(sorted(names)):
        full = os.path.join(os.fsencode(path.parent), name)
        before = os.lstat(full)
        mode = tree.mode_of(before)
        if mode is None:
            raise UsageError(f"--dataset: {os.fsdecode(full)} is neither a file nor a link")
        if mode == "link":
            total.add(name, mode, tree.content_of_link(full))
        else:
            total.add(name, mode, kept.content(name, full, before))
            size += before.st_size
        if time.monotonic() > tell and session.progress is not None:
            session.progress(f"reading {path.name}: {number + 1:,} of {len(names):,} files")
            tell = time.monotonic() + _TELL_S / 4
    if session.progress is not None:
        session.progress("")
    kept.write()
    return total.hex(), len(total.entries), size


class _Kept:
    """The digests of the files of one dataset, as they were read before."""

    def __init__(self, path: Path) -> None:
        from hashlib import sha256

        folder = private_folder(cache_dir() / "datasets")
        self._file = folder / f"{sha256(os.fsencode(path)).hexdigest()[:32]}.json"
        self._new: dict[str, list[Any]] = {}
        try:
            self._old: Mapping[str, list[Any]] = json.loads(self._file.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            self._old = {}

    def content(self, name: bytes, full: bytes, before: os.stat_result) -> str:
        """SHA-256 of a file. Raises StokerError where it changes while it is read."""
        from ansible_collections.stoker.fleet.plugins.module_utils import tree

        mark = _mark(before)
        old = self._old.get(os.fsdecode(name))
        # One that was written to just now may be written to again within the same tick of its clock.
        if old is not None and old[0] == mark and time.time() - before.st_mtime > _TELL_S:
            digest = str(old[1])
        else:
            digest = tree.content_of_file(full)[0]
            if _mark(os.lstat(full)) != mark:
                raise StokerError(f"--dataset: {os.fsdecode(full)} changed while it was read", next_step="try again")
        self._new[os.fsdecode(name)] = [mark, digest]
        return digest

    def write(self) -> None:
        """Keep what was read for the next time."""
        temporary = self._file.with_suffix(f".{os.getpid()}.tmp")
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            json.dump(self._new, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self._file)


def _mark(status: os.stat_result) -> list[int]:
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, stat.S_IMODE(status.st_mode)]
