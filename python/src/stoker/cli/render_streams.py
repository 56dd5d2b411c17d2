"""Answers that come piece by piece: logs, watching, rounds."""

from __future__ import annotations

import codecs
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stoker.cli import format as fmt
from stoker.cli import render_jobs
from stoker.cli.out import Out
from stoker.operations.dispatch import RoundStream
from stoker.operations.events import Event, EventStream
from stoker.operations.logs import LogStream
from stoker.operations.values import Change, Job, RoundReport
from stoker.operations.waiting import waits_for
from stoker.operations.watch import WatchStream

LONGEST_ESCAPE = 4096
_HALF_ESCAPE = re.compile(
    r"\x1b\[[0-?]*[ -/]*\Z"  # a control sequence (CSI)
    r"|\x1b[\]PX^_][^\x07\x1b\r\n]*\x1b?\Z"  # a string (OSC, DCS ...), which BEL or ESC \ ends
    r"|\x1b[ -/]*\Z"
)


class SafeText:
    """Bytes of a log, as they come, to text that a terminal can be given.

    Characters cut between two pieces are put together again; a lone carriage return (a progress bar) begins a new line.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def feed(self, data: bytes, last: bool = False) -> str:
        """The text of `data`; with `last` also what was held back."""
        text = self._held + self._decoder.decode(data, last)
        self._held = ""
        if not last:
            text, self._held = _hold_back(text)
        return fmt.safe(text.replace("\r\n", "\n").replace("\r", "\n"))


def _hold_back(text: str) -> tuple[str, str]:
    """What may be shown now; and what the next piece may change: a carriage return, half an escape sequence."""
    if text.endswith("\r"):
        return text[:-1], "\r"
    if half := _HALF_ESCAPE.search(text, max(0, len(text) - LONGEST_ESCAPE)):
        return text[: half.start()], half.group()
    return text, ""


def log(stream: LogStream, out: Out, *, raw: bool) -> int:
    """Show a log; the job's outcome after it when it was followed. Ctrl-C ends the showing."""
    safe = SafeText()
    at_line_start = True
    try:
        for piece in stream:
            if raw:
                out.bytes(piece.data)
                continue
            text = safe.feed(piece.data)
            if text:
                out.text(text)
                at_line_start = text.endswith("\n")
    except KeyboardInterrupt:
        if stream.follow:
            out.note(f"\nstoker: {stream.job} goes on without you. stoker logs -f {stream.job} shows it again")
        raise
    rest = "" if raw else safe.feed(b"", last=True)
    out.text(rest)
    if not raw and not (rest or at_line_start) and out.is_terminal:
        out.text("\n")
    if stream.follow and stream.outcome is not None:
        said = Out(ascii_only=out.ascii_only, stdout=out.stderr, stderr=out.stderr)
        render_jobs.outcome(stream.outcome, said)
    return log_exit_code(stream)


def log_exit_code(stream: LogStream) -> int:
    """A log that was followed to the end: 0 when the job succeeded, else 1. A log that was only read: 0."""
    if not stream.follow or stream.outcome is None:
        return 0
    return outcome_code(stream.outcome)


def outcome_code(job: Job) -> int:
    """0 when the job succeeded and its results are here, where that was asked; else 1."""
    missing = job.results is not None and job.results.problem is not None and job.results.fetched_at is None
    return 0 if job.state == "succeeded" and not missing else 1


