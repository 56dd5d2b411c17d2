# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of figures: for people in at most 100 columns, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.bench.measure import Usage

WIDTH = 100
_NAME_WIDTH = 46
_COLUMNS = {
    "wall_s": "wall s",
    "cpu_s": "CPU s",
    "mb_s": "MB/s",
    "rss_mb": "MB",
    "per_s": "per s",
    "sessions": "sessions",
    "tokens": "tokens",
    "tokens_json": "as JSON",
}


@dataclass
class Table:
    """Rows of figures (see `_COLUMNS`), each also as a ratio to the rows named in `bases`, by the figure `by`."""

    id: str
    title: str
    bases: tuple[str, ...]
    by: str = "wall_s"
    rows: dict[str, dict[str, float]] = field(default_factory=dict)

    def add(self, name: str, usage: Usage | None = None, **figures: float) -> None:
        """Add a row."""
        self.rows[name] = {**({"wall_s": usage.wall_s, "cpu_s": usage.cpu_s} if usage else {}), **figures}

    def add_all(self, usages: Mapping[str, Usage]) -> None:
        """Add a row for each."""
        for name, usage in usages.items():
            self.add(name, usage)

    def ratio(self, name: str, base: str) -> float | None:
        """The row's figure by that of the base; None where one of them has none."""
        own, other = self.rows[name].get(self.by), self.rows[base].get(self.by)
        return own / other if own is not None and other else None

    def as_json(self) -> dict[str, Any]:
        """The table as a value."""
        rows = [
            {"name": name, **figures, "ratios": {base: self.ratio(name, base) for base in self.bases}}
            for name, figures in self.rows.items()
        ]
        return {"id": self.id, "title": self.title, "by": self.by, "rows": rows}

    def text(self) -> str:
        """The table as lines."""
        shown = [key for key in _COLUMNS if any(key in figures for figures in self.rows.values())]
        marks = {base: chr(ord("a") + index) for index, base in enumerate(self.bases)}
        heads = [_COLUMNS[key] for key in shown] + [f"x {mark}" for mark in marks.values()]
        lines = [self.title.ljust(_NAME_WIDTH) + "".join(head.rjust(9) for head in heads)]
        for name, figures in self.rows.items():
            label = f"{name} ({marks[name]})" if name in marks else name
            cells = [_number(figures.get(key), key) for key in shown]
            cells += [_ratio(self.ratio(name, base)) for base in self.bases]
            lines.append(("  " + label).ljust(_NAME_WIDTH) + "".join(cell.rjust(9) for cell in cells))
        return "\n".join(line.rstrip() for line in lines)


def _number(value: float | None, key: str) -> str:
    if value is None:
        return ""
    if key in ("wall_s", "cpu_s"):
        return f"{value:.3f}" if value < 10 else f"{value:.1f}"
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _ratio(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"
