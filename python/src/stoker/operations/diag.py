"""A bundle for whoever has to find out what is wrong: of this machine and of all nodes, without secrets."""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stoker.config import working_folder
from stoker.config_edit import flat
from stoker.errors import StokerError, UsageError
from stoker.marked import dotted
from stoker.operations import nodes, notify_sending
from stoker.operations.registry import operation
from stoker.operations.session import Session
from stoker.operations.settings import shown
from stoker.redaction import names_secret, redact, redacted
from stoker.written import replace_file

EVENTS = 1000
NODE_S = 60.0
_TOOL_S = 20.0
_PACKAGES = (
    "ansible-core", "ansible-runner", "alembic", "apprise", "cyclopts", "duckdb", "kubernetes", "mcp", "numpy",
    "psycopg", "pydantic", "rich", "ruamel.yaml", "sqlalchemy",
)  # fmt: skip
_TOOLS = (("ssh", "-V"), ("rsync", "--version"), ("git", "--version"))
# Runs on each node. What jobs printed is left there: it is theirs. The script itself lies in the state folder.
_LOOK = """\
state=$(dirname "$0")
run() { echo "== $*"; "$@" 2>&1 | tail -n 40; }
run uname -srm
run date -u
run python3 --version
run df -Pk "$state"
run ls -la "$state"
command -v nvidia-smi >/dev/null && run timeout 20 nvidia-smi
for log in $(ls -t "$state"/jobs/*/*/supervisor.log 2>/dev/null | head -n 20); do
  [ -s "$log" ] && echo "== $log" && tail -c 4000 "$log"
done
for log in $(ls -t "$state"/environments/*.log 2>/dev/null | head -n 3); do
  [ -s "$log" ] && echo "== $log" && tail -c 4000 "$log"
done
exit 0
"""


@dataclass(frozen=True)
class Missing:
    """Something that the bundle should have had, and why it could not be had."""

    what: str
    why: str


@dataclass(frozen=True)
class DiagBundle:
    """A bundle. `files` are the names in it, `answered` the nodes that told how they are, of all `nodes`."""

    file: str
    bytes: int
    files: tuple[str, ...]
    nodes: int
    answered: int
    missing: tuple[Missing, ...]


class _Collected:
    """The files of a bundle, and what could not be had. Everything goes through the redaction on its way in."""

    def __init__(self, session: Session, secrets: tuple[str, ...]) -> None:
        self.session, self.secrets = session, secrets
        self.files: dict[str, bytes] = {}
        self.missing: list[Missing] = []

    def document(self, name: str, value: Any) -> None:
        plain = json.loads(json.dumps(value, default=str))
        self.files[name] = json.dumps(redacted(plain, self.secrets), indent=1, ensure_ascii=False).encode(
            errors="replace"
        )

    def text(self, name: str, text: str) -> None:
        self.files[name] = redact(text, self.secrets).encode(errors="replace")

    def lack(self, what: str, why: str) -> None:
        self.missing.append(Missing(what, redact(why, self.secrets)))

    def attempt(self, what: str, act: Callable[[], None]) -> None:
        """What fails is told in the bundle and stops nothing else of it."""
        try:
            act()
        except (StokerError, OSError, ValueError) as problem:
            self.lack(what, str(problem))


@operation("nodes", "diag", "administer", method="diag")
def diag(session: Session, file: str | None = None, *, on: str | None = None) -> DiagBundle:
    """Write a bundle to find out what is wrong: versions, settings, events, and how each node is, without secrets.

    What jobs printed is not in it. Look through it before you hand it on: secrets are found by their form.

    Args:
        file: The file to write, .tar.gz; it may not exist yet. By default one named after the time, here.
        on: Only this node or group.
    """
    named = file or time.strftime("stoker-diag-%Y%m%d-%H%M%S.tar.gz", time.gmtime())
    target = working_folder() / Path(named).expanduser()
    if target.exists():
        raise UsageError(f"{target} is there already", next_step="name a new file")
    if not target.parent.is_dir():
        raise UsageError(f"there is no folder {target.parent}")
    if on is not None:
        session.whole_inventory.match(on)
    found = _Collected(session, _secrets(session))
    for what, act in (
        ("versions", _versions), ("settings", _settings), ("store", _store), ("events", _events),
        ("inventory", _inventory), ("messages", _messages),
    ):  # fmt: skip
        found.attempt(what, lambda act=act: act(found))  # type: ignore[misc]
    counts = {"nodes": 0, "answered": 0}
    found.attempt("status of the nodes", lambda: _status(found, on, counts))
    found.attempt("logs of the nodes", lambda: _logs(found, on))
    found.document("missing.json", [asdict(one) for one in found.missing])
    data = _packed(found.files)
    try:
        replace_file(target, data, mode=0o600)
    except OSError as problem:
        raise StokerError(f"{target} cannot be written: {problem.strerror or problem}") from problem
    return DiagBundle(
        str(target), len(data), tuple(sorted(found.files)), counts["nodes"], counts["answered"], tuple(found.missing)
    )