def watch(stream: WatchStream, out: Out) -> int:
    """Each look: a head when something changed, then the new part of the log."""
    head = ""
    safe = SafeText()
    try:
        for report in stream:
            job = report.job
            sample = _sample(job.sample)
            now = f"{job.id}  {fmt.state(job, time.time())}" + (f" on {job.node}" if job.node else "")
            if job.state in ("queued", "starting") and (why := fmt.one_line(waits_for(job))):
                now += f": {why}"
            if now + sample != head or report is None:
                head = now + sample
                out.line((now, "bold"), f"  {fmt.duration(job.elapsed_s)}", f"  {sample}" if sample else "")
            if report.log_source == "copy":
                out.note(f"the new bytes are from the stored copy: {job.node} cannot be reached")
            if report.new_log:
                text = safe.feed(report.new_log)
                out.text(text if text.endswith("\n") or not out.is_terminal else text + "\n")
            for problem in report.problems:
                out.note(fmt.one_line(f"{problem.node or 'stoker'}: {problem.message}"))
    except KeyboardInterrupt:
        out.note(f"\nstoker: {stream.job} goes on without you. stoker watch {stream.job} shows what is new then")
        raise
    out.text(safe.feed(b"", last=True))
    last = stream.last
    if last is not None and last.job.finished:
        render_jobs.outcome(last.job, out)
    return int(bool(last and last.problems))


def _sample(sample: object) -> str:
    """The newest GPU sample in few words."""
    gpus = sample.get("gpus") if isinstance(sample, dict) else None
    words = []
    for gpu in gpus if isinstance(gpus, list) else []:
        load, used = gpu.get("util_pct"), gpu.get("mem_used_mib")
        words.append(
            f"GPU {gpu.get('index', '?')} {'load unknown' if load is None else f'load {load:.0f}%'}, "
            f"{'memory unknown' if used is None else fmt.memory(used * 1024 * 1024)}"
        )
    return "; ".join(words)


def rounds(stream: RoundStream, out: Out) -> int:
    """`stoker dispatch`: what each round changed. A loop says nothing of rounds that changed nothing.

    It tells once what is wrong with a node, until that answers again.
    """
    looping, known = False, dict[str | None, str]()
    for report in stream:
        for change in report.changes:
            if change.type == "node.reachable":
                known.pop(change.node, None)
        new = tuple(problem for problem in report.problems if known.get(problem.node) != problem.message)
        known.update({problem.node: problem.message for problem in report.problems})
        if all(problem.node is not None for problem in report.problems):
            known.pop(None, None)
        round_report(replace(report, problems=new), out, even_if_nothing=not looping)
        looping = True
    return int(bool(stream.last and stream.last.problems))


def round_report(report: RoundReport, out: Out, *, even_if_nothing: bool) -> None:
    """What one round changed, and what went wrong in it."""
    for change in report.changes:
        out.line(fmt.one_line(_change(change)))
    for problem in report.problems:
        out.note(fmt.one_line(f"{problem.node or 'stoker'}: {problem.message}"))
    if even_if_nothing or report.changes:
        counts = f"{report.running} running, {report.waiting} waiting"
        out.line((f"round of {fmt.duration(report.elapsed_s)}: {counts}", "dim"))


def events(stream: EventStream, out: Out) -> int:
    """`stoker events`: one line each, with its number. Ctrl-C ends the following."""
    last = None
    try:
        for event in stream:
            out.line((f"{event.seq:>6}  ", "dim"), fmt.one_line(_event(event)))
            last = event.seq
    except KeyboardInterrupt:
        if stream.follow:
            out.note(f"\nstoker: stoker events --follow --since {last or 0} goes on from here" if last else "")
        raise
    if last is None:
        out.note("no events" if not stream.follow else "")
    return 0


def _checkpoint(told: Mapping[str, Any]) -> str:
    step = told.get("step")
    return f"{told.get('name')}" + (f" (step {step})" if step is not None else "")


def _event(event: Event) -> str:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.at))
    about = " ".join(part for part in (event.job, f"on {event.node}" if event.node else "") if part)
    details = event.data.get("evidence") or event.data.get("message") or event.data.get("reason")
    if event.type == "checkpoint.pulled":
        details = _checkpoint(event.data)
    elif resume := event.data.get("resume"):
        details = f"goes on from {_checkpoint(resume)}"
    return f"{stamp}  {event.type:<18}  {about}" + (f"  {details}" if details else "")


def _change(change: Change) -> str:
    stamp = time.strftime("%H:%M:%S", time.localtime(change.at))
    about = " ".join(part for part in (change.job, change.type, f"on {change.node}" if change.node else "") if part)
    return f"{stamp}  {about}"
