"""The settings of a run that lie in a file beside its metrics."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stoker.analysis import yaml_text
from stoker.analysis.find import Source

NAMES = ("hparams.yaml", "config.json", "config.yaml")
# YAML is read at some 100 kB a second.
_LARGEST = 1 << 18


def settings_beside(source: Source, problems: list[str]) -> Mapping[str, Any]:
    """What `hparams.yaml` (Lightning), `config.json` or `config.yaml` next to the metrics say; nothing for W&B.

    A file that is there and cannot be taken as settings is told in `problems`, and the next one counts.
    """
    if source.kind == "wandb":
        return {}
    folder = source.paths[0].parent
    return first_settings({name: _Beside(folder / name) for name in NAMES}, problems)


def first_settings(texts: Mapping[str, str | _Beside], problems: list[str]) -> Mapping[str, Any]:
    """The settings of the first of these files, by name, that has any; why one has none is told in `problems`."""
    for name in NAMES:
        found = texts.get(name)
        try:
            text = found.text() if isinstance(found, _Beside) else found
            settings = parsed(text, is_json=name.endswith(".json")) if text is not None else {}
        except OSError as problem:
            problems.append(f"{name} beside it cannot be read: {problem.strerror or problem}")
            continue
        except ValueError as problem:
            line = getattr(problem, "line", None)
            problems.append(f"{name}{f':{line}' if line else ''} beside it is not taken for its settings: {problem}")
            continue
        if settings:
            return settings
    return {}


class _Beside:
    """A file that may be there, read when it is its turn."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def text(self) -> str | None:
        """None where there is no such file. Raises OSError, and ValueError for one that is no text."""
        try:
            if not self.path.is_file():
                return None
            with self.path.open("rb") as file:
                data = file.read(_LARGEST + 1)
        except FileNotFoundError:
            return None
        if len(data) > _LARGEST:
            raise ValueError(f"it is larger than {_LARGEST // 1024} KiB")
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as problem:
            raise ValueError(f"it is no UTF-8 at byte {problem.start}") from None


def parsed(text: str, *, is_json: bool) -> Mapping[str, Any]:
    """The settings that a text is, as plain values. Raises ValueError, with the reason, where it is no mapping."""
    if not is_json:
        read = yaml_text.loaded(text)
    else:
        try:
            read = yaml_text.plain(json.loads(text))
        except json.JSONDecodeError as problem:
            raise yaml_text.NotPlain(f"not valid JSON: {problem.msg}", problem.lineno) from None
        except RecursionError:
            raise ValueError(f"it is nested more than {yaml_text.DEEPEST} deep") from None
    if read is None and not is_json:
        return {}  # an empty file of YAML
    if not isinstance(read, dict):
        raise ValueError(f"it holds a {_KINDS.get(type(read), 'value')}, no mapping")
    return read


_KINDS = {list: "list", str: "text", int: "number", float: "number"}
