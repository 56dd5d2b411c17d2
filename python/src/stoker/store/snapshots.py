"""Snapshots: the files of projects as they were when jobs were submitted, in the state folder.

    snapshots/<digest>/tree/           the files; where nothing changed, hard links to those of an earlier snapshot
                       manifest.json   mode and SHA-256 of each, and where they come from
                       users/<store>.<job>   which jobs were submitted with it

A snapshot appears by one rename and is never written to again. Nodes read what they get and compare it with the digest,
so a file that is damaged here is refused there.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from stoker.errors import StokerError, UsageError
from stoker.paths import private_folder
from stoker.store.taking import Entry, Taking

# A snapshot that nobody uses may just have been made for a job that is about to be written down.
# How long it is known that data was read here, after the last time. Seconds.
KNOWN_S = 90 * 86400.0
LEAST_AGE_S = 600.0
_DIGEST = re.compile("[0-9a-f]{64}")
# What SQLite keeps beside a database.
_OF_DATABASE = (b"-wal", b"-shm", b"-journal")


@dataclass(frozen=True)
class Snapshot:
    """A snapshot just taken of `folder`.

    `bytes` is the size of its files, `ignored` how many files and folders git leaves out (None without git), `secrets`
    what was left out because it looks like secrets. `commit` is HEAD in full and `changes` what `git status` lists
    besides it, None without git or without a commit. `new`: it was not here before.
    """

    digest: str
    folder: str
    files: int
    bytes: int
    ignored: int | None
    secrets: tuple[str, ...]
    commit: str | None
    changes: int | None
    new: bool

    def as_spec(self) -> dict[str, Any]:
        """What a job's spec says of it."""
        facts = ("digest", "files", "bytes", "ignored", "commit", "changes", "folder")
        return {**{name: getattr(self, name) for name in facts}, "host": platform.node()}


