"""Which run or metric a name means: exactly one, or an error that names those that are near."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Sequence
from pathlib import Path

from stoker.analysis.errors import AnalysisError, NotThere, Unreadable
from stoker.analysis.find import is_there
from stoker.analysis.runs import Found, runs_in
from stoker.analysis.servers.address import Address, named
from stoker.analysis.values import RunInfo

_NAMED = 5
# The most folders that tell runs of one title apart.
_FOLDERS = 4


def named_run(name: str, folder: Path | Address) -> Found:
    """The run that `name` is the path or the address of, or the id or name of among those in `folder`, compared whole.

    Raises NotThere, Unreadable, and AnalysisError for a folder or a name that several runs have.
    """
    path = _place(name, folder)
    problems: list[str] = []
    if path is not None:
        found = runs_in(path, problems)
        if len(found) == 1:
            return found[0]
        if not found:
            refuse_unreadable(path, problems)
            raise NotThere(f"no run was found in {path}", next_step="stoker runs list --help says what is looked for")
        hint = f"stoker runs latest {name}, or name one of them with --folder {name}"
        raise AnalysisError(f"{path} holds {len(found)} runs: {_some(run.info.id for run in found)}", next_step=hint)
    return _among(runs_in(folder, problems), name, folder, problems)


def refuse_unreadable(path: object, problems: Sequence[str]) -> None:
    """Of a place in which no run was found: what cannot be read there may be one. Raises Unreadable."""
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise Unreadable(f"no run that can be read was found in {path}: {problems[0]}{more}")


def _place(name: str, folder: Path | Address) -> Path | Address | None:
    """The address or the path that `name` is; None where there is no such file or folder."""
    if isinstance(folder, Address):
        return named(name, Path()) or (folder if name == "." else None)
    path = folder / Path(name).expanduser()
    return named(name, folder) or (path if is_there(path) else None)


def _among(found: Sequence[Found], name: str, folder: Path | Address, problems: Sequence[str]) -> Found:
    for same in (
        [run for run in found if run.info.id == name],
        [run for run in found if run.info.name == name],
    ):
        if len(same) == 1:
            return same[0]
        if same:
            places = _some(run.info.segments[0] for run in same)
            raise AnalysisError(f"{len(same)} runs are called {name}", next_step=f"name one by its path: {places}")
    if not found:
        refuse_unreadable(folder, problems)
    known = [run.info.id for run in found] + [run.info.name for run in found if run.info.name]
    near = _near(name, known)
    hint = f"Did you mean {_some(near)}?" if near else f"{_runs(len(found))} there."
    if problems:
        hint += f" What cannot be read may be it: {_some(problems)}."
    raise NotThere(f"no file, folder or run '{name}' in {folder}. {hint}", next_step=f"stoker runs list {folder}")


def chosen(keys: Sequence[str], known: Iterable[str], where: str) -> list[str]:
    """The metrics that `keys` name: whole names, or patterns with `*`; all of them where none is named.

    Raises NotThere for a key that matches nothing, with those that are near.
    """
    names = list(known)
    if not keys:
        return names
    picked: dict[str, None] = {}
    for key in keys:
        matched = [key] if key in names else fnmatch.filter(names, key) if set(key) & set("*?[") else []
        if not matched:
            near = _near(key, names)
            hint = f"Did you mean {_some(near)}?" if near else f"It has {len(names)}: {_some(names) or 'none at all'}."
            raise NotThere(f"{where} has no metric '{key}'. {hint}", next_step="stoker runs keys RUN")
        picked.update(dict.fromkeys(matched))
    return list(picked)


def titles(infos: Sequence[RunInfo]) -> list[str]:
    """What runs are called beside each other: where two have one title, with the folders that tell them apart."""
    made = [info.title for info in infos]
    for depth in range(1, _FOLDERS + 1):
        twice = {name for name in made if made.count(name) > 1}
        for at, info in enumerate(infos):
            if made[at] in twice:
                folders = Path(info.segments[-1]).resolve().parts[1:-1][-depth:]
                made[at] = "/".join([*folders, info.title])
    return [f"{name} ({made[:at].count(name) + 1})" if name in made[:at] else name for at, name in enumerate(made)]


def _runs(count: int) -> str:
    return "1 run is" if count == 1 else f"{count} runs are"


def near_names(name: str, known: Sequence[str]) -> str:
    """The known names that `name` may have meant, as a sentence lists them; empty where none is near."""
    return _some(_near(name, known))


def _near(name: str, known: Sequence[str]) -> list[str]:
    """The known names that are spelled alike, or have this one in them."""
    lower = {other.lower(): other for other in known}
    near = [lower[match] for match in difflib.get_close_matches(name.lower(), list(lower), n=_NAMED, cutoff=0.5)]
    return near + [other for other in dict.fromkeys(known) if name.lower() in other.lower() and other not in near]


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more
