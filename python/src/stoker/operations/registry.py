"""Where operations are declared. The command line and the Python API are both made from this registry.

An operation is a typed function whose first parameter is the `Session`; what follows is its public signature. It
returns a value (a frozen dataclass, or a stream of them) and raises a `StokerError` when it cannot.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Unpack, cast, get_args, get_origin, get_type_hints, is_typeddict

Policy = Literal["read", "operate", "administer", "spend"]
Function = TypeVar("Function", bound=Callable[..., Any])


def _of(group: str, words: str) -> tuple[str, ...]:
    return tuple(f"{group} {word}" for word in words.split())


# Each module and its commands, in the order in which help lists them: a command imports its own module only.
_COMMANDS: dict[str, tuple[str, ...]] = {
    "stoker.operations.submit": ("run", "retry"),
    "stoker.operations.jobs": ("jobs", "job", "wait", "stop", "adopt"),
    "stoker.operations.agents": _of("agent", "run list"),
    "stoker.operations.dead": _of("dead", "list retry"),
    "stoker.operations.templates": _of("template", "save list show run delete"),
    "stoker.operations.stats": ("stats",),
    "stoker.operations.compare": ("compare",),
    "stoker.operations.checkpoints": _of("checkpoint", "list pull"),
    "stoker.operations.logs": ("logs",),
    "stoker.operations.signals": ("signal",),
    "stoker.operations.watch": ("watch",),
    "stoker.operations.events": ("events",),
    "stoker.operations.notify": _of("notify", "list send test"),
    "stoker.operations.notify_listen": _of("notify", "listen"),
    "stoker.operations.inbox": _of("inbox", "list read archive"),
    "stoker.operations.clean": ("clean",),
    "stoker.operations.nodes": ("status", "nodes", "exec"),
    "stoker.operations.diag": ("diag",),
    "stoker.operations.membership": _of("node", "list add approve remove"),
    "stoker.operations.drain": _of("node", "drain resume"),
    "stoker.operations.gpus": ("gpus", "gpu release"),
    "stoker.operations.disk": ("disk",),
    "stoker.operations.telemetry": ("telemetry",),
    "stoker.operations.alerts": ("alerts", "squelch"),
    "stoker.operations.top": ("top",),
    "stoker.operations.sync": _of("sync", "push pull diff"),
    "stoker.operations.hub": _of("data", "fetch"),
    "stoker.operations.environments": ("environment", "environments"),
    "stoker.operations.benchmark": ("benchmark",),
    "stoker.operations.containers": _of("container", "list logs start stop create"),
    "stoker.operations.container_images": _of("container", "check-updates upgrade install"),
    "stoker.operations.services": _of("service", "start stop restart status logs"),
    "stoker.operations.runs": _of("runs", "list find latest summary keys config notes"),
    "stoker.operations.runs_figures": _of("runs", "history chart stats stability best compare"),
    "stoker.operations.runs_machine": _of("runs", "machine"),
    "stoker.operations.runs_verdicts": _of("runs", "check eta seeds"),
    "stoker.operations.runs_query": _of("runs", "query cost why"),
    "stoker.operations.runs_report": _of("runs", "report comment"),
    "stoker.operations.runs_init": _of("runs", "init"),
    "stoker.operations.runs_watch": _of("runs", "watch"),
    "stoker.operations.kube": _of("kube", "contexts nodes"),
    "stoker.operations.kube_scale": _of("kube", "scale"),
    "stoker.operations.vast": _of("vast", "offers list cost"),
    "stoker.operations.vast_changes": _of("vast", "rent stop start destroy reap"),
    "stoker.operations.vast_selftest": _of("vast", "selftest"),
    "stoker.operations.dispatch": ("dispatch",),
    "stoker.operations.dispatchers": ("dispatchers",),
    "stoker.operations.queue": _of("queue", "list add start set pause resume move clear"),
    "stoker.operations.workflows": _of("workflow", "run submit validate list status draw watch cancel resume clear"),
    "stoker.operations.memory": ("whereami", *_of("memory", "set list search forget")),
    "stoker.operations.threads": _of("thread", "start think handoff end list show"),
    "stoker.operations.sessions": _of("session", "list send inbox ack"),
    "stoker.operations.stores": _of("store", "backup restore copy check"),
    "stoker.operations.access": (*_of("token", "add list remove"), "audit"),
    "stoker.operations.plugins": ("plugins",),
    "stoker.operations.skills": _of("skill", "list show check"),
    "stoker.operations.updates": _of("update", "check nodes"),
    "stoker.operations.setup": ("init",),
    "stoker.operations.settings": _of("config", "get set check diff"),
}


@dataclass(frozen=True)
class AfterDashes:
    """Marks the parameter that takes everything after `--` on a command line, as it is."""


@dataclass(frozen=True)
class TextFile:
    """Marks a text that the command line reads from the file it names (`-`: standard input)."""


@dataclass(frozen=True)
class Short:
    """A one-letter spelling of an option on the command line: `Short("-f")`."""

    flag: str


GROUPS = {
    "config": "The settings of stoker.yml: show, change, check, compare.",
    "checkpoint": "What is kept of a job's checkpoints: its next attempt goes on from the newest.",
    "data": "Models and data, fetched by the nodes themselves.",
    "dead": "Jobs that were given up: which and why, and again.",
    "agent": "Programs that are given a prompt, held to limits. Only those that stoker.yml names.",
    "queue": "Lines of jobs that start in order.",
    "node": "Which nodes take jobs: add, approve, drain, remove. How they are: stoker nodes.",
    "gpu": "One GPU of a node.",
    "token": "Who may ask over the network, and in which role: bearer tokens of stoker mcp --http.",
    "memory": "Facts of a project under keys, and a search over all that is remembered.",
    "thread": "Lines of work, their thoughts, and how they are handed over.",
    "session": "Assistants that are connected, and messages between them.",
    "store": "The store as a whole: backup, restore, another database.",
    "container": "Containers of the nodes, by Podman or Docker.",
    "notify": "Messages to people: Slack, Discord, Telegram, mail and others, as stoker.yml says.",
    "inbox": "Messages that stay in the store until somebody has read them.",
    "service": "Commands with a health endpoint, kept running on a node.",
    "skill": "Instructions for assistants, from the folders that stoker.yml names.",
    "runs": "What trainings wrote: metrics, settings, how they ended. Needs a folder, no inventory.",
    "sync": "The files of a project: to nodes, and results back.",
    "kube": "Clusters of Kubernetes: contexts that can be reached, what nodes have free, scaling.",
    "update": "Stoker's own versions: which are where, and this one brought to the nodes with care.",
    "vast": "Rented machines: offers, what is rented and what it costs. Jobs get theirs by --on pool:NAME.",
    "workflow": "Jobs that depend on each other, from one file.",
    "template": "Saved commands with parameters, for everybody who uses the same store.",
}

Command = Annotated[Sequence[str], AfterDashes()]
FileText = Annotated[str | None, TextFile()]


@dataclass(frozen=True)
class Operation:
    """One thing a user can ask. `follow` says that the command line may go on with the job's log (`--follow`).

    `destroys`: whether something is gone afterwards that nobody can bring back; names of parameters: only with these.
    """

    area: str
    command: str
    method: str
    policy: Policy
    function: Callable[..., Any]
    follow: bool = False
    destroys: bool | tuple[str, ...] = False

    @property
    def name(self) -> str:
        """`area.method`, as in `fleet.jobs.run` and in the field `operation` of a JSON answer."""
        return f"{self.area}.{self.method}"

    def signature(self) -> inspect.Signature:
        """The public signature: that of the function, without the session, with real types.

        `**options: Unpack[SomeTypedDict]` stands as the keywords that it means.
        """
        full = inspect.signature(self.function, eval_str=True)
        shown = list(full.parameters.values())[1:]
        if shown and (shared := _shared_options(shown[-1])) is not None:
            shown[-1:] = [_keyword(name, hint) for name, hint in get_type_hints(shared, include_extras=True).items()]
        return full.replace(parameters=shown)

    def doc(self) -> str:
        """The docstring; shared options are described after the function's own arguments."""
        text = inspect.getdoc(self.function) or ""
        parameters = list(inspect.signature(self.function, eval_str=True).parameters.values())
        shared = _shared_options(parameters[-1])
        if shared is None:
            return text
        described = _described(shared)
        return f"{text}\n{described}" if "Args:\n" in text else f"{text}\n\nArgs:\n{described}"


