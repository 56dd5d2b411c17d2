"""The file of a workflow: read, and checked as a whole. What is wrong in it is told with file, line and field."""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from stoker.config import MOST
from stoker.dispatch.expressions import (
    ExpressionError,
    Names,
    Parent,
    as_text,
    check_condition,
    check_inserts,
    has_inserts,
)
from stoker.dispatch.workflow import ancestors
from stoker.errors import NotFound, UsageError
from stoker.marked import ConfigError, dotted, line_of, loaded, plain, shown_path
from stoker.operations.options import RunOptions

LARGEST_BYTES = 256 * 1024
MOST_PARTS = 1000
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
_TOP = ("name", "description", "context", "jobs")
_OWN = (
    "argv",
    "template",
    "param",
    "needs",
    "when",
    "matrix",
    "max_parallel",
    "allow_failure",
    "outputs",
    "queue",
    "priority",
)
_COMMANDS = ("argv", "script", "template", "agent")
# What is done before a job is submitted, and means nothing for one that is made later; and the name, which is the key.
_NOT_HERE = ("name", "sync", "environment", "cached", "force")
OPTIONS = {name: hint for name, hint in get_type_hints(RunOptions).items() if name not in _NOT_HERE}
# Where values of parents may stand: what is known only when the job is made.
_LATER = ("argv", "env")
_INSTEAD = {
    "run": "argv (a list) is a command, script a text for a shell", "command": "argv (a list) is a command",
    "depends_on": "needs", "if": "when", "retry": "retries", "steps": "jobs",
    "sync": "snapshot: true brings the files", "environment": "stoker environment installs it before",
    "name": "the key is its name",
}  # fmt: skip
_AS_TEXT = "braces that are text are written {{ '{{' }}, {{ '}' }}{{ '}' }} or {{ '{%' }}"
Loc = tuple[int | str, ...]


@dataclass(frozen=True)
class StepFile:
    """One entry of `jobs`, checked. `fields` are its options and command as they stand in the file."""

    key: str
    fields: Mapping[str, Any]
    needs: tuple[str, ...]
    when: str | None
    judged: tuple[str, ...]
    matrix: Mapping[str, Sequence[Any]]
    outputs: Mapping[str, str]
    max_parallel: int | None
    allow_failure: bool
    queue: str | None
    priority: int

    def combinations(self) -> list[dict[str, Any]]:
        """The values of the matrix for each of its jobs; one without any where it has none."""
        return [dict(zip(self.matrix, values, strict=True)) for values in itertools.product(*self.matrix.values())]


@dataclass(frozen=True)
class WorkflowFile:
    """A workflow as it was written, checked; `shown` is the name of its file."""

    shown: str
    name: str
    description: str | None
    context: Mapping[str, Any]
    steps: Mapping[str, StepFile]
    data: Any = field(repr=False)

    def fault(self, loc: Loc, what: str, next_step: str | None = None) -> ConfigError:
        """An error of the field at `loc`."""
        return ConfigError(self.shown, line_of(self.data, loc), f"{dotted(loc)}: {what}", next_step=next_step)


def read(file: str, context: Mapping[str, str]) -> WorkflowFile:
    """The workflow of a file, with other values for its context where they are given. Raises ConfigError, NotFound."""
    path = Path(file)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"there is no file {file}") from None
    except OSError as problem:
        raise UsageError(f"{file} cannot be read: {problem.strerror}") from problem
    if len(data) > LARGEST_BYTES:
        raise UsageError(f"{file} has {len(data):,} bytes, more than the {LARGEST_BYTES:,} of a workflow")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise UsageError(f"{file} is not a text in UTF-8 (byte {problem.start})") from None
    return parse(text, shown_path(path), context)


def parse(text: str, shown: str, context: Mapping[str, str]) -> WorkflowFile:
    """The workflow of a text, `shown` being the name of its file."""
    return _Reader(loaded(text, shown), shown).workflow(context)


def scalar(value: Any) -> bool:
    """Whether a value is one text, number, or true or false."""
    return isinstance(value, str | int | float) and not (isinstance(value, float) and not math.isfinite(value))


