"""Expressions of a workflow: its conditions, and the values that it puts into commands. Pure.

A small part of Jinja2: `parent.KEY.state`, `.exit_code`, `.stdout`, `.outputs.NAME`, `context.NAME`, `matrix.NAME`,
literals, comparisons, `in`, `and`, `or`, `not`, and the filters int, float, lower, default, join. Everything else is
refused when the expression is read, before anything of it is compiled; so are names that are not there, and comparisons
of what cannot be compared. What a log said is only ever a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from jinja2 import nodes

LONGEST = 300
DEEPEST = 20
# What can be said of a step that is over.
OUTCOMES = ("succeeded", "failed", "cancelled", "skipped")
_INSERTED = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_LEFT_OPEN = re.compile(r"\{\{|\}\}|\{%|\{#")
_ABOUT_PARENT = "state, exit_code, stdout or outputs.NAME"
Kind = Literal["text", "state", "number", "bool", "none", "list", "any"]


class ExpressionError(Exception):
    """An expression that cannot be used, or has no answer. The message is one sentence without a subject."""


@dataclass(frozen=True)
class Parent:
    """What an expression may ask of a step: the names of its outputs; `many`: it has a matrix, so each is a list."""

    outputs: frozenset[str] = frozenset()
    many: bool = False


@dataclass(frozen=True)
class Names:
    """Everything that an expression may name. `matrix` has all values that each of its names takes."""

    parents: Mapping[str, Parent] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    matrix: Mapping[str, Sequence[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Use:
    """What an expression looks at: all parents, and those of them whose `state` or `exit_code` it judges."""

    parents: frozenset[str]
    judged: frozenset[str]


def check_condition(text: str, names: Names) -> Use:
    """Check an expression that has to be true or false. Raises ExpressionError."""
    reading = _Reading(names)
    tree = _parsed(text)
    reading.condition(tree)
    _compiled(text)
    return reading.use()


def check_inserts(text: str, names: Names) -> Use:
    """Check all `{{ ... }}` of a text, and that no braces are left open beside them. Raises ExpressionError."""
    if odd := _LEFT_OPEN.search(_INSERTED.sub(" ", text)):
        wanted = {"{{": "has '{{' without its '}}'", "}}": "has '}}' without its '{{'"}
        raise ExpressionError(wanted.get(odd[0], f"has {odd[0]!r}, which means nothing here"))
    reading = _Reading(names)
    for found in _INSERTED.finditer(text):
        kind = reading.kind(_parsed(found[1]))
        if kind in ("list", "none"):
            what = "a list, one value for each job of a matrix: {{ ... | join(',') }}" if kind == "list" else "no value"
            raise ExpressionError(f"{found[0]!r} is {what}")
        _compiled(found[1])
    return reading.use()


def holds(text: str, values: Mapping[str, Any]) -> bool:
    """Whether a condition that was checked is true. Raises ExpressionError where that cannot be told."""
    answer = _evaluated(text, values)
    if not isinstance(answer, bool):
        raise ExpressionError(f"gives {answer!r}, which is neither true nor false")
    return answer


def inserted(text: str, values: Mapping[str, Any]) -> str:
    """The text with the values in place of its `{{ ... }}`; what they hold is not looked through again."""

    def put(found: re.Match[str]) -> str:
        value = _evaluated(found[1], values)
        if value is None or isinstance(value, list | tuple):
            raise ExpressionError(f"{found[0]!r} has no value")
        return as_text(value)

    return _INSERTED.sub(put, text)


def has_inserts(text: str) -> bool:
    """Whether there is a `{{ ... }}` in the text."""
    return _INSERTED.search(text) is not None


def as_text(value: Any) -> str:
    """A plain value as a command gets it; true and false as YAML has them."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parsed(text: str) -> nodes.Expr:
    from jinja2 import TemplateSyntaxError
    from jinja2.parser import Parser

    if len(text) > LONGEST:
        raise ExpressionError(f"is {len(text)} characters long, more than {LONGEST}")
    if sum(text.count(c) for c in "([{") > DEEPEST:
        raise ExpressionError(f"has more than {DEEPEST} brackets")
    try:
        parser = Parser(_sandbox(), text, state="variable")
        tree = parser.parse_expression()
        rest = "" if parser.stream.eos else str(parser.stream.current.value)
    except TemplateSyntaxError as problem:
        raise ExpressionError(f"cannot be read: {problem.message}") from None
    except (RecursionError, ValueError, OverflowError):
        raise ExpressionError("cannot be read") from None
    if rest:
        raise ExpressionError(f"cannot be read: {rest!r} was not expected")
    return tree


