"""Skills: instructions for assistants, in folders that stoker.yml names, and Stoker's own."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.errors import NotFound
from stoker.operations.find import near
from stoker.operations.registry import operation
from stoker.operations.session import Session
from stoker.operations.skill_files import Skill, SkillFault, read_all


@dataclass(frozen=True)
class SkillShort:
    """A skill without its text."""

    name: str
    description: str
    file: str


@dataclass(frozen=True)
class SkillList:
    """All skills by name, and what was left out, with why."""

    skills: tuple[SkillShort, ...]
    left_out: tuple[SkillFault, ...]


@dataclass(frozen=True)
class SkillCheck:
    """How many skills are right, and what is wrong with the others."""

    good: int
    faults: tuple[SkillFault, ...]

    @property
    def exit_code(self) -> int:
        """1 where something is wrong, else 0."""
        return int(bool(self.faults))


@operation("skills", "skill list", "read", method="list")
def list_skills(session: Session) -> SkillList:
    """List the skills for assistants. What is no skill is left out, and told with the reason."""
    skills, faults = read_all(session.config)
    return SkillList(tuple(SkillShort(skill.name, skill.description, skill.file) for skill in skills), faults)


@operation("skills", "skill show", "read", method="get")
def get(session: Session, name: str) -> Skill:
    """Show a skill as an assistant reads it.

    Args:
        name: Its name, as stoker skill list shows it.
    """
    skills, faults = read_all(session.config)
    found = next((skill for skill in skills if skill.name == name), None)
    if found is None:
        hint = near(name, [skill.name for skill in skills])
        wrong = next((fault.reason for fault in faults if f"/{name}/" in f"/{fault.file}"), None)
        raise NotFound(f"there is no skill {name!r}.{f' {wrong}' if wrong else hint}", next_step="stoker skill list")
    return found


@operation("skills", "skill check", "read", method="check")
def check(session: Session) -> SkillCheck:
    """Check the folders of stoker.yml (skills): what is wrong in them, by file and line. Exits with 1 then."""
    skills, faults = read_all(session.config)
    return SkillCheck(len(skills), faults)
