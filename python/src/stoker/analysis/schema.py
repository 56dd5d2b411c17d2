"""What a project says of its metrics, in `stoker-metrics.yml`: labels, which way is better, formats, groups."""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stoker.analysis import words, yaml_text
from stoker.analysis.errors import AnalysisError
from stoker.analysis.values import Direction

FILE_NAME = "stoker-metrics.yml"
_BETTER: Mapping[str, Direction] = {"lower": "min", "higher": "max"}
_FIELDS = ("label", "better", "format", "group")
_TEXTS = ("groups", "validation", "per_step")
_PARTS = ("metrics", *_TEXTS, "detectors")
_LARGEST = 1 << 20


@dataclass(frozen=True)
class Schema:
    """What is said of metrics. Keys of `metrics` are names or patterns with `*`; the first that matches counts.

    `groups` and `validation` name what stands before the slash; `per_step` are names with `{i}` in them: one value for
    each step of a model that works in steps. `detectors` are limits that differ from the defaults (None: turned off).
    Empty without a file.
    """

    metrics: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    validation: Mapping[str, str] = field(default_factory=dict)
    per_step: Mapping[str, str] = field(default_factory=dict)
    detectors: Mapping[str, Mapping[str, float] | None] = field(default_factory=dict)

    def label(self, name: str) -> str:
        """What a metric is called."""
        said = self._said(name).get("label")
        prefix = words.group(name)
        if said is None and prefix in self.validation:
            return f"{self.validation[prefix]} {name[len(prefix) + 1 :]}"
        return said or name

    def group(self, name: str) -> str:
        """The group of a metric."""
        prefix = words.group(name)
        return self._said(name).get("group") or self.validation.get(prefix) or self.groups.get(prefix, prefix)

    def direction(self, name: str) -> Direction | None:
        """Which way is better, None where nothing is said."""
        return _BETTER.get(self._said(name).get("better", ""))

    def format(self, name: str) -> str | None:
        """How its values are shown, as Python takes it; None where nothing is said. A loss is never a percentage."""
        form = self._said(name).get("format")
        return None if form and "%" in form and "loss" in name.lower() else form

    def place_in_steps(self, name: str) -> tuple[str, int] | None:
        """The pattern of `per_step` that a metric belongs to, and the number in its name."""
        for pattern in self.per_step:
            before, _, after = pattern.partition("{i}")
            found = re.fullmatch(re.escape(before) + r"(\d{1,9})" + re.escape(after), name)
            if found:
                return pattern, int(found[1])
        return None

    def _said(self, name: str) -> Mapping[str, str]:
        if name in self.metrics:
            return self.metrics[name]
        return next((said for pattern, said in self.metrics.items() if fnmatch.fnmatchcase(name, pattern)), {})


def shown(value: float, form: str | None) -> str | None:
    """A value in the format of the schema; None where there is none, or the value is no finite number."""
    return format(value, form) if form is not None and math.isfinite(value) else None


def schema_of(folder: Path) -> Schema:
    """What `stoker-metrics.yml` in `folder`, or the nearest folder above it, says. Raises AnalysisError when wrong."""
    folder = folder.resolve()
    for place in (folder, *folder.parents):
        path = place / FILE_NAME
        if path.is_file():
            return _load(path)
    return Schema()


def _load(path: Path) -> Schema:
    try:
        if path.stat().st_size > _LARGEST:
            raise AnalysisError(f"{path} is larger than a list of metrics can be")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise AnalysisError(f"{path} cannot be read: {problem}") from problem
    return parsed(text, str(path))


def parsed(text: str, path: str) -> Schema:
    """The schema that a text is; `path` is what it is called where it is wrong. Raises AnalysisError."""
    try:
        data = yaml_text.loaded(text)
    except yaml_text.NotPlain as problem:
        raise AnalysisError(f"{path}{f':{problem.line}' if problem.line else ''}: {problem}") from None
    parts = _mapping(path, "it", data if data is not None else {}, _PARTS)
    metrics = {
        str(name): _metric(path, f"metrics.{name}", str(name), said)
        for name, said in _mapping(path, "metrics", parts.get("metrics") or {}).items()
    }
    texts = {part: _texts(path, part, parts.get(part) or {}) for part in _TEXTS}
    for pattern in texts["per_step"]:
        if pattern.count("{i}") != 1:
            raise AnalysisError(f"{path}: per_step.{pattern}: {{i}} has to stand in it, once")
    return Schema(metrics, **texts, detectors=_detectors(path, parts.get("detectors") or {}))


def _mapping(path: str, where: str, data: Any, known: tuple[str, ...] | None = None) -> Mapping[Any, Any]:
    if not isinstance(data, Mapping):
        raise AnalysisError(f"{path}: {where} is no mapping")
    odd = [str(key) for key in data if known and key not in known]
    if odd:
        raise AnalysisError(f"{path}: {where}: there is no '{odd[0]}'. Known here: {', '.join(known or ())}")
    return data


def _texts(path: str, where: str, data: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in _mapping(path, where, data).items()}


def _detectors(path: str, data: Any) -> Mapping[str, Mapping[str, float] | None]:
    if not data:
        return {}
    from stoker.analysis.detectors import ALL
    from stoker.analysis.detectors.settings import read

    try:
        return read(_mapping(path, "detectors", data), ALL)
    except ValueError as problem:
        raise AnalysisError(f"{path}: detectors.{problem}", next_step="stoker runs check --help") from None


def _metric(path: str, where: str, name: str, data: Any) -> dict[str, str]:
    said = {str(key): str(value) for key, value in _mapping(path, where, data, _FIELDS).items()}
    if said.get("better", "lower") not in _BETTER:
        raise AnalysisError(f"{path}: {where}.better: '{said['better']}' is not lower or higher")
    form = said.get("format")
    if form is not None:
        try:
            format(1.5, form)
        except ValueError:
            raise AnalysisError(f"{path}: {where}.format: '{form}' is no format of a number, such as .3f") from None
        if "%" in form and "loss" in name.lower():
            raise AnalysisError(f"{path}: {where}.format: a loss is no share, so never a percentage")
    return said
