"""Plugins on a terminal, and what their operations answer."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from typing import Any

from stoker.cli import format as fmt
from stoker.cli.out import Out, Piece
from stoker.operations.plugins import PluginInfo, PluginList

# Help has all of them, and --json.
_COMMANDS_SHOWN = 4
_STYLES = {"on": "green", "off": "dim", "failed": "red"}


def plugin_list(value: PluginList, out: Out) -> None:
    """`stoker plugins`."""
    rows: list[tuple[Piece, ...]] = [
        (one.name, (one.state, _STYLES[one.state]), _package(one), fmt.one_line(_offers(one))) for one in value.plugins
    ]
    out.table(("PLUGIN", "STATE", "PACKAGE", "COMMANDS"), rows)
    for one in value.plugins:
        if one.reason is not None:
            stamp = time.strftime(" at %Y-%m-%d %H:%M:%S", time.localtime(one.failed_at)) if one.failed_at else ""
            out.note(fmt.one_line(f"{one.name} failed{stamp}: {one.reason}"))


def _package(one: PluginInfo) -> str:
    return fmt.one_line(f"{one.package} {one.version}") if one.package is not None else "built in"


def _offers(one: PluginInfo) -> str:
    count = len(one.resources)
    more = [f"{count} resource{'s' if count > 1 else ''}"] if count else []
    more += [f"backend {name}" for name in one.backends]
    shown = one.operations[:_COMMANDS_SHOWN]
    if left := len(one.operations) - len(shown):
        more.insert(0, f"{left} more")
    return ", ".join([*shown, *more, *(["listens"] if one.listens else [])]) or "-"


def answer(value: Any, out: Out) -> None:
    """What an operation of a plugin answers: its fields, those that are lists of alike things as tables."""
    tables = []
    for field in dataclasses.fields(value):
        held = getattr(value, field.name)
        if isinstance(held, list | tuple) and held and all(_is_value(item) for item in held):
            tables.append((field.name, held))
        else:
            out.line((f"{field.name}: ", "dim"), fmt.one_line(_text(held)))
    for name, items in tables:
        out.line((f"{name}:", "dim"))
        columns = [field.name for field in dataclasses.fields(items[0])]
        titles = tuple(column.upper().replace("_", " ") for column in columns)
        rows = [tuple(fmt.one_line(_text(getattr(item, column, None))) for column in columns) for item in items]
        out.table(titles, rows)


def _is_value(item: Any) -> bool:
    return dataclasses.is_dataclass(item) and not isinstance(item, type)


def _text(held: Any) -> str:
    if held is None:
        return "-"
    if isinstance(held, bool):
        return "yes" if held else "no"
    if isinstance(held, int | float):
        return fmt.number(held)
    if isinstance(held, list | tuple | Mapping) or _is_value(held):
        return json.dumps(fmt.plain(held), ensure_ascii=False)
    return str(held)
