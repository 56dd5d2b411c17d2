"""What a user can ask: one typed function for each thing. `stoker.cli` and `stoker.fleet` are made from these."""

from __future__ import annotations

from stoker.operations.registry import Operation, operation, operations
from stoker.operations.session import Session

__all__ = ["Operation", "Session", "operation", "operations"]
