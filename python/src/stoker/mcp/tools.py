"""The tools, made from the operations: for each group of areas one that only looks, and one that changes things."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from stoker.mcp import arguments
from stoker.operations.policy import allows
from stoker.operations.registry import Operation, operations

if TYPE_CHECKING:
    from mcp_types import Tool as Listed

    from stoker.config import Access

# Areas that one asks in one breath. An area that stands nowhere here is a group of its own.
_GROUPS: Mapping[str, tuple[str, ...]] = {
    "jobs": ("jobs", "agents", "checkpoints", "templates", "queue", "dead", "events", "inbox"),
    "nodes": ("nodes", "telemetry", "sync", "hub", "environments"),
    "runs": ("runs",),
    "workflows": ("workflows", "dispatch"),
    "services": ("containers", "services", "kubernetes", "vast"),
    "memory": ("memory", "threads", "sessions"),
    "administration": ("store", "setup", "config", "notify", "access", "plugins", "skills", "updater"),
}
_SUBJECTS: Mapping[str, str] = {
    "jobs": "Jobs on GPU nodes, their logs, queues, templates and events",
    "nodes": "The machines: state, GPUs, disks, members, a project's files and environments",
    "runs": "Trainings: metrics, verdicts, comparisons, read from a folder of the server's machine",
    "workflows": "Jobs that depend on each other; dispatch rounds",
    "services": "Containers, services with a health endpoint, Kubernetes, rented machines",
    "memory": "What is remembered: threads, facts, other sessions",
    "administration": "The store, tokens, plugins, skills",
}
# Asked for seldom: their lists name the arguments, and `help` alone has the types.
_SELDOM = frozenset({"workflows", "services", "memory", "administration"})
CHANGE = "_change"
HELP = "help"
# What to do about a confirmation that is none.
NEW_PLAN = "make the call without confirm for a new plan and token"
# What every tool takes beside the arguments of its operations.
CURSOR, CONFIRM, KEY = "cursor", "confirm", "idempotency_key"
# Where the first words of a docstring have said what an operation does; `help` has the rest.
_ENOUGH = re.compile(r"[.:;](?: |$)| \(|, ")
_TEXT = {"type": "string"}


@dataclass(frozen=True)
class Tool:
    """A tool: its name, and the operations that it has a word for (their commands, as on a command line)."""

    name: str
    subject: str
    operations: tuple[Operation, ...]

    @property
    def only_reads(self) -> bool:
        """Whether nothing that it can be asked changes anything."""
        return not self.name.endswith(CHANGE)

    def operation(self, command: Any) -> Operation | None:
        """The operation of this word; None: it has none."""
        return next((operation for operation in self.operations if operation.command == command), None)


def tools(role: str, rules: Access, off: Collection[str] = ()) -> tuple[Tool, ...]:
    """The tools of a role: what it may not do is not in them, nor what is of a plugin that is `off`."""
    group_of = {area: group for group, areas in _GROUPS.items() for area in areas}
    groups: dict[str, list[Operation]] = {group: [] for group in _GROUPS}
    for operation in operations():
        if operation.area not in off and allows(role, operation, rules):
            groups.setdefault(group_of.get(operation.area, operation.area), []).append(operation)
    found = []
    for group, members in groups.items():
        subject = _SUBJECTS.get(group, group)
        looks = tuple(operation for operation in members if operation.policy == "read")
        changes = tuple(operation for operation in members if operation.policy != "read")
        found += [Tool(group, subject, looks)] if looks else []
        found += [Tool(group + CHANGE, f"As {group}: change", changes)] if changes else []
    return tuple(found)


def destroys(operation: Operation, given: Mapping[str, Any]) -> bool:
    """Whether this call destroys or spends something, so that it has to be confirmed."""
    if given.get("dry_run") is True:
        return False
    if operation.policy == "spend":
        return True
    if isinstance(operation.destroys, bool):
        return operation.destroys
    return any(given.get(name) not in (None, False) for name in operation.destroys)


def lasts(operation: Operation, given: Mapping[str, Any]) -> bool:
    """Whether this call may well take long: it waits, follows, or does what has a time limit of its own."""
    from stoker.cli.kinds import is_kind_of_stream

    signature = inspect.signature(operation.function, eval_str=True)
    if "once" in signature.parameters:
        return not given.get("once")
    for switch in ("follow", "watch"):
        if switch in signature.parameters:
            return bool(given.get(switch))
    answered = get_args(signature.return_annotation) or (signature.return_annotation,)
    limits = {"timeout", "wait"} & set(signature.parameters)
    return bool(limits) or any(is_kind_of_stream(kind) for kind in answered)


def listed(tool: Tool) -> Listed:
    """The tool as it is listed to a client: short, since a client pays for every word in every conversation."""
    from mcp_types import Tool as Listed
    from mcp_types import ToolAnnotations

    properties: dict[str, Any] = {"do": {"enum": [operation.command for operation in tool.operations]}}
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for operation in () if tool.name.removesuffix(CHANGE) in _SELDOM else tool.operations:
        for name, parameter in operation.signature().parameters.items():
            by_name.setdefault(name, []).append(arguments.of_parameter(parameter))
    properties |= {name: arguments.merged(schemas) for name, schemas in by_name.items()}
    destructive = any(operation.destroys or operation.policy == "spend" for operation in tool.operations)
    properties |= {CURSOR: _TEXT} if tool.only_reads else {KEY: _TEXT}
    properties |= {CONFIRM: _TEXT} if destructive else {}
    return Listed(
        name=tool.name,
        description="\n".join([f"{tool.subject}.", *(_line(operation) for operation in tool.operations)]),
        input_schema={"type": "object", "properties": properties, "required": ["do"]},
        # What is as the protocol presumes is not said: that a tool changes things, destroys, and is not idempotent.
        annotations=ToolAnnotations(
            read_only_hint=tool.only_reads or None, destructive_hint=None if destructive or tool.only_reads else False
        ),
    )


def helper() -> Listed:
    """The tool that says everything of one operation."""
    from mcp_types import Tool as Listed
    from mcp_types import ToolAnnotations

    return Listed(
        name=HELP,
        description="Everything of one operation: its arguments, and the schema of its answer.",
        input_schema={"type": "object", "properties": {"operation": _TEXT}, "required": ["operation"]},
        annotations=ToolAnnotations(read_only_hint=True),
    )


def _line(operation: Operation) -> str:
    """`stop(jobs*, grace): Stop jobs.` A star: needed."""
    named = [name + "*" * (arguments.required(parameter) or _several(parameter)) for name, parameter in _own(operation)]
    shared = len(named) < len(operation.signature().parameters)
    marks = " (confirm)" if operation.destroys is True or operation.policy == "spend" else ""
    said = _ENOUGH.split(operation.doc().partition("\n\n")[0].replace("\n", " "), maxsplit=1)[0]
    return f"{operation.command}({', '.join(named + ['+job options'] * shared)}){marks}: {said}"


def _several(parameter: inspect.Parameter) -> bool:
    return parameter.kind is inspect.Parameter.VAR_POSITIONAL


def _own(operation: Operation) -> Sequence[tuple[str, inspect.Parameter]]:
    """The operation's parameters without those that all that make a job share."""
    own = list(inspect.signature(operation.function, eval_str=True).parameters.values())[1:]
    return [(p.name, p) for p in own if p.kind is not inspect.Parameter.VAR_KEYWORD]
