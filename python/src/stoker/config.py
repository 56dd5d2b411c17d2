"""The settings of `stoker.yml`: what they are, where they are found, and what is said when one is wrong.

Without a `stoker.yml` the defaults hold, and neither pydantic nor the YAML reader is imported.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

from stoker.errors import NotFound, UsageError
from stoker.marked import ConfigError, dotted, line_of, loaded, plain, shown_path
from stoker.notify_settings import Notify
from stoker.notify_settings import faults as notify_faults
from stoker.pool_settings import Budget, Pool
from stoker.pool_settings import faults as pool_faults
from stoker.setting import FORBID as _FORBID
from stoker.setting import IS_ROLE as _IS_ROLE
from stoker.setting import MOST as MOST
from stoker.setting import Bytes, Count, Folder, Is, Name, OnOff, Percent, Positive, Regex, Role, Seconds, Weight

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

FILE_NAME = "stoker.yml"


@dataclass(frozen=True)
class Launcher:
    """The warm launcher: a pre-imported process for quick small calls that ends after `idle_s` seconds unused."""

    __pydantic_config__ = _FORBID

    enabled: OnOff = True
    idle_s: Seconds = 300.0


@dataclass(frozen=True)
class Defaults:
    """What `stoker run` takes when the command line does not say."""

    __pydantic_config__ = _FORBID

    on: Name | None = None
    gpus: Count = 0
    retries: Count = 0
    grace_s: Seconds = 10.0


@dataclass(frozen=True)
class Lease:
    """What becomes of a job whose node cannot be reached. None: its node's variable `stoker_lease` says it, else keep.

    With `move` the node ends it when nobody renewed its lease for `seconds`, and it starts elsewhere.
    """

    __pydantic_config__ = _FORBID

    policy: Annotated[Literal["keep", "move"] | None, Is("keep or move")] = None
    seconds: Annotated[float, Is("a number of seconds, 5 or more", least=5)] = 600.0


@dataclass(frozen=True)
class LogPattern:
    """An own error pattern: each line that `regex` finds is a finding called `name`."""

    __pydantic_config__ = _FORBID

    name: Name
    regex: Regex
    severity: Annotated[Literal["critical", "error", "warning"], Is("one of critical, error, warning")] = "error"


@dataclass(frozen=True)
class Metric:
    """A number to take from log lines: the first group of `regex`. `keep` says which of the values found are kept."""

    __pydantic_config__ = _FORBID

    name: Name
    regex: Regex
    keep: Annotated[Literal["first", "last", "series"], Is("one of first, last, series")] = "series"


@dataclass(frozen=True)
class Preflight:
    """What is looked at when a job takes GPUs. `busy_processes` are patterns as a shell has them; None: games.

    A GPU whose foreign load is above `busy_load_pct` is not quiet; one with a busy process is given `cooldown_s` after
    that was last seen. One that cannot be trusted stays quarantined for `quarantine_s`.
    """

    __pydantic_config__ = _FORBID

    busy_load_pct: Percent = 50.0
    busy_processes: Annotated[tuple[Name, ...] | None, Is("a list of patterns such as '*.exe'")] = None
    cooldown_s: Seconds = 30.0
    quarantine_s: Positive = 86400.0


@dataclass(frozen=True)
class Telemetry:
    """What is kept of samples, and from where on a figure is an alert.

    `memory_full_min`: alert when the memory would be full within so many minutes.
    """

    __pydantic_config__ = _FORBID

    keep_s: Positive = 7 * 86400.0
    disk_pct: Percent = 90.0
    memory_pct: Percent = 90.0
    gpu_temperature_c: Positive = 85.0
    memory_full_min: Seconds = 30.0


@dataclass(frozen=True)
class Weights:
    """How much each part of a node's score counts, next to the others; 0: not at all."""

    __pydantic_config__ = _FORBID

    cpu: Weight = 1.0
    memory: Weight = 1.0
    disk: Weight = 0.5
    network: Weight = 0.5
    gpu_memory: Weight = 2.0
    gpu_load: Weight = 2.0
    jobs: Weight = 3.0
    health: Weight = 3.0
    code: Weight = 1.0
    data: Weight = 2.0


