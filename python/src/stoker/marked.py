"""YAML that a person wrote, with the lines of its fields: what is wrong in it is told by file, line and field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stoker.errors import StokerError

MOST_VALUES = 20_000
DEEPEST = 20


class ConfigError(StokerError):
    """A setting is wrong. The message begins with file, line and field. Exit code 2."""

    def __init__(self, where: str, line: int | None, what: str, *, next_step: str | None = None) -> None:
        super().__init__(f"{where}:{line}: {what}" if line else f"{where}: {what}", next_step=next_step, exit_code=2)


def loaded(text: str, shown: str) -> Any:
    """The YAML of `text` with its lines (see `line_of`). Raises ConfigError, `shown` being the name of the file."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        data = YAML(typ="rt").load(text)
    except MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        line = mark.line + 1 if mark else None
        raise ConfigError(shown, line, f"not valid YAML: {problem.problem or problem}") from None
    except YAMLError as problem:
        raise ConfigError(shown, None, f"not valid YAML: {problem}") from None
    except RecursionError:
        raise ConfigError(shown, None, f"is more than {DEEPEST} deep") from None
    _bounded(data, shown)
    return data


def _bounded(data: Any, shown: str) -> None:
    """Refuse what unfolds without end: an alias may stand for all that was written before it."""
    count, todo = 0, [(data, 0)]
    while todo:
        value, depth = todo.pop()
        count += 1
        if count > MOST_VALUES or depth > DEEPEST:
            raise ConfigError(shown, 1, f"has more than {MOST_VALUES:,} values, or is more than {DEEPEST} deep")
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        todo += [(item, depth + 1) for item in inner]


def plain(data: Any) -> Any:
    """The YAML reader's own types as plain ones, so that messages show plain values."""
    if isinstance(data, dict):
        return {str(key): plain(value) for key, value in data.items()}
    if isinstance(data, list):
        return [plain(value) for value in data]
    for kind in (bool, int, float, str):
        if isinstance(data, kind):
            return kind(data)
    return data


def line_of(data: Any, loc: tuple[int | str, ...]) -> int | None:
    """The line (from 1) of the field at `loc`; that of the nearest parent when the field is not in the file."""
    line: int | None = data.lc.line + 1 if hasattr(data, "lc") else None
    for part in loc:
        positions = getattr(data, "lc", None)
        if positions is None or positions.data is None or part not in positions.data:
            break
        line = positions.data[part][0] + 1
        data = data[part]
    return line


def dotted(loc: tuple[int | str, ...]) -> str:
    """A field as a person names it: `pools.cheap.price`, `metrics[0].regex`."""
    out = ""
    for part in loc:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else part
    return out


def shown_path(path: Path) -> str:
    """The path as a person would name it: relative to where they stand, when it is below."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
