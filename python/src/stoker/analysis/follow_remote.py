"""The run of a job that goes on: only what is new is asked of its node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.stoker.fleet.plugins.module_utils.readers.reading import Reading
from stoker.analysis import remote
from stoker.analysis.answers import RunAlert
from stoker.analysis.follow import ROWS, Follower
from stoker.analysis.runs import Found
from stoker.analysis.values import Seen, State

# Asks the node for what is new since a cursor, None: for a digest of all there is.
Ask = Callable[[str | None], tuple[Mapping[str, Any], Seen]]


class RemoteFollower(Follower):
    """Looks at the run of a job, again and again. The node's own cursor is in the one of each look.

    Raises AnalysisError for a cursor of something else.
    """

    def __init__(
        self, found: Found, ask: Ask, cursor: str | None = None, *, keys: Sequence[str] = (), rows: int = ROWS
    ) -> None:
        super().__init__(found, cursor, keys=keys, rows=rows)
        self._ask = ask
        self._last: Mapping[str, Any] = {}

    def _read(self) -> tuple[list[Reading], list[str]]:
        reply, self.seen = self._ask(self._files.get("node"))
        self._last = reply["observation"]
        self._files = {"node": self.seen.cursor}
        paths = set(self._found.info.segments)
        kind = self._found.info.kind
        # TensorBoard begins new files in the same folder.
        mine = [
            reading
            for reading in remote.readings_of(reply["run"])
            if reading.path in paths or (kind == "tensorboard" and reading.kind == kind)
        ]
        restarts = [note for reading in mine for note in reading.notes if "was read from its beginning" in note]
        return mine, restarts

    def state(self) -> State:
        """How the job stands, as its node proves it."""
        return remote.state_of(self._last)

    def _log(self) -> list[RunAlert]:
        """What the scan of the job's log found anew."""
        findings = self._last.get("findings") or []
        known = self._logs.get("offset", -1)
        self._logs = {"offset": max([known, *(finding["offset"] for finding in findings)])}
        return [
            RunAlert(found["name"], found["severity"], None, f"out.log:{found['line']}: {found['text']}")
            for found in findings
            if found["offset"] > known
        ]
