"""Showing an answer: as JSON, or by the renderer of its kind; and the exit code that goes with it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from stoker.cli import format as fmt
from stoker.cli.kinds import is_stream, renderer
from stoker.cli.out import Out
from stoker.errors import StokerError, UsageError
from stoker.operations import values
from stoker.operations.session import Session

if TYPE_CHECKING:
    from stoker.cli.build import Call
    from stoker.operations.logs import LogPiece

# What a terminal would obey or nobody would see, and JSON need not have as it is.
_UNSEEN = re.compile(
    "[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
    "\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


def show(value: Any, call: Call, out: Out, session: Session) -> int:
    """Print `value` and return the exit code of the command."""
    if is_stream(value):
        return _show_stream(value, call, out)
    follow = call.follow and isinstance(value, values.Submitted)
    if call.json:
        out.text(_json(call, value) + "\n")
    elif follow:
        from stoker.cli import render_jobs

        render_jobs.started(value, out)
    else:
        renderer(value)(value, out)
        freshness(value, out)
    say_problems(getattr(value, "problems", ()), out)
    if follow:
        from stoker.operations.logs import logs

        return _show_stream(logs(session, value.job.id, follow=True), call, out)
    return exit_code(value)


def freshness(value: Any, out: Out) -> None:
    """Say of the runs of jobs where and when they were read."""
    if type(value).__module__.startswith("stoker.analysis."):
        from stoker.cli import render_runs

        render_runs.freshness(value, out)


def exit_code(value: Any) -> int:
    """0: all well. 1: a node could not be asked, or the job that was waited for did not succeed.

    A value that has an `exit_code` of its own knows better.
    """
    code: int | None = getattr(value, "exit_code", None)
    if code is not None:
        return code
    if isinstance(value, values.Ended):
        from stoker.cli import render_streams

        return render_streams.outcome_code(value.job)
    if isinstance(value, values.StopList):
        return int(any(result.outcome not in ("stopped", "already_over", "given_up") for result in value.stopped))
    if isinstance(value, values.Submitted):
        refused = value.job.reason == "start" and value.job.elapsed_s is None
        return int(refused or (bool(value.problems) and not value.job.confirmed))
    return int(bool(getattr(value, "problems", ())))


def check_raw(call: Call, out: Out) -> None:
    """Refuse `--raw` on a terminal: what a job prints may be commands to the terminal."""
    if call.raw and out.is_terminal:
        raise UsageError(
            "--raw is for files and pipes: a log may hold commands to the terminal", next_step="... --raw | less"
        )


def _show_stream(stream: Any, call: Call, out: Out) -> int:
    if call.json:
        return _json_lines(stream, call, out)
    more = {"raw": call.raw} if _is_log(stream) else {}
    return int(renderer(stream)(stream, out, **more))


def _is_log(stream: Any) -> bool:
    return type(stream).__name__ == "LogStream"


def _json_lines(stream: Any, call: Call, out: Out) -> int:
    """A stream as JSON: one object a line; after a log, the job. A live view has one look to give."""
    problems = False
    for piece in [stream.once()] if hasattr(stream, "once") else stream:
        out.text(_json(call, piece) + "\n")
        problems = bool(getattr(piece, "problems", ()))
    if _is_log(stream):
        from stoker.cli import render_streams

        if stream.outcome is not None:
            out.text(_json(call, stream.outcome) + "\n")
        return render_streams.log_exit_code(stream)
    code: int | None = getattr(stream, "exit_code", None)
    return int(problems) if code is None else code


def document(operation: str, value: Any) -> dict[str, Any]:
    """An answer, or one piece of it, as it is printed with `--json`, and as an assistant gets it."""
    plain = fmt.plain(value)
    if type(value).__name__ == "LogPiece":
        plain = _log_piece(value)
    if isinstance(value, values.ExecReport):
        for entry, output in zip(plain["outputs"], value.outputs, strict=True):
            entry.update(_exact("stdout", output.stdout), **_exact("stderr", output.stderr))
    if isinstance(value, values.WatchReport):
        plain.update(_exact("new_log", value.new_log))
    return {"schema": "stoker.result/1", "operation": operation, "ok": True, "value": plain}


def failure(problem: StokerError, operation: str) -> dict[str, Any]:
    """What could not be done, in the same form."""
    error = {
        "message": problem.message,
        "next_step": problem.next_step,
        "exit_code": problem.exit_code,
        "node": getattr(problem, "node", None),
    }
    return {"schema": "stoker.result/1", "operation": operation, "ok": False, "error": error}


def _json(call: Call, value: Any) -> str:
    answer = document(call.operation.name, value)
    text = json.dumps(answer, ensure_ascii=not _utf8(), separators=(", ", ": "))
    return _UNSEEN.sub(lambda found: json.dumps(found[0])[1:-1], text)


def _utf8() -> bool:
    import sys

    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def _log_piece(piece: LogPiece) -> dict[str, Any]:
    where = {"job": piece.job, "attempt": piece.attempt, "offset": piece.offset, "next": piece.offset + len(piece.data)}
    return {**where, "source": piece.source, **_exact("data", piece.data)}


def _exact(name: str, data: bytes) -> dict[str, str]:
    """Bytes as text; where they are not UTF-8 also as base64, since text cannot hold them."""
    try:
        return {name: data.decode("utf-8")}
    except UnicodeDecodeError:
        return {name: data.decode("utf-8", "backslashreplace"), f"{name}_base64": base64.b64encode(data).decode()}


def say_problems(problems: Iterable[values.Problem], out: Out) -> None:
    """What could not be asked, in the nodes' own words, on standard error."""
    for problem in problems:
        who = f"{problem.node}: " if problem.node and not problem.message.startswith(f"{problem.node}:") else ""
        verb = "could not be asked: " if problem.kind == "unreachable" else ""
        out.note(fmt.one_line(f"{who}{verb}{problem.message}"))
        if problem.next_step:
            out.note(fmt.one_line(f"  next: {problem.next_step}"))
