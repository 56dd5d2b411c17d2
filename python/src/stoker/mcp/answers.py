"""What an operation answers, as an assistant gets it: the JSON of `--json` and the text of a terminal, both bounded."""

from __future__ import annotations

import dataclasses
import io
import secrets
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from stoker.cli import format as fmt
from stoker.cli.kinds import is_stream, renderer
from stoker.cli.out import Out
from stoker.cli.render import document, exit_code, failure, say_problems
from stoker.errors import StokerError, UsageError
from stoker.operations.registry import Operation
from stoker.operations.session import Session

# An assistant pays for each word, and asks again when it wants more.
PAGE = 20
TEXT_CHARACTERS = 4000
LOG_BYTES = 4000
STRING_CHARACTERS = 4000
INNER_ITEMS = 100
PIECES = 100
# What never ends by itself (a log that is followed) is looked at for so long.
STREAM_S = 30.0


def of_failure(problem: StokerError, operation: str) -> dict[str, Any]:
    """An answer that says what could not be done, and what to do next."""
    structured = {**failure(problem, operation), "next_action": problem.next_step}
    text = problem.message + (f"\nnext_action: {problem.next_step}" if problem.next_step else "")
    return {"structured": safe(structured), "text": fmt.safe(text), "error": True}


def of_operation(
    session: Session, operation: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any], cursor: str | None
) -> dict[str, Any]:
    """Ask the operation. Raises what it raises; UsageError for a cursor that it did not give."""
    kwargs, skip = _with_cursor(operation, kwargs, cursor)
    value = operation.function(session, *args, **kwargs)
    if type(value).__name__ == "LogStream":
        shown = _log(operation, value, from_start="since_byte" in kwargs or kwargs.get("all", False))
    elif is_stream(value):
        shown = _stream(operation, value)
    else:
        shown = _value(operation, value, skip)
    for name in ("since_byte", "since"):
        # Nothing new: the same place is the next one, too.
        if isinstance(kwargs.get(name), int) and "values" in shown.structured:
            shown.structured.setdefault("next_cursor", f"{name}:{kwargs[name]}")
    structured = _bounded(safe(shown.structured))
    return {"structured": structured, "text": _as_data(shown.text, structured), "error": False}


@dataclasses.dataclass(frozen=True)
class _Shown:
    structured: dict[str, Any]
    text: str


def _with_cursor(operation: Operation, kwargs: Mapping[str, Any], cursor: str | None) -> tuple[dict[str, Any], int]:
    """The arguments for the next page, and how much of a list to leave out."""
    given = dict(kwargs)
    if cursor is None:
        return given, 0
    kind, _, number = cursor.partition(":")
    parameters = operation.signature().parameters
    if (
        not number.isdecimal()
        or kind not in ("item", "since_byte", "since")
        or (kind != "item" and kind not in parameters)
    ):
        raise UsageError(
            f"cursor: {cursor!r} is none of {operation.command}", next_step="pass next_cursor of the answer before"
        )
    if kind == "item":
        return given, int(number)
    for other in ("tail", "all"):
        given.pop(other, None)
    return {**given, kind: int(number)}, 0


def _value(operation: Operation, value: Any, skip: int) -> _Shown:
    page, following = _page(value, skip)
    structured = {**document(operation.name, page), "exit_code": exit_code(value)}
    if following is not None:
        structured["next_cursor"] = f"item:{following}"
    with _paper() as (out, written):
        renderer(page)(page, out)
        say_problems(getattr(page, "problems", ()), out)
    return _Shown(structured, written())


