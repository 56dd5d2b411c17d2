"""Figures and states as a person reads them."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from typing import Any

from stoker.operations.node_values import Gpu
from stoker.operations.values import Freshness, Job, Metric

# Python writes no longer number in digits.
_MOST_BITS = 14_000


def duration(seconds: float | None) -> str:
    """`33 s`, `4 m 02 s`, `3 h 12 m`, `2 d 4 h`; `-` when it is not known."""
    if seconds is None:
        return "-"
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} m"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def age(seconds: float) -> str:
    """A duration of which nobody needs the tenths: `3 s`, `40 s`, `12 m`."""
    whole = max(0, round(seconds))
    if 60 <= whole < 3600:
        return f"{whole // 60} m"
    return f"{whole} s" if whole < 60 else duration(whole)


def size(count: float | None) -> str:
    """`14 bytes`, `1.3 MB` (powers of 1000, as disks are sold); `-` when it is not known."""
    if count is None:
        return "-"
    if count < 1000:
        return f"{count:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.5:
            return f"{count:.1f} {unit}" if count < 99.95 else f"{count:.0f} {unit}"
    return f"{count / 1000:.1f} TB"


def memory(count: float | None) -> str:
    """Memory in GiB as GPUs are described: `24 GB`; `-` when it is not known."""
    if count is None:
        return "-"
    amount = count / 1024**3
    return f"{amount:.0f} GB" if amount >= 9.95 else f"{amount:.1f} GB"


def number(value: float | None) -> str:
    """A metric's value in few digits."""
    if value is None:
        return "-"
    if math.isnan(value) or math.isinf(value):
        return str(value)
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e15 else f"{value:.4g}"


def command(job: Job) -> str:
    """The command on one line, as a shell would take it; newlines and control characters are shown, not obeyed."""
    return command_text(job.argv, job.script)


def command_text(argv: Sequence[str] | None, script: str | None) -> str:
    """The same for a command that is no job."""
    if argv is not None:
        return one_line(" ".join(quoted(argument) for argument in argv))
    lines = (script or "").strip().splitlines()
    more = f"   (script of {len(lines)} lines)" if len(lines) > 1 else ""
    return one_line(lines[0] if lines else "") + more


def quoted(argument: str) -> str:
    """One argument, quoted only where a shell needs it; `$'..'` where it has characters that would break the line."""
    if any(ord(c) < 32 or ord(c) == 127 for c in argument):
        escaped = argument.replace("\\", "\\\\").replace("'", "\\'")
        return "$'" + "".join(_escape(c) for c in escaped) + "'"
    return shlex.quote(argument)


def one_line(text: str) -> str:
    """Text of somebody else on one line, without anything that a terminal would obey."""
    from ansible_collections.stoker.fleet.plugins.module_utils.terminal_text import safe_text

    flat = "".join(_escape(c) if c in "\n\r\t\v\f" else c for c in text)
    return str(safe_text(flat))


def _escape(c: str) -> str:
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return named.get(c) or (f"\\x{ord(c):02x}" if ord(c) < 32 or ord(c) == 127 else c)


def state(job: Job, now: float) -> str:
    """`running`, `failed (oom)`, `failed (7)`, `waiting for a GPU`, `unreachable 40 s`."""
    if job.unreachable_since is not None:
        return f"unreachable {age(now - job.unreachable_since)}"
    if job.stop_requested and not job.finished:
        return "stopping"
    if job.state == "queued":
        if job.next_attempt_at is not None:
            return f"retry in {age(job.next_attempt_at - now)}" if job.next_attempt_at > now else "retry due"
        if job.waiting is not None and job.gpus_asked:
            return "waiting for a GPU" if job.gpus_asked == 1 else f"waiting for {job.gpus_asked} GPUs"
        return "queued"
    if job.state in ("failed", "dead") and job.reason == "code" and job.exit_code is not None:
        return f"{job.state} ({job.exit_code})"
    if job.state in ("failed", "dead") and job.reason == "signal" and job.signal is not None:
        return f"{job.state} ({signal_name(job.signal)})"
    if job.state in ("failed", "lost", "dead") and job.reason:
        return f"{job.state} ({job.reason})"
    return job.state


def signal_name(number: int) -> str:
    """`SIGKILL`, or the number where there is no name."""
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def gpus(job: Job) -> str:
    """The indexes of the GPUs that a job holds; how many it waits for is in its state."""
    if not job.gpus:
        return "-"
    known = [
        str(index) if index is not None else uuid[:12] for index, uuid in zip(job.gpu_indexes, job.gpus, strict=True)
    ]
    return ",".join(known)


def freshness(value: Freshness, ask: str | None) -> str:
    """`as of 3 s ago · stoker jobs --live asks now`."""
    if value.source == "live":
        return "asked just now"
    told = "as it was written down; no node has told yet" if value.age_s is None else f"as of {age(value.age_s)} ago"
    if value.age_s == 0:
        told = "as of now"
    return f"{told} · {ask} asks now" if ask else told


def sparkline(metric: Metric, width: int = 12, ascii_only: bool = False) -> str:
    """The course of a metric in `width` characters at most; empty where there is too little to see."""
    values = [value for _, value in metric.series if math.isfinite(value)]
    if len(values) < 3:
        return ""
    picked = _thinned(values, width)
    low, high = min(picked), max(picked)
    marks = "_.-=^" if ascii_only else "▁▂▃▄▅▆▇"
    step = (high - low) or 1.0
    return "".join(marks[round((value - low) / step * (len(marks) - 1))] for value in picked)


def _thinned(values: Sequence[float], width: int) -> list[float]:
    if len(values) <= width:
        return list(values)
    return [values[round(i * (len(values) - 1) / (width - 1))] for i in range(width)]


def plain(value: Any) -> Any:
    """A value as JSON can hold it: dataclasses as mappings, sets as lists, bytes and what JSON lacks as text."""
    import dataclasses
    from collections.abc import Mapping

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        out = {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        if isinstance(value, Job):
            out["finished"] = value.finished
        if isinstance(value, Gpu):
            out["jobs"] = list(value.jobs)
        return out
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, set | frozenset):
        return sorted((plain(inner) for inner in value), key=str)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return hex(value)
    return value if value is None or isinstance(value, str | int | float) else str(value)


def safe(data: bytes | str) -> str:
    """Text of somebody else, its line ends kept, without anything that a terminal would obey."""
    from ansible_collections.stoker.fleet.plugins.module_utils.terminal_text import safe_text

    return str(safe_text(data))
