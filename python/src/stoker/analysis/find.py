"""Which runs lie in a folder, told from names and, where a name says too little, from the first lines."""

from __future__ import annotations

import errno
import os
import stat
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ansible_collections.stoker.fleet.plugins.module_utils.project_files import looks_secret
from ansible_collections.stoker.fleet.plugins.module_utils.readers import kinds, sqlite_store
from stoker.analysis import aim, neptune
from stoker.analysis.errors import NotThere, Unreadable
from stoker.analysis.values import Kind

LOGS = kinds.LOGS


@dataclass(frozen=True)
class Source:
    """The files of one run, or of one segment of it, in the order in which they are read.

    `run` is which one it is, of a file that holds several.
    """

    kind: Kind
    paths: tuple[Path, ...]
    place: str
    run: str | None = None


def find(path: Path, problems: list[str]) -> list[Source]:
    """The sources in a folder and below it, or the one that a file is.

    A folder below that cannot be looked into is told in `problems`. Raises NotThere when there is no such path,
    Unreadable when it cannot be read.
    """
    try:
        if path.is_dir():
            found = _folders(path, problems)
            return [source for folder, files in found for source in _in_folder(folder, files, path, problems)]
        if not stat.S_ISREG(path.stat().st_mode):
            raise Unreadable(f"{path} is no regular file", next_step="name a file or a folder")
        return _of_file(path)
    except FileNotFoundError:
        raise NotThere(f"there is no file or folder {path}", next_step="stoker runs list FOLDER") from None
    except OSError as problem:
        raise Unreadable(f"{path} cannot be read: {problem.strerror or problem}") from problem


def _refuse(path: Path) -> None:
    """A file that was named, and whose name says what it is not. Raises Unreadable."""
    if path.name.endswith(".parquet"):
        raise Unreadable(f"{path} is no part of an export of Neptune: those are called RUN_part_0.parquet")
    if path.name.endswith(sqlite_store.ENDINGS):
        with path.open("rb") as file:
            head = file.read(len(sqlite_store.MAGIC))
        if head == sqlite_store.MAGIC:
            raise Unreadable(f"{path} is a file of SQLite, and no store of trackio or MLflow")
        raise Unreadable(f"{path} is {'no file of SQLite' if head else 'empty'}")


def is_there(path: Path) -> bool:
    """Whether there is such a file or folder. Raises Unreadable where that may not be known."""
    try:
        return path.exists()
    except OSError as problem:
        if problem.errno == errno.ENAMETOOLONG:
            return False
        raise Unreadable(f"{path} cannot be read: {problem.strerror or problem}") from problem


def _folders(top: Path, problems: list[str]) -> Iterator[tuple[Path, list[str]]]:
    def fail(problem: OSError) -> None:
        if Path(problem.filename) == top:
            raise problem
        problems.append(f"{problem.filename} cannot be looked into: {problem.strerror}")

    for folder, names, files in os.walk(top, onerror=fail):
        names[:] = sorted(name for name in names if name not in kinds.NEVER)
        yield Path(folder), sorted(files)


def _in_folder(folder: Path, files: list[str], top: Path, problems: list[str]) -> Iterator[Source]:
    """What of a folder is a run; a log counts only where nothing better is."""
    where = "" if folder == top else str(folder.relative_to(top))
    told: dict[Kind, list[Path]] = defaultdict(list)
    for name in files:
        kind = _told(folder / name, problems)
        if kind is not None:
            told[kind].append(folder / name)
    for path in told["wandb"]:
        yield Source("wandb", (path,), where or folder.resolve().name)
    if told["tensorboard"]:
        yield Source("tensorboard", tuple(told["tensorboard"]), where or folder.resolve().name)
    if told["trainer_state"]:
        yield Source("trainer_state", (folder / "trainer_state.json",), where or folder.resolve().name)
    if folder.name == aim.FOLDER:
        yield from _of_aim(folder, where, problems)
    yield from _exported(told["neptune"], where)
    yield from (source for path in told["trackio"] for source in _of_store("trackio", path, where, problems))
    for path in told["mlflow"]:
        if path.name == "meta.yaml":
            yield Source("mlflow", (path,), where or folder.resolve().name)
        else:
            yield from _of_store("mlflow", path, where, problems)
    rows: tuple[Kind, ...] = ("jsonl", "csv")
    for kind in rows:
        for path in told[kind]:
            # Lightning's file is called metrics.csv in every run: its folder is the name.
            own = where if path.name == "metrics.csv" and where else str(Path(where) / path.name)
            yield Source(kind, (path,), own)
    part_of_wandb = folder.name in ("files", "logs") and any(folder.parent.glob("*.wandb"))
    if not any(told[kind] for kind in told if kind != "log") and not part_of_wandb:
        for path in told["log"]:
            yield Source("log", (path,), str(Path(where) / path.name))


def _told(path: Path, problems: list[str]) -> Kind | None:
    """What a file in a folder is; one that cannot be asked is told in `problems`, unless it went away meanwhile."""
    try:
        # Whoever opens a pipe waits for its writer.
        return _kind(path) if path.is_file() else None
    except FileNotFoundError:
        return None
    except OSError as problem:
        problems.append(f"{path} cannot be read: {problem.strerror or problem}")
        return None


def _kind(path: Path) -> Kind | None:
    """What a file in a folder is, None for one that is no run. Raises OSError."""
    if path.name.endswith(".parquet"):
        return "neptune" if neptune.is_part(path) else None
    return cast("Kind | None", kinds.kind_of(str(path)))


def _exported(parts: Sequence[Path], where: str) -> Iterator[Source]:
    """The runs that Neptune's exporter left, each with its parts in order."""
    runs: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    for path in parts:
        named = neptune.PART.fullmatch(path.name)
        assert named is not None
        runs[named["run"]].append((int(named["number"]), path))
    for name, numbered in sorted(runs.items()):
        yield Source("neptune", tuple(path for _, path in sorted(numbered)), str(Path(where) / name))


def _of_aim(folder: Path, where: str, problems: list[str]) -> Iterator[Source]:
    """The runs of an Aim repository."""
    try:
        runs = aim.runs_of(folder)
    except OSError as problem:
        problems.append(f"{folder} cannot be read: {problem.strerror or problem}")
        return
    for run, path in runs:
        yield Source("aim", (path,), str(Path(where) / run), run)


def _of_store(kind: Kind, path: Path, where: str, problems: list[str] | None = None) -> Iterator[Source]:
    """The runs in a store; one that is damaged is told in `problems`, and raises OSError without them."""
    try:
        runs = sqlite_store.runs_of(kind, str(path))
    except OSError as problem:
        if problems is None:
            raise
        problems.append(f"{path} cannot be read: {problem}")
        return
    for run in runs:
        yield Source(kind, (path,), str(Path(where) / path.name / run), run)


def _of_file(path: Path) -> list[Source]:
    """A file that was named: metrics of any kind, or a log. Raises Unreadable for another one, OSError."""
    if any(looks_secret(str(name)) for name in (path.absolute(), path.resolve())):
        raise Unreadable(f"{path} looks like a file of keys or passwords, and is not read as a run")
    kind = _kind(path)
    if kind is None:
        _refuse(path)
        kind = cast("Kind | None", kinds.kind_of_named(str(path)))
    if kind is None:
        raise Unreadable(f"{path} is {kinds.NO_RUN}", next_step="name a run's file or folder; stoker runs list FOLDER")
    if kind in ("trackio", "mlflow") and path.name != "meta.yaml":
        return list(_of_store(kind, path, ""))
    return [Source(kind, (path,), path.name)]
