"""The project that a command is about: named, found around the current folder, or the one that was named last.

What was named is remembered in the user's state folder, for all stores and inventories.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoker.config import FILE_NAME, working_folder
from stoker.errors import NotFound, StokerError, UsageError
from stoker.operations.find import near
from stoker.paths import state_dir

if TYPE_CHECKING:
    from stoker.operations.session import Session

_KEPT = 50
# A folder that holds one of these, or lies below one that does, is a project of its own.
_MARKS = (".git", ".stokerignore", FILE_NAME)


@dataclass(frozen=True)
class Known:
    """A project that was named once: its folder, and when it was last used (Unix seconds)."""

    folder: Path
    used_at: float

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.folder.name


def project_folder(session: Session, named: str | None, local: str | None = None) -> Path:
    """The folder that a command is about.

    In this order: `local` (a folder, as it is), the project `named` (remembered), the known project around the current
    folder, the current folder where it is a project or in one, the project that was named last, the current folder.
    Where it is not the current folder and was not named, that is said. Raises UsageError.
    """
    here = working_folder()
    if local is not None and named is not None:
        raise UsageError("--local and --project both say which folder: give one of them")
    if local is not None:
        session.may_name(here / Path(local).expanduser())
        return here / Path(local).expanduser()
    known = _known()
    if named is not None:
        found = _named(named, here, known)
        session.may_name(found)
        _remember(found, known)
        return found
    own = own_root(here.resolve())
    # A project of its own within a known one is not that one.
    around = [p for p in known if here.resolve().is_relative_to(p.folder) and (not own or p.folder.is_relative_to(own))]
    if around:
        nearest = max(around, key=lambda project: len(project.folder.parts))
        if nearest.folder != here.resolve():
            session.may_name(nearest.folder)
            session.say(f"project {nearest.name}: {nearest.folder}, around the current folder")
        return nearest.folder
    if not known or own is not None:
        session.may_name(here)
        return here
    last = max(known, key=lambda project: project.used_at)
    if not last.folder.is_dir():
        raise UsageError(
            f"the last project, {last.folder}, is not there any more", next_step="say which: --project FOLDER"
        )
    session.may_name(last.folder)
    session.say(f"project {last.name}: {last.folder}, the last one named (--project says another)")
    _remember(last.folder, known)
    return last.folder


def own_root(here: Path) -> Path | None:
    """The folder, at or above this one, that is marked as a project; None where there is none."""
    for place in (here, *here.parents):
        if any((place / mark).exists() for mark in _MARKS):
            return place
    return None


def _named(named: str, here: Path, known: Sequence[Known]) -> Path:
    folder = (here / Path(named).expanduser()).resolve()
    by_name = [project.folder for project in known if project.name == named]
    if "/" in named or named in (".", "..") or named.startswith("~"):
        by_name = []
    found = list(dict.fromkeys([*by_name, *([folder] if folder.is_dir() else [])]))
    if len(found) > 1:
        listed = ", ".join(str(path) for path in found)
        raise UsageError(f"--project {named} may be any of {listed}", next_step="write the folder out")
    if not found:
        hint = near(named, [project.name for project in known])
        raise NotFound(f"--project: there is no folder {folder} and no project {named!r}.{hint}")
    if not found[0].is_dir():
        raise NotFound(f"--project {named}: its folder {found[0]} is not there any more")
    if not found[0].name:
        raise UsageError(f"--project: {found[0]} has no name to take for a project")
    return found[0]


def _known() -> list[Known]:
    path = _file()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except OSError as problem:
        raise StokerError(f"{path} cannot be read: {problem.strerror}") from problem
    try:
        listed = json.loads(text)["projects"]
        return [Known(Path(entry["folder"]), float(entry["used_at"])) for entry in listed]
    except (ValueError, KeyError, TypeError) as problem:
        raise StokerError(f"{path} is no list of projects", next_step=f"remove it: rm {path}") from problem


def _remember(folder: Path, known: Sequence[Known]) -> None:
    others = sorted((p for p in known if p.folder != folder), key=lambda p: -p.used_at)[: _KEPT - 1]
    # Also where the clock went back: the one used now is the last one.
    now = max([time.time(), *(p.used_at + 0.001 for p in others)])
    entries = [Known(folder, now), *others]
    value: dict[str, Any] = {
        "schema": "stoker.projects/1",
        "projects": [{"folder": str(p.folder), "used_at": p.used_at} for p in entries],
    }
    path = _file()
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as problem:
        raise StokerError(f"the project cannot be remembered: {path}: {problem.strerror}") from problem


def _file() -> Path:
    return state_dir() / "projects.json"