@dataclass(frozen=True)
class Placement:
    """How nodes are chosen. A waiting job is passed `pass_limit` times, or for `pass_s` seconds, at most.

    `group_limits`: most jobs under way on a group's nodes. The ranks of a gang have `gang_start_s` seconds until all
    of them run.
    """

    __pydantic_config__ = _FORBID

    weights: Annotated[Weights, Is("a mapping of cpu, memory, jobs and the like to numbers")] = field(
        default_factory=Weights
    )
    group_limits: Annotated[Mapping[str, Count], Is("a mapping of groups to whole numbers of jobs")] = field(
        default_factory=dict
    )
    pass_limit: Count = 10
    pass_s: Seconds = 1800.0
    gang_start_s: Positive = 600.0


@dataclass(frozen=True)
class Membership:
    """When a node may take jobs, and when it is offline.

    A request to join can be approved for `pending_s`; hosts of a group in `auto_approve` need no approval. A node that
    was not heard of for `probe_s` is asked, and is offline after `misses` misses running.
    """

    __pydantic_config__ = _FORBID

    pending_s: Positive = 300.0
    auto_approve: Annotated[tuple[Name, ...], Is("a list of groups")] = ()
    probe_s: Positive = 15.0
    misses: Annotated[int, Is("a whole number, 1 or more", least=1)] = 3


@dataclass(frozen=True)
class Price:
    """Dollars per GPU-hour of the GPUs whose name fits the pattern `gpu`, such as `*H100*`; the first counts."""

    __pydantic_config__ = _FORBID

    gpu: Name
    per_hour: Annotated[float, Is("a number of dollars per hour, 0 or more", least=0)]


_IS_RULES = Is("a mapping of roles (read, operate, spend, administer) to lists of operations such as runs.*")


@dataclass(frozen=True)
class AccessRule:
    """What a role may (`allow`) or may not (`deny`), of some `plugins` and `operations`, on some `nodes`.

    `plugins` are names, `operations` names such as `jobs.run`, patterns both; `nodes` is a pattern of the inventory.
    What is not given stands for all. A `deny` that fits wins over every `allow`.
    """

    __pydantic_config__ = _FORBID

    effect: Annotated[Literal["allow", "deny"], Is("allow or deny")]
    role: Annotated[Role, _IS_ROLE]
    plugins: Annotated[tuple[Name, ...], Is("a list of plugins such as queue")] = ("*",)
    operations: Annotated[tuple[Name, ...], Is("a list of operations such as jobs.run")] = ("*",)
    nodes: Name | None = None


@dataclass(frozen=True)
class Access:
    """In which role the command line (`cli`) and assistants on this machine (`mcp`) act, and what differs of roles.

    `allow` and `deny`: for each role, patterns of operations (`nodes.execute`, `store.*`); `deny` wins. `rules` say it
    by plugin and by node, too. `paths`: folders of this machine that assistants may name files in, beside the one that
    their server was started in.
    """

    __pydantic_config__ = _FORBID

    cli: Annotated[Role, _IS_ROLE] = "administer"
    mcp: Annotated[Role, _IS_ROLE] = "operate"
    allow: Annotated[Mapping[Role, tuple[str, ...]], _IS_RULES] = field(default_factory=dict)
    deny: Annotated[Mapping[Role, tuple[str, ...]], _IS_RULES] = field(default_factory=dict)
    paths: Annotated[tuple[Folder, ...], Is("a list of absolute folders", absolute=True)] = ()
    rules: Annotated[tuple[AccessRule, ...], Is("a list of {effect, role, plugins, operations, nodes}")] = ()


@dataclass(frozen=True)
class Mcp:
    """What assistants may use of the machine that their server runs on; nothing by default.

    `secrets`: variables whose values they may hand to jobs by name; `servers`: hosts (or HOST:PORT) whose training runs
    they may have it ask for, patterns both.
    """

    __pydantic_config__ = _FORBID

    secrets: Annotated[tuple[Name, ...], Is("a list of names of variables such as WANDB_*")] = ()
    servers: Annotated[tuple[Name, ...], Is("a list of hosts such as mlflow.example or 10.0.0.7:5000")] = ()


@dataclass(frozen=True)
class Plugin:
    """Whether a plugin, built in or not, is there; and the `settings` of one that is not, which it checks itself."""

    __pydantic_config__ = _FORBID

    enabled: OnOff = True
    settings: Annotated[Mapping[str, Any], Is("a mapping of the plugin's own settings", foreign=True)] = field(
        default_factory=dict
    )


@dataclass(frozen=True)
class AgentFlags:
    """The options of an agent's own that its limits are handed on with; None: by the environment only."""

    __pydantic_config__ = _FORBID

    turns: Name | None = None
    tokens: Name | None = None
    cost: Name | None = None


