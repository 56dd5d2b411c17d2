"""The files of a project: to nodes, and results back."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stoker.errors import UsageError
from stoker.operations import progress, quantities, results
from stoker.operations.project import project_folder
from stoker.operations.registry import operation
from stoker.operations.rounds import ask_nodes
from stoker.operations.session import Session
from stoker.operations.values import Problem

Direction = Literal["push", "pull"]
# A push or pull of more than this is refused unless it is said how much may be moved.
MOST = "500M"


@dataclass(frozen=True)
class FileChange:
    """A file or link that was brought up to date. `bytes` is its size where its content moved, else 0.

    `change` is `new`, `changed`, or `attributes` (time or mode only).
    """

    name: str
    change: str
    bytes: int


@dataclass(frozen=True)
class Synced:
    """What happened between this machine's folder `local` and `remote` on one node (an absolute path there).

    `wire_bytes` went over the connection, both ways. `left_out` look like secrets, `kept` are newer here, `deleted`
    were taken away from the node, `stale` were pushed once and are no longer sent. `last_push` (Unix seconds by the
    node's clock) is when the newest push into that folder was completed, None when there was none.
    """

    node: str
    local: str
    remote: str
    changes: tuple[FileChange, ...]
    bytes: int
    wire_bytes: int
    left_out: tuple[str, ...]
    kept: tuple[str, ...]
    deleted: tuple[str, ...]
    stale: tuple[str, ...]
    notes: tuple[str, ...]
    last_push: float | None


@dataclass(frozen=True)
class SyncReport:
    """One sync. `dry_run`: nothing was moved; what is listed is what would be."""

    direction: Direction
    dry_run: bool
    nodes: tuple[Synced, ...]
    problems: tuple[Problem, ...] = ()


@operation("sync", "sync push", "operate", destroys=("delete",))
def push(
    session: Session,
    on: str,
    *,
    local: str | None = None,
    remote: str | None = None,
    project: str | None = None,
    delete: bool = False,
    with_secrets: bool = False,
    max_size: int | str = MOST,
) -> SyncReport:
    """Send the files of a project to a node: what git would commit, by rsync, only what differs.

    Ignored files stay here (.gitignore, and .stokerignore for more), and so do files that look like secrets, which are
    named. Without a git repository everything else is sent.

    Args:
        on: Node or group.
        local: The project's folder here; by default the current one.
        remote: The folder there, relative to the home folder; by default of the same name as here.
        project: The project instead of --local: a folder, or the name of one that was named before. It is remembered.
        delete: Take away what an earlier push put there and this one does not send. Never anything else.
        with_secrets: Send files such as .env, *.pem and id_rsa, too.
        max_size: Send nothing when it would be more than this.
    """
    request = _request(session, "push", local, remote, project, with_secrets, max_size) | {"delete": delete}
    return _report(session, on, request)


@operation("sync", "sync pull", "operate", destroys=("force",))
def pull(
    session: Session,
    on: str,
    *paths: str,
    local: str | None = None,
    remote: str | None = None,
    project: str | None = None,
    force: bool = False,
    with_secrets: bool = False,
    max_size: int | str = MOST,
) -> SyncReport:
    """Fetch files from a node: what differs, and nothing that is newer here.

    Args:
        on: The node.
        paths: Only these files and folders of the remote folder. One that is missing there is told, the others come.
        local: The folder here; by default the current one.
        remote: The folder there, relative to the home folder; by default of the same name as here.
        project: The project instead of --local: a folder, or the name of one that was named before. It is remembered.
        force: Overwrite what is newer here, too.
        with_secrets: Fetch files such as .env, *.pem and id_rsa, too.
        max_size: Fetch nothing when it would be more than this.
    """
    request = _request(session, "pull", local, remote, project, with_secrets, max_size)
    request |= {"force": force, "paths": [_text(path) for path in paths]}
    report = _report(session, on, request)
    for synced in report.nodes:
        results.settle(session, synced, paths)
    return report


@operation("sync", "sync diff", "read")
def diff(
    session: Session,
    on: str,
    *,
    pull: bool = False,
    local: str | None = None,
    remote: str | None = None,
    project: str | None = None,
    with_secrets: bool = False,
    max_size: int | str = MOST,
) -> SyncReport:
    """List what a push would send, and what --delete would take away; changes nothing.

    Args:
        on: Node or group.
        pull: List what a pull would fetch instead.
        local: The project's folder here; by default the current one.
        remote: The folder there, relative to the home folder; by default of the same name as here.
        project: The project instead of --local: a folder, or the name of one that was named before. It is remembered.
        with_secrets: As if files such as .env, *.pem and id_rsa were sent, too.
        max_size: What the push or pull would be allowed.
    """
    direction: Direction = "pull" if pull else "push"
    request = _request(session, direction, local, remote, project, with_secrets, max_size)
    return _report(session, on, request | {"dry_run": True})


def fetched(
    session: Session, node: str, remote: str, local: str, paths: Sequence[str], *, dry_run: bool = False
) -> tuple[Synced | None, tuple[Problem, ...]]:
    """Fetch `paths` (none: all that differs) of a folder of one node, as `pull` does; None, and why, on failure.

    Whatever its size: that it is to be fetched was said when the job was submitted. `dry_run`: only say what would be.
    """
    if all(known.name != node for known in session.inventory.nodes):
        return None, (Problem(node, f"{node} is not in the inventory"),)
    request = _request(session, "pull", local, remote, None, False, sys.maxsize) | {
        "force": False,
        "paths": list(paths),
        "dry_run": dry_run,
    }
    report = _report(session, node, request)
    return next(iter(report.nodes), None), report.problems


def tell(session: Session, report: SyncReport) -> None:
    """Say in a line or two what a push within another command did."""
    for node in report.nodes:
        count = len(node.changes)
        session.say(f"{count} file{'s' * (count != 1)} sent to {node.node}:{node.remote}")
        for note in node.notes:
            session.say(f"{node.node}: {note}")
        if node.left_out:
            session.say(f"{node.node}: left out, may hold secrets: {', '.join(node.left_out[:20])}")


def _request(
    session: Session, direction: Direction, local: str | None, remote: str | None, project: str | None,
    with_secrets: bool, most: int | str,
) -> dict[str, Any]:  # fmt: skip
    folder = project_folder(session, project, local)
    if remote is None and not folder.resolve().name:
        raise UsageError(f"{folder} has no name to take for the remote folder", next_step="say --remote FOLDER")
    request = {
        "direction": direction,
        "dry_run": False,
        "local": _text(str(folder)),
        "remote": _text(remote if remote is not None else folder.resolve().name),
        "with_secrets": with_secrets,
        "max_size": str(quantities.size(most, "--max-size")),
    }
    if not request["remote"]:
        raise UsageError("--remote: an empty name is no folder")
    if direction == "push" and not folder.is_dir():
        raise UsageError(f"--local: there is no folder {folder}")
    return request


def _text(name: str) -> str:
    """Refuse what is no text: Ansible's settings hold nothing else. Files within the folder may be called anything."""
    try:
        name.encode()
    except UnicodeEncodeError:
        spelled = name.encode(errors="surrogateescape")
        raise UsageError(f"{spelled!r} is not UTF-8", next_step="name the folder above it") from None
    return name


def _report(session: Session, on: str, request: Mapping[str, Any]) -> SyncReport:
    names = session.inventory.match(on)
    if request["direction"] == "pull" and len(names) != 1:
        raise UsageError(f"{on} is {len(names)} nodes, and their files would lie in one folder", next_step="name one")
    with progress.shown(session, "sending to" if request["direction"] == "push" else "fetching from") as folder:
        asked = {**request, **({"progress": folder} if folder else {})}
        if session.config.file is not None:
            asked["settings"] = str(session.config.file.absolute())
        answers, problems = ask_nodes(session, "stoker.fleet.sync", {"*": asked}, names)
    nodes = tuple(_synced(name, answers[name].res) for name in names if name in answers)
    return SyncReport(request["direction"], bool(request["dry_run"]), nodes, problems)


def _synced(node: str, res: Mapping[str, Any]) -> Synced:
    def names(field: str) -> tuple[str, ...]:
        listed: Sequence[str] = res[field]
        return tuple(listed)

    return Synced(
        node, res["local"], res["remote"], tuple(FileChange(**entry) for entry in res["changes"]), res["bytes"],
        res["wire_bytes"], names("left_out"), names("kept"), names("deleted"), names("stale"), names("notes"),
        res["last_push"]["at"] if res["last_push"] else None,
    )  # fmt: skip
