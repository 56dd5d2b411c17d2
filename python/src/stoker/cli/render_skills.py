"""Skills on a terminal."""

from __future__ import annotations

from stoker.cli import format as fmt
from stoker.cli.out import Out
from stoker.operations.skill_files import Skill, SkillFault
from stoker.operations.skills import SkillCheck, SkillList

_SHOWN = 60


def skill_list(value: SkillList, out: Out) -> None:
    """`stoker skill list`."""
    if value.skills:
        out.table(
            ("SKILL", "WHAT FOR", "FILE"),
            [(skill.name, _short(fmt.one_line(skill.description)), fmt.one_line(skill.file)) for skill in value.skills],
        )
    _faults(value.left_out, out)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def skill(value: Skill, out: Out) -> None:
    """`stoker skill show`."""
    out.text(fmt.safe(value.text))


def skill_check(value: SkillCheck, out: Out) -> None:
    """`stoker skill check`."""
    out.line(f"{value.good} {'skill is' if value.good == 1 else 'skills are'} right, {len(value.faults)} wrong")
    _faults(value.faults, out)


def _faults(faults: tuple[SkillFault, ...], out: Out) -> None:
    for fault in faults:
        out.note(fmt.one_line(f"left out: {fault.reason}"))
