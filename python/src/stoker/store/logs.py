"""Copies of the last bytes of logs, so that they can be read when their node is gone."""

from __future__ import annotations

import os
from pathlib import Path

from stoker.errors import StokerError
from stoker.paths import private_folder


class LogCopies:
    """One file per attempt, `<job>.<attempt>.<start>.log`, in `folder` (0700; each file 0600).

    The name says where in the node's log the file begins: two controllers that share a database have copies of their
    own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ranges(self) -> dict[tuple[str, int], tuple[int, int]]:
        """Which bytes [start, end) of which attempt's log are here. Raises StokerError."""
        found: dict[tuple[str, int], tuple[int, int]] = {}
        try:
            entries = list(os.scandir(self.folder)) if self.folder.is_dir() else []
            for entry in entries:
                parts = entry.name.rsplit(".", 3)
                if entry.name.startswith(".") or len(parts) != 4 or not (parts[1] + parts[2]).isdigit():
                    continue
                key, start = (parts[0], int(parts[1])), int(parts[2])
                reach = (start, start + entry.stat().st_size)
                # Two after a crash between writing and removing: the one that goes further is the newer.
                found[key] = max(found.get(key, reach), reach, key=lambda item: item[1])
        except OSError as problem:
            raise _unusable(self.folder, problem) from problem
        return found

    def read(self, job_id: str, attempt: int) -> tuple[int, bytes]:
        """Where the copy begins, and its bytes; (0, b"") where there is none. Raises StokerError."""
        start, end = self.ranges().get((job_id, attempt), (0, 0))
        if start == end:
            return start, b""
        try:
            return start, self._path(job_id, attempt, start).read_bytes()
        except OSError as problem:
            raise _unusable(self.folder, problem) from problem

    def extend(self, job_id: str, attempt: int, offset: int, data: bytes, keep_bytes: int) -> tuple[int, int]:
        """Put `data`, which lies at `offset` of the log, after what is here, and keep the last `keep_bytes`.

        Bytes that are here already are not written twice; after a gap the copy begins anew. Returns the range that is
        here then. The caller keeps others from doing the same at the same time. Raises StokerError.
        """
        start, end = self.ranges().get((job_id, attempt), (offset, offset))
        if offset > end:
            self.remove(job_id, attempt)
            start = end = offset
        fresh = data[end - offset :] if end > offset else data
        try:
            if end - start + len(fresh) <= keep_bytes:
                return self._append(job_id, attempt, start, end, fresh)
            return self._rewrite(job_id, attempt, start, end, fresh, keep_bytes)
        except OSError as problem:
            raise _unusable(self.folder, problem) from problem

    def remove(self, job_id: str, attempt: int | None = None) -> None:
        """Remove the copies of an attempt, of all attempts of the job where none is named. Raises StokerError."""
        try:
            for (job, number), (start, _) in self.ranges().items():
                if job == job_id and attempt in (None, number):
                    self._path(job, number, start).unlink(missing_ok=True)
        except OSError as problem:
            raise _unusable(self.folder, problem) from problem

    def _append(self, job_id: str, attempt: int, start: int, end: int, fresh: bytes) -> tuple[int, int]:
        if fresh:
            private_folder(self.folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            with open(os.open(self._path(job_id, attempt, start), flags, 0o600), "wb") as file:
                file.write(fresh)
        return start, end + len(fresh)

    def _rewrite(self, job_id: str, attempt: int, start: int, end: int, fresh: bytes, keep: int) -> tuple[int, int]:
        old = self._path(job_id, attempt, start)
        kept = ((old.read_bytes() if end > start else b"") + fresh)[-keep:] if keep > 0 else b""
        new_end = end + len(fresh)
        new_start = new_end - len(kept)
        private_folder(self.folder)
        path = self._path(job_id, attempt, new_start)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(kept)
        draft.replace(path)
        if old != path:
            old.unlink(missing_ok=True)
        return new_start, new_end

    def _path(self, job_id: str, attempt: int, start: int) -> Path:
        return self.folder / f"{job_id}.{attempt}.{start}.log"


def _unusable(path: Path, problem: OSError) -> StokerError:
    return StokerError(
        f"the log copies in {path} cannot be used: {problem.strerror or problem}",
        next_step="check the free space and the owner of that folder",
    )
