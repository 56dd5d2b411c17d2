"""Changing one setting in the text of a `stoker.yml`: what a person wrote around it stays."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from io import StringIO
from typing import Any

from stoker.errors import UsageError
from stoker.marked import dotted, plain

Loc = tuple[int | str, ...]
_PART = re.compile(r"([^.\[\]\s]+)((?:\[\d{1,6}\])*)")
_WIDTH = 1 << 20


def parts_of(key: str) -> Loc:
    """`metrics[0].keep` as its parts. Raises UsageError for what cannot name a setting."""
    parts: list[int | str] = []
    for word in key.split("."):
        found = _PART.fullmatch(word)
        if found is None:
            raise UsageError(
                f"{key!r} does not name a setting", next_step="write it as launcher.idle_s or metrics[0].keep"
            )
        parts += [found[1], *(int(index) for index in re.findall(r"\d+", found[2]))]
    return tuple(parts)


def parsed(text: str) -> Any:
    """The value that `text` is in YAML: 5, true, [a, b], text. Raises UsageError."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="rt").load(text)
    except YAMLError as problem:
        said = getattr(problem, "problem", None) or " ".join(str(problem).split())
        raise UsageError(f"{text!r} is not a value in YAML: {said}", next_step="put it between quotes") from None


def with_setting(text: str, loc: Loc, value: Any) -> str:
    """The YAML `text` with the setting at `loc` set to `value`; its meaning is not checked. Raises UsageError."""
    head, body = _halves(text)
    data = _read(body)
    if data is None:
        return head + body + ("" if not body or body.endswith("\n") else "\n") + _dumped(body, _nested(loc, value))
    before = _dumped(body, data)
    holder = _holder(data, loc, make=True)
    if isinstance(loc[-1], int) and loc[-1] == len(holder):
        holder.append(value)
    else:
        holder[key_of(holder, loc[-1])] = value
    fresh = _minimal(body, before, _dumped(body, data))
    _check_alone(body, fresh, loc)
    return head + fresh


def without_setting(text: str, loc: Loc) -> str:
    """The same without the setting at `loc`, so that its default holds. Raises UsageError when it is not in there."""
    head, body = _halves(text)
    data = _read(body)
    before = _dumped(body, data)
    for end in range(len(loc), 0, -1):
        try:
            holder = _holder(data, loc[:end], make=False)
            del holder[key_of(holder, loc[end - 1])]
        except (LookupError, TypeError, UsageError):
            raise UsageError(f"{dotted(loc)} is not set in the file: its default holds") from None
        if holder or getattr(holder, "merge", None):  # of what would hold nothing, the name goes, too
            break
    fresh = _minimal(body, before, _dumped(body, data)) if data else _remarks(body)
    if isinstance(loc[-1], str) and _is_there(_read(fresh), loc):
        raise UsageError(
            f"{dotted(loc)} stands in another mapping, which the file merges in here (<<)",
            next_step="take it out of that one, or set another value here",
        )
    _check_alone(body, fresh, loc)
    return head + fresh


def _is_there(data: Any, loc: Loc) -> bool:
    try:
        for part in loc:
            data = data[key_of(data, part)]
    except (LookupError, TypeError):
        return False
    return True


def key_of(data: Any, part: int | str) -> Any:
    """`part` as `data` has it: YAML reads some names as numbers or dates, 4711 for one."""
    if isinstance(data, dict) and part not in data:
        return next((key for key in data if str(key) == part), part)
    return part


def flat(value: Any, loc: Loc = ()) -> dict[Loc, Any]:
    """Each single setting of `value` by its parts. A list of plain values, and what is empty, is one setting."""
    if is_dataclass(value) and not isinstance(value, type):
        named = {field.name: getattr(value, field.name) for field in fields(value) if field.name != "file"}
        return {at: one for name, inner in named.items() for at, one in flat(inner, (*loc, name)).items()}
    if isinstance(value, Mapping) and value:
        return {at: one for name, inner in value.items() for at, one in flat(inner, (*loc, str(name))).items()}
    if isinstance(value, tuple | list) and any(is_dataclass(item) for item in value):
        return {at: one for index, inner in enumerate(value) for at, one in flat(inner, (*loc, index)).items()}
    return {loc: list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value}


