"""The inventory file of Stoker's own, beside the user's: the nodes that commands added. The user's stays as it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from stoker.errors import StokerError, UsageError
from stoker.paths import state_dir
from stoker.written import alone_in, replace_file

FILE_NAME = "stoker-nodes.yml"
_HEAD = "# Written by stoker node add and stoker node remove. Your own hosts belong into an inventory of your own.\n"
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
_GROUP = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = ("all", "ungrouped", "localhost")


def own_file(inventory: Path | None) -> Path:
    """Where it is: beside the inventory, inside it where that is a folder; without one, in the user's state folder."""
    if inventory is None:
        return state_dir() / FILE_NAME
    path = inventory.absolute()
    return (path if path.is_dir() else path.parent) / FILE_NAME


def check_names(name: str, groups: Sequence[str]) -> None:
    """Raise UsageError for a name that Ansible would not take for one host, or groups that are none."""
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise UsageError(f"{name!r} is no name for a node", next_step="letters, digits and _ . -, such as spark")
    for group in groups:
        if not _GROUP.fullmatch(group) or group in _RESERVED:
            raise UsageError(f"--group: {group!r} is no name for a group", next_step="letters, digits and _")


def put(file: Path, name: str, variables: Mapping[str, Any], groups: Sequence[str] = ()) -> None:
    """Write a host into the file, in place of one of its name. Raises StokerError when that cannot be done."""

    def change(hosts: dict[str, Any], children: dict[str, Any]) -> None:
        _take_out(name, hosts, children)
        hosts[name] = dict(variables)
        for group in groups:
            children.setdefault(group, {}).setdefault("hosts", {})[name] = {}

    _change(file, change)


def mark(file: Path, name: str, variables: Mapping[str, Any]) -> None:
    """Set variables of a host, whatever else the file, or another one, says of it. Raises StokerError."""

    def change(hosts: dict[str, Any], children: dict[str, Any]) -> None:
        hosts[name] = {**(hosts.get(name) or {}), **variables}

    _change(file, change)


def take_out(file: Path, name: str) -> None:
    """Take a host out of the file, if it is in it. Raises StokerError when that cannot be done."""
    if file.exists():
        _change(file, lambda hosts, children: _take_out(name, hosts, children))


def names(file: Path) -> frozenset[str]:
    """The hosts of the file. Raises StokerError when it cannot be read."""
    return frozenset(_hosts(_read(file)))


def _take_out(name: str, hosts: dict[str, Any], children: dict[str, Any]) -> None:
    hosts.pop(name, None)
    for group in list(children):
        members = (children[group] or {}).get("hosts") or {}
        if members.pop(name, children) is not children and not members:
            del children[group]


def _change(file: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    try:
        with alone_in(file.parent):
            content = _read(file)
            own = content.setdefault("all", {})
            hosts, children = dict(_hosts(content)), dict(own.get("children") or {})
            change(hosts, children)
            content["all"] = {"hosts": hosts, **({"children": children} if children else {})}
            _write(file, content)
    except OSError as problem:
        raise StokerError(
            f"{file} cannot be written: {problem.strerror or problem}",
            next_step="this is where added nodes are kept: make the folder writable, or add the host to your inventory",
        ) from problem


def _read(file: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, YAMLError) as problem:
        raise StokerError(f"{file} cannot be read: {' '.join(str(problem).split())}") from problem
    if content is None:
        return {}
    if not isinstance(content, dict) or not isinstance(content.get("all") or {}, dict):
        raise StokerError(f"{file} is not as stoker node add writes it", next_step="move it away")
    return content


def _hosts(content: Mapping[str, Any]) -> Mapping[str, Any]:
    return (content.get("all") or {}).get("hosts") or {}


def _write(file: Path, content: Mapping[str, Any]) -> None:
    """All of it or nothing: a new file, flushed to the disk, takes the place of the old one."""
    from ruamel.yaml import YAML

    yaml, text = YAML(), StringIO()
    yaml.default_flow_style = False
    yaml.dump(dict(content), text)
    mode = file.stat().st_mode & 0o777 if file.exists() else 0o644
    replace_file(file, (_HEAD + text.getvalue()).encode(), mode=mode)
