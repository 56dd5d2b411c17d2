# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The metrics of a job, digested where they lie. Only bytes that are new are read: the digest is kept with the job."""

from __future__ import annotations

import base64
import json
import os
import zlib

from . import identity, run_files, run_machine
from .observe import observe
from .readers import mlflow_run, sqlite_store, tail, trainer_state
from .readers.columns import Columns
from .readers.digest import Digest
from .statedir import NodeError, write_json

# How long an answer may be, in bytes, unless it is to hold all points.
ROOM_BYTES = 24 * 1024
# What is more is not sent at once: 8 bytes each, before packing.
MOST_POINTS = 8 * 1000 * 1000
# Of one file. What is more is counted.
MOST_METRICS = 1000
# Of cursors, and of what is kept beside the job.
_VERSION, _KEPT_VERSION = 1, 2
_BESIDE = ("hparams.yaml", "config.json", "config.yaml", "stoker-metrics.yml")
_LARGEST_TEXT = 64 * 1024
_LOG_LINES = 50
# Of an attempt that is so nobody writes any more.
_OVER = ("succeeded", "failed", "cancelled", "lost")
_MERGED = ("info", "config", "directions", "summary")


def look(state, request):
    """Answer the op ``run_info``. Raises NodeError."""
    attempt = state.attempt(request["job"], request.get("attempt"))
    # First how the job stands, then its files: what it wrote before its end is then in the answer.
    seen = observe(attempt)
    notes = []
    kept = _kept(attempt)
    paths = {one["path"] for one in kept.values()}
    folder, found = run_files.sources(attempt, state, request.get("path"), paths, notes)
    since, full = request.get("since"), bool(request.get("full"))
    known = _cursor(since, attempt) if since is not None else {} if full else kept
    files = {source.key: _File(source, known.get(source.key), since is not None, full) for source in found}
    ended = seen["state"] in _OVER
    for key, one in list(files.items()):
        try:
            one.grow(ended)
        except OSError as problem:
            # What was read of it before may be half mended by now.
            del files[key]
            known.pop(key, None)
            run_files.unreadable(one.source.path, problem, notes)
    read = sum(one.read_bytes for one in files.values())
    machine = run_machine.look(attempt, state) if request.get("machine") else None
    cursor = _packed_cursor(attempt, {key: one.place() for key, one in files.items()})
    if since is None and not full and read:
        _keep(attempt, {**_still_there(known, files), **{key: one.state() for key, one in files.items()}}, notes)
    told = [one.report_head(folder) for one in files.values()]
    columns = _metrics(files.values(), told, full, request.get("limit") or ROOM_BYTES)
    return {
        "run": {
            "job": attempt.job, "attempt": attempt.number, "folder": folder, "now": identity.now(), "notes": notes,
            "files": told, "columns": columns, "cursor": cursor, "read_bytes": read, "full": full,
            "printed_at": _printed_at(attempt), "machine": machine,
        },
        "observation": seen,
    }  # fmt: skip


def _printed_at(attempt):
    """When the command printed last; None where it printed nothing."""
    written = []
    for name in ("out.log", "stdout.log", "stderr.log"):
        try:
            status = os.stat(attempt.file(name))
        except FileNotFoundError:
            continue
        if status.st_size:
            written.append(status.st_mtime)
    return max(written, default=None)


def _metrics(files, told, full, limit):
    """Put the metrics into what is told of the files; the columns of all of them."""
    columns = Columns()
    if full and sum(metric.count for one in files for metric in one.metrics.values()) > MOST_POINTS:
        raise NodeError(
            "not_supported",
            "the run has more than {0:,} points, too many to be sent at once".format(MOST_POINTS),
            "name one of its files, or fetch them: stoker sync pull",
        )
    room = None if full else limit // max(1, sum(len(one.metrics) for one in files))
    for one, entry in zip(files, told):
        entry["metrics"] = {name: metric.report(columns, room) for name, metric in one.metrics.items()}
    return columns.texts