@dataclass(frozen=True)
class Agent:
    """A program that takes a prompt. `{prompt_file}` in its `argv` is the path of that; it is its standard input, too.

    `secret` are names of variables that it gets. A limit holds where a job names none, and no job may name more;
    `max_cost` is in dollars.
    """

    __pydantic_config__ = _FORBID

    argv: Annotated[tuple[Name, ...], Is("a list of texts, the command")]
    flags: Annotated[AgentFlags, Is("a mapping with turns, tokens, cost")] = field(default_factory=AgentFlags)
    env: Annotated[Mapping[str, str], Is("a mapping of names to texts")] = field(default_factory=dict)
    secret: Annotated[tuple[Name, ...], Is("a list of names of variables")] = ()
    max_turns: Annotated[int | None, Is("a whole number, 1 or more", least=1)] = None
    max_tokens: Annotated[int | None, Is("a whole number, 1 or more", least=1)] = None
    max_cost: Annotated[float | None, Is("a number of dollars, more than 0", least=0.000001)] = None


@dataclass(frozen=True)
class Config:
    """All settings. `file` is the `stoker.yml` they came from, None for the defaults alone."""

    __pydantic_config__ = _FORBID

    inventory: Annotated[str | None, Is("the path of an inventory")] = None
    store: Annotated[str | None, Is("a database URL")] = None
    launcher: Annotated[Launcher, Is("a mapping with enabled, idle_s")] = field(default_factory=Launcher)
    defaults: Annotated[Defaults, Is("a mapping with on, gpus, retries, grace_s")] = field(default_factory=Defaults)
    lease: Annotated[Lease, Is("a mapping with policy, seconds")] = field(default_factory=Lease)
    log_patterns: Annotated[tuple[LogPattern, ...], Is("a list of {name, regex, severity}")] = ()
    metrics: Annotated[tuple[Metric, ...], Is("a list of {name, regex, keep}")] = ()
    preflight: Annotated[Preflight, Is("a mapping with busy_load_pct, busy_processes, cooldown_s, quarantine_s")] = (
        field(default_factory=Preflight)
    )
    telemetry: Annotated[
        Telemetry, Is("a mapping with keep_s, disk_pct, memory_pct, gpu_temperature_c, memory_full_min")
    ] = field(default_factory=Telemetry)
    placement: Annotated[Placement, Is("a mapping with weights, group_limits, pass_limit, pass_s, gang_start_s")] = (
        field(default_factory=Placement)
    )
    membership: Annotated[Membership, Is("a mapping with pending_s, auto_approve, probe_s, misses")] = field(
        default_factory=Membership
    )
    agents: Annotated[Mapping[str, Agent], Is("a mapping of names to {argv, flags, env, secret, max_turns, ...}")] = (
        field(default_factory=dict)
    )
    access: Annotated[Access, Is("a mapping with cli, mcp, allow, deny, paths, rules")] = field(default_factory=Access)
    mcp: Annotated[Mcp, Is("a mapping with secrets, servers")] = field(default_factory=Mcp)
    notify: Annotated[Notify, Is("a mapping with targets, rules, telegram, max_age_s, tries")] = field(
        default_factory=Notify
    )
    pools: Annotated[Mapping[str, Pool], Is("a mapping of names to {price, image, gpu, kind, min, max, ...}")] = field(
        default_factory=dict
    )
    budget: Annotated[Budget, Is("a mapping with per_job, per_day, per_project")] = field(default_factory=Budget)
    plugins: Annotated[Mapping[str, Plugin], Is("a mapping of plugins to {enabled, settings}")] = field(
        default_factory=dict
    )
    skills: Annotated[tuple[Name, ...], Is("a list of folders")] = ()
    prices: Annotated[tuple[Price, ...], Is("a list of {gpu, per_hour}")] = ()
    log_keep_bytes: Bytes = 16 * 1024 * 1024
    connect_timeout_s: Annotated[int, Is("a whole number of seconds, 1 or more", least=1)] = 10
    forks: Annotated[int, Is("a whole number, 1 or more", least=1)] = 50
    file: Annotated[Path | None, Is("not to be set in the file itself")] = None


def find_file(start: Path) -> Path | None:
    """The `stoker.yml` in `start` or the nearest folder above it, whatever it is, else None."""
    for folder in (start, *start.parents):
        candidate = folder / FILE_NAME
        # Also a folder and a link to nothing: somebody meant it to count.
        if os.path.lexists(candidate):
            return candidate
    return None


def working_folder() -> Path:
    """The current folder. Raises UsageError when it no longer exists."""
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise UsageError("the folder this was started in no longer exists", next_step="cd somewhere else") from error


