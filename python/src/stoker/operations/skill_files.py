"""Skills: folders with a SKILL.md, and what is wrong with one, by file and line."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker.config import Config, place_of
from stoker.marked import ConfigError, line_of, loaded, plain, shown_path

FILE = "SKILL.md"
# As the specification of agent skills has them.
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LONGEST = {"name": 64, "description": 1024, "compatibility": 500}
_KNOWN = ("name", "description", "license", "compatibility", "metadata", "allowed-tools")
_LARGEST_BYTES = 1024 * 1024
_EDGE = "---"


@dataclass(frozen=True)
class Skill:
    """One skill. `file` is its SKILL.md, `text` what stands in it after the front matter."""

    name: str
    description: str
    file: str
    text: str


@dataclass(frozen=True)
class SkillFault:
    """A folder that is no skill, and why. The reason begins with file and line."""

    file: str
    reason: str


def folders(config: Config) -> Iterator[tuple[Path, str]]:
    """The folders that stoker.yml names, and where it does; Stoker's own is the first."""
    yield own_folder(), "Stoker's own"
    base = config.file.parent if config.file is not None else Path.cwd()
    for at, name in enumerate(config.skills):
        try:
            folder = Path(name).expanduser()
        except RuntimeError:  # ~ of nobody: as it is written it cannot be read, which is told
            folder = Path(name)
        yield base / folder, place_of(config, "skills", at)


def own_folder() -> Path:
    """The folder of the skills that come with Stoker."""
    return Path(__file__).resolve().parent.parent / "skills"


def read_all(config: Config) -> tuple[tuple[Skill, ...], tuple[SkillFault, ...]]:
    """Every skill, and what is none. Read anew at each call: a change counts at once."""
    skills: dict[str, Skill] = {}
    faults: list[SkillFault] = []
    for folder, named_by in folders(config):
        try:
            files = sorted(_files(folder, faults))
        except OSError as problem:
            faults.append(SkillFault(str(folder), f"{named_by}: {folder} cannot be read: {problem.strerror}"))
            continue
        if not files:
            faults.append(SkillFault(str(folder), f"{named_by}: {folder} holds no folder with a {FILE}"))
        for file in files:
            try:
                skill = read(file)
                if (other := skills.get(skill.name)) is not None:
                    raise ConfigError(skill.file, None, f"there is a skill {skill.name!r} already: {other.file}")
                skills[skill.name] = skill
            except ConfigError as problem:
                faults.append(SkillFault(shown_path(file), problem.message))
    return tuple(skills[name] for name in sorted(skills)), tuple(faults)


def _files(folder: Path, faults: list[SkillFault]) -> list[Path]:
    """The SKILL.md of a folder that is a skill itself, or of those in it. Raises OSError.

    A folder in it that nobody here may look into hides no other; it is added to `faults`.
    """
    if (folder / FILE).is_file():
        return [folder / FILE]
    found = []
    for inner in sorted(folder.iterdir()):
        try:
            if inner.is_dir() and _is_there(inner / FILE):
                found.append(inner / FILE)
        except OSError as problem:
            shown = shown_path(inner)
            faults.append(SkillFault(shown, f"{shown}: cannot be read: {problem.strerror}"))
    return found


def _is_there(file: Path) -> bool:
    """Unlike `exists` of newer Pythons it raises OSError where that cannot be seen."""
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def read(file: Path) -> Skill:
    """The skill of a SKILL.md. Raises ConfigError with file and line."""
    shown = shown_path(file)
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            # A pipe would keep whoever reads it.
            raise ConfigError(shown, None, "is no regular file")
        if status.st_size > _LARGEST_BYTES:
            raise ConfigError(shown, None, f"is larger than {_LARGEST_BYTES:,} bytes")
        data = file.read_bytes()
        text = data.decode("utf-8")
    except UnicodeDecodeError as problem:
        line = data[: problem.start].count(b"\n") + 1
        raise ConfigError(shown, line, "is not a text in UTF-8") from None
    except OSError as problem:
        raise ConfigError(shown, None, f"cannot be read: {problem.strerror}") from None
    lines = text.removeprefix("\ufeff").splitlines()
    if not lines or lines[0].rstrip() != _EDGE:
        raise ConfigError(shown, 1, f"does not begin with {_EDGE} and its front matter")
    end = next((at for at, line in enumerate(lines[1:], 1) if line.rstrip() == _EDGE), None)
    if end is None:
        raise ConfigError(shown, len(lines), f"the front matter has no end ({_EDGE})")
    # An empty first line in place of the edge, so that lines are those of the file.
    matter = loaded("\n".join(["", *lines[1:end]]), shown)
    name, description = _checked(shown, matter, file.parent.name)
    return Skill(name, description, shown, "\n".join(lines[end + 1 :]).strip() + "\n")


def _checked(shown: str, matter: Any, folder: str) -> tuple[str, str]:
    """Name and description of a front matter, which has to be right as a whole."""
    if not isinstance(matter, Mapping):
        raise ConfigError(shown, 1, "the front matter is not a mapping with name and description")
    for key in matter:
        if key not in _KNOWN:
            raise ConfigError(shown, line_of(matter, (key,)), f"{key}: there is no such field ({', '.join(_KNOWN)})")
    for key in ("name", "description"):
        if not str(matter.get(key) or "").strip():
            raise ConfigError(shown, line_of(matter, (key,)), f"{key} is missing")
    for key, value in plain(matter).items():
        _refuse_value(shown, matter, key, value)
    name = str(matter["name"])
    line = line_of(matter, ("name",))
    if not _NAME.fullmatch(name):
        raise ConfigError(shown, line, f"name: {name!r} is not of small letters, digits and single dashes")
    if name != folder:
        raise ConfigError(shown, line, f"name: {name!r} is not the name of its folder, {folder!r}")
    return name, " ".join(str(matter["description"]).split())


def _refuse_value(shown: str, matter: Any, key: str, value: Any) -> None:
    line = line_of(matter, (key,))
    if key == "metadata":
        if not isinstance(value, dict) or not all(isinstance(inner, str) for inner in value.values()):
            raise ConfigError(shown, line, "metadata: is not a mapping of names to texts")
    elif not isinstance(value, str):
        raise ConfigError(shown, line, f"{key}: {value!r} is not a text")
    elif len(value) > _LONGEST.get(key, _LARGEST_BYTES):
        raise ConfigError(shown, line, f"{key}: has {len(value):,} characters, at most {_LONGEST[key]:,} are allowed")
