"""The files that a command or a job runs with: pushed to the node first, or a snapshot of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from stoker.errors import StokerError, UsageError
from stoker.operations import quantities, results, sync
from stoker.operations.project import project_folder
from stoker.operations.session import Session
from stoker.operations.values import CommandOutput, Problem

MAX_SNAPSHOT = "500M"


def for_job(
    session: Session, named: Mapping[str, Any], on: str | None, *, snapshot: bool, sync: bool, pull: Sequence[str],
    auto_pull: bool, project: str | None,
) -> tuple[dict[str, Any], dict[str, Any] | None]:  # fmt: skip
    """Have the files ready that a job runs with. Returns what its spec says, and what its row says of its results.

    Raises UsageError for what does not go together, StokerError where a push failed.
    """
    spec = dict(named)
    if snapshot and sync:
        raise UsageError("--sync and --snapshot: a job runs in the pushed folder or in a snapshot, give one of them")
    paths, asked = sync_paths(pull), bool(pull) or auto_pull
    if snapshot:
        _inside(spec.get("workdir"), "--snapshot")
        folder = project_folder(session, project)
        spec["snapshot"] = taken(session, folder)
        return spec, results.wanted(folder, None, paths, asked)
    if not sync and project is None:
        return spec, _of_workdir(spec, paths, asked)
    if sync or project is not None:
        _inside(spec.get("workdir"), "--sync" if sync else "--project")
    folder = project_folder(session, project)
    remote = pushed(session, on, folder) if sync else f"~/{folder.resolve().name}"
    spec["workdir"] = str(PurePosixPath(remote) / (spec.get("workdir") or ""))
    return spec, results.wanted(folder, remote, paths, asked)


def taken(session: Session, folder: Path) -> dict[str, Any]:
    """A snapshot of the folder, as a job's spec has it; and the line that says so."""
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}")
    most = quantities.size(MAX_SNAPSHOT, "--snapshot")
    found = session.store.snapshots.take(folder.resolve(), max_bytes=most, say=session.say)
    session.say(f"✓ {in_words(found.as_spec())}")
    if found.secrets:
        session.say(f"  left out, may hold secrets: {', '.join(found.secrets[:20])}")
    return found.as_spec()


def refuse_missing(session: Session, spec: Mapping[str, Any]) -> None:
    """Raise UsageError where this machine has not got the snapshot that a job is to run with."""
    wanted = spec.get("snapshot")
    if wanted and wanted["digest"] not in session.store.snapshots.here():
        where = f"; it was taken on {wanted['host']}" if wanted.get("host") else ""
        raise UsageError(
            f"the snapshot {wanted['digest'][:12]} is not on this machine{where}",
            next_step="submit it there, or anew: stoker run --snapshot",
        )


def in_words(snapshot: Mapping[str, Any]) -> str:
    """`snapshot of 214 files (1.3 MB) of ~/proj, 3 ignored by git, commit 4f1c2aa +2 changes`."""
    count, commit, changes = snapshot.get("files"), snapshot.get("commit"), snapshot.get("changes")
    text = f"snapshot of {count:,} file{'s' * (count != 1)}" if count is not None else "snapshot"
    text += f" ({_size(snapshot['bytes'])})" if snapshot.get("bytes") is not None else ""
    text += f" of {_home(snapshot['folder'])}" if snapshot.get("folder") else ""
    text += f", {snapshot['ignored']:,} ignored by git" if snapshot.get("ignored") else ""
    text += f", commit {commit[:7]}" if commit else ", no commit"
    return text + (f" +{changes} change{'s' * (changes != 1)}" if commit and changes else "")


def pushed(session: Session, on: str | None, folder: Path) -> str:
    """Push the folder to the one node that `on` means, and return where it lies there. Raises StokerError."""
    target = on if on is not None else session.config.defaults.on
    nodes = session.inventory.meant(target)
    if len(nodes) != 1:
        raise UsageError(
            f"--sync pushes to one node, and {target or 'no --on'} means {len(nodes)}",
            next_step="name one with --on NODE; or --snapshot, which goes wherever the job starts",
        )
    return _push(session, nodes, folder)[nodes[0]]