def load(path: Path | None = None, *, start: Path | None = None, env: Mapping[str, str] = os.environ) -> Config:
    """The settings: `path`, else STOKER_CONFIG, else the nearest `stoker.yml` from `start` upward, else the defaults.

    Raises NotFound for a file that was named and does not exist, ConfigError for one that is wrong.
    """
    named = path or (Path(env["STOKER_CONFIG"]) if env.get("STOKER_CONFIG") else None)
    found = named or find_file((start or working_folder()).resolve())
    if found is None:
        return Config()
    try:
        text = found.read_text(encoding="utf-8")
    except FileNotFoundError:
        if found.is_symlink():
            raise ConfigError(str(found), None, "is a link to a file that is not there") from None
        raise NotFound(f"there is no settings file {found}", next_step="stoker init writes one") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(str(found), None, f"cannot be read: {problem}") from problem
    return validated(text, found)


def place_of(config: Config, *loc: int | str) -> str:
    """Where a setting stands, for the beginning of a sentence about it: `stoker.yml:3: store`."""
    if config.file is None:
        return dotted(loc)
    shown = shown_path(config.file)
    line = line_of(loaded(config.file.read_text(encoding="utf-8"), shown), loc)
    return f"{shown}:{line}: {dotted(loc)}"


def inventory_path(config: Config, named: Path | None = None, *, env: Mapping[str, str] = os.environ) -> Path | None:
    """Which inventory to use: `named`, STOKER_INVENTORY, stoker.yml, ./inventory.yml, else None (this machine alone).

    A relative path in stoker.yml is relative to that file. Raises NotFound for a named file that does not exist.
    """
    if named is not None:
        chosen, source = named, "--inventory"
    elif env.get("STOKER_INVENTORY"):
        chosen, source = Path(env["STOKER_INVENTORY"]), "STOKER_INVENTORY"
    elif config.inventory is not None:
        base = config.file.parent if config.file else Path.cwd()
        chosen, source = base / Path(config.inventory).expanduser(), str(config.file or FILE_NAME)
    else:
        default = Path("inventory.yml")
        return default.resolve() if default.is_file() else None
    if not chosen.exists():
        raise NotFound(
            f"there is no inventory {chosen} (named by {source})", next_step="stoker init --inventory writes one"
        )
    return chosen.resolve()


def validated(text: str, path: Path) -> Config:
    """`text` as the settings of the file `path`, which is not read. Every error is a ConfigError with its line."""
    from pydantic import TypeAdapter, ValidationError

    shown = shown_path(path)
    data = loaded(text, shown)
    if data is None:
        return Config(file=path)
    if not isinstance(data, dict):
        raise ConfigError(shown, 1, f"is not a mapping of settings ({', '.join(_field_names(Config))})")
    if "file" in data:
        _unknown_key(shown, data, ("file",), Config)
    try:
        config: Config = TypeAdapter(Config).validate_python(plain(data))
    except ValidationError as problem:
        _raise_first(shown, data, problem.errors(include_url=False)[0])
    _check_values(shown, data, config, ())
    faults = [(("notify", *where), words) for where, words in notify_faults(config.notify)]
    faults += [(("pools", *where), words) for where, words in pool_faults(config.pools)]
    for loc, words in faults:
        raise ConfigError(shown, line_of(data, loc), f"{dotted(loc)}: {words}")
    return replace(config, file=path.resolve())


def _raise_first(shown: str, data: Any, error: ErrorDetails) -> None:
    """Turn pydantic's error into the sentence with file, line and field."""
    loc = tuple(part for part in error["loc"] if part in _path_parts(data, error["loc"]))
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        _unknown_key(shown, data, error["loc"], _owner(error["loc"]))
    if error["type"] in ("missing", "missing_argument"):
        missing = error["loc"][-1]
        parent = error["loc"][:-1]
        raise ConfigError(shown, line_of(data, parent), f"{dotted(parent)}: {missing} is missing")
    rule = _rule(loc)
    raise ConfigError(shown, line_of(data, loc), f"{dotted(loc)}: {_value(data, loc)!r} is not {rule.words}")


def _unknown_key(shown: str, data: Any, loc: tuple[int | str, ...], owner: type) -> None:
    key = str(loc[-1])
    names = _field_names(owner)
    near = difflib.get_close_matches(key, names, n=1)
    hint = f"Did you mean '{near[0]}'?" if near else f"Known here: {', '.join(names)}"
    raise ConfigError(shown, line_of(data, loc), f"{dotted(loc)}: there is no such setting. {hint}")


