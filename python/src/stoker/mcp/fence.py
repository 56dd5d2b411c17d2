"""What of its machine a server lets assistants use: files below its folder, and what stoker.yml names besides."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stoker.errors import UsageError
from stoker.operations.registry import Operation
from stoker.operations.session import Session

if TYPE_CHECKING:
    from stoker.analysis.servers.address import Address

# Arguments that are files or folders of the server's machine, whatever the operation.
_PATHS = frozenset({"file", "path", "folder", "local", "out", "output", "prompts"})
# Of operations on runs also those that may be a path, an id or a name.
_RUNS = frozenset({"run", "a", "b", "against", "from_run"})
# The same of one operation alone.
_ALONE = {"config diff": frozenset({"against"})}
# What is called so, and lies on a node.
_THERE = frozenset({("environments", "file")})
_WRITTEN = frozenset({"out", "output"})
_WRITES = ("store backup", "store copy")


class Fence:
    """The folders, and the check. `more` are absolute."""

    def __init__(self, session: Session, more: Sequence[str]) -> None:
        self._session = session
        here = Path.cwd().resolve()
        # A server that is started in / was started nowhere in particular.
        own = [] if here == Path(here.anchor) else [here]
        self._roots = (*own, *(Path(folder).resolve() for folder in more))

    def check(self, path: Path) -> None:
        """Raise UsageError for a path that leads elsewhere, by a link too, or to what looks like a secret."""
        self._check(path, str(path))

    def check_call(self, operation: Operation, given: Mapping[str, Any]) -> None:
        """The same for the paths among the arguments of a call; and for what it would write over."""
        if given.get("kubeconfig") is not None:
            # It names programs that are run for a login: whoever wrote the file would be let in.
            raise UsageError(
                "kubeconfig: no assistant says which file it is", next_step="KUBECONFIG where the server is started"
            )
        if operation.area == "runs":
            for address in _addresses(operation, given):
                self._check_server(address)
        for name, value in _named(operation, given):
            if operation.area == "runs" and _is_address(value):
                continue
            place = _place(name, value)
            self._check(place, f"{name}: {value}")
            if name in _RUNS and given.get("folder"):
                self._check(_place("folder", str(given["folder"])) / value, f"{name}: {value}")
            if (name in _WRITTEN or operation.command in _WRITES) and self._is_own(place):
                raise UsageError(
                    f"{name}: {value} tells the server what to do, and no assistant writes it", next_step="another name"
                )

    def check_secrets(self, names: Sequence[str]) -> None:
        """Raise UsageError for a variable whose value stoker.yml lets no assistant hand to a job."""
        allowed = self._session.config.mcp.secrets
        for name in names:
            if not any(fnmatchcase(name, pattern) for pattern in allowed):
                raise UsageError(
                    f"secret: {name} is none that assistants may hand to jobs here",
                    next_step=f"mcp: {{secrets: [{name}]}} in stoker.yml allows it, whoever keeps that",
                )

    def _check_server(self, address: Address) -> None:
        parts = urlsplit(address.url)
        host = (parts.hostname or "").lower()
        port = parts.port or (443 if parts.scheme == "https" else 80)
        allowed = [pattern.lower() for pattern in self._session.config.mcp.servers]
        if not any(fnmatchcase(name, pattern) for name in (host, f"{host}:{port}") for pattern in allowed):
            raise UsageError(
                f"{address}: {host} is no server that assistants may have asked from here",
                next_step=f"mcp: {{servers: ['{host}:{port}']}} in stoker.yml allows it, whoever keeps that",
            )

    def _check(self, path: Path, shown: str) -> None:
        from ansible_collections.stoker.fleet.plugins.module_utils.project_files import is_secret

        real = Path(os.path.realpath(path))
        root = next((root for root in self._roots if real.is_relative_to(root)), None)
        if root is None:
            folders = ", ".join(str(root) for root in self._roots) or "no folder (it was started in /)"
            raise UsageError(
                f"{shown} is not below what this server shows assistants: {folders}",
                next_step="a path below it; access.paths in stoker.yml names more folders, whoever keeps that",
            )
        if any(is_secret(os.fsencode(part)) for part in (real.relative_to(root), path.name) if str(part) != "."):
            raise UsageError(f"{shown} looks like a secret, and no assistant is shown it", next_step="another file")

    def _is_own(self, path: Path) -> bool:
        from ansible_collections.stoker.fleet.plugins.module_utils.own_files import is_own

        inventory, settings = self._session.inventory_path, self._session.config.file
        own = os.fsencode(settings.absolute()) if settings is not None else None
        return bool(is_own(os.fsencode(path.absolute()), [os.fsencode(inventory)] if inventory else [], own))


def _place(name: str, value: str) -> Path:
    """The path that an argument means. Raises UsageError for one that cannot be a path."""
    try:
        if "\0" not in value:
            return Path.cwd() / Path(value).expanduser()
    except RuntimeError:  # ~ of nobody
        pass
    raise UsageError(f"{name}: {value!r} is no path here", next_step="a path without ~")


def _database(url: str) -> str | None:
    """The file that the URL of a store means; None where it is none. Raises UsageError for what is no such URL."""
    from stoker.store.engine import store_url

    found = store_url(url)
    if found.get_backend_name() != "sqlite":
        return None
    if found.query:  # with uri=true the name of the file is an address of its own
        raise UsageError("to: the URL of a file has nothing behind a ?", next_step="sqlite:///stoker.db")
    return found.database


def _is_address(value: str) -> bool:
    """Whether it is a server of runs, not a path."""
    from stoker.analysis.errors import AnalysisError
    from stoker.analysis.servers.address import named

    try:
        return bool(named(value, Path.cwd()))
    except AnalysisError:
        return False


def _addresses(operation: Operation, given: Mapping[str, Any]) -> Iterator[Address]:
    """The servers that the arguments of a call mean; `wandb:` may be another one in each folder that is named."""
    from stoker.analysis.errors import AnalysisError
    from stoker.analysis.servers.address import named

    parameters = operation.signature().parameters
    told = [given.get(name, parameter.default) for name, parameter in parameters.items()]
    texts = [one for value in told for one in (value if isinstance(value, list | tuple) else (value,))]
    words = [text for text in texts if isinstance(text, str)]
    folders = [Path.cwd(), *(Path.cwd() / word for word in words if not word.startswith(("wandb:", "mlflow:")))]
    for word in words:
        for folder in folders if word.startswith(("wandb:", "mlflow:")) else ():
            try:
                found = named(word, folder)
            except (AnalysisError, ValueError):
                continue  # the operation says what is wrong with it
            if found is not None:
                yield found


def _named(operation: Operation, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The arguments that may be paths, also those that are not given and have a default."""
    names = _PATHS | (_RUNS if operation.area == "runs" else frozenset()) | _ALONE.get(operation.command, frozenset())
    if operation.command == "store copy" and given.get("to") and (file := _database(str(given["to"]))) is not None:
        yield "to", file
    for name, parameter in operation.signature().parameters.items():
        if name not in names or (operation.area, name) in _THERE:
            continue
        value = given.get(name)
        if value is None and parameter.default is not inspect.Parameter.empty:
            value = parameter.default
        for one in value if isinstance(value, list | tuple) else (value,):
            if isinstance(one, str):
                yield name, one