def texts(value: Any, loc: Loc) -> Iterator[tuple[Loc, str]]:
    """Every text in a value, with its place."""
    if isinstance(value, str):
        yield loc, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from texts(item, (*loc, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts(item, (*loc, key))


class _Reader:
    """Reads one file; the first thing that is wrong in it is raised."""

    def __init__(self, data: Any, shown: str) -> None:
        self._data, self._shown = data, shown

    def workflow(self, given: Mapping[str, str]) -> WorkflowFile:
        if not isinstance(self._data, dict):
            raise ConfigError(self._shown, 1, f"is not a mapping of {', '.join(_TOP)}")
        top = plain(self._data)
        self._known((), top, _TOP)
        name = self._text(top, ("name",), "the name of the workflow")
        description = top.get("description")
        if description is not None and not isinstance(description, str):
            raise self._fault(("description",), f"{description!r} is not a text")
        context = self._context(top.get("context") or {}, given)
        jobs = top.get("jobs")
        if not isinstance(jobs, dict) or not jobs:
            raise self._fault(("jobs",), "is not a mapping of at least one job")
        shapes = {key: self._shape(key, value) for key, value in jobs.items()}
        self._acyclic({key: shape["needs"] for key, shape in shapes.items()})
        steps = {key: self._step(key, jobs[key], shapes, context) for key in jobs}
        count = sum(math.prod(len(values) for values in step.matrix.values()) for step in steps.values())
        if count > MOST_PARTS:
            raise self._fault(("jobs",), f"are {count:,} jobs with their matrices, more than {MOST_PARTS:,}")
        return WorkflowFile(self._shown, name, description, context, steps, self._data)

    def _fault(self, loc: Loc, what: str) -> ConfigError:
        return ConfigError(self._shown, line_of(self._data, loc), f"{dotted(loc)}: {what}")

    def _known(self, loc: Loc, value: Mapping[str, Any], names: Sequence[str]) -> None:
        for key in value:
            if key not in names:
                near = difflib.get_close_matches(key, names, n=1)
                hint = f"Did you mean '{near[0]}'?" if near else f"Known here: {', '.join(names)}"
                raise self._fault((*loc, key), f"there is no such field. {_INSTEAD.get(key, '') or hint}")

    def _text(self, top: Mapping[str, Any], loc: Loc, what: str) -> str:
        value = top.get(str(loc[-1]))
        if not isinstance(value, str) or not value.strip() or len(value) > 200:
            raise self._fault(loc, f"{what} is missing" if value is None else f"{value!r} is not {what}")
        return value

    def _context(self, named: Any, given: Mapping[str, str]) -> dict[str, Any]:
        self._names(named, ("context",))
        context = dict(named)
        for key, value in context.items():
            if value is not None and not scalar(value):
                raise self._fault(("context", key), f"{value!r} is not a text, a number, true or false")
        for key, text in given.items():
            if key not in context:
                near = difflib.get_close_matches(key, list(context), n=1)
                hint = f" Did you mean '{near[0]}'?" if near else ""
                has = ", ".join(context) or "nothing"
                raise UsageError(f"--context: {self._shown} has no {key!r}.{hint}", next_step=f"its context: {has}")
            context[key] = _like(context[key], text, key)
        missing = [key for key, value in context.items() if value is None]
        if missing:
            asked = " ".join(f"--context {key}=..." for key in missing)
            loc: Loc = ("context", missing[0])
            what = f"{dotted(loc)}: needs a value" + (f", as do {', '.join(missing[1:])}" if missing[1:] else "")
            raise ConfigError(self._shown, line_of(self._data, loc), what, next_step=asked)
        return context

    def _names(self, named: Any, loc: Loc) -> None:
        if not isinstance(named, dict):
            raise self._fault(loc, "is not a mapping of names")
        for key in named:
            if not _KEY.fullmatch(key):
                raise self._fault((*loc, key), "a name is a letter, then letters, digits and _, at most 40")

    def _shape(self, key: str, step: Any) -> dict[str, Any]:
        """What other steps have to know of one: needs, matrix, outputs."""
        loc: Loc = ("jobs", key)
        if not _KEY.fullmatch(key):
            raise self._fault(loc, "a name is a letter, then letters, digits and _, at most 40")
        if not isinstance(step, dict):
            raise self._fault(loc, "is not a mapping of fields")
        self._known(loc, step, [*_OWN, *OPTIONS])
        needs = step.get("needs") or []
        needs = [needs] if isinstance(needs, str) else needs
        if not isinstance(needs, list) or not all(isinstance(need, str) for need in needs):
            raise self._fault((*loc, "needs"), f"{needs!r} is not a list of jobs")
        return {
            "needs": tuple(dict.fromkeys(needs)), "matrix": self._matrix(loc, step), "outputs": self._outputs(loc, step)
        }  # fmt: skip

    def _acyclic(self, needs: Mapping[str, Sequence[str]]) -> None:
        for key, named in needs.items():
            for need in named:
                if need not in needs:
                    near = difflib.get_close_matches(need, list(needs), n=1)
                    hint = f" Did you mean '{near[0]}'?" if near else f" There are {', '.join(needs)}"
                    raise self._fault(("jobs", key, "needs"), f"there is no job {need!r}.{hint}")
        left = dict(needs)
        while ready := [key for key, named in left.items() if not any(need in left for need in named)]:
            for key in ready:
                del left[key]
        if left:
            circle = _circle(left)
            raise self._fault(("jobs", circle[0], "needs"), f"goes in a circle: {' needs '.join(circle)}")

    def _step(
        self, key: str, step: Mapping[str, Any], shapes: Mapping[str, Any], context: Mapping[str, Any]
    ) -> StepFile:
        from stoker.store.queues import QUEUE_NAME

        loc: Loc = ("jobs", key)
        if sum(step.get(name) is not None for name in _COMMANDS) != 1:
            raise self._fault(loc, "needs exactly one of argv, script, template and agent")
        script = step.get("script")
        if isinstance(script, str) and not script.strip():
            raise self._fault((*loc, "script"), "has no text")
        needs, matrix, outputs = shapes[key]["needs"], shapes[key]["matrix"], shapes[key]["outputs"]
        most, allow = step.get("max_parallel"), step.get("allow_failure", False)
        if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1 or not matrix):
            raise self._fault((*loc, "max_parallel"), f"{most!r} is not a whole number of 1 or more, for a matrix")
        queue, priority = step.get("queue"), step.get("priority", 0)
        if queue is not None and not (isinstance(queue, str) and QUEUE_NAME.fullmatch(queue)):
            raise self._fault((*loc, "queue"), f"{queue!r} is no name for a queue")
        if not isinstance(priority, int) or isinstance(priority, bool) or (priority and queue is None):
            raise self._fault((*loc, "priority"), f"{priority!r} is not a whole number, for a job in a queue")
        for name, number in (("priority", priority), ("max_parallel", most or 0)):
            if abs(number) > MOST:
                raise self._fault((*loc, name), f"{number} is more than {MOST:,}")
        if not isinstance(allow, bool):
            raise self._fault((*loc, "allow_failure"), f"{allow!r} is not true or false")
        parents = {
            name: Parent(frozenset(shapes[name]["outputs"]), bool(shapes[name]["matrix"]))
            for name in ancestors(shapes, key)
        }
        names = Names(parents, context, matrix)
        when, judged = self._condition((*loc, "when"), step.get("when"), names)
        fields = {
            name: value for name, value in step.items() if name in OPTIONS or name in ("argv", "template", "param")
        }
        self._inserts(loc, fields, names)
        return StepFile(
            key, fields, needs, when, tuple(need for need in needs if need in judged), matrix, outputs, most, allow,
            queue, priority,
        )  # fmt: skip

    def _matrix(self, loc: Loc, step: Mapping[str, Any]) -> dict[str, list[Any]]:
        matrix = step.get("matrix")
        if matrix is None:
            return {}
        here = (*loc, "matrix")
        self._names(matrix, here)
        if not matrix:
            raise self._fault(here, "has no names")
        for name, values in matrix.items():
            if not isinstance(values, list) or not values or not all(scalar(value) for value in values):
                raise self._fault((*here, name), f"{values!r} is not a list of texts, numbers, true or false")
        return dict(matrix)

    def _outputs(self, loc: Loc, step: Mapping[str, Any]) -> dict[str, str]:
        from ansible_collections.stoker.fleet.plugins.module_utils.schemas import regex_fault

        outputs = step.get("outputs") or {}
        here = (*loc, "outputs")
        self._names(outputs, here)
        for name, regex in outputs.items():
            if not isinstance(regex, str):
                raise self._fault((*here, name), f"{regex!r} is not a regular expression")
            if fault := regex_fault(regex, metric=True):
                raise self._fault((*here, name), f"{regex!r}: {fault}")
        return dict(outputs)

    def _condition(self, loc: Loc, when: Any, names: Names) -> tuple[str | None, frozenset[str]]:
        if when is None:
            return None, frozenset()
        text = as_text(when) if isinstance(when, bool) else when
        if not isinstance(text, str):
            raise self._fault(loc, f"{when!r} is not a condition")
        try:
            return text, check_condition(text, names).judged
        except ExpressionError as problem:
            raise self._fault(loc, f"{text!r} {problem}") from None

    def _inserts(self, loc: Loc, fields: Mapping[str, Any], names: Names) -> None:
        for name, value in fields.items():
            for where, text in texts(value, (*loc, name)):
                if name == "script":
                    if re.search(r"\{\{-?\s*(parent|matrix|context)\.", text):
                        raise self._fault(
                            where, "values do not go into a script: give them by env, and use $NAME there"
                        )
                    continue
                try:
                    use = check_inserts(text, names)
                except ExpressionError as problem:
                    raise self._fault(where, f"{problem} ({_AS_TEXT})") from None
                if use.parents and name not in _LATER:
                    raise self._fault(where, f"a value of a parent may stand in {' and '.join(_LATER)} only")


def later(fields: Mapping[str, Any]) -> list[tuple[str, int | str]]:
    """The texts of `argv` and `env` that hold values of parents."""
    found: list[tuple[str, int | str]] = []
    for name in _LATER:
        for where, text in texts(fields.get(name), (name,)):
            if has_inserts(text) and re.search(r"\bparent\b", text):
                found.append((name, where[1]))
    return found


def _circle(needs: Mapping[str, Sequence[str]]) -> list[str]:
    """The keys of one circle, the first once more at the end."""
    path = [next(iter(needs))]
    while True:
        following = next(need for need in needs[path[-1]] if need in needs)
        if following in path:
            return [*path[path.index(following) :], following]
        path.append(following)


def _like(default: Any, text: str, key: str) -> Any:
    """A value that was given as text, of the kind that the file has."""
    if isinstance(default, bool):
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise UsageError(f"--context {key}: {text!r} is not true or false")
    for kind in (int, float):
        if isinstance(default, kind):
            try:
                return kind(text)
            except ValueError:
                pass
    if isinstance(default, int | float):
        raise UsageError(f"--context {key}: {text!r} is not a number")
    return text
