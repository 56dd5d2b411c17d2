"""The limits of detectors as `stoker-metrics.yml` sets them."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from typing import Any

from stoker.analysis.detectors.base import Detector, Limits

# A detector that is not here has its defaults; None: it is turned off.
Said = Mapping[str, Mapping[str, float] | None]


def read(data: Mapping[Any, Any], detectors: tuple[Detector, ...]) -> Said:
    """The part `detectors` of the file. Raises ValueError, whose text begins with the field."""
    known = {detector.name: detector for detector in detectors}
    said: dict[str, Mapping[str, float] | None] = {}
    for name, limits in data.items():
        detector = known.get(str(name))
        if detector is None:
            raise ValueError(f"{name}: there is no such detector.{_near(str(name), list(known))}")
        if limits is False or limits == "off":
            said[detector.name] = None
            continue
        if not isinstance(limits, Mapping):
            raise ValueError(f"{name}: '{limits}' is no mapping of limits, and not off")
        said[detector.name] = {str(key): _number(detector, str(key), value) for key, value in limits.items()}
    return said


def limits_of(detector: Detector, said: Said) -> Limits | None:
    """The limits that a detector goes by, None when it is turned off."""
    own = said.get(detector.name, {})
    if own is None:
        return None
    made = {key: round(value) if key.endswith("points") else value for key, value in own.items()}
    limits: Limits = detector.limits(**made)
    return limits


def _number(detector: Detector, key: str, value: Any) -> float:
    where = f"{detector.name}.{key}"
    fields = {field.name: field for field in dataclasses.fields(detector.limits)}
    if key not in fields:
        raise ValueError(f"{where}: there is no such limit.{_near(key, list(fields))}")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{where}: '{value}' is no number")
    least, most = fields[key].metadata["least"], fields[key].metadata["most"]
    if value < least or (most is not None and value > most):
        between = f"from {least:g} to {most:g}" if most is not None else f"of {least:g} or more"
        raise ValueError(f"{where}: {value:g} is no number {between}")
    return float(value)


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" Did you mean {near[0]}?" if near else f" Known here: {', '.join(known)}"
