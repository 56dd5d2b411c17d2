"""Where operations are declared. The command line and the Python API are both made from this registry.

An operation is a typed function whose first parameter is the `Session`; what follows is its public signature. It
returns a value (a frozen dataclass, or a stream of them) and raises a `StokerError` when it cannot.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

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
    "stoker.operations.sync",
    "stoker.operations.runs",
    "stoker.operations.runs_figures",
    "stoker.operations.dispatch",
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
    "store": "The store as a whole: backup, restore, another database.",
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
        """The public signature: that of the function, without the session, with real types."""
        full = inspect.signature(self.function, eval_str=True)
        return full.replace(parameters=list(full.parameters.values())[1:])


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
