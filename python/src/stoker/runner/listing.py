"""Read an inventory through Ansible, and keep what was read until a file of it changes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stoker.errors import StokerError
from stoker.runner import environment, failure
from stoker.runner.inventory import Inventory, InventoryNode

_SCHEMA = 2
_PLAIN_SUFFIXES = {"", ".yml", ".yaml", ".ini", ".json", ".cfg"}
_PLUGIN = re.compile(rb"^\s*[\"']?plugin[\"']?\s*:", re.MULTILINE)
_SECRET = re.compile(r"pass(word|wd|phrase)?(_|$)|_pass|secret|token|private_key$|api_key", re.IGNORECASE)
_READ_TIMEOUT_S = 120


def read_inventory(path: Path, *more: Path, launcher: bool = True) -> Inventory:
    """The inventory at `path`, and at `more` (absolute). Raises StokerError when Ansible cannot read it."""
    inventory = cached_inventory(path, *more)
    if inventory is None:
        key = _cache_key(path, *more)
        inventory = inventory_of(path, _ask_ansible(path, *more, launcher=launcher))
        if key is not None and key == _cache_key(path, *more):
            _keep(path, key, inventory)
    return inventory


def cached_inventory(path: Path, *more: Path) -> Inventory | None:
    """The inventory as read before, if none of its files has changed; None otherwise. Starts no program."""
    key = _cache_key(path, *more)
    if key is None:
        return None
    try:
        found = json.loads(_cache_file(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or found.get("key") != key:
        return None
    nodes = tuple(
        InventoryNode(n["name"], tuple(n["groups"]), n["vars"], None if n["secrets"] is None else tuple(n["secrets"]))
        for n in found["nodes"]
    )
    return Inventory(path, nodes, {name: tuple(members) for name, members in found["groups"].items()})


def _ask_ansible(path: Path, *more: Path, launcher: bool) -> dict[str, Any]:
    program = environment.program("ansible-inventory", launcher=launcher)
    env = dict(os.environ)
    env.update(
        ANSIBLE_COLLECTIONS_PATH=environment.collections_path(),
        ANSIBLE_DEPRECATION_WARNINGS="False",
        ANSIBLE_INVENTORY_UNPARSED_FAILED="True",
        ANSIBLE_NOCOLOR="True",
        ANSIBLE_FORCE_COLOR="False",
        **environment.utf8_locale(),
    )
    sources = [word for source in (path, *more) for word in ("-i", str(source))]
    command = [*program, *sources, "--list"]
    try:
        done = subprocess.run(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_READ_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise StokerError(f"{path}: Ansible did not read this inventory within {_READ_TIMEOUT_S} s") from error
    if done.returncode != 0:
        raise failure.of_inventory(path, done.returncode, done.stderr.splitlines())
    try:
        listing = json.loads(done.stdout)
    except ValueError as error:
        raise StokerError(f"{path}: ansible-inventory answered something that is no JSON: {error}") from error
    if not isinstance(listing, dict):
        raise StokerError(f"{path}: ansible-inventory answered no mapping")
    return listing


def inventory_of(path: Path, listing: Mapping[str, Any]) -> Inventory:
    """The inventory in the answer of ``ansible-inventory --list``. Secrets are left out of the variables."""
    members: dict[str, tuple[str, ...]] = {}

    def hosts_of(group: str, above: frozenset[str] = frozenset()) -> tuple[str, ...]:
        if group not in members and group not in above:
            entry = listing.get(group, {})
            below = (hosts_of(child, above | {group}) for child in entry.get("children", ()))
            names = [*entry.get("hosts", ()), *(name for part in below for name in part)]
            members[group] = tuple(dict.fromkeys(names))
        return members.get(group, ())

    order = hosts_of("all")
    for name in listing:
        if name not in ("_meta", "all"):
            hosts_of(name)
    groups = {name: hosts for name, hosts in members.items() if name != "all" and (hosts or name != "ungrouped")}
    hostvars = listing.get("_meta", {}).get("hostvars", {})
    nodes = tuple(
        InventoryNode(
            host,
            tuple(sorted(g for g, hosts in groups.items() if host in hosts)),
            _shown(hostvars.get(host, {})),
            _secret_names(hostvars.get(host, {}).get("stoker_secrets")),
        )
        for host in order
    )
    return Inventory(path, nodes, groups)


def _shown(variables: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _plain(value)
        for name, value in variables.items()
        if name.startswith(("ansible_", "stoker_")) and not is_secret(name) and not _encrypted(value)
    }


def is_secret(name: str) -> bool:
    """Whether a variable of this name holds a secret."""
    return _SECRET.search(name) is not None


def _secret_names(secrets: Any) -> tuple[str, ...] | None:
    """The names in `stoker_secrets`; None when all of it is encrypted, or only known once it is templated."""
    if secrets is None:
        return ()
    return tuple(secrets) if isinstance(secrets, dict) and not _encrypted(secrets) else None


def _plain(value: Any) -> Any:
    """The value without Ansible's mark of a text that is no template: an inventory plugin's texts all have it."""
    if isinstance(value, dict):
        return (
            value["__ansible_unsafe"]
            if set(value) == {"__ansible_unsafe"}
            else {k: _plain(v) for k, v in value.items()}
        )
    return [_plain(entry) for entry in value] if isinstance(value, list) else value


def _encrypted(value: Any) -> bool:
    return isinstance(value, dict) and "__ansible_vault" in value


def _cache_key(*paths: Path) -> str | None:
    """A text that changes when any file of the inventory or a setting of Ansible does; None: not to be kept."""
    files = [file for path in paths for file in _inventory_files(path)]
    if not all(_is_plain(file) for file in files):
        return None
    for beside in dict.fromkeys(path if path.is_dir() else path.parent for path in paths):
        for folder in ("group_vars", "host_vars"):
            files += sorted(f for f in (beside / folder).rglob("*"))
    config = environment.config_file(os.environ, Path.cwd())
    seen: list[Any] = [_SCHEMA, environment.ansible_version(), [str(config), *_stamp(config)] if config else None]
    seen += [[str(file), *_stamp(file)] for file in files]
    seen += sorted(f"{k}={v}" for k, v in os.environ.items() if k.startswith("ANSIBLE_"))
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


def _inventory_files(path: Path) -> Iterable[Path]:
    if not path.is_dir():
        return [path]
    inner = (f for f in sorted(path.rglob("*")) if not {"group_vars", "host_vars"} & set(f.relative_to(path).parts))
    return [f for f in inner if not f.is_dir()]


def _is_plain(file: Path) -> bool:
    """A YAML or INI file that is data: neither a script nor the settings of an inventory plugin."""
    try:
        return (
            file.suffix in _PLAIN_SUFFIXES
            and file.is_file()
            and not os.access(file, os.X_OK)
            and not _PLUGIN.search(file.read_bytes())
        )
    except OSError:
        return False


def _stamp(file: Path) -> list[int]:
    try:
        found = file.stat()
    except OSError:
        return [0, 0]
    return [found.st_mtime_ns, found.st_size]


def _cache_file(path: Path) -> Path:
    from stoker.paths import cache_dir

    return cache_dir() / f"inventory-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.json"


def _keep(path: Path, key: str, inventory: Inventory) -> None:
    content = {
        "key": key,
        "nodes": [
            {"name": n.name, "groups": list(n.groups), "vars": dict(n.vars), "secrets": n.secrets}
            for n in inventory.nodes
        ],
        "groups": {name: list(members) for name, members in inventory.groups.items()},
    }
    target = _cache_file(path)
    fresh = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(content, file)
        fresh.replace(target)
    except OSError:
        fresh.unlink(missing_ok=True)  # A full disk costs the cache, not the answer.