def _shared_options(parameter: inspect.Parameter) -> type | None:
    """The TypedDict of `**options: Unpack[...]`; None for any other parameter."""
    if parameter.kind is not inspect.Parameter.VAR_KEYWORD or get_origin(parameter.annotation) is not Unpack:
        return None
    (shared,) = get_args(parameter.annotation)
    return cast(type, shared)


def _described(shared: type) -> str:
    """What the docstrings of a TypedDict, and of those beside it that it extends, say of their options."""
    beside = [found for found in vars(sys.modules[shared.__module__]).values() if is_typeddict(found)]
    parts = [found for found in beside if found.__annotations__.keys() <= shared.__annotations__.keys()]
    return "".join((inspect.getdoc(part) or "").partition("Args:\n")[2] + "\n" for part in parts)


def _keyword(name: str, hint: Any) -> inspect.Parameter:
    bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    absent: Any = () if get_origin(bare) is Sequence else False if bare is bool else None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=absent, annotation=hint)


_operations: dict[str, Operation] = {}
# Those of plugins that are not built in, and what help says of their groups.
_added: dict[str, Operation] = {}
_added_groups: dict[str, str] = {}
# The built-in plugins: the areas of the modules above.
AREAS = (
    "jobs", "agents", "checkpoints", "dead", "templates", "events", "nodes", "telemetry", "sync", "hub", "environments",
    "containers", "services", "runs", "kubernetes", "vast", "dispatch", "queue", "workflows", "memory", "threads",
    "sessions", "store", "access", "notify", "inbox", "config", "plugins", "skills", "updater", "setup",
)  # fmt: skip