class Snapshots:
    """The snapshots in `root` (0700). Every method raises StokerError when the disk fails.

    `database` is the file of the store, where it is SQLite's. It is never a part of a snapshot: a process that closes
    it after reading loses all locks that it has on it.
    """

    def __init__(self, root: Path, database: str | None = None) -> None:
        self.root = root
        self._database = os.fsencode(os.path.realpath(database)) if database else None

    def here(self) -> frozenset[str]:
        """The digests of the snapshots on this machine."""
        try:
            found = os.listdir(self.root)
        except FileNotFoundError:
            return frozenset()
        except OSError as problem:
            raise _unusable(self.root, problem) from problem
        return frozenset(name for name in found if _DIGEST.fullmatch(name))

    def tree(self, digest: str) -> Path:
        """Where the files of a snapshot are."""
        return self.root / digest / "tree"

    def locks_of_data(self) -> Path:
        """The folder for locks while data is brought to nodes: that lies where its user has it."""
        return private_folder(private_folder(self.root.parent / "datasets") / "locks")

    def note_data(self, digest: str, place: Path) -> None:
        """Note that data with this digest was read on this machine, whatever it is called later, at `place`."""
        known = self._known_data
        try:
            mark = private_folder(private_folder(known.parent) / known.name) / digest
            mark.touch(mode=0o600)
            mark.write_bytes(os.fsencode(place))
            for old in known.iterdir():
                if old.stat().st_mtime < time.time() - KNOWN_S:
                    old.unlink(missing_ok=True)
        except OSError as problem:
            raise _unusable(known, problem) from problem

    def data_here(self) -> frozenset[str]:
        """The digests of data that was read on this machine, and is where it was."""
        try:
            return frozenset(digest for digest in os.listdir(self._known_data) if self._noted(digest) is not None)
        except FileNotFoundError:
            return frozenset()
        except OSError as problem:
            raise _unusable(self._known_data, problem) from problem

    def data_at(self, dataset: Mapping[str, Any]) -> str:
        """Where the data of a spec lies on this machine: as the spec says only where it was submitted here."""
        if dataset.get("host") == platform.node() and os.path.exists(dataset["folder"]):
            return str(dataset["folder"])
        try:
            return self._noted(dataset["digest"]) or str(dataset["folder"])
        except OSError as problem:
            raise _unusable(self._known_data, problem) from problem

    def _noted(self, digest: str) -> str | None:
        """Where this data was read, while something is there."""
        try:
            place = os.fsdecode((self._known_data / digest).read_bytes())
        except FileNotFoundError:
            return None
        return place if place and os.path.exists(place) else None

    @property
    def _known_data(self) -> Path:
        return self.root.parent / "datasets" / "known"

    def take(self, folder: Path, *, max_bytes: int, say: Callable[[str], None] | None = None) -> Snapshot:
        """A snapshot of the project in `folder`: what `stoker sync push` would send.

        A file that changes while it is read is read again; the files of the result lay in the folder together. Raises
        UsageError where there is nothing to take, where it is more than `max_bytes`, or where it does not hold still.
        """
        from ansible_collections.stoker.fleet.plugins.module_utils import project_files

        place = os.fsencode(folder)

        def choose() -> project_files.Chosen:
            chosen = project_files.choose(place)
            return replace(chosen, names=[name for name in chosen.names if not self._is_database(place, name)])

        try:
            chosen = choose()
            if not chosen.names:
                why = "git ignores all of it" if chosen.git else "it is empty, or .stokerignore names all of it"
                raise UsageError(f"there is nothing to take in {folder}: {why}")
            private_folder(self.root)
            draft = Path(tempfile.mkdtemp(prefix=".new-", dir=self.root))
            try:
                taking = Taking(place, draft / "tree", self._manifest_near(str(folder)), max_bytes, say)
                taking.all_of(chosen.names, lambda: choose().names)
                if not taking.entries:
                    raise UsageError(f"there is nothing to take in {folder}: all of it went away meanwhile")
                facts = {"folder": str(folder), **_git_facts(folder, chosen.git, set(chosen.secrets))}
                return self._named(draft, taking, facts, tuple(project_files.shown(name) for name in chosen.secrets))
            finally:
                shutil.rmtree(draft, ignore_errors=True)
        except project_files.ProjectError as problem:
            raise UsageError(str(problem)) from problem
        except OSError as problem:
            raise StokerError(f"the snapshot cannot be taken: {problem.strerror}: {_shown(problem)}") from problem

    def use(self, digest: str, store: str, job: str) -> None:
        """Note that `job` of the store at `store` needs this snapshot. Raises UsageError where it is not here."""
        users = self.root / digest / "users"
        try:
            users.mkdir(mode=0o700, exist_ok=True)
            (users / f"{mark_of_store(store)}.{job}").touch(mode=0o600)
            os.utime(self.root / digest)
        except FileNotFoundError:
            raise UsageError(
                f"the snapshot {digest[:12]} is not on this machine", next_step="stoker run --snapshot takes a new one"
            ) from None
        except OSError as problem:
            raise _unusable(users, problem) from problem

    def clear(
        self, store: str, jobs: Iterable[str], unused_s: float, *, dry_run: bool = False
    ) -> list[tuple[str, int]]:
        """Remove snapshots that no job uses, older than `unused_s` seconds; digests and the bytes that this freed.

        `jobs` are those that the store at `store` has. What other stores' jobs use stays.
        """
        mark, known, removed = mark_of_store(store), set(jobs), list[tuple[str, int]]()
        before = time.time() - max(unused_s, LEAST_AGE_S)
        try:
            for digest in sorted(self.here()):
                folder, trash = self.root / digest, self.root / f".new-{digest[:12]}-{os.getpid()}"
                with self._alone(digest):
                    users = [user.name.partition(".") for user in (folder / "users").glob("*")]
                    used = any(store_mark != mark or job in known for store_mark, _, job in users)
                    if used or not folder.is_dir() or folder.stat().st_mtime > before:
                        continue
                    removed.append((digest, _freed(folder)))
                    if not dry_run:
                        folder.rename(trash)
                if not dry_run:
                    shutil.rmtree(trash)
            for left in () if dry_run else self.root.glob(".new-*"):
                if left.stat().st_mtime < before:
                    self._clear_draft(left)
        except OSError as problem:
            raise _unusable(self.root, problem) from problem
        return removed

    @contextmanager
    def _alone(self, digest: str) -> Iterator[None]:
        """While it is looked who needs one, and it is taken away. A snapshot that is in use is not old."""
        yield

    def _clear_draft(self, draft: Path) -> None:
        """Remove what a process that was killed left."""
        shutil.rmtree(draft)

    def _is_database(self, folder: bytes, name: bytes) -> bool:
        """Whether a file of the project is one of the store's."""
        beside = next((end for end in _OF_DATABASE if name.endswith(end)), b"")
        return self._database == os.path.realpath(os.path.join(folder, name.removesuffix(beside)))

    def _manifest_near(self, folder: str) -> tuple[Path, Mapping[str, Entry]] | None:
        """The files and the manifest of the newest snapshot, of the same folder if there is one."""
        found = []
        for digest in self.here():
            try:
                manifest = json.loads((self.root / digest / "manifest.json").read_text(encoding="ascii"))
                made = (self.root / digest / "tree").stat().st_mtime
            except FileNotFoundError:
                continue  # cleared away just now
            found.append((manifest["folder"] == folder, made, digest, manifest["files"]))
        if not found:
            return None
        _, _, digest, files = max(found, key=lambda item: item[:3])
        return self.tree(digest), {name: (mode, content) for name, (mode, content) in files.items()}

    def _named(self, draft: Path, taking: Taking, facts: Mapping[str, Any], secrets: tuple[str, ...]) -> Snapshot:
        digest = taking.digest()
        files = {os.fsdecode(name): entry for name, entry in taking.entries.items()}
        _write(draft / "manifest.json", {"schema": "stoker.snapshot/1", **facts, "files": files})
        final = self.root / digest
        new = not final.is_dir()
        if new:
            try:
                draft.rename(final)
            except OSError:
                if not final.is_dir():
                    raise
        os.utime(final)
        return Snapshot(
            digest, facts["folder"], len(files), taking.size(), facts["ignored"], secrets, facts["commit"],
            facts["changes"], new,
        )  # fmt: skip