def _push(session: Session, nodes: Sequence[str], folder: Path) -> dict[str, str]:
    """Push to all of them; where the folder lies on each. Raises StokerError when it failed on any."""
    report = sync.push(session, ",".join(nodes), local=str(folder))
    sync.tell(session, report)
    if report.problems:
        problem = report.problems[0]
        raise StokerError(
            f"{problem.node or 'all'}: the push failed, and nothing was started: {problem.message}",
            next_step=problem.next_step,
        )
    return {node.node: node.remote for node in report.nodes}


@dataclass(frozen=True)
class ExecFiles:
    """The project of a command on nodes: where its results are fetched from afterwards, if at all."""

    session: Session
    nodes: Sequence[str]
    folder: Path
    paths: Sequence[str]
    asked: bool

    def workdir(self, named: str | None) -> str:
        """The folder on every node that the command runs in."""
        _inside(named, "--project")
        return str(PurePosixPath("~") / self.folder.resolve().name / (named or ""))

    def fetch(self, outputs: Sequence[CommandOutput]) -> tuple[Problem, ...]:
        """Fetch what was asked for, or say the command that does. Not from a node that could not be asked."""
        ran = [output.node for output in outputs if output.problem is None]
        remote = f"~/{self.folder.resolve().name}"
        if not self.asked or not ran:
            if len(self.nodes) == 1 and ran:
                self.session.say(f"results: {results.command_of(ran[0], self.paths, remote, str(self.folder))}")
            return ()
        report, problems = sync.fetched(self.session, ran[0], remote, str(self.folder), self.paths)
        if report is not None:
            count = len(report.changes)
            self.session.say(f"{count} file{'s' * (count != 1)} fetched from {ran[0]}:{report.remote}")
            for note in report.notes:
                self.session.say(f"{ran[0]}: {note}")
            if report.kept:
                self.session.say(f"{ran[0]}: kept, newer here: {', '.join(report.kept[:20])}")
            if report.left_out:
                again = results.command_of(ran[0], self.paths, remote, str(self.folder))
                left = ", ".join(report.left_out[:20])
                self.session.say(f"{ran[0]}: left there, may hold secrets: {left} (next: {again} --with-secrets)")
        return problems


def files_of_exec(
    session: Session, nodes: Sequence[str], *, sync: bool, pull: Sequence[str], auto_pull: bool, project: str | None
) -> ExecFiles | None:
    """The project that a command is run with, pushed where that was asked; None where it has none."""
    paths, asked = sync_paths(pull), bool(pull) or auto_pull
    if not (sync or asked or project is not None):
        return None
    if asked and len(nodes) != 1:
        raise UsageError(
            f"--pull: these are {len(nodes)} nodes, and their files would lie in one folder", next_step="name one node"
        )
    folder = project_folder(session, project)
    if sync:
        _push(session, nodes, folder)
    return ExecFiles(session, nodes, folder, paths, asked)


def sync_paths(paths: Sequence[str]) -> list[str]:
    """Paths within the folder. Raises UsageError for one that leads out of it."""
    for path in paths:
        if not path or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise UsageError(f"--pull: {path!r} is not a path within the folder of the job")
    return list(paths)


def _of_workdir(spec: Mapping[str, Any], paths: Sequence[str], asked: bool) -> dict[str, Any] | None:
    """Results of a job whose files nobody brought: they can only lie in the folder that it was told to run in."""
    workdir = spec.get("workdir")
    if workdir is None:
        if asked:
            raise UsageError(
                "there is no folder to fetch results from", next_step="--sync, --snapshot, --project or --workdir"
            )
        return None
    if not asked:
        return None
    from stoker.config import working_folder

    return results.wanted(working_folder(), workdir, paths, asked)


def _inside(workdir: str | None, option: str) -> None:
    if workdir is not None and (PurePosixPath(workdir).is_absolute() or ".." in PurePosixPath(workdir).parts):
        raise UsageError(f"--workdir {workdir}: with {option} it is a folder within the project's")


def _home(folder: str) -> str:
    home = str(Path.home())
    return "~" + folder[len(home) :] if folder.startswith(home + "/") else folder


def _size(count: int) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 99.95 else f"{count:.1f} {unit}"
        count /= 1000  # type: ignore[assignment]
    return ""
