"""Training runs: read what a training wrote, whatever wrote it, and answer questions about it.

    from stoker.analysis import runs_in, read

    for found in runs_in(Path("wandb")):
        run = read(found)
        print(run.info.name, run.info.state.name, run.metrics["train/loss"].last)

It needs no inventory and no store, and imports nothing else of Stoker. Errors are `AnalysisError`s.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stoker.analysis.errors import AnalysisError, NotThere, Unreadable
    from stoker.analysis.model import Metric, Run
    from stoker.analysis.runs import Found, newest, read, runs_in
    from stoker.analysis.values import RunInfo, State

# numpy is imported with the first of these that is used.
_PLACES = {
    "AnalysisError": "errors", "NotThere": "errors", "Unreadable": "errors", "Metric": "model", "Run": "model",
    "Found": "runs", "newest": "runs", "read": "runs", "runs_in": "runs", "RunInfo": "values", "State": "values",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)


__all__ = [
    "AnalysisError",
    "Found",
    "Metric",
    "NotThere",
    "Run",
    "RunInfo",
    "State",
    "Unreadable",
    "newest",
    "read",
    "runs_in",
]
