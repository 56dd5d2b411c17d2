"""A run that goes on: what is new in its files since they were read last, and what of it is alarming."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import json
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ansible_collections.stoker.fleet.plugins.module_utils.logscan import LogScanner
from ansible_collections.stoker.fleet.plugins.module_utils.readers import tail
from ansible_collections.stoker.fleet.plugins.module_utils.readers.reading import Reading, Series
from stoker.analysis import runs, thin
from stoker.analysis.answers import RunAlert, RunNews
from stoker.analysis.errors import AnalysisError, Unreadable
from stoker.analysis.find import LOGS
from stoker.analysis.merge import merged
from stoker.analysis.model import Metric
from stoker.analysis.naming import chosen
from stoker.analysis.phrases import number
from stoker.analysis.runs import Found
from stoker.analysis.state import judge, writers
from stoker.analysis.values import Seen, State

ROWS = 10
_VERSION = 2
_SCAN_BYTES = 16 * 1024 * 1024


class Follower:
    """Looks at one run, again and again. `cursor` (of an earlier look) says where to go on; without one, at the end.

    Raises AnalysisError for a cursor of something else.
    """

    def __init__(self, found: Found, cursor: str | None = None, *, keys: Sequence[str] = (), rows: int = ROWS) -> None:
        if rows < 1:
            raise AnalysisError(f"{rows} rows are none", next_step="-n 1 or more")
        self._found = found
        self._keys = keys
        self._rows = rows
        self._first = cursor is None
        state = _decoded(cursor, _named(found)) if cursor is not None else {}
        self._files: dict[str, Any] = state.get("files", {})
        self._logs: dict[str, Any] = state.get("logs", {})
        self._odd: list[str] = state.get("odd", [])
        self._steps: dict[str, float] = state.get("steps", {})
        self._counts: dict[str, int] = state.get("counts", {})
        self._exits: list[int] = state.get("exits", [])
        self.seen: Seen | None = None

    def look(self, tokens: int | None = None) -> RunNews:
        """What is new. `tokens` is how long its rows may be (as CSV); they are thinned, with their extremes, to that.

        Raises Unreadable when a file cannot be read at all, NotThere for a key that no new metric has on a first look.
        """
        readings, restarts = self._read()
        metrics, _ = merged(readings, one_writer=self._found.info.kind != "tensorboard")
        if metrics and self._first:
            chosen(self._keys, metrics, self._found.info.title)
        wanted = [name for name in sorted(metrics) if not self._keys or name in _matching(self._keys, metrics)]
        picked, total = self._thinned([metrics[name] for name in wanted], tokens)
        alerts = [
            *(RunAlert("restart", "warning", None, text) for text in restarts),
            *self._values(metrics),
            *self._log(),
        ]
        for name, metric in metrics.items():
            self._steps[name] = max(self._steps.get(name, -np.inf), metric.last_step)
        skipped: dict[str, int] = {}
        for reading in readings:
            self._exits += reading.exits
            for reason, count in reading.skipped.items():
                skipped[reason] = skipped.get(reason, 0) + count
        self._first = False
        text = thin.csv(wanted, picked)
        info = self._found.info
        return RunNews(
            info.id, info.title, time.time(), tuple(wanted), tuple(picked), total, tuple(alerts), skipped,
            self.state(), thin.tokens(text), self._cursor(), self.seen,
        )  # fmt: skip

    def state(self) -> State:
        """How the run stands now, by its exit records and by who has its files open."""
        paths = [path for source in self._found.sources for path in source.paths]
        kind = self._found.info.kind
        if kind not in tail.KINDS or self._found.server is not None:
            return self._again().info.state
        return judge(self._exits, paths, kind == "wandb", writers())

    def _read(self) -> tuple[list[Reading], list[str]]:
        kind = self._found.info.kind
        if kind not in tail.KINDS or self._found.server is not None:
            return self._whole(), []
        readings, restarts = [], []
        for path in self._paths():
            one = tail.Tail(kind, str(path), self._files.get(str(path)))
            grows = True
            while grows:
                before = one.state["at"]
                try:
                    readings += one.read()
                except OSError as problem:
                    raise Unreadable(f"{path} cannot be read: {problem.strerror or problem}") from problem
                if one.restarted is not None:
                    restarts.append(f"{path.name} is read from its beginning: {one.restarted}")
                # What is newest is at the end, and a read takes a part of a long file.
                grows = self._first and one.state["at"] > before
            self._files[str(path)] = one.state
        return readings, restarts

    def _paths(self) -> list[Path]:
        """The run's files; TensorBoard begins new ones in the same folder."""
        paths = [path for source in self._found.sources for path in source.paths]
        if self._found.info.kind != "tensorboard" or not paths[0].parent.is_dir():
            return paths
        beside = (path for path in sorted(paths[0].parent.iterdir()) if ".tfevents." in path.name and path.is_file())
        return list(dict.fromkeys([*paths, *beside]))

    def _whole(self) -> list[Reading]:
        """A file that is written anew each time is read whole; what is beyond the steps that were told is new.

        So is, of the newest step, what is beyond the points that were told: some writers name no step.
        """
        run = runs.read(self._again())
        reading = Reading(run.info.kind, run.info.segments[-1])
        for name, metric in run.metrics.items():
            known = self._steps.get(name, -np.inf)
            more = np.arange(len(metric)) >= self._counts.get(name, 0)
            new = (metric.steps > known) | ((metric.steps == known) & more)
            self._counts[name] = len(metric)
            times = None if metric.times is None else metric.times[new]
            if new.any():
                reading.series[name] = Series(metric.steps[new], metric.values[new], times)
        return [reading]

    def _again(self) -> Found:
        """The same run, found again: a Trainer writes each checkpoint into a folder of its own."""
        if self._found.server is not None:
            address = replace(self._found.server.address, run=self._found.info.id)
            (self._found,) = runs.runs_in(address)
            return self._found
        source, kind = self._found.sources[-1], self._found.info.kind
        path = source.paths[0]
        folder = path.parent.parent if path.parent.name.startswith("checkpoint-") else path.parent
        # Neptune's runs are in several files; a store is one file, Aim's one folder with several runs.
        where = folder if kind in ("trainer_state", "neptune") else path.parents[3] if kind == "aim" else path
        same = [found for found in runs.runs_in(where) if found.info.kind == kind]
        for found in same:
            if (found.sources[-1].paths[0], found.sources[-1].run) == (path, source.run):
                return found
        return same[-1] if same and kind == "trainer_state" else self._found

    def _thinned(self, metrics: Sequence[Metric], tokens: int | None) -> tuple[list[Any], int]:
        """The rows to tell: on a first look the newest, then all that are new, as far as they fit."""
        if self._first:
            steps = np.unique(np.concatenate([metric.steps for metric in metrics])) if metrics else np.zeros(0)
            since = steps[-self._rows] if len(steps) > self._rows else -np.inf
            metrics = [_since(metric, float(since)) for metric in metrics]
            metrics = [metric for metric in metrics if len(metric)]
        return thin.rows(metrics, self._rows, tokens)

    def _values(self, metrics: Mapping[str, Metric]) -> list[RunAlert]:
        """A metric that becomes no finite number, once until it is one again."""
        alerts = []
        for name, metric in metrics.items():
            odd = np.flatnonzero(~np.isfinite(metric.values))
            was, is_now = name in self._odd, bool(len(odd)) and odd[-1] == len(metric) - 1
            if len(odd) and not was and (is_now or not self._first):
                # On a first look only what is still so is news.
                start = int(odd[0]) if not self._first else _last_run(odd)
                value = number(float(metric.values[start]))
                text = f"{name} is {value} since step {number(float(metric.steps[start]))}"
                alerts.append(RunAlert("not finite", "critical", float(metric.steps[start]), text))
            if (was or (len(odd) and not self._first)) and not is_now:
                text = f"{name} is finite again at step {number(metric.last_step)}: {number(metric.last)}"
                alerts.append(RunAlert("finite again", "info", metric.last_step, text))
            self._odd = [*(other for other in self._odd if other != name), *([name] if is_now else [])]
        return alerts

    def _log(self) -> list[RunAlert]:
        """What the scan of jobs' logs finds in the run's output."""
        alerts = []
        for path in self._outputs():
            known = self._logs.get(str(path), {})
            try:
                scanner, found, inode = _scanned(path, known, to_end=self._first)
            except OSError:
                continue  # it is not there, or went away
            self._logs[str(path)] = {"inode": inode, "scanner": scanner}
            alerts += [RunAlert(f["name"], f["severity"], None, f"{path.name}:{f['line']}: {f['text']}") for f in found]
        return alerts

    def _outputs(self) -> list[Path]:
        if self._found.server is not None:
            return []
        path = self._found.sources[-1].paths[-1]
        if self._found.info.kind == "log":
            return [path]
        named = [path.parent / "files" / "output.log"] if self._found.info.kind == "wandb" else []
        return [log for log in (*named, *(path.parent / name for name in sorted(LOGS))) if log.is_file()]

    def _cursor(self) -> str:
        held = {
            "version": _VERSION, "run": _named(self._found), "files": self._files, "logs": self._logs, "odd": self._odd,
            "steps": self._steps, "counts": self._counts, "exits": self._exits[-1:],
        }  # fmt: skip
        return base64.urlsafe_b64encode(zlib.compress(json.dumps(held, separators=(",", ":")).encode(), 9)).decode()