def _page(value: Any, skip: int) -> tuple[Any, int | None]:
    """The value with its longest list cut to one page; and where the next page begins, None at the end."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value, None
    lists = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
    lists = {name: items for name, items in lists.items() if isinstance(items, tuple)}
    if not lists:
        return value, None
    name = max(lists, key=lambda name: len(lists[name]))
    items = lists[name]
    if len(items) <= PAGE and not skip:
        return value, None
    following = skip + PAGE if skip + PAGE < len(items) else None
    return dataclasses.replace(value, **{name: items[skip : skip + PAGE]}), following


def _log(operation: Operation, stream: Any, *, from_start: bool) -> _Shown:
    """A piece of a log: what follows a byte, or its end; and where to read on."""
    from stoker.cli.render_streams import SafeText, log_exit_code

    pieces: list[Any] = []
    held = 0
    with _at_most(STREAM_S) as timer:
        for piece in stream:
            pieces.append(piece)
            held += len(piece.data)
            while not from_start and held - len(pieces[0].data) > LOG_BYTES:
                held -= len(pieces.pop(0).data)
            if from_start and held > LOG_BYTES:
                break
    end = pieces[-1].offset + len(pieces[-1].data) if pieces else None
    start = max(0, held - LOG_BYTES) if not from_start else 0
    kept = list(_cut(pieces, start, LOG_BYTES))
    values = [document(operation.name, piece)["value"] for piece in kept]
    if stream.outcome is not None and not timer.over and (not kept or kept[-1].offset + len(kept[-1].data) == end):
        values.append(document(operation.name, stream.outcome)["value"])
    structured = _pieces(operation, values, timer.over)
    structured["exit_code"] = log_exit_code(stream)
    if kept:
        structured["next_cursor"] = f"since_byte:{kept[-1].offset + len(kept[-1].data)}"
        structured["left_out_before"] = kept[0].offset if not from_start else 0
    return _Shown(structured, SafeText().feed(b"".join(piece.data for piece in kept), last=True))


def _cut(pieces: list[Any], start: int, length: int) -> Iterator[Any]:
    """Of the bytes of all pieces those from `start` on, `length` at most."""
    for piece in pieces:
        data = piece.data[start : start + length]
        if data:
            yield dataclasses.replace(piece, offset=piece.offset + start, data=data)
        start = max(0, start - len(piece.data))
        length -= len(data)


def _stream(operation: Operation, stream: Any) -> _Shown:
    """What a stream tells within its time: one look of a live view, else its pieces until it ends."""
    recorded = _Recorded(stream)
    with _paper() as (out, written), _at_most(STREAM_S) as timer:
        renderer(stream)(recorded, out)
    values = [document(operation.name, piece)["value"] for piece in recorded.pieces]
    structured = _pieces(operation, values, timer.over or recorded.full)
    code = getattr(stream, "exit_code", None)
    problems = bool(recorded.pieces) and bool(getattr(recorded.pieces[-1], "problems", ()))
    structured["exit_code"] = int(problems) if code is None else code
    if values and "seq" in values[-1]:
        structured["next_cursor"] = f"since:{values[-1]['seq']}"
    return _Shown(structured, written())


def _pieces(operation: Operation, values: list[Any], cut: bool) -> dict[str, Any]:
    more = {"goes_on": True} if cut else {}
    return {"schema": "stoker.result/1", "operation": operation.name, "ok": True, "values": values, **more}


class _Recorded:
    """A stream as its renderer sees it; what it told is kept."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.pieces: list[Any] = []
        self.full = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Iterator[Any]:
        for piece in self._stream:
            self.pieces.append(piece)
            yield piece
            if len(self.pieces) >= PIECES:
                self.full = True
                return

    def once(self) -> Any:
        self.pieces.append(self._stream.once())
        return self.pieces[-1]


class _Timer:
    over = False


@contextmanager
def _at_most(seconds: float) -> Iterator[_Timer]:
    """End the block after so long, as Ctrl-C would."""
    timer = _Timer()

    def ring(_signal: int, _frame: Any) -> None:
        timer.over = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield timer
    except KeyboardInterrupt:
        if not timer.over:
            raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _paper() -> Iterator[tuple[Out, Callable[[], str]]]:
    """Where a renderer writes; and what gives the text that is there."""
    written = io.BytesIO()
    paper = io.TextIOWrapper(written, encoding="utf-8", write_through=True)
    yield Out(stdout=paper, stderr=paper), lambda: written.getvalue().decode("utf-8", "replace")


def _as_data(text: str, structured: Mapping[str, Any]) -> str:
    """The text between marks that it cannot know, so that nothing in it passes for a word of the server."""
    text = fmt.safe(text).strip("\n")
    if len(text) > TEXT_CHARACTERS:
        left = len(text) - TEXT_CHARACTERS
        text = f"{text[:TEXT_CHARACTERS]}\n… {left:,} more characters; ask for less, or go on by cursor"
    mark = secrets.token_hex(3)
    more = f"\nnext_cursor: {structured['next_cursor']}" if structured.get("next_cursor") else ""
    more += "\nit goes on: ask again" if structured.get("goes_on") else ""
    return f"<data-{mark}>\n{text}\n</data-{mark}>{more}"


def safe(value: Any) -> Any:
    """The value without anything in its texts that a terminal would obey or nobody would see."""
    if isinstance(value, str):
        return fmt.safe(value)
    if isinstance(value, Mapping):
        return {fmt.safe(str(name)): safe(inner) for name, inner in value.items()}
    return [safe(inner) for inner in value] if isinstance(value, list | tuple) else value


def _bounded(structured: dict[str, Any]) -> dict[str, Any]:
    """The same, with long texts and inner lists cut, and a list of what was cut."""
    cut: list[dict[str, Any]] = []
    bounded: dict[str, Any] = _cut_inside(structured, "", cut)
    return {**bounded, "left_out": cut} if cut else bounded


def _cut_inside(value: Any, path: str, cut: list[dict[str, Any]]) -> Any:
    if isinstance(value, str) and len(value) > STRING_CHARACTERS:
        cut.append({"at": path, "characters": len(value) - STRING_CHARACTERS})
        return value[:STRING_CHARACTERS]
    if isinstance(value, dict):
        return {name: _cut_inside(inner, f"{path}.{name}".lstrip("."), cut) for name, inner in value.items()}
    if isinstance(value, list):
        if len(value) > INNER_ITEMS:
            cut.append({"at": path, "items": len(value) - INNER_ITEMS})
        return [_cut_inside(inner, f"{path}[{at}]", cut) for at, inner in enumerate(value[:INNER_ITEMS])]
    return value
