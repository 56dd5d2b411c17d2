"""Checkpoints of jobs as files, in the state folder of the machine that fetched them.

    checkpoints/<digest>/tree/              the file or folder, as it was on the node
                         users/<store>.<job>   which jobs it is kept for
    checkpoints/.new-<store>.<job>/tree/    one that is being fetched

A checkpoint appears by one rename, after all of it was compared with what the node read. A node that gets it reads it.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from stoker.errors import StokerError
from stoker.paths import private_folder
from stoker.store.snapshots import Snapshots, mark_of_store


class CheckpointFiles(Snapshots):
    """The checkpoints in `root` (0700). Every method raises StokerError when the disk fails."""

    @property
    def place(self) -> str:
        """This machine and this folder: where a checkpoint is that was fetched here."""
        return f"{platform.node()}:{self.root}"

    @contextmanager
    def draft(self, store: str, job: str) -> Iterator[Path | None]:
        """The folder for the files of a checkpoint that is fetched for `job`; None: another process has it now.

        What stays in it is for the next try.
        """
        name = f"{mark_of_store(store)}.{job}"
        try:
            with self._lock(name) as lock:
                if not _locked_now(lock):
                    yield None
                    return
                folder = private_folder(self.root / f".new-{name}")
                yield private_folder(folder / "tree")
        except OSError as problem:
            raise self._failed(problem) from problem

    def _lock(self, name: str) -> IO[str]:
        locks = private_folder(private_folder(self.root) / "locks")
        return open(os.open(locks / name, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii")

    def _clear_draft(self, draft: Path) -> None:
        """Remove what is left of a fetch: one that is under way may take days, and is not old by that."""
        with self._lock(draft.name.removeprefix(".new-")) as lock:
            if _locked_now(lock):
                shutil.rmtree(draft)

    def name(self, draft: Path, digest: str, store: str, job: str) -> None:
        """Give the files in `draft`, which are those of `digest`, their name, for `job`."""
        final = self.root / digest
        try:
            with self._alone(digest):
                if not self._whole(digest):
                    users = private_folder(draft.parent / "users")
                    (users / f"{mark_of_store(store)}.{job}").touch(mode=0o600)
                    for folder in (*(Path(place) for place, _names, _files in os.walk(draft)), draft.parent):
                        _sync(folder)
                    self._set_aside(final, users)
                    draft.parent.rename(final)
                    _sync(self.root)
                else:
                    shutil.rmtree(draft.parent)
                super().use(digest, store, job)
        except OSError as problem:
            raise self._failed(problem) from problem

    def use(self, digest: str, store: str, job: str) -> None:
        """Note that `job` of the store at `store` needs this checkpoint. Raises UsageError where it is not here."""
        try:
            with self._alone(digest):
                super().use(digest, store, job)
        except OSError as problem:
            raise self._failed(problem) from problem

    @contextmanager
    def _alone(self, digest: str) -> Iterator[None]:
        """Jobs of one seed write the same: one process at a time names one, says who needs it, or clears it away."""
        with self._lock(f"of-{digest[:2]}") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _whole(self, digest: str) -> bool:
        """Whether it is here, as its name says: one that was damaged since it came does not stand for a new one."""
        from ansible_collections.stoker.fleet.plugins.module_utils import tree

        place = self.tree(digest)
        return place.is_dir() and tree.digest(os.fsencode(place))[0] == digest

    def _set_aside(self, damaged: Path, users: Path) -> None:
        """Make room for one that is whole; the jobs that it is kept for are noted in `users`, too."""
        if not damaged.is_dir():
            return
        if (damaged / "users").is_dir():
            for user in (damaged / "users").iterdir():
                (users / user.name).touch(mode=0o600)
        trash = self.root / f".new-{damaged.name[:12]}-{os.getpid()}"
        damaged.rename(trash)
        shutil.rmtree(trash)

    def release(self, digest: str, store: str, job: str) -> None:
        """`job` needs it no more; without any other that does, its files go."""
        folder = self.root / digest
        trash = self.root / f".new-{digest[:12]}-{os.getpid()}"
        try:
            with self._alone(digest):
                (folder / "users" / f"{mark_of_store(store)}.{job}").unlink(missing_ok=True)
                if not folder.is_dir() or any((folder / "users").iterdir()):
                    return
                folder.rename(trash)
            shutil.rmtree(trash)
        except OSError as problem:
            raise self._failed(problem) from problem

    def _failed(self, problem: OSError) -> StokerError:
        return StokerError(
            f"the checkpoints in {self.root} cannot be used: {problem.strerror or problem}",
            next_step="check the free space and the owner of that folder",
        )


def _locked_now(lock: IO[str]) -> bool:
    """Whether no other process had it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
