"""What an operation takes, as JSON schema; and what a caller gave, as the operation takes it."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from stoker.errors import UsageError
from stoker.operations.find import near
from stoker.operations.registry import AfterDashes, Operation, TextFile

_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}
# The largest number that a store holds.
_MOST = 2**63 - 1
_ENTRY = re.compile(r"^ {4}(\w+): ", re.MULTILINE)


def json_type(hint: Any) -> dict[str, Any]:
    """The JSON schema of a parameter's type; None, which stands for "not given", is left out."""
    if get_origin(hint) is Annotated:
        return json_type(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return merged([json_type(inner) for inner in get_args(hint) if inner is not type(None)])
    if get_origin(hint) is Literal:
        return {"enum": list(get_args(hint))}
    if get_origin(hint) is Sequence:
        return {"type": "array", "items": json_type(get_args(hint)[0])}
    if get_origin(hint) is Mapping:
        return {"type": "object"}
    return {"type": _TYPES[hint]}


def merged(schemas: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A schema of all that any of these allows."""
    different = [schema for at, schema in enumerate(schemas) if schema not in schemas[:at]]
    if len(different) == 1:
        return dict(different[0])
    kinds = {str(schema.get("type", "string")) for schema in different}
    items: dict[str, Any] = next(({"items": schema["items"]} for schema in different if "items" in schema), {})
    # A number may be whole.
    kinds -= {"integer"} if "number" in kinds else set()
    return {"type": sorted(kinds) if len(kinds) > 1 else kinds.pop(), **items}


def of_parameter(parameter: inspect.Parameter) -> dict[str, Any]:
    """The schema of one argument."""
    schema = json_type(parameter.annotation)
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        return {"type": "array", "items": schema}
    return schema


def required(parameter: inspect.Parameter) -> bool:
    """Whether a call needs this argument."""
    return parameter.default is inspect.Parameter.empty and parameter.kind is not inspect.Parameter.VAR_POSITIONAL


def input_schema(operation: Operation) -> dict[str, Any]:
    """The whole schema of an operation's arguments, with what its docstring says of each."""
    said = descriptions(operation.doc())
    parameters = operation.signature().parameters
    properties = {}
    for name, parameter in parameters.items():
        entry = of_parameter(parameter)
        if name in said:
            entry["description"] = said[name]
        if parameter.default not in (None, (), False, inspect.Parameter.empty):
            entry["default"] = parameter.default
        properties[name] = entry
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name, parameter in parameters.items() if required(parameter)],
        "additionalProperties": False,
    }


def descriptions(doc: str) -> dict[str, str]:
    """What a docstring says of each argument."""
    listed = doc.partition("Args:\n")[2]
    parts = _ENTRY.split(listed)[1:]
    return {name: " ".join(text.split()) for name, text in zip(parts[::2], parts[1::2], strict=True)}


def fields_of_answer(operation: Operation) -> frozenset[str]:
    """The names of what an operation answers."""
    answered = inspect.signature(operation.function, eval_str=True).return_annotation
    return frozenset(getattr(answered, "__dataclass_fields__", ()))


def bind(operation: Operation, given: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments as the operation takes them. Raises UsageError for what it does not take, or not so."""
    parameters = operation.signature().parameters
    step = f"help with operation={operation.command!r} says what it takes"
    if unknown := [name for name in given if name not in parameters]:
        known = near(unknown[0], set(parameters))
        raise UsageError(f"{operation.command} takes no argument {unknown[0]!r}.{known}", next_step=step)
    if missing := [name for name, parameter in parameters.items() if required(parameter) and name not in given]:
        raise UsageError(f"{operation.command} needs the argument {missing[0]!r}", next_step=step)
    several = next((p for p in parameters.values() if p.kind is inspect.Parameter.VAR_POSITIONAL), None)
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    for name, value in given.items():
        checked = _checked(operation, parameters[name], value, step)
        if several is not None and parameters[name].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
            positional.insert(0, checked)
        elif parameters[name] is several:
            positional += checked
        else:
            keywords[name] = checked
    return tuple(positional), keywords


def _checked(operation: Operation, parameter: inspect.Parameter, value: Any, step: str) -> Any:
    """The value, which has to be of the parameter's type: nothing is guessed from another one."""
    from pydantic import TypeAdapter, ValidationError

    if any(is_no_text(text) for text in _texts(value)):
        raise UsageError(
            f"{operation.command}: {parameter.name} holds a character that no text of Stoker may (NUL, or half of one)",
            next_step="the same call without it",
        )
    if value is None and not required(parameter):
        return () if parameter.kind is inspect.Parameter.VAR_POSITIONAL else parameter.default
    if isinstance(value, int | float) and not abs(value) <= _MOST:
        raise UsageError(
            f"{operation.command}: {parameter.name} has to be a number of less than 19 digits", next_step=step
        )
    hint = parameter.annotation
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        hint = Sequence[hint]  # type: ignore[valid-type]
    try:
        checked = TypeAdapter(hint).validate_python(value, strict=True)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        wanted = of_parameter(parameter)
        kind = wanted.get("type") or f"one of {', '.join(wanted['enum'])}"
        kind = " or ".join(kind) if isinstance(kind, list) else kind
        raise UsageError(
            f"{operation.command}: {parameter.name} has to be {kind}: {first['msg'].lower()}", next_step=step
        ) from None
    return tuple(checked) if isinstance(checked, list) else checked


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value, names of mappings among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for item in (*value.keys(), *value.values()) for text in _texts(item))
    elif isinstance(value, list | tuple):
        yield from (text for item in value for text in _texts(item))


def is_no_text(text: str) -> bool:
    """Whether it holds what neither a file's name nor a store can: NUL, or half of a character."""
    return "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text)


def stands_after_dashes(parameter: inspect.Parameter) -> bool:
    """Whether it is the command of a job, which a command line takes after `--`."""
    return _marked(parameter, AfterDashes)


def is_text_file(parameter: inspect.Parameter) -> bool:
    """Whether a command line takes a file here; a tool takes the text itself."""
    return _marked(parameter, TextFile)


def _marked(parameter: inspect.Parameter, kind: type) -> bool:
    hint = parameter.annotation
    return get_origin(hint) is Annotated and any(isinstance(extra, kind) for extra in get_args(hint)[1:])