class _File:
    """One source and what is known of it: the digest of each metric, and where reading goes on."""

    def __init__(self, source, known, fresh, full):
        self.source = source
        self.fresh = fresh
        self.keep = None if full else Digest().keep
        self.restarted = []
        self.read_bytes = 0
        known = known or {}
        if source.kind in tail.KINDS and not tail.is_state(known.get("at")):
            known = {}  # where reading went on is not known, so neither is what was counted
        self.at = known.get("at")
        # An answer that has only what is new begins with no figures.
        self.stamp = None
        self.head = {} if fresh else known.get("head") or {}
        self.metrics = {} if fresh else {name: Digest.of(one) for name, one in (known.get("metrics") or {}).items()}
        self.counts = known.get("counts") or {}

    def grow(self, ended=False):
        """Read what is new; `ended`: nobody writes to it any more. Raises OSError."""
        self.stamp = run_files.Stamp(self.source.path)
        if self.source.kind in tail.KINDS:
            self._grow_by_tail(ended)
            return
        at = {"stamp": self.stamp.mark}
        if self.at != at:
            self._take_whole(self._whole())
            self.read_bytes += self.stamp.bytes
        self.at = at

    def _take_whole(self, reading):
        """A file that is written anew each time: all of it counts anew, or what is beyond the points that were told."""
        if not self.fresh:
            self.head, self.metrics = {}, {}
        counts = {name: len(series.values) for name, series in reading.series.items()}
        self._take(reading, self.counts if self.fresh else {})
        self.counts = counts

    def _grow_by_tail(self, ended):
        one = tail.Tail(self.source.kind, self.source.path, self.at)
        while True:
            before = one.state["at"]
            readings = one.read(ended)
            if one.restarted is not None:
                self.restarted.append(one.restarted)
                self.metrics, self.head, before = {}, {}, 0
            for reading in readings:
                self._take(reading, {})
            self.read_bytes += max(0, one.state["at"] - before)
            if one.state["at"] <= before:
                break
        self.at = one.state

    def _whole(self):
        path, kind = self.source.path, self.source.kind
        if kind == "trainer_state":
            return trainer_state.read_trainer_state(path)
        if self.source.run is None:
            return mlflow_run.read_mlflow_run(path, True)
        return sqlite_store.read_store(kind, path, self.source.run, True)

    def _take(self, reading, told):
        head = self.head
        for name in _MERGED:
            head.setdefault(name, {}).update(getattr(reading, name))
        head["exits"] = (head.get("exits", []) + reading.exits)[-10:]
        head["log"] = (head.get("log", []) + [line for line in reading.log if line.strip()])[-_LOG_LINES:]
        head["notes"] = list(dict.fromkeys(head.get("notes", []) + reading.notes))[-20:]
        skipped = head.setdefault("skipped", {})
        for reason, count in reading.skipped.items():
            skipped[reason] = skipped.get(reason, 0) + count
        for name, series in reading.series.items():
            if name not in self.metrics and len(self.metrics) >= MOST_METRICS:
                reason = "points of metrics beyond {0}".format(MOST_METRICS)
                skipped[reason] = skipped.get(reason, 0) + len(series.values)
                continue
            metric = self.metrics.setdefault(name, Digest(self.keep))
            metric.add(*_beyond(series, told.get(name, 0), reading.kind == "mlflow"))

    def place(self):
        """Where reading goes on, for a cursor."""
        return {"at": self.at, "counts": self.counts}

    def state(self):
        """What a later look goes on from."""
        return dict(
            self.place(), path=self.source.path, kind=self.source.kind, head=self.head,
            metrics={name: metric.state() for name, metric in self.metrics.items()},
        )  # fmt: skip

    def report_head(self, folder):
        """What is known of the file beside its metrics."""
        source, stamp, unread = self.source, self.stamp, []
        beside = _beside(os.path.dirname(source.path), unread)
        self.head.setdefault("notes", []).extend(unread)
        if self.restarted:
            self.head.setdefault("notes", []).append(
                "{0} was read from its beginning: {1}".format(source.place, self.restarted[-1])
            )
        return dict(
            self.head, kind=source.kind, path=source.path, place=source.place, run=source.run, held=source.held,
            bytes=stamp.bytes, changed=stamp.changed, beside=beside,
        )  # fmt: skip


