"""The JSON schema of what an operation answers."""

from __future__ import annotations

import inspect
from typing import Any

from stoker.operations.registry import Operation


def output_schema(operation: Operation) -> dict[str, Any]:
    """The schema of `value`; of a stream, whose pieces stand in `values`, it says no more than that."""
    from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter

    answered = inspect.signature(operation.function, eval_str=True).return_annotation
    try:
        schema: dict[str, Any] = _as_printed(TypeAdapter(answered).json_schema(mode="serialization"))
    except (PydanticSchemaGenerationError, PydanticUserError):
        return {"description": "a stream: its pieces are in `values`"}
    return schema


def _as_printed(schema: Any) -> Any:
    """The same, but a number may be a text: JSON has no word for NaN and the infinities."""
    if isinstance(schema, dict):
        inner = {name: _as_printed(value) for name, value in schema.items()}
        return {**inner, "type": ["number", "string"]} if schema.get("type") == "number" else inner
    return [_as_printed(value) for value in schema] if isinstance(schema, list) else schema
