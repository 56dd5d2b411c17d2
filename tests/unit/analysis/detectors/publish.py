# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of docs/detectors.md, made from what was measured and from the limits themselves."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import curves
import measured as measuring
from measured import Measured

from stoker.analysis.detectors import ALL

PAGE = Path(__file__).parents[4] / "docs/detectors.md"


def parts(measured: Measured) -> dict[str, str]:
    """The tables by name."""
    return {"figures": _figures(measured), "healthy": _healthy(measured), "limits": _limits()}


def part_of(page: str, name: str) -> str:
    """What stands between the marks of a table."""
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- end -->", page, re.DOTALL)
    return found[1] if found else ""


def _figures(measured: Measured) -> str:
    lines = [
        "| detector | precision | recall: weak | clear | strong | faults that were made |",
        "|---|---|---|---|---|---|",
    ]
    for name, score in measured.scores.items():
        recalls = " | ".join(f"{score.recall(strength):.2f}" for strength in curves.STRENGTHS)
        doc = (curves.FAULTS[name].__doc__ or "").strip()
        lines.append(f"| `{name}` | {score.precision:.2f} | {recalls} | {doc} |")
    return "\n".join(lines) + "\n"


def _healthy(measured: Measured) -> str:
    lines = ["| healthy runs | runs | with an alarm | notes (severity info) |", "|---|---|---|---|"]
    for family, count in measured.healthy.items():
        notes = measured.noted[family]
        told = ", ".join(f"{notes.count(name)} x {name}" for name in sorted(set(notes))) or "-"
        lines.append(f"| {family} | {count} | {len(measured.alarmed[family])} | {told} |")
    alarms = sum(len(alarms) for alarms in measured.alarmed.values())
    lines.append(f"| all | {sum(measured.healthy.values())} | {alarms} | |")
    return "\n".join(lines) + "\n"


def _limits() -> str:
    lines = [
        "| detector | finds | limit | default | what it is | where the default is from |",
        "|---|---|---|---|---|---|",
    ]
    for detector in ALL:
        for index, field in enumerate(dataclasses.fields(detector.limits)):
            head = (f"`{detector.name}`", detector.finds) if index == 0 else ("", "")
            words, source = field.metadata["words"], field.metadata["source"]
            lines.append(f"| {head[0]} | {head[1]} | `{field.name}` | {field.default:g} | {words} | {source} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    text = PAGE.read_text()
    for name, table in parts(measuring.measure(measuring.HELD_OUT)).items():
        text = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- end -->)", lambda m, t=table: m[1] + t + m[2], text, flags=re.DOTALL
        )
    PAGE.write_text(text)