def operation(
    area: str, command: str, policy: Policy, *, method: str | None = None, follow: bool = False,
    destroys: bool | tuple[str, ...] = False,
) -> Callable[[Function], Function]:  # fmt: skip
    """Declare the function below as the operation `area.method`, and as `stoker <command>`.

    Two words make a command of a group, `template save`; GROUPS says what a group is for.
    `method` is the name in the Python API; by default that of the function. Two operations of one name or one command
    are an error.
    """

    def declare(function: Function) -> Function:
        new = Operation(area, command, method or function.__name__, policy, function, follow, destroys)
        if new.name in _operations or any(o.command == command for o in _operations.values()):
            raise ValueError(f"there are two operations called {new.name} or two commands called {command}")
        _operations[new.name] = new
        return function

    return declare


def operations(command: str | None = None) -> tuple[Operation, ...]:
    """All operations, in the order in which help lists them; with a `command` that is known, those of its module.

    Those of plugins come last, once they are loaded (`plugin_loading`).
    """
    if added := [operation for operation in _added.values() if operation.command == command]:
        return tuple(added)
    modules = [module for module, commands in _COMMANDS.items() if command in commands] or list(_COMMANDS)
    for module in modules:
        importlib.import_module(module)
    wanted = [name for module in modules for name in _COMMANDS[module]]
    by_command = {operation.command: operation for operation in _operations.values()}
    found = tuple(by_command[name] for name in wanted)
    return found if len(modules) < len(_COMMANDS) else found + tuple(_added.values())


def built_in() -> tuple[Operation, ...]:
    """The operations of built-in plugins."""
    return tuple(found for found in operations() if found.name not in _added)


def add(new: Sequence[Operation], groups: Mapping[str, str]) -> None:
    """Take in the operations of a plugin, which fit what is there, and what help says of their groups."""
    _added.update({operation.name: operation for operation in new})
    _added_groups.update(groups)


def group_help(group: str) -> str:
    """What a group of commands is for."""
    return GROUPS.get(group) or _added_groups[group]


def commands() -> frozenset[str]:
    """Every command, `template save` and the like among them. Imports nothing."""
    added = (operation.command for operation in _added.values())
    return frozenset((*(command for listed in _COMMANDS.values() for command in listed), *added))


def find(function: Callable[..., Any]) -> Operation:
    """The operation that `function` was declared as."""
    return next(o for o in (*_operations.values(), *_added.values()) if o.function is function)
