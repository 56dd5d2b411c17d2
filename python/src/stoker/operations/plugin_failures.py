"""What went wrong in a plugin, kept until it goes well: the next process is to know of it, too."""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from stoker.paths import private_folder, state_dir

_LONGEST = 300


@dataclass(frozen=True)
class Failure:
    """`at` is in seconds of the epoch; `where` an operation's command, or a hook."""

    at: float
    where: str
    reason: str


def reason_of(problem: BaseException) -> str:
    """An exception on one line."""
    said = " ".join(str(problem).split())[:_LONGEST]
    return f"{type(problem).__name__}: {said}" if said else type(problem).__name__


def note(plugin: str, where: str, reason: str) -> None:
    """Keep the failure of a plugin at `where`, in the place of an older one there."""
    folder = _folder(plugin)
    said = json.dumps({"at": time.time(), "where": where, "reason": reason})
    number, name = tempfile.mkstemp(dir=folder, prefix=".")
    with os.fdopen(number, "w", encoding="utf-8") as file:
        file.write(said)
        file.flush()
        os.fsync(number)
    Path(name).replace(folder / f"{where}.json")


def clear(plugin: str, where: str) -> None:
    """It went well there."""
    (_folder(plugin) / f"{where}.json").unlink(missing_ok=True)


def kept(plugin: str) -> tuple[Failure, ...]:
    """What was not followed by a success, newest first."""
    found = []
    for file in _folder(plugin).glob("[!.]*.json"):
        try:
            said = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue  # it went well, just now
        found.append(Failure(said["at"], said["where"], said["reason"]))
    return tuple(sorted(found, key=lambda failure: -failure.at))


def folder_of(plugin: str) -> Path:
    """The private folder that a plugin may keep things in."""
    return private_folder(private_folder(state_dir() / "plugins") / plugin)


def _folder(plugin: str) -> Path:
    return private_folder(private_folder(private_folder(state_dir() / "plugins") / ".failed") / plugin)
