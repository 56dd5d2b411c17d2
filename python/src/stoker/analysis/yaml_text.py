"""YAML of somebody else as plain values: no objects, no more than can be printed, whatever its aliases say."""

from __future__ import annotations

from datetime import date
from typing import Any

# Deeper than any settings are, and more than anybody reads: an alias of aliases grows by powers.
DEEPEST = 40
MOST_VALUES = 200_000
# Python writes no longer number in digits.
_MOST_BITS = 14_000


class NotPlain(ValueError):
    """Why a text is no plain YAML; `line` counts from 1, None where it is not known."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.line = line


def loaded(text: str) -> Any:
    """The value that a text is: mappings, lists, texts, numbers, booleans and None. Raises NotPlain.

    Dates are ISO text, sets are sorted lists, bytes are text. Nothing is constructed before its size is known.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    # The safe reader makes plain values alone: a tag of somebody's Python object is an error.
    reader = YAML(typ="safe", pure=True)
    try:
        _descend(YAML(typ="safe", pure=True).parse(text))
        node = reader.compose(text)
        _measure(node, {}, set())
        return plain(None if node is None else reader.constructor.construct_document(node))
    except MarkedYAMLError as problem:
        line = problem.problem_mark.line + 1 if problem.problem_mark else None
        raise NotPlain(f"not valid YAML: {problem.problem}", line) from None
    except YAMLError as problem:
        raise NotPlain(f"not valid YAML: {str(problem).splitlines()[0]}") from None
    except NotPlain:
        raise
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError) as problem:
        # What the reader says of a value that does not fit its tag, such as `!!bool 7` or the 32nd of a month.
        raise NotPlain(f"a value does not fit its kind ({type(problem).__name__}: {problem})") from None


def _descend(events: Any) -> None:
    """Stop where it goes too deep: the reader itself is slow there, and then at its end."""
    depth = 0
    for event in events:
        name = type(event).__name__
        depth += name in ("SequenceStartEvent", "MappingStartEvent")
        depth -= name in ("SequenceEndEvent", "MappingEndEvent")
        if depth > DEEPEST:
            raise NotPlain(f"it is nested more than {DEEPEST} deep", event.start_mark.line + 1)


def _measure(node: Any, known: dict[int, int], open_: set[int]) -> int:
    """How many values a node comes to with its aliases written out."""
    place = id(node)
    if place in open_:
        raise NotPlain("a value holds itself, by an alias", node.start_mark.line + 1)
    if place in known:
        return known[place]
    inner = node.value if node is not None and not isinstance(node.value, str) else ()
    open_.add(place)
    size = 1
    for one in inner:
        size += sum(_measure(part, known, open_) for part in (one if isinstance(one, tuple) else (one,)))
        if size > MOST_VALUES:
            raise NotPlain(f"its aliases come to more than {MOST_VALUES:,} values", node.start_mark.line + 1)
    open_.discard(place)
    known[place] = size
    return size


def plain(value: Any, depth: int = 0) -> Any:
    """What was read, as JSON can hold it. Raises NotPlain for what is nested too deeply."""
    if depth > DEEPEST:
        raise NotPlain(f"it is nested more than {DEEPEST} deep")
    if isinstance(value, dict):
        return {_key(key): plain(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, depth + 1) for inner in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(inner, depth + 1) for inner in value), key=str)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return hex(value)
    if value is None or isinstance(value, str | int | float):
        return value
    return str(value)


def _key(key: Any) -> str:
    return str(plain(key))