def _beyond(series, count, sorted_by_step):
    """(steps, values, times) of what follows the first `count` points; of fewer points than that, all."""
    places = range(len(series.values))
    if 0 < count <= len(places):
        if sorted_by_step:
            # Not as it was written: what is new may be of an earlier step, and is newer by its time alone.
            places = sorted(sorted(places, key=lambda place: series.times[place])[count:])
        else:
            places = places[count:]
    columns = (series.steps, series.values, series.times)
    return [None if column is None else [column[place] for place in places] for column in columns]


def _beside(folder, notes):
    """The settings that lie next to the metrics, as text."""
    found = {}
    for name in _BESIDE:
        path = os.path.join(folder, name)
        try:
            if os.path.isfile(path) and os.path.getsize(path) <= _LARGEST_TEXT:
                with open(path, encoding="utf-8", errors="replace") as handle:
                    found[name] = handle.read()
        except OSError as problem:
            run_files.unreadable(path, problem, notes)
    return found


# -- what is kept, and cursors ------------------------------------------------------------------------------------


def _kept(attempt):
    """The digest beside the job; nothing where there is none, or one of another version or a damaged one."""
    try:
        kept = attempt.read("run.json")
        if kept is not None and kept["version"] == _KEPT_VERSION:
            for one in kept["files"].values():
                os.fsencode(one["path"] + one["kind"])
                for metric in one["metrics"].values():
                    Digest.of(metric)
            return kept["files"]
    except (ValueError, KeyError, TypeError, AttributeError):
        pass  # made again from the files
    return {}


def _still_there(known, files):
    """Without what went away, and without older checkpoints: their log is in the newest one's."""
    return {
        key: one
        for key, one in known.items()
        if key in files or (one["kind"] != "trainer_state" and os.path.exists(one["path"]))
    }


def _keep(attempt, files, notes):
    try:
        write_json(attempt.file("run.json"), {"version": _KEPT_VERSION, "files": files})
    except OSError as problem:
        notes.append("the digest cannot be kept on the node: {0}".format(problem.strerror or problem))


def _packed_cursor(attempt, places):
    held = {"version": _VERSION, "job": attempt.job, "attempt": attempt.number, "files": places}
    data = json.dumps(held, separators=(",", ":")).encode("utf-8", "surrogateescape")
    return base64.urlsafe_b64encode(zlib.compress(data, 9)).decode("ascii")


def _is_place(one):
    """Whether something is what `_File.place` gives."""
    at, counts = one["at"], one["counts"]
    known = at is None or tail.is_state(at) or list(at) == ["stamp"]
    return known and all(isinstance(count, int) and count >= 0 for count in counts.values())


def _cursor(text, attempt):
    """Where an earlier answer ended. Raises NodeError for what is no cursor of this attempt."""
    try:
        held = json.loads(zlib.decompressobj().decompress(base64.urlsafe_b64decode(text.encode("ascii")), 1 << 22))
        if held["version"] == _VERSION and all(map(_is_place, held["files"].values())):
            if (held["job"], held["attempt"]) == (attempt.job, attempt.number):
                return held["files"]
            raise NodeError(
                "bad_request", "this is a cursor of attempt {0} of {1}".format(held["attempt"], held["job"])
            )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, zlib.error):
        pass
    raise NodeError("bad_request", "this is no cursor", "take `cursor` of an earlier answer, or leave it out")