def _holder(data: Any, loc: Loc, *, make: bool) -> Any:
    """What holds the last part of `loc`. Raises UsageError where there is something else in its place."""
    from ruamel.yaml.comments import CommentedMap

    for index, part in enumerate(loc[:-1]):
        _check_holds(data, part, loc[:index])
        part = key_of(data, part)
        missing = part >= len(data) if isinstance(data, list) else part not in data
        if missing and (not make or isinstance(part, int)):
            raise UsageError(f"{dotted(loc[: index + 1])} is not set")
        if missing or (data[part] is None and make):
            data[part] = CommentedMap() if isinstance(loc[index + 1], str) else []
        data = data[part]
    _check_holds(data, loc[-1], loc[:-1])
    if isinstance(loc[-1], int) and loc[-1] > len(data):
        raise UsageError(f"{dotted(loc[:-1])} has {len(data)} entries: the next one is [{len(data)}]")
    return data


def _check_holds(data: Any, part: int | str, loc: Loc) -> None:
    if not isinstance(data, dict if isinstance(part, str) else list):
        where = dotted(loc) or "the file"
        raise UsageError(
            f"{where} is not a {'mapping' if isinstance(part, str) else 'list'}: there is no {part!r} in it"
        )


def _check_alone(old: str, new: str, loc: Loc) -> None:
    """Raises UsageError where a change of `loc` would change something else, too: by an alias both are one."""
    before, after = (_leaves(plain(_read(text))) for text in (old, new))
    # What became empty is told by its own name, and is above `loc`.
    related = [at for at in {*before, *after} if at[: len(loc)] != loc and loc[: len(at)] != at]
    other = sorted(dotted(at) for at in related if (at in before, before.get(at)) != (at in after, after.get(at)))
    if other:
        raise UsageError(
            f"{dotted(loc)} cannot be changed alone: the file says {other[0]} by the same words (an alias: & and *)",
            next_step="write the value out in both places, then change it",
        )


def _leaves(value: Any, loc: Loc = ()) -> dict[Loc, Any]:
    """What YAML says, value by value, those of lists among them."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {at: one for part, inner in inside for at, one in _leaves(inner, (*loc, part)).items()} or {loc: value}


def _remarks(text: str) -> str:
    """The comments of a file whose last setting was taken out."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.strip() or line.lstrip()[0] == "#")


def _nested(loc: Loc, value: Any) -> Any:
    for part in reversed(loc):
        if isinstance(part, int) and part:
            raise UsageError(f"{dotted(loc)}: the first entry of a list is [0]")
        value = {part: value} if isinstance(part, str) else [value]
    return value


def _halves(text: str) -> tuple[str, str]:
    """What stands before the document itself, and the document."""
    start = re.search(r"^---[ \t]*\n", text, re.MULTILINE)
    return (text[: start.end()], text[start.end() :]) if start else ("", text)


def _read(text: str) -> Any:
    from ruamel.yaml import YAML

    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    return yaml.load(text)


def _dumped(like: str, data: Any) -> str:
    """`data` as YAML, indented as the text `like` is."""
    from ruamel.yaml import YAML

    yaml, out = YAML(typ="rt"), StringIO()
    yaml.preserve_quotes, yaml.width, yaml.default_flow_style = True, _WIDTH, False
    mapping = re.search(r"^\S[^\n]*:[ \t]*(?:#[^\n]*)?\n(?:[ \t]*(?:#[^\n]*)?\n)*( +)[^\s#-]", like, re.MULTILINE)
    dash = re.search(r"^( *)[^\s#-][^\n]*:[ \t]*\n( *)- ", like, re.MULTILINE)
    offset = len(dash[2]) - len(dash[1]) if dash else 0
    yaml.indent(mapping=len(mapping[1]) if mapping else 2, sequence=offset + 2, offset=offset)
    yaml.dump(data, out)
    return out.getvalue()


def _minimal(text: str, before: str, after: str) -> str:
    """`text` with the lines of the change: those that differ in what the writer makes of it without and with that.

    What the writer would only spell in another way stays as it is.
    """
    own, old, new = (part.splitlines(keepends=True) for part in (text, before, after))
    if len(own) != len(old):
        return after
    lines: list[str] = []
    for kind, start, end, new_start, new_end in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        fresh = new[new_start:new_end]
        if kind == "replace" and end - start == len(fresh):
            fresh = [
                mine[: len(mine) - len(mine.lstrip())] + line.lstrip()
                for mine, line in zip(own[start:end], fresh, strict=True)
            ]
        lines += own[start:end] if kind == "equal" else fresh
    result = "".join(lines)
    return result if _means(result, after) else after


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _means(text: str, other: str) -> bool:
    """Whether both say the same; pieces of two spellings need not even fit together."""
    from ruamel.yaml.error import YAMLError

    try:
        return bool(plain(_read(text)) == plain(_read(other)))
    except YAMLError:
        return False