def _git_facts(folder: Path, git: bool, left_out: set[bytes]) -> dict[str, Any]:
    """The commit, how many changes there are besides it, and how much is ignored; None where git does not say.

    A change that was `left_out` is none of the snapshot's.
    """
    if not git:
        return {"commit": None, "changes": None, "ignored": None}
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    status = _git(folder, "status", "--porcelain", "-z", "--no-renames", "--", ".")
    above = (_git(folder, "rev-parse", "--show-prefix") or b"").strip(b"\n")
    changed = None if status is None else {line[3:].removeprefix(above) for line in status.split(b"\0") if line}
    ignored = _git(folder, "ls-files", "-oi", "--exclude-standard", "--directory", "-z")
    return {
        "commit": commit.decode("ascii").strip() if commit else None,
        "changes": len(changed - left_out) if commit and changed is not None else None,
        "ignored": ignored.count(b"\0") if ignored is not None else None,
    }


def _git(folder: Path, *words: str) -> bytes | None:
    # Within a hook of git these point to that repository.
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        ended = subprocess.run(["git", *words], cwd=folder, env=env, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout if ended.returncode == 0 else None


def _write(path: Path, value: Mapping[str, Any]) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())


def _freed(folder: Path) -> int:
    total = 0
    for place, _folders, files in os.walk(folder):
        for name in files:
            status = os.lstat(os.path.join(place, name))
            total += status.st_size if status.st_nlink == 1 else 0
    return total


def mark_of_store(url: str) -> str:
    """A short word for a store, the same for the same URL."""
    return sha256(url.encode()).hexdigest()[:12]


def _shown(problem: OSError) -> str:
    name = problem.filename
    return os.fsencode(name).decode("utf-8", "backslashreplace") if isinstance(name, str | bytes) else "no file named"


def _unusable(path: Path, problem: OSError) -> StokerError:
    return StokerError(
        f"the snapshots in {path} cannot be used: {problem.strerror or problem}",
        next_step="check the free space and the owner of that folder",
    )
