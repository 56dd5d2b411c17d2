# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The check of a document's form, by the subset of JSON Schema (Draft 2020-12) that Stoker's schemas use.

Keywords: type, enum, pattern, minLength, maxLength, minimum, exclusiveMinimum, maximum, items, minItems, maxItems,
properties, required, additionalProperties, propertyNames. Two annotations appear in messages: `title` names the root of
a path, and `description` says what a pattern means.
"""

from __future__ import annotations

import re
from typing import Any

_ARTICLES = {
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}


def kind_of(value: Any) -> str:
    """Name the JSON type of a value (a Python type that JSON lacks goes by its own name)."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object" if isinstance(value, dict) else type(value).__name__


def _is(value: Any, kind: str) -> bool:
    if kind == "integer":
        return kind_of(value) == "number" and (isinstance(value, int) or value.is_integer())
    return kind_of(value) == kind


def in_words(value: Any) -> str:
    """Name the kind of a value as a person says it: "text", "a list"."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return _ARTICLES.get(kind_of(value), kind_of(value))


def step(path: str, key: str) -> str:
    """Extend the path of a field by one name."""
    return path + "." + key if re.match(r"[A-Za-z_][\w-]*\Z", key, re.ASCII) else f"{path}[{key[:63]!a}]"


def validate(document: Any, schema: dict[str, Any]) -> list[str]:
    """Say what is wrong with the form of a document, one sentence for each fault, with the path of the field.

    A value that may be a secret is never repeated.
    """
    faults: list[str] = []
    _check(document, schema, schema.get("title", "document"), faults)
    return faults


def _check(value: Any, schema: dict[str, Any], path: str, faults: list[str]) -> None:
    if "type" in schema:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(_is(value, kind) for kind in kinds):
            asked = " or ".join(_ARTICLES[kind] for kind in kinds)
            found = shown(value) if "integer" in kinds and kind_of(value) == "number" else in_words(value)
            faults.append(f"{path}: must be {asked}, is {found}")
            return
    if "enum" in schema and value not in schema["enum"]:
        choices = ", ".join("null" if choice is None else choice for choice in schema["enum"])
        faults.append(f"{path}: must be one of {choices}; is {shown(value)}")
    kind = kind_of(value)
    if kind == "string":
        _check_text(value, schema, path, faults)
    elif kind == "number":
        _check_number(value, schema, path, faults)
    elif kind == "array":
        _check_list(value, schema, path, faults)
    elif kind == "object":
        _check_mapping(value, schema, path, faults)


def shown(value: Any) -> str:
    """Show a value in a message: ASCII, at most 70 characters."""
    text = ascii(value)
    return text if len(text) <= 70 else text[:67] + "..."


def _check_text(value: str, schema: dict[str, Any], path: str, faults: list[str]) -> None:
    if len(value) < schema.get("minLength", 0):
        faults.append(f"{path}: must not be empty")
    if len(value) > schema.get("maxLength", len(value)):
        faults.append(f"{path}: must have at most {schema['maxLength']} characters, has {len(value)}")
    elif "pattern" in schema and not re.search(schema["pattern"], value):
        # Only names have a maximum; a long text may be a secret.
        found = f", is {shown(value)}" if "maxLength" in schema else ""
        wanted = schema.get("description", schema["pattern"])
        faults.append(f"{path}: must be {wanted}{found}")


def _check_number(value: float, schema: dict[str, Any], path: str, faults: list[str]) -> None:
    if "minimum" in schema and value < schema["minimum"]:
        faults.append("{}: must be at least {}, is {}".format(path, schema["minimum"], shown(value)))
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        faults.append("{}: must be more than {}, is {}".format(path, schema["exclusiveMinimum"], shown(value)))
    if "maximum" in schema and value > schema["maximum"]:
        faults.append("{}: must be at most {}, is {}".format(path, schema["maximum"], shown(value)))


def _check_list(value: list[Any], schema: dict[str, Any], path: str, faults: list[str]) -> None:
    if len(value) < schema.get("minItems", 0):
        faults.append(f"{path}: must have at least {schema['minItems']}, has {len(value)}")
    if len(value) > schema.get("maxItems", len(value)):
        faults.append(f"{path}: must have at most {schema['maxItems']}, has {len(value)}")
    if "items" in schema:
        for index, item in enumerate(value):
            _check(item, schema["items"], f"{path}[{index}]", faults)


def _check_mapping(value: dict[str, Any], schema: dict[str, Any], path: str, faults: list[str]) -> None:
    known = schema.get("properties", {})
    others = schema.get("additionalProperties", {})
    faults.extend(f"{step(path, name)}: missing" for name in schema.get("required", []) if name not in value)
    for name, item in value.items():
        if "propertyNames" in schema:
            _check(name, schema["propertyNames"], f"{path}: the name {shown(name)}", faults)
        if name in known:
            _check(item, known[name], step(path, name), faults)
        elif others is False:
            faults.append(f"{step(path, name)}: unknown field{_nearest(name, known)}")
        else:
            _check(item, others, step(path, name), faults)


def _nearest(name: str, known: dict[str, Any]) -> str:
    import difflib  # only when there is something to say: 5 ms of each call otherwise

    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""
