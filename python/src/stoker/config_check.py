"""Whether a `stoker.yml` is right, and what is said, with file, line and field, when it is not."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

from stoker.config import Config
from stoker.marked import ConfigError, dotted, line_of, loaded, plain, shown_path
from stoker.notify_settings import faults as notify_faults
from stoker.pool_settings import faults as pool_faults
from stoker.setting import Is

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def validated(text: str, path: Path) -> Config:
    """`text` as the settings of the file `path`, which is not read. Every error is a ConfigError with its line."""
    from pydantic import TypeAdapter, ValidationError

    shown = shown_path(path)
    data = loaded(text, shown)
    if data is None:
        return Config(file=path)
    if not isinstance(data, dict):
        raise ConfigError(shown, 1, f"is not a mapping of settings ({', '.join(_field_names(Config))})")
    if "file" in data:
        _unknown_key(shown, data, ("file",), Config)
    try:
        config: Config = TypeAdapter(Config).validate_python(plain(data))
    except ValidationError as problem:
        _raise_first(shown, data, problem.errors(include_url=False)[0])
    _check_values(shown, data, config, ())
    faults = [(("notify", *where), words) for where, words in notify_faults(config.notify)]
    faults += [(("pools", *where), words) for where, words in pool_faults(config.pools)]
    for loc, words in faults:
        raise ConfigError(shown, line_of(data, loc), f"{dotted(loc)}: {words}")
    return replace(config, file=path.resolve())


def _raise_first(shown: str, data: Any, error: ErrorDetails) -> None:
    """Turn pydantic's error into the sentence with file, line and field."""
    loc = tuple(part for part in error["loc"] if part in _path_parts(data, error["loc"]))
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        _unknown_key(shown, data, error["loc"], _owner(error["loc"]))
    if error["type"] in ("missing", "missing_argument"):
        missing = error["loc"][-1]
        parent = error["loc"][:-1]
        raise ConfigError(shown, line_of(data, parent), f"{dotted(parent)}: {missing} is missing")
    rule = _rule(loc)
    raise ConfigError(shown, line_of(data, loc), f"{dotted(loc)}: {_value(data, loc)!r} is not {rule.words}")


def _unknown_key(shown: str, data: Any, loc: tuple[int | str, ...], owner: type) -> None:
    key = str(loc[-1])
    names = _field_names(owner)
    near = difflib.get_close_matches(key, names, n=1)
    hint = f"Did you mean '{near[0]}'?" if near else f"Known here: {', '.join(names)}"
    raise ConfigError(shown, line_of(data, loc), f"{dotted(loc)}: there is no such setting. {hint}")


def _check_values(shown: str, data: Any, value: Any, loc: tuple[int | str, ...]) -> None:
    """The rules that types do not hold: lowest numbers, and regular expressions that compile."""
    if isinstance(value, tuple):
        for index, item in enumerate(value):
            _check_values(shown, data, item, (*loc, index))
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_values(shown, data, item, (*loc, key))
    if not hasattr(value, "__dataclass_fields__"):
        return
    for name in _field_names(type(value)):
        here = (*loc, name)
        inner = getattr(value, name)
        rule = _rule(here)
        _check_number(shown, data, inner, here, rule)
        if rule.foreign:
            continue
        if isinstance(inner, Mapping):
            for key, entry in inner.items():
                _check_number(shown, data, entry, (*here, key), _rule((*here, key)))
        if rule.absolute and (wrong := [entry for entry in inner if not Path(entry).is_absolute()]):
            sentence = f"{dotted(here)}: {wrong[0]!r} is not an absolute folder"
            raise ConfigError(shown, line_of(data, (*here, inner.index(wrong[0]))), sentence)
        if rule.regex:
            try:
                re.compile(inner)
            except re.error as problem:
                sentence = f"{dotted(here)}: {inner!r} is not a regular expression: {problem}"
                raise ConfigError(shown, line_of(data, here), sentence) from None
        _check_values(shown, data, inner, here)


def _check_number(shown: str, data: Any, value: Any, loc: tuple[int | str, ...], rule: Is) -> None:
    """Raise ConfigError for a number that is outside the rule, endless, or none at all (nan)."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    if not math.isfinite(value) or (rule.least is not None and value < rule.least):
        raise ConfigError(shown, line_of(data, loc), f"{dotted(loc)}: {value!r} is not {rule.words}")
    if value > rule.most:
        raise ConfigError(shown, line_of(data, loc), f"{dotted(loc)}: {value!r} is more than {rule.most:,}")


def _field_names(owner: type) -> list[str]:
    return [f.name for f in dataclass_fields(owner) if f.name != "file"]


def _owner(loc: tuple[int | str, ...]) -> type:
    """The settings class that the last part of `loc` is (or would be) a field of."""
    owner: type = Config
    for part in loc[:-1]:
        if isinstance(part, str) and part in owner.__annotations__:
            owner = _settings_class(get_type_hints(owner, include_extras=True)[part]) or owner
    return owner


def _settings_class(hint: Any) -> type | None:
    if isinstance(hint, type) and hasattr(hint, "__dataclass_fields__"):
        return hint
    for inner in get_args(hint):
        if (found := _settings_class(inner)) is not None:
            return found
    return None


def _rule(loc: tuple[int | str, ...]) -> Is:
    """The rule of the field at `loc`; for an entry of a list, that of its class."""
    names = [part for part in loc if isinstance(part, str)]
    if not names:
        return Is("a mapping")
    if isinstance(loc[-1], int) and _settings_class(get_type_hints(_owner(tuple(names)))[names[-1]]) is None:
        return Is("a text")
    if isinstance(loc[-1], int):
        return Is(f"a mapping with {', '.join(_field_names(_owner((*loc, ''))))}")
    hints = get_type_hints(_owner(loc), include_extras=True)
    hint = hints.get(names[-1])
    if hint is None and len(names) > 1 and names[-2] in hints:
        hint = (get_args(get_args(hints[names[-2]])[0]) or (None,))[-1]
    found = _find_rule(hint)
    if found is None and len(names) > 1:
        return Is(f"part of {_rule(tuple(names[:-1])).words}")
    return found or Is("what this setting takes")


def _find_rule(hint: Any) -> Is | None:
    if get_origin(hint) is Annotated:
        for extra in hint.__metadata__:
            if isinstance(extra, Is):
                return extra
    for inner in get_args(hint):
        if (found := _find_rule(inner)) is not None:
            return found
    return None


def _path_parts(data: Any, loc: tuple[int | str, ...]) -> list[int | str]:
    """The leading parts of `loc` that are in the file (pydantic adds names of union members)."""
    parts: list[int | str] = []
    for part in loc:
        listed = isinstance(data, list) and isinstance(part, int)
        if not listed and not (isinstance(data, dict) and part in data):
            break
        data = data[part]
        parts.append(part)
    return parts


def _value(data: Any, loc: tuple[int | str, ...]) -> Any:
    for part in loc:
        data = data[part]
    return plain(data)
