"""The settings of `stoker.yml`: what they are and where they are found. `config_check` says what is wrong with one.

Without a `stoker.yml` the defaults hold, and neither pydantic nor the YAML reader is imported.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from stoker.errors import NotFound, UsageError
from stoker.marked import ConfigError, dotted, line_of, loaded, shown_path
from stoker.notify_settings import Notify
from stoker.pool_settings import Budget, Pool
from stoker.setting import FORBID as _FORBID
from stoker.setting import IS_ROLE as _IS_ROLE
from stoker.setting import MOST as MOST
from stoker.setting import Bytes, Count, Folder, Is, Name, OnOff, Percent, Positive, Regex, Role, Seconds, Weight

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
    from stoker.config_check import validated  # what it needs is needed where there is a file

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