def _versions(found: _Collected) -> None:
    tools = {}
    for tool, option in _TOOLS:
        if shutil.which(tool) is None:
            found.lack(tool, "is not installed here")
            continue
        try:
            ran = subprocess.run([tool, option], capture_output=True, timeout=_TOOL_S, check=False, text=True)
            tools[tool] = (ran.stdout or ran.stderr).strip().partition("\n")[0]
        except subprocess.TimeoutExpired:
            found.lack(tool, f"gave no answer within {_TOOL_S:.0f} s")
    found.document("versions.json", {
        "stoker": _version("stoker"), "python": sys.version, "platform": platform.platform(), "cpus": os.cpu_count(),
        "packages": {name: _version(name) for name in _PACKAGES}, "tools": tools,
    })  # fmt: skip


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _settings(found: _Collected) -> None:
    config = found.session.config
    said = {dotted(loc): shown(loc, value) for loc, value in flat(config).items()}
    variables = {name: value for name, value in os.environ.items() if name.startswith(("STOKER_", "ANSIBLE_"))}
    told = {"file": str(config.file) if config.file else None, "settings": said, "environment": variables}
    found.document("settings.json", told)


def _store(found: _Collected) -> None:
    store = found.session.store
    jobs = [{name: value for name, value in vars(row).items() if name != "spec"} for row in store.jobs(limit=200)]
    found.document("store.json", {"url": store.url, "rows": store.counts(), "faults": store.faults()})
    found.document("jobs.json", jobs)


def _events(found: _Collected) -> None:
    rows = found.session.store.events(limit=EVENTS, newest=True)
    found.document("events.json", [vars(row) for row in rows])


def _inventory(found: _Collected) -> None:
    whole = found.session.whole_inventory
    hosts = {node.name: {"groups": node.groups, "vars": dict(node.vars)} for node in whole.nodes}
    found.document("inventory.json", {"source": str(whole.source), "nodes": hosts, "groups": dict(whole.groups)})


def _messages(found: _Collected) -> None:
    store = found.session.store.notices
    targets = {name: vars(row) for name, row in store.targets().items()}
    found.document("messages.json", {"targets": targets, "counts": store.counts()})


def _status(found: _Collected, on: str | None, counts: dict[str, int]) -> None:
    found.session.say("asking the nodes how they are")
    status = nodes.status(found.session, on, live=True)
    failed = {problem.node for problem in status.problems}
    for problem in status.problems:
        found.lack(f"status of {problem.node or 'the nodes'}", problem.message)
    counts |= {"nodes": len(status.nodes), "answered": sum(node.name not in failed for node in status.nodes)}
    found.document("status.json", asdict(status))


def _logs(found: _Collected, on: str | None) -> None:
    found.session.say("asking the nodes for the ends of their logs")
    report = nodes.execute(found.session, on, all=on is None, script=_LOOK, timeout=NODE_S)
    for output in report.outputs:
        if output.problem is not None:
            found.lack(f"logs of {output.node}", output.problem.message)
            continue
        if output.timed_out:
            found.lack(f"logs of {output.node}", f"not all within {NODE_S:.0f} s")
        found.text(f"nodes/{output.node}.log", output.stdout.decode(errors="replace"))


def _secrets(session: Session) -> tuple[str, ...]:
    """The secrets that this machine knows: in the environment, and the addresses of messages."""
    known = [value for name, value in os.environ.items() if names_secret(name)]
    for name, target in session.config.notify.targets.items():
        try:
            known += notify_sending.secrets_of(notify_sending.address(name, target))
        except StokerError:
            continue  # what is not there cannot get into the bundle
    return tuple(known)


def _packed(files: Mapping[str, bytes]) -> bytes:
    packed, at = io.BytesIO(), int(time.time())
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in sorted(files):
            entry = tarfile.TarInfo(f"stoker-diag/{name}")
            entry.size, entry.mode, entry.mtime = len(files[name]), 0o600, at
            archive.addfile(entry, io.BytesIO(files[name]))
    return packed.getvalue()
