"""Where operations are declared. The command line and the Python API are both made from this registry.

An operation is a typed function whose first parameter is the `Session`; what follows is its public signature. It
returns a value (a frozen dataclass, or a stream of them) and raises a `StokerError` when it cannot.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Unpack, cast, get_args, get_origin, get_type_hints, is_typeddict

Policy = Literal["read", "operate", "administer", "spend"]
Function = TypeVar("Function", bound=Callable[..., Any])

_MODULES = (
    "stoker.operations.submit",
    "stoker.operations.jobs",
    "stoker.operations.templates",
    "stoker.operations.stats",
    "stoker.operations.compare",
    "stoker.operations.logs",
    "stoker.operations.signals",
    "stoker.operations.watch",
    "stoker.operations.events",
    "stoker.operations.clean",
    "stoker.operations.nodes",
    "stoker.operations.gpus",
    "stoker.operations.disk",
    "stoker.operations.telemetry",
    "stoker.operations.top",
    "stoker.operations.sync",
    "stoker.operations.environments",
    "stoker.operations.benchmark",
    "stoker.operations.containers",
    "stoker.operations.container_images",
    "stoker.operations.services",
    "stoker.operations.runs",
    "stoker.operations.runs_figures",
    "stoker.operations.dispatch",
    "stoker.operations.queue",
    "stoker.operations.stores",
    "stoker.operations.setup",
)


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
    "queue": "Lines of jobs that start in order.",
    "gpu": "One GPU of a node.",
    "store": "The store as a whole: backup, restore, another database.",
    "container": "Containers of the nodes, by Podman or Docker.",
    "service": "Commands with a health endpoint, kept running on a node.",
    "runs": "What trainings wrote: metrics, settings, how they ended. Needs a folder, no inventory.",
    "sync": "The files of a project: to nodes, and results back.",
    "template": "Saved commands with parameters, for everybody who uses the same store.",
}

Command = Annotated[Sequence[str], AfterDashes()]
FileText = Annotated[str | None, TextFile()]


@dataclass(frozen=True)
class Operation:
    """One thing a user can ask. `follow` says that the command line may go on with the job's log (`--follow`)."""

    area: str
    command: str
    method: str
    policy: Policy
    function: Callable[..., Any]
    follow: bool = False

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


def operation(
    area: str, command: str, policy: Policy, *, method: str | None = None, follow: bool = False
) -> Callable[[Function], Function]:
    """Declare the function below as the operation `area.method`, and as `stoker <command>`.

    Two words make a command of a group, `template save`; GROUPS says what a group is for.
    `method` is the name in the Python API; by default that of the function. Two operations of one name or one command
    are an error.
    """

    def declare(function: Function) -> Function:
        new = Operation(area, command, method or function.__name__, policy, function, follow)
        if new.name in _operations or any(o.command == command for o in _operations.values()):
            raise ValueError(f"there are two operations called {new.name} or two commands called {command}")
        _operations[new.name] = new
        return function

    return declare


def operations() -> tuple[Operation, ...]:
    """All operations, in the order in which help lists them."""
    for module in _MODULES:
        importlib.import_module(module)
    return tuple(_operations.values())


def find(function: Callable[..., Any]) -> Operation:
    """The operation that `function` was declared as."""
    return next(o for o in _operations.values() if o.function is function)
