"""The contexts of kubeconfig files, by kubectl's rules: the first file that says something of a name is right.

The official client's own reader lets the last file say which context is the current one, and gives up all of them for
one that is wrong. Here each context has its own problem.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stoker.errors import NotFound, UsageError

VARIABLE = "KUBECONFIG"
DEFAULT = "~/.kube/config"
_KINDS = {"clusters": "cluster", "users": "user", "contexts": "context"}


@dataclass(frozen=True)
class Entry:
    """What a file says of one cluster or user. `folder`: what its paths are relative to."""

    name: str
    said: Mapping[str, Any] = field(repr=False)
    folder: Path


@dataclass(frozen=True)
class Context:
    """A context. `problem`: why it cannot be used as it stands, in words; then `cluster` or `user` may be missing."""

    name: str
    namespace: str
    cluster_name: str | None
    user_name: str | None
    cluster: Entry | None
    user: Entry | None
    problem: str | None = None

    @property
    def server(self) -> str | None:
        """The address of the API server."""
        said = self.cluster.said.get("server") if self.cluster is not None else None
        return said if isinstance(said, str) and said else None


@dataclass(frozen=True)
class Kubeconfig:
    """All contexts, in the order of the files. `problems`: files that could not be read, and why."""

    files: tuple[Path, ...]
    contexts: tuple[Context, ...]
    current: str | None
    problems: tuple[str, ...] = ()

    def context(self, name: str | None) -> Context:
        """The context of this name, by default the current one. Raises UsageError, NotFound."""
        from difflib import get_close_matches

        wanted = name or self.current
        if not wanted:
            raise UsageError(
                "the kubeconfig names no current context", next_step="--context NAME; stoker kube contexts"
            )
        for context in self.contexts:
            if context.name == wanted:
                return context
        near = get_close_matches(wanted, [context.name for context in self.contexts], n=1, cutoff=0.5)
        hint = f". Did you mean '{near[0]}'?" if near else ""
        told = f" ({'; '.join(self.problems)})" if self.problems else ""
        raise NotFound(
            f"there is no context {wanted!r} in {_named(self.files)}{hint}{told}", next_step="stoker kube contexts"
        )


def load(named: str | None = None) -> Kubeconfig:
    """The file `named`, else those of KUBECONFIG, else ~/.kube/config.

    Raises NotFound when there is none, UsageError when none of them can be read.
    """
    paths, source = _paths(named)
    there = [path for path in paths if path.exists()]
    if not there:
        raise NotFound(
            f"there is no kubeconfig: {_named(paths)} does not exist ({source})",
            next_step="--kubeconfig FILE, or what writes one: k3s, kind, gcloud, aws eks update-kubeconfig",
        )
    problems: list[str] = []
    read: list[tuple[Path, Mapping[str, Any]]] = []
    for path in there:
        try:
            read.append((path, _read(path)))
        except ValueError as problem:
            problems.append(str(problem))
    if not read:
        raise UsageError("; ".join(problems))
    found = {kind: _entries(kind, read, problems) for kind in _KINDS}
    said = (content.get("current-context") for _, content in read)
    current = next((name for name in said if isinstance(name, str) and name), None)
    contexts = tuple(_context(entry, found) for entry in found["contexts"].values())
    return Kubeconfig(tuple(there), contexts, current, tuple(problems))


def _paths(named: str | None) -> tuple[list[Path], str]:
    if named is not None:
        return [Path(named).expanduser()], "--kubeconfig"
    if said := os.environ.get(VARIABLE):
        return [Path(part).expanduser() for part in said.split(os.pathsep) if part], VARIABLE
    return [Path(DEFAULT).expanduser()], f"{VARIABLE} is not set"


def _read(path: Path) -> Mapping[str, Any]:
    """What a file says. Raises ValueError with the whole sentence: the parser's own would show lines of the file."""
    import yaml

    try:
        content = yaml.safe_load(path.read_bytes())
    except OSError as problem:
        raise ValueError(f"{path}: {problem.strerror or problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        raise ValueError(f"{path}: it is no YAML{where}") from None
    if not isinstance(content, Mapping):
        raise ValueError(f"{path}: {'it is empty' if content is None else 'it is no kubeconfig'}")
    return content


def _entries(kind: str, read: Sequence[tuple[Path, Mapping[str, Any]]], problems: list[str]) -> dict[str, Entry]:
    """By name, the first that is told."""
    found: dict[str, Entry] = {}
    for path, content in read:
        listed = content.get(kind) or []
        if not isinstance(listed, list):
            problems.append(f"{path}: {kind} is no list")
            continue
        for one in listed:
            name = one.get("name") if isinstance(one, Mapping) else None
            if not isinstance(name, str) or not name:
                problems.append(f"{path}: {kind} has one without a name")
            elif name not in found:
                said = one.get(_KINDS[kind])
                folder = path.absolute().parent
                found[name] = Entry(name, said if isinstance(said, Mapping) else {}, folder)
    return found


def _context(entry: Entry, found: Mapping[str, Mapping[str, Entry]]) -> Context:
    def name_of(key: str) -> str | None:
        value = entry.said.get(key)
        return value if isinstance(value, str) and value else None

    cluster_name, user_name = name_of("cluster"), name_of("user")
    cluster = found["clusters"].get(cluster_name or "")
    user = found["users"].get(user_name or "")
    problem = None
    if cluster_name is None:
        problem = "it names no cluster"
    elif cluster is None:
        problem = f"its cluster {cluster_name!r} is not in the kubeconfig"
    elif not isinstance(cluster.said.get("server"), str) or not cluster.said.get("server"):
        problem = f"its cluster {cluster_name!r} has no server"
    elif user_name is not None and user is None:
        problem = f"its user {user_name!r} is not in the kubeconfig"
    namespace = name_of("namespace") or "default"
    return Context(entry.name, namespace, cluster_name, user_name, cluster, user, problem)


def _named(paths: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in paths)
