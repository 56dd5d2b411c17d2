"""Settings on a terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stoker.cli import format as fmt
from stoker.cli.out import Out
from stoker.marked import shown_path
from stoker.operations.settings import SettingChange, SettingDifferences, SettingList


def setting_list(value: SettingList, out: Out) -> None:
    """`stoker config get`, `stoker config check`."""
    name = _name(value.file)
    out.table(
        ("SETTING", "VALUE", "FROM"),
        [(one.key, _text(one.value), f"{name}:{one.line}" if one.line else "default") for one in value.settings],
    )
    if not value.settings:
        out.note(f"{name}: nothing is set")


def change(value: SettingChange, out: Out) -> None:
    """`stoker config set`."""
    name = _name(value.file)
    if not value.changed:
        out.line(f"{name}: {value.key} is {_text(value.after)} already")
        return
    out.line(f"{name}: {value.key} is now {_text(value.after)} (was {_text(value.before)})")


def differences(value: SettingDifferences, out: Out) -> None:
    """`stoker config diff`."""
    here = _name(value.file)
    there = _name(value.against) if value.against else "default"
    if not value.differences:
        out.note(f"{here}: nothing differs from {there if value.against else 'the defaults'}")
        return
    out.table(
        ("SETTING", here, there),
        [
            (one.key, "-" if one.only == "there" else _text(one.here), "-" if one.only == "here" else _text(one.there))
            for one in value.differences
        ],
    )


def _name(file: str | None) -> str:
    return fmt.one_line(shown_path(Path(file))) if file else "defaults"


def _text(value: Any) -> str:
    if value is None:
        return "not set"
    return fmt.one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
