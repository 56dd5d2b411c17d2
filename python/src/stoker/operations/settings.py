"""The settings of stoker.yml: read, changed, checked and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker import config as reading
from stoker.config import Config
from stoker.config_check import validated
from stoker.config_edit import Loc, flat, key_of, parsed, parts_of, with_setting, without_setting
from stoker.errors import NotFound, StokerError, UsageError
from stoker.marked import dotted, line_of, loaded, shown_path
from stoker.operations.find import near
from stoker.operations.registry import operation
from stoker.operations.session import Session
from stoker.redaction import GONE, redacted
from stoker.written import alone_in, replace_file


@dataclass(frozen=True)
class Setting:
    """One setting. `line` is where the file says it; None: its default holds. Secrets in `value` are not shown."""

    key: str
    value: Any
    line: int | None


@dataclass(frozen=True)
class SettingList:
    """Settings, and the file that they came from (None: there is none, and all are defaults)."""

    file: str | None
    settings: tuple[Setting, ...]


@dataclass(frozen=True)
class SettingChange:
    """A setting that was changed. `before` and `after` are what holds, the default where the file says nothing."""

    file: str
    key: str
    before: Any
    after: Any
    changed: bool


@dataclass(frozen=True)
class SettingDifference:
    """A setting that is `here` one thing and `there` another; `only`: the side that alone has it, None: both do."""

    key: str
    here: Any
    there: Any
    only: str | None


@dataclass(frozen=True)
class SettingDifferences:
    """What differs between two sets of settings; `against` None: the defaults."""

    file: str | None
    against: str | None
    differences: tuple[SettingDifference, ...]


@operation("config", "config get", "read")
def get(session: Session, key: str | None = None) -> SettingList:
    """Show settings: what holds, and which line of stoker.yml says it.

    Args:
        key: Only this setting, or all below it: launcher.idle_s, membership. By default all.
    """
    settings = session.config
    found = _below(flat(settings), key)
    lines = _lines(settings)
    return SettingList(
        str(settings.file) if settings.file else None,
        tuple(Setting(dotted(loc), shown(loc, value), _line(lines, loc)) for loc, value in found.items()),
    )


@operation("config", "config set", "administer", method="change")
def change(session: Session, key: str, value: str | None = None, *, unset: bool = False) -> SettingChange:
    """Change a setting in stoker.yml; comments and everything else stay.

    The file as it would be is checked first. Where anything in it is wrong, it stays as it is.

    Args:
        key: Which one: launcher.idle_s, metrics[0].keep. One past the end of a list is a new entry.
        value: Its value, in YAML: 60, true, text, [a, b], '{name: loss, regex: x}'.
        unset: Take the setting out instead: its default holds.
    """
    if (value is None) is not unset:
        raise UsageError("give a value, or --unset (one of the two)", next_step=f"stoker config set {key} VALUE")
    file = session.config.file
    if file is None:
        raise NotFound("there is no stoker.yml to change", next_step="stoker init writes one")
    loc = parts_of(key)
    wanted = parsed(value) if value is not None else None
    try:
        with alone_in(file.parent):
            before, after = _rewritten(file, loc, wanted, unset=unset)
    except OSError as problem:
        raise StokerError(
            f"{shown_path(file)} cannot be written: {problem.strerror or problem}", next_step="nothing was changed"
        ) from problem
    session.forget_config()
    old, new = (_at(settings, loc) for settings in (before, after))
    return SettingChange(str(file), dotted(loc), shown(loc, old), shown(loc, new), old != new)


@operation("config", "config check", "read")
def check(session: Session, file: str | None = None) -> SettingList:
    """Check a stoker.yml, and list what it sets. Exit code 2 where something in it is wrong: file, line and field.

    Of the one in use also what the variables of its hosts say of plugins.

    Args:
        file: The file; by default the one in use.
    """
    settings = reading.load(Path(file)) if file is not None else session.config
    if file is None:
        _check_hosts(session)
    if settings.file is None:
        raise NotFound("there is no stoker.yml to check", next_step="stoker init writes one")
    lines = _lines(settings)
    said = {loc: value for loc, value in flat(settings).items() if _line(lines, loc) is not None}
    return SettingList(
        str(settings.file), tuple(Setting(dotted(loc), shown(loc, said[loc]), _line(lines, loc)) for loc in said)
    )


def _check_hosts(session: Session) -> None:
    """Raise ConfigError where the variables of a host speak of a plugin that is not there."""
    from stoker.operations import plugin_loading, plugin_settings

    nodes = session.whole_inventory.nodes if session.inventory_path is not None else ()
    for node in (node for node in nodes if plugin_settings.VARIABLE in node.vars):
        plugin_settings.refuse_unknown_on(node, plugin_loading.installed().installed)


@operation("config", "config diff", "read")
def diff(session: Session, *, against: str | None = None) -> SettingDifferences:
    """Show what differs from the defaults, or from another stoker.yml.

    Args:
        against: That other file.
    """
    settings = session.config
    other = reading.load(Path(against)) if against is not None else Config()
    here, there = flat(settings), flat(other)
    keys = [*here, *(loc for loc in there if loc not in here)]
    found = tuple(
        SettingDifference(
            dotted(loc), shown(loc, here.get(loc)), shown(loc, there.get(loc)),
            "there" if loc not in here else "here" if loc not in there else None,
        )
        for loc in keys
        if (loc not in here or loc not in there or here[loc] != there[loc])
        # An empty list here, where its entries are there, is told by these.
        and not (here.get(loc, there.get(loc)) in ([], {}) and (_holds(here, loc) or _holds(there, loc)))
    )  # fmt: skip
    return SettingDifferences(
        str(settings.file) if settings.file else None, str(other.file) if other.file else None, found
    )


def shown(loc: Loc, value: Any) -> Any:
    """A value as it may be shown. Of the environment of an agent or a pool no value is: any may be a secret."""
    if len(loc) >= 3 and loc[0] in ("agents", "pools") and loc[2] == "env":
        return GONE if isinstance(value, str) else dict.fromkeys(value, GONE) if value else value
    if isinstance(value, Mapping) and not all(isinstance(name, str) for name in value):
        return redacted({dotted(at): shown((*loc, *at), inner) for at, inner in value.items()})
    return redacted(value, name=str(loc[-1]) if loc else "")


def _rewritten(file: Path, loc: Loc, value: Any, *, unset: bool) -> tuple[Config, Config]:
    """Change the file; the settings before and after. Raises ConfigError, UsageError, and nothing was written then."""
    data = file.read_bytes().decode("utf-8")
    ends = "\r\n" if "\r\n" in data else "\n"
    text = data.replace("\r\n", "\n")
    before = validated(text, file)
    fresh = without_setting(text, loc) if unset else with_setting(text, loc, value)
    after = validated(fresh, file)
    if fresh != text:
        replace_file(file, fresh.replace("\n", ends).encode(), mode=file.stat().st_mode & 0o7777)
    return before, after


def _at(settings: Config, loc: Loc) -> Any:
    """What holds at `loc`: a value, or by their parts the settings below; None: there is nothing."""
    every = flat(settings)
    if loc in every:
        return every[loc]
    return {at[len(loc) :]: value for at, value in every.items() if at[: len(loc)] == loc} or None


def _below(every: Mapping[Loc, Any], key: str | None) -> Mapping[Loc, Any]:
    if key is None:
        return every
    loc = parts_of(key)
    found = {at: value for at, value in every.items() if at[: len(loc)] == loc}
    if not found:
        raise NotFound(
            f"there is no setting {key!r}.{near(key, [dotted(at) for at in every])}", next_step="stoker config get"
        )
    return found


def _holds(every: Mapping[Loc, Any], loc: Loc) -> bool:
    return any(len(at) > len(loc) and at[: len(loc)] == loc for at in every)


def _lines(settings: Config) -> Any:
    """The file as it stands, for the lines of its settings."""
    if settings.file is None:
        return None
    return loaded(settings.file.read_text(encoding="utf-8"), shown_path(settings.file))


def _line(data: Any, loc: Loc) -> int | None:
    """The line that sets `loc` itself or what holds it as a whole; None: the file does not say it."""
    at, own = data, list(loc)
    for index, part in enumerate(loc):
        try:
            own[index] = key_of(at, part)
            at = at[own[index]]
        except (LookupError, TypeError):
            return None
    return line_of(data, tuple(own))
