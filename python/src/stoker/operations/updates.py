"""Stoker's own versions, here and on the nodes, and this controller's brought to the nodes with care."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from stoker.errors import UsageError
from stoker.operations.registry import operation
from stoker.operations.rounds import problems_of
from stoker.operations.session import Session
from stoker.operations.values import Problem

if TYPE_CHECKING:
    from stoker.runner import Event, PlayResult

Use = Literal["current", "other", "none", "kept", "unknown"]
Outcome = Literal["updated", "present", "put_back", "put_back_failed", "refused", "unknown", "untouched"]


@dataclass(frozen=True)
class SideVersion:
    """A version of the node side that lies on a node, brought there at `brought_at` (Unix seconds, the node's clock).

    `intact`: its files, hashed again, give its name. `jobs` run with it.
    """

    version: str
    brought_at: float
    intact: bool
    jobs: tuple[str, ...]


@dataclass(frozen=True)
class NodeSide:
    """What of Stoker is on one node. `wanted` is the version of this controller, `used` the one that is used there.

    `use`: current (they are the same), other, none (nothing is there), kept (`wanted` failed there, for `kept_reason`,
    and the version before is used instead), unknown (`unknown` says why; the rest is None or empty). `jobs` run there;
    `faults` speak against an update.
    """

    node: str
    use: Use
    wanted: str | None
    used: str | None
    kept_reason: str | None
    versions: tuple[SideVersion, ...]
    jobs: tuple[str, ...]
    python: str | None
    faults: tuple[str, ...]
    unknown: str | None


@dataclass(frozen=True)
class UpdateCheck:
    """Stoker's versions: of the package here, of the collection that it uses (in `folder`), and on each node.

    `agree`: package and collection are of one version. `collection` is None where its files do not say.
    """

    package: str
    collection: str | None
    folder: str
    agree: bool
    nodes: tuple[NodeSide, ...]
    problems: tuple[Problem, ...] = ()

    @property
    def exit_code(self) -> int:
        """1 when package and collection do not agree, or a node does not tell; else 0."""
        return int(not self.agree or any(node.use == "unknown" for node in self.nodes))


@dataclass(frozen=True)
class NodeUpdate:
    """What became of one node. `version` was to be brought, `before` was used until then; None: that is not known.

    `outcome`: updated, present (it was there and passed its test again), put_back (it failed, and the version before is
    used, its hash compared), put_back_failed (`back_reason` says how the node is not as it was), refused (nothing was
    changed), unknown (the connection was lost or the update died meanwhile), untouched. `reason` is the node's
    own. `stale`: it was refused since it does not answer; `heard_at` (Unix seconds) is when it last did, None: never.
    """

    node: str
    outcome: Outcome
    version: str | None = None
    before: str | None = None
    reason: str | None = None
    back_reason: str | None = None
    next_step: str | None = None
    stale: bool = False
    heard_at: float | None = None


@dataclass(frozen=True)
class UpdateReport:
    """One update, node by node. `dry_run`: nothing was changed; `updated` is what would be.

    `refused`: at least one node may not be updated as it is, so none was.
    """

    nodes: tuple[NodeUpdate, ...]
    serial: int
    dry_run: bool
    refused: bool

    @property
    def exit_code(self) -> int:
        """0 when this controller's version is used on every node (or would be); else 1."""
        return int(any(node.outcome not in ("updated", "present") for node in self.nodes))


@operation("updater", "update check", "read")
def check(session: Session, *, on: str | None = None) -> UpdateCheck:
    """Show versions: of Stoker here, and of its node side on the nodes.

    Nothing is brought to a node by that. One that does not answer is unknown, with the reason.

    Args:
        on: Only this node or group.
    """
    from stoker.runner.environment import collection_dir

    folder = collection_dir()
    version = _collection_version(folder.joinpath("galaxy.yml"), folder.joinpath("MANIFEST.json"))
    names = _names(session, on)
    played = session.runner.play("stoker.fleet.versions", extra_vars={}, limit=",".join(names)) if names else None
    told = played.of_task("node_update_info") if played else {}
    problems = problems_of(played) if played else ()
    why = {problem.node: problem.message for problem in problems}
    nodes = tuple(
        _side(name, told[name].res["node_side"]) if name in told and told[name].status == "ok"
        else _unknown(name, why.get(name, "it gave no answer"))
        for name in names
    )  # fmt: skip
    package = str(vars(sys.modules["stoker"])["__version__"])  # of the code that runs, whatever is installed beside it
    return UpdateCheck(package, version, str(folder), version == package, nodes, problems)


@operation("updater", "update nodes", "administer")
def nodes(
    session: Session, *, on: str | None = None, serial: int = 1, with_jobs: bool = False, dry_run: bool = False
) -> UpdateReport:
    """Update nodes: bring this controller's node side there, some nodes at a time, tested before it counts.

    First every node is looked at: when one does not answer, is not well or has running jobs, nothing is changed
    anywhere. A node whose test fails gets the version before back, and the nodes after it are left alone. Jobs that run
    keep the version that they began with.

    Args:
        on: Only this node or group.
        serial: How many nodes at a time; the next ones follow when all of these are well.
        with_jobs: Do it also where jobs run: they go on.
        dry_run: Only say what would be done.
    """
    if serial < 1:
        raise UsageError(f"--serial: {serial} is not a number of nodes", next_step="--serial 1, or more")
    names = _names(session, on)
    if not names:
        return UpdateReport((), serial, dry_run, refused=False)
    settings = {"update_serial": serial, "update_with_jobs": with_jobs, "update_dry_run": dry_run}
    session.say(f"looking at {len(names)} node{'s' * (len(names) != 1)} first")
    # Tied: when somebody stops this command, no further node is begun. One that is under way comes to its own end.
    played = session.runner.play(
        "stoker.fleet.update", extra_vars=settings, limit=",".join(names), tied=True,
        on_event=_progress(session, len(names)),
    )  # fmt: skip
    if session.progress is not None:
        session.progress("")
    refused = _refused(session, played)
    if refused:
        return UpdateReport(tuple(refused.get(name) or NodeUpdate(name, "untouched") for name in names),
                            serial, dry_run, refused=True)  # fmt: skip
    return UpdateReport(_updated(played, names), serial, dry_run, refused=False)


def _names(session: Session, on: str | None) -> list[str]:
    return session.inventory.match(on) if on is not None else [node.name for node in session.inventory.nodes]


def _collection_version(*files: Any) -> str | None:
    """What the first file that is there says: a checkout and the wheel have one, an archive of Galaxy the other."""
    import yaml

    for file in files:
        if file.is_file():
            said = yaml.safe_load(file.read_text(encoding="utf-8"))
            version = said.get("collection_info", said).get("version")
            return None if version is None else str(version)
    return None


def _unknown(node: str, why: str) -> NodeSide:
    return NodeSide(node, "unknown", None, None, None, (), (), None, (), why)


def _side(node: str, seen: Mapping[str, Any]) -> NodeSide:
    """What the node told; unknown where that has another form than it should. The other nodes are shown."""
    try:
        return _told_side(node, seen)
    except (LookupError, TypeError, ValueError, AttributeError) as problem:
        return _unknown(node, f"its answer cannot be understood: {type(problem).__name__}: {problem}")


def _told_side(node: str, seen: Mapping[str, Any]) -> NodeSide:
    wanted, used, kept = seen["wanted"], seen["used"], seen["kept"]
    use: Use = "kept" if kept else "current" if used == wanted else "none" if used is None else "other"
    lying = tuple(SideVersion(v["version"], v["brought_at"], v["intact"], tuple(v["jobs"])) for v in seen["versions"])
    reason = (kept.get("reason") or "it is not noted why") if kept else None
    return NodeSide(
        node, use, wanted, used, reason, lying, tuple(seen["jobs"]), seen["python"], tuple(seen["ill"]), None
    )


def _progress(session: Session, count: int) -> Callable[[Event], None]:
    """Says how many nodes were looked at, and how many are done."""
    done: dict[str, int] = {}

    def take(event: Event) -> None:
        if event.kind == "result" and event.task is not None and session.progress is not None:
            done[event.task] = done.get(event.task, 0) + 1
            verb = "looked at" if len(done) == 1 else "tested and updated"
            session.progress(f"{verb} {done[event.task]} of {count}: {event.host} {event.status}")

    return take


def _refused(session: Session, played: PlayResult) -> dict[str, NodeUpdate]:
    """The nodes that may not be updated as they are; nothing was changed then, anywhere."""
    found: dict[str, NodeUpdate] = {}
    heard = {row.name: row.last_seen for row in session.store.nodes()} if played.unreachable else {}
    for name, result in played.of_task("node_update_info").items():
        if result.status == "ok":
            continue
        seen = result.res.get("node_side") or {}
        told = NodeUpdate(name, "refused", seen.get("wanted"), seen.get("used"), result.message)
        if result.status == "unreachable":
            told = replace(told, stale=True, heard_at=heard.get(name))
        step = f"stoker node drain {name} --wait, or --with-jobs: they go on" if seen.get("jobs") else None
        found[name] = replace(told, next_step=played.next_steps.get(name) or step)
    return found


def _updated(played: PlayResult, names: Sequence[str]) -> tuple[NodeUpdate, ...]:
    told = played.of_task("node_update")
    found = []
    for name in names:
        if name not in told:
            found.append(NodeUpdate(name, "untouched"))
            continue
        result = told[name]
        came = result.res.get("update")
        if came is None:  # refused there, or not reached at all
            step = f"stoker update check --on {name}"
            found.append(NodeUpdate(name, "refused", reason=result.message, next_step=step))
            continue
        step = (
            "stoker update check --on"
            if came["outcome"] == "unknown"
            else "once that is mended: stoker update nodes --on"
        )
        found.append(
            NodeUpdate(name, came["outcome"], came["version"], came["before"], came["reason"], came["back_reason"],
                       f"{step} {name}" if came["reason"] else None)
        )  # fmt: skip
    return tuple(found)
