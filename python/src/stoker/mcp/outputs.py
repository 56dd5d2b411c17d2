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
        return TypeAdapter(answered).json_schema(mode="serialization")
    except (PydanticSchemaGenerationError, PydanticUserError):
        return {"description": "a stream: its pieces are in `values`"}