def _named(found: Found) -> str:
    """Which run a cursor is of: ids are unique in a folder alone."""
    if found.server is not None:
        return f"{found.info.id} in {found.server.address}"
    if found.info.seen is not None:
        return f"{found.info.id} of {found.info.seen.job}"
    folder = found.sources[0].paths[0].resolve().parent
    return f"{found.info.id} in {folder.parent if folder.name.startswith('checkpoint-') else folder}"


def _matching(keys: Sequence[str], metrics: Mapping[str, Metric]) -> set[str]:
    return {name for key in keys for name in metrics if name == key or fnmatch.fnmatchcase(name, key)}


def _since(metric: Metric, step: float) -> Metric:
    keep = metric.steps >= step
    return Metric(metric.name, metric.steps[keep], metric.values[keep])


def _last_run(odd: Any) -> int:
    """Where the newest of the unbroken rows of indexes begins."""
    gaps = np.flatnonzero(np.diff(odd) > 1)
    return int(odd[gaps[-1] + 1] if len(gaps) else odd[0])


def _scanned(path: Path, known: Mapping[str, Any], *, to_end: bool) -> tuple[dict[str, Any], list[dict[str, Any]], int]:
    """(state of the scanner, what it found anew, inode). A log that is shorter, or another file, begins again."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        state = known.get("scanner") if known.get("inode") == status.st_ino else None
        if state is not None and state["position"] > status.st_size:
            state = None
        scanner = LogScanner(state={**state, "findings": [], "last_finding": None} if state else None)
        start = -1
        while scanner.position > start and (to_end or start < 0):
            start = scanner.position
            file.seek(start)
            scanner.feed(file.read(_SCAN_BYTES), start)
    return scanner.state(), scanner.findings, status.st_ino


def _decoded(cursor: str, run: str) -> dict[str, Any]:
    """What a cursor holds. Raises AnalysisError."""
    try:
        plain = zlib.decompressobj().decompress(base64.urlsafe_b64decode(cursor.encode()), 1 << 22)
        held = json.loads(plain)
        shape = {"files": dict, "logs": dict, "odd": list, "steps": dict, "counts": dict, "exits": list}
        if held["version"] == _VERSION and all(isinstance(held[key], kind) for key, kind in shape.items()):
            if held["run"] != run:
                raise AnalysisError(f"--since: this is a cursor of run {held['run']}, not of {run}")
            return dict(held)
    except (ValueError, KeyError, TypeError, zlib.error, binascii.Error, RecursionError):
        pass
    raise AnalysisError("--since: this is no cursor", next_step="take `cursor` of an earlier answer, or leave it out")
