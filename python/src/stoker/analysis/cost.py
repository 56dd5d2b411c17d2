"""What runs cost: GPU-hours times a price. What is not known of them stays unknown."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stoker.analysis.answers import RunCost
from stoker.analysis.errors import AnalysisError
from stoker.analysis.model import Run
from stoker.analysis.runs import Found


@dataclass(frozen=True)
class Price:
    """Dollars per GPU-hour of the GPUs whose name `gpu` is a pattern of, in any case; `*` is all, also unknown ones."""

    gpu: str
    per_hour: float


def price(text: str) -> Price:
    """`2.5`, or `*H100*=2.5`. Raises AnalysisError."""
    gpu, _, amount = text.rpartition("=")
    try:
        number = float(amount)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise AnalysisError(f"--price: '{text}' is no price", next_step="2.5 (dollars per GPU-hour), or '*H100*=2.5'")
    return Price(gpu or "*", number)


def cost(found: Found, prices: Sequence[Price], *, gpus: int | None, read: Callable[[Found], Run]) -> RunCost:
    """What a run cost. `gpus` is how many it used, where that was said; `read` reads one, where its time needs that."""
    info = found.info
    unknown = []
    seconds, how_long = _worked(found, read)
    if seconds is None:
        unknown.append(how_long)
    noted = info.facts.get("gpus")
    count, whence = (gpus, "as it was said") if gpus is not None else (None, "the number of GPUs is not written down")
    if count is None and isinstance(noted, int) and noted > 0:
        count, whence = noted, "all that the writer saw in the machine: at most so many were used"
    if count is None:
        unknown.append(whence)
    name = info.facts.get("gpu") if isinstance(info.facts.get("gpu"), str) else None
    per_hour = next((p.per_hour for p in prices if _is_of(p.gpu, name)), None)
    if per_hour is None:
        unknown.append(f"there is no price of {name}" if name else "there is no price, and the GPU is not known")
    hours = None if seconds is None or count is None else seconds / 3600 * count
    total = None if hours is None or per_hour is None else hours * per_hour
    return RunCost(info, count, whence, name, seconds, how_long, hours, per_hour, total, "; ".join(unknown) or None)


def _is_of(pattern: str, name: str | None) -> bool:
    return pattern == "*" or (name is not None and fnmatch.fnmatch(name.lower(), pattern.lower()))


def _worked(found: Found, read: Callable[[Found], Run]) -> tuple[float | None, str]:
    """(seconds, how that is known); the pauses between the segments of a resumed run are no work."""
    noted = found.info.facts.get("runtime_s")
    if len(found.sources) == 1 and isinstance(noted, int | float) and noted > 0:
        return float(noted), "as the writer counted"
    if found.server is not None:
        lasted = _span(read(found))
        return lasted, "from the first to the last point" if lasted else "when its points were logged is not known"
    total, pauses = 0.0, False
    for source in found.sources:
        lasted = _span(read(replace(found, sources=(source,))))
        if lasted is None:
            return None, "when its points were logged is not written down"
        total += lasted
        pauses = pauses or len(source.paths) > 1
    if total == 0:
        return None, "one moment is all that its points tell"
    several = f" of {len(found.sources)} segments" if len(found.sources) > 1 else ""
    return total, f"from the first to the last point{several}" + (", pauses between its files too" if pauses else "")


def _span(run: Run) -> float | None:
    times = [metric.times for metric in run.metrics.values() if metric.times is not None and len(metric)]
    finite = [part[np.isfinite(part)] for part in times]
    ends = [(float(part.min()), float(part.max())) for part in finite if len(part)]
    return max(last for _, last in ends) - min(first for first, _ in ends) if ends else None