@lru_cache(maxsize=512)
def _compiled(text: str) -> Any:
    from jinja2 import TemplateError

    try:
        return _sandbox().compile_expression(text, undefined_to_none=False)
    except (TemplateError, RecursionError, SyntaxError) as problem:
        raise ExpressionError(f"cannot be read: {problem}") from None


def _evaluated(text: str, values: Mapping[str, Any]) -> Any:
    compiled = _compiled(text)
    try:
        return compiled(**values)
    except ExpressionError:
        raise
    # Whatever the template engine raises: an expression without an answer ends its step, never a round.
    except Exception as problem:  # noqa: BLE001  see above
        raise ExpressionError(f"has no answer: {problem}") from None


@lru_cache(maxsize=1)
def _sandbox() -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sandbox(ImmutableSandboxedEnvironment):
        """Knows mappings and their keys; no attribute of any object."""

        def getattr(self, obj: Any, attribute: str) -> Any:
            return obj[attribute] if isinstance(obj, dict) else self.undefined(name=attribute)

        def getitem(self, obj: Any, argument: Any) -> Any:
            return self.undefined(name=str(argument))

    made = Sandbox(undefined=StrictUndefined)
    made.globals.clear()
    made.tests.clear()
    made.filters.clear()
    made.filters.update(_FILTERS)
    return made


