"""Where Stoker keeps its own files on the controller: private folders (0700) of the user who calls it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from stoker.errors import StokerError


def state_dir() -> Path:
    """The folder of the store and of the log copies. ``STOKER_STATE_HOME`` names another one. Raises StokerError."""
    if chosen := os.environ.get("STOKER_STATE_HOME"):
        return private_folder(Path(chosen).expanduser())
    import platformdirs

    return private_folder(Path(platformdirs.user_state_dir("stoker")))


def cache_dir() -> Path:
    """The folder of what can be made again. Below ``STOKER_STATE_HOME`` where that is set. Raises StokerError."""
    if chosen := os.environ.get("STOKER_STATE_HOME"):
        return private_folder(private_folder(Path(chosen).expanduser()) / "cache")
    import platformdirs

    return private_folder(Path(platformdirs.user_cache_dir("stoker")))


def runtime_dir() -> Path:
    """The folder of sockets and of what ends with the machine.

    Below ``STOKER_STATE_HOME`` where that is set. Raises StokerError.
    """
    if chosen := os.environ.get("STOKER_STATE_HOME"):
        return private_folder(private_folder(Path(chosen).expanduser()) / "run")
    # platformdirs falls back to a folder in /tmp whose name anybody can guess, and says so on stderr.
    for place in (os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{os.geteuid()}"):
        if place and _is_ours(Path(place)):
            return private_folder(Path(place) / "stoker")
    return private_folder(state_dir() / "run")


def _is_ours(folder: Path) -> bool:
    """A session without a login manager has the variable of another one, or no such folder."""
    try:
        return folder.stat().st_uid == os.geteuid() and os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        return False


def private_folder(folder: Path) -> Path:
    """Make `folder` (parents too) with mode 0700 and return it. Refuses one that belongs to somebody else.

    Raises StokerError when it cannot be made, is no folder, or is not ours.
    """
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return _made(folder)
    except OSError as problem:
        raise _unusable(folder, problem) from problem
    if stat.S_ISLNK(found.st_mode):
        found = folder.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise StokerError(f"{folder} is not a folder", next_step="move it away, or set STOKER_STATE_HOME")
    if found.st_uid != os.geteuid():
        raise StokerError(
            f"{folder} belongs to another user (uid {found.st_uid}, you are {os.geteuid()})",
            next_step="set STOKER_STATE_HOME to a folder of your own",
        )
    if found.st_mode & 0o077:
        folder.chmod(0o700)
    return folder


def _made(folder: Path) -> Path:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as problem:
        raise _unusable(folder, problem) from problem
    return folder


def _unusable(folder: Path, problem: OSError) -> StokerError:
    return StokerError(
        f"the folder {folder} cannot be used: {problem.strerror or problem}",
        next_step="set STOKER_STATE_HOME to a folder that you can write to",
    )
