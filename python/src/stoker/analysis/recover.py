"""What can be said of a run whose history is not in its file, and where else to look."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.stoker.fleet.plugins.module_utils.readers import output_log
from stoker.analysis.model import Metric
from stoker.analysis.values import RunInfo


def remarks(info: RunInfo, metrics: Mapping[str, Metric], summary: Mapping[str, Any]) -> list[str]:
    """Why there is no history, what is left, and the command that gets the rest; nothing where there is history."""
    if metrics or info.kind != "wandb":
        return []
    folder = Path(info.segments[-1]).parent
    said: list[str] = []
    if summary:
        said.append(f"last values of {len(summary)} keys are in it (stoker runs summary shows them)")
    beside = folder / "files" / "wandb-summary.json"
    if not summary and beside.is_file():
        said.append(f"last values are in {beside}")
    log = folder / "files" / "output.log"
    if log.is_file():
        said.append(f"what it printed is there: stoker runs summary {log}")
    offline = folder.name.startswith("offline-run-")
    if offline:
        said.append("it was never sent to a server by this folder, so what is not here is nowhere else")
    elif info.id:
        where = f"wandb:ENTITY/{info.project or 'PROJECT'}/{info.id}"
        said.append(f"an online run has its history on the server, if it was sent: stoker runs summary {where}")
    return said


def output_beside(info: RunInfo) -> list[str]:
    """The last lines of the output log that W&B keeps beside its file."""
    if info.kind != "wandb":
        return []
    log = Path(info.segments[-1]).parent / "files" / "output.log"
    try:
        return output_log.read_output(str(log)).log
    except OSError:
        return []