class _Reading:
    """Walks the tree of an expression: what is not known here is refused."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._parents: set[str] = set()
        self._judged: set[str] = set()

    def use(self) -> Use:
        return Use(frozenset(self._parents), frozenset(self._judged))

    def condition(self, node: nodes.Expr) -> None:
        kind = self.kind(node)
        if kind != "bool":
            raise ExpressionError("is neither true nor false: compare it with something")

    def kind(self, node: Any, depth: int = 0) -> Kind:
        """What the node gives. Raises ExpressionError for a node that has no place here."""
        if depth > DEEPEST:
            raise ExpressionError(f"is nested more than {DEEPEST} deep")
        rule = getattr(self, f"_{type(node).__name__.lower()}", None)
        if rule is None:
            raise ExpressionError(f"has what is not allowed here: {_WORDS.get(type(node).__name__, 'this form')}")
        found: Kind = rule(node, depth + 1)
        return found

    def _const(self, node: Any, _depth: int) -> Kind:
        return kind_of(node.value)

    def _neg(self, node: Any, depth: int) -> Kind:
        if type(node.node).__name__ != "Const" or self.kind(node.node, depth) != "number":
            raise ExpressionError("has what is not allowed here: arithmetic")
        return "number"

    def _list(self, node: Any, depth: int) -> Kind:
        for item in node.items:
            self.kind(item, depth)
        return "list"

    _tuple = _list

    def _not(self, node: Any, depth: int) -> Kind:
        return self._truths([node.node], depth)

    def _and(self, node: Any, depth: int) -> Kind:
        return self._truths([node.left, node.right], depth)

    _or = _and

    def _truths(self, parts: Sequence[Any], depth: int) -> Kind:
        if any(self.kind(part, depth) != "bool" for part in parts):
            raise ExpressionError("and, or and not take what is true or false: compare it with something")
        return "bool"

    def _compare(self, node: Any, depth: int) -> Kind:
        left = node.expr
        for operand in node.ops:
            self._compared(operand.op, left, operand.expr, depth)
            left = operand.expr
        return "bool"

    def _compared(self, op: str, left: Any, right: Any, depth: int) -> None:
        kinds = self.kind(left, depth), self.kind(right, depth)
        for this, other, kind in ((left, right, kinds[0]), (right, left, kinds[1])):
            if kind == "state":
                _known_state(this, other)
        a, b = ("text" if kind == "state" else kind for kind in kinds)
        if "any" in (a, b):
            return
        if op in ("in", "notin"):
            if not (b == "list" or (b == "text" and a == "text")):
                raise ExpressionError(f"looks for {_A[a]} in {_A[b]}")
        elif op in ("eq", "ne"):
            if a != b and "none" not in (a, b):
                raise ExpressionError(f"compares {_A[a]} with {_A[b]}{_hint(a, b)}")
        elif a != b or a not in ("text", "number"):
            raise ExpressionError(f"compares {_A[a]} with {_A[b]}{_hint(a, b)}")

    def _filter(self, node: Any, depth: int) -> Kind:
        if node.name not in _FILTERS:
            raise ExpressionError(f"has no filter {node.name!r} (there are {', '.join(_FILTERS)})")
        most = 1 if node.name in ("default", "join") else 0
        if node.kwargs or node.dyn_args or node.dyn_kwargs or len(node.args) > most or node.node is None:
            raise ExpressionError(f"gives the filter {node.name} what it does not take")
        kind = self.kind(node.node, depth)
        given = [self.kind(argument, depth) for argument in node.args]
        if node.name == "default":
            if not given:
                raise ExpressionError("default needs a value: default('none')")
            return kind if kind == given[0] or (kind, given[0]) == ("state", "text") else "any"
        if (kind == "list") != (node.name == "join") and kind != "any":
            raise ExpressionError(f"{_A[kind]} cannot go through the filter {node.name}")
        if node.name == "join" and given and given[0] not in ("text", "state", "any"):
            raise ExpressionError(f"join puts a text between the values, not {_A[given[0]]}")
        return "number" if node.name in ("int", "float") else "text"

    def _name(self, node: Any, _depth: int) -> Kind:
        raise ExpressionError(f"knows no {node.name!r}: names begin with parent., context. or matrix.")

    def _getattr(self, node: Any, _depth: int) -> Kind:
        path: list[str] = []
        while type(node).__name__ == "Getattr":
            path.insert(0, node.attr)
            node = node.node
        if type(node).__name__ != "Name" or node.name not in ("parent", "context", "matrix"):
            raise ExpressionError("has what is not allowed here: an attribute of a value")
        if node.name == "parent":
            return self._of_parent(path)
        known: Mapping[str, Any] = getattr(self._names, node.name)
        if len(path) != 1 or path[0] not in known:
            raise ExpressionError(f"knows no {node.name}.{'.'.join(path)}{_known(node.name, known)}")
        if node.name == "context":
            return kind_of(known[path[0]])
        kinds = {kind_of(value) for value in known[path[0]]}
        return kinds.pop() if len(kinds) == 1 else "any"

    def _of_parent(self, path: Sequence[str]) -> Kind:
        parent = self._names.parents.get(path[0])
        if parent is None:
            raise ExpressionError(
                f"knows no parent.{path[0]}: it is none of the steps that this one needs"
                f"{_known('parent', self._names.parents)}"
            )
        self._parents.add(path[0])
        what = path[1:]
        if what in (["state"], ["exit_code"]):
            self._judged.add(path[0])
            return "state" if what == ["state"] else "number"
        if len(what) == 2 and what[0] == "outputs":
            if what[1] not in parent.outputs:
                raise ExpressionError(f"{path[0]} has no output {what[1]!r}{_known('outputs', parent.outputs)}")
        elif what != ["stdout"]:
            raise ExpressionError(f"of a parent there is {_ABOUT_PARENT}, not {'.'.join(what) or 'the whole'}")
        return "list" if parent.many else "text"


def kind_of(value: Any) -> Kind:
    """The kind of a plain value."""
    if value is None:
        return "none"
    for types, kind in (((bool,), "bool"), ((int, float), "number"), ((str,), "text"), ((list, tuple), "list")):
        if isinstance(value, types):
            return kind  # type: ignore[return-value]
    return "any"


_A = {
    "text": "a text", "state": "a state", "number": "a number", "bool": "true or false", "none": "none",
    "list": "a list", "any": "a value",
}  # fmt: skip
_WORDS = {
    "Call": "a call", "Getitem": "an index", "Test": "a test", "Concat": "joining of texts", "CondExpr": "if and else",
    "Dict": "a mapping", **dict.fromkeys(("Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow", "Pos"), "arithmetic"),
}  # fmt: skip


def _known(what: str, known: Any) -> str:
    return f" (there are {', '.join(sorted(known))})" if known else f" (there are none of {what})"


def _hint(a: str, b: str) -> str:
    return ": make it one with | float or | int" if {a, b} == {"text", "number"} else ""


def _known_state(this: Any, other: Any) -> None:
    """A state is only ever one of a few words: any other is a slip of the pen."""
    literals = other.items if type(other).__name__ in ("List", "Tuple") else [other]
    for literal in literals:
        value = getattr(literal, "value", None) if type(literal).__name__ == "Const" else None
        if isinstance(value, str) and value not in OUTCOMES:
            raise ExpressionError(f"{value!r} is no state of a step that is over (these are {', '.join(OUTCOMES)})")


def _number(value: Any, kind: type) -> Any:
    try:
        return kind(value)
    except (TypeError, ValueError, OverflowError):
        raise ExpressionError(f"has no answer: {value!r} is not a number") from None


_FILTERS: Mapping[str, Any] = {
    "int": lambda value: _number(value, int),
    "float": lambda value: _number(value, float),
    "lower": lambda value: as_text(value).lower(),
    "default": lambda value, other: other if value is None else value,
    "join": lambda values, between="": as_text(between).join(as_text(value) for value in values if value is not None),
}