def _check_values(shown: str, data: Any, value: Any, loc: tuple[int | str, ...]) -> None:
    """The rules that types do not hold: lowest numbers, and regular expressions that compile."""
    if isinstance(value, tuple):
        for index, item in enumerate(value):
            _check_values(shown, data, item, (*loc, index))
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_values(shown, data, item, (*loc, key))
    if not hasattr(value, "__dataclass_fields__"):
        return
    for name in _field_names(type(value)):
        here = (*loc, name)
        inner = getattr(value, name)
        rule = _rule(here)
        _check_number(shown, data, inner, here, rule)
        if rule.foreign:
            continue
        if isinstance(inner, Mapping):
            for key, entry in inner.items():
                _check_number(shown, data, entry, (*here, key), _rule((*here, key)))
        if rule.absolute and (wrong := [entry for entry in inner if not Path(entry).is_absolute()]):
            sentence = f"{dotted(here)}: {wrong[0]!r} is not an absolute folder"
            raise ConfigError(shown, line_of(data, (*here, inner.index(wrong[0]))), sentence)
        if rule.regex:
            try:
                re.compile(inner)
            except re.error as problem:
                sentence = f"{dotted(here)}: {inner!r} is not a regular expression: {problem}"
                raise ConfigError(shown, line_of(data, here), sentence) from None
        _check_values(shown, data, inner, here)


def _check_number(shown: str, data: Any, value: Any, loc: tuple[int | str, ...], rule: Is) -> None:
    """Raise ConfigError for a number that is outside the rule, endless, or none at all (nan)."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    if not math.isfinite(value) or (rule.least is not None and value < rule.least):
        raise ConfigError(shown, line_of(data, loc), f"{dotted(loc)}: {value!r} is not {rule.words}")
    if value > rule.most:
        raise ConfigError(shown, line_of(data, loc), f"{dotted(loc)}: {value!r} is more than {rule.most:,}")


def _field_names(owner: type) -> list[str]:
    return [f.name for f in dataclass_fields(owner) if f.name != "file"]


def _owner(loc: tuple[int | str, ...]) -> type:
    """The settings class that the last part of `loc` is (or would be) a field of."""
    owner: type = Config
    for part in loc[:-1]:
        if isinstance(part, str) and part in owner.__annotations__:
            owner = _settings_class(get_type_hints(owner, include_extras=True)[part]) or owner
    return owner


def _settings_class(hint: Any) -> type | None:
    if isinstance(hint, type) and hasattr(hint, "__dataclass_fields__"):
        return hint
    for inner in get_args(hint):
        if (found := _settings_class(inner)) is not None:
            return found
    return None


def _rule(loc: tuple[int | str, ...]) -> Is:
    """The rule of the field at `loc`; for an entry of a list, that of its class."""
    names = [part for part in loc if isinstance(part, str)]
    if not names:
        return Is("a mapping")
    if isinstance(loc[-1], int) and _settings_class(get_type_hints(_owner(tuple(names)))[names[-1]]) is None:
        return Is("a text")
    if isinstance(loc[-1], int):
        return Is(f"a mapping with {', '.join(_field_names(_owner((*loc, ''))))}")
    hints = get_type_hints(_owner(loc), include_extras=True)
    hint = hints.get(names[-1])
    if hint is None and len(names) > 1 and names[-2] in hints:
        hint = (get_args(get_args(hints[names[-2]])[0]) or (None,))[-1]
    found = _find_rule(hint)
    if found is None and len(names) > 1:
        return Is(f"part of {_rule(tuple(names[:-1])).words}")
    return found or Is("what this setting takes")


def _find_rule(hint: Any) -> Is | None:
    if get_origin(hint) is Annotated:
        for extra in hint.__metadata__:
            if isinstance(extra, Is):
                return extra
    for inner in get_args(hint):
        if (found := _find_rule(inner)) is not None:
            return found
    return None


def _path_parts(data: Any, loc: tuple[int | str, ...]) -> list[int | str]:
    """The leading parts of `loc` that are in the file (pydantic adds names of union members)."""
    parts: list[int | str] = []
    for part in loc:
        listed = isinstance(data, list) and isinstance(part, int)
        if not listed and not (isinstance(data, dict) and part in data):
            break
        data = data[part]
        parts.append(part)
    return parts


def _value(data: Any, loc: tuple[int | str, ...]) -> Any:
    for part in loc:
        data = data[part]
    return plain(data)
