"""What to say when a run as a whole came to nothing: which file, which line, what is wrong."""

from __future__ import annotations

import re
from pathlib import Path

from stoker.errors import NotFound, StokerError, UsageError
from stoker.runner.diagnose import one_line, plain

_ORIGIN = re.compile(r"^Origin: (?P<file>.+?):(?P<line>\d+)(?::\d+)?$")
_OLD_ORIGIN = re.compile(r"The error appears to be in '(?P<file>[^']+)': line (?P<line>\d+)")
_UNPARSED = re.compile(r"^.*Failed to parse inventory with '[^']*' plugin:\s*", re.I)
# What Ansible says of every file that is no plugin's configuration.
_NO_PLUGIN = re.compile(r"no root 'plugin' key found")
_ERROR = re.compile(r"^\[?(ERROR|FATAL)\]?\s*!?:?\s*", re.I)
_MISSING = re.compile(r"could not be found|unable to retrieve file|does not exist", re.I)
_NO_HOSTS = re.compile(r"Specified inventory, host pattern and/or --limit leaves us with no hosts", re.I)


def of_run(playbook: str, rc: int, lines: list[str], limit: str | None = None) -> StokerError:
    """The error for a run that never came to its recap: exit code `rc`, and the lines Ansible wrote."""
    lines = [plain(line) for line in lines]
    where = _origin(lines)
    what = _sentence(lines)
    if what is None:
        ended = f"was ended by signal {-rc}" if rc < 0 else f"ended with exit code {rc}"
        said = next((line for line in reversed(lines) if line.strip()), None)
        return StokerError(f"ansible-playbook {ended} before it ran {playbook}" + (f": {said.strip()}" if said else ""))
    if _NO_HOSTS.search(what):
        return UsageError(f"no node of the inventory is meant by '{limit}'", next_step="stoker nodes lists them")
    message = f"{where}: {what}" if where else what
    return NotFound(message) if _MISSING.search(what) else StokerError(message)


def of_inventory(path: Path, rc: int, lines: list[str]) -> StokerError:
    """The error for an inventory that Ansible could not read: `lines` is what it wrote to standard error."""
    lines = [plain(line) for line in lines]
    where = _origin(lines) or str(path)
    told = [line for line in lines if _UNPARSED.search(line)]
    warning = next((line for line in told if not _NO_PLUGIN.search(line)), told[0] if told else None)
    what = (_UNPARSED.sub("", warning) if warning else None) or _sentence(lines) or f"exit code {rc}"
    return StokerError(f"{where}: Ansible cannot read this inventory: {one_line(what).rstrip('.')}")


def _origin(lines: list[str]) -> str | None:
    for line in lines:
        found = _ORIGIN.match(line.strip()) or _OLD_ORIGIN.search(line)
        if found:
            return f"{found['file']}:{found['line']}"
    return None


def _sentence(lines: list[str]) -> str | None:
    for line in lines:
        if _ERROR.match(line.strip()):
            return one_line(_ERROR.sub("", line.strip())).rstrip(".")
    return None
