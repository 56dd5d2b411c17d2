"""What an operation answers, as an assistant gets it: the JSON of `--json` and the text of a terminal, both bounded."""

from __future__ import annotations

import dataclasses
import io
import itertools
import re
import secrets
import signal
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
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
_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*[a-z])")


def of_failure(problem: StokerError, operation: str, takes: Collection[str] = ()) -> dict[str, Any]:
    """An answer that says what could not be done, and what to do next. `takes`: the arguments of the operation."""
    structured = {**failure(problem, operation), "next_action": problem.next_step}
    # What a node or a file said may be part of the message.
    text = _marked(_as_arguments(problem.message, takes), "ask for less")
    text += f"\nnext_action: {fmt.safe(_as_arguments(problem.next_step, takes))}" if problem.next_step else ""
    return {"structured": safe(structured), "text": text, "error": True}


def _as_arguments(text: str, takes: Collection[str]) -> str:
    """`--since-byte` as `since_byte`, where that is what the operation calls it."""

    def spelled(option: re.Match[str]) -> str:
        name = option[1].replace("-", "_")
        return name if name in takes else option[0]

    return _OPTION.sub(spelled, text)


def of_operation(
    session: Session, operation: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any], cursor: str | None,
    *, whole: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Ask the operation. Raises what it raises; UsageError for a cursor that it did not give.

    `whole`: nothing of a value is left out.
    """
    kwargs, skip = _with_cursor(operation, kwargs, cursor)
    value = operation.function(session, *args, **kwargs)
    if whole and not is_stream(value):
        structured = {**document(operation.name, value), "exit_code": exit_code(value)}
        return {"structured": safe(structured), "text": "", "error": False}
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
    return {"structured": structured, "text": _as_data(operation, shown.text, structured), "error": False}


@dataclasses.dataclass(frozen=True)
class _Shown:
    structured: dict[str, Any]
    text: str


def _with_cursor(operation: Operation, kwargs: Mapping[str, Any], cursor: str | None) -> tuple[dict[str, Any], int]:
    """The arguments for the next page, and how much of a list to leave out."""
    given = dict(kwargs)
    if cursor is None:
        return given, 0
    if operation.policy != "read":
        # To go on reading its answer would be to do it again.
        raise UsageError(
            f"cursor: {operation.command} changes something, and its answer has no further pages",
            next_step="what there is now is told by the tools that only look, such as jobs with do='events'",
        )
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
    name, items = _longest(value)
    if skip and skip >= len(items):
        raise UsageError(
            f"cursor: the list ends at {len(items)}, before this page", next_step="the same call without cursor"
        )
    if operation.policy != "read" or (len(items) <= PAGE and not skip):
        return _Shown({**document(operation.name, value), "exit_code": exit_code(value)}, _rendered(value))
    page = dataclasses.replace(value, **{name: items[skip : skip + PAGE]})
    structured = {**document(operation.name, page), "exit_code": exit_code(value)}
    if skip + PAGE < len(items):
        structured["next_cursor"] = f"item:{skip + PAGE}"
    others = dataclasses.replace(value, **{name: items[:skip] + items[skip + PAGE :]})
    return _Shown(structured, _of_page(_rendered(value), _rendered(page), _rendered(others)))


def _rendered(value: Any) -> str:
    with _paper() as (out, written):
        renderer(value)(value, out)
        say_problems(getattr(value, "problems", ()), out)
    return written()


def _of_page(whole: str, page: str, others: str) -> str:
    """The lines of the whole without those of the other pages: what is said of all (sums, heads) stays as it is."""
    here, there = (Counter(_words(line) for line in text.splitlines()) for text in (page, others))
    kept = []
    for line in whole.splitlines():
        if here[_words(line)] > 0:
            here[_words(line)] -= 1
        elif there[_words(line)] > 0:
            continue
        kept.append(line)
    return "\n".join(kept)


def _words(line: str) -> tuple[str, ...]:
    """A line without its padding, which the widest row decides."""
    return tuple(line.split())


def _longest(value: Any) -> tuple[str, tuple[Any, ...]]:
    """The name of the longest list in a value, and the list; both empty where it has none."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return "", ()
    lists = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
    lists = {name: items for name, items in lists.items() if isinstance(items, tuple)}
    return max(lists.items(), key=lambda entry: len(entry[1]), default=("", ()))


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
    over = stream.outcome is not None and not timer.over
    kept = list(
        _whole_characters(list(_cut(pieces, start, LOG_BYTES)), end if over else None, cut_before=not from_start)
    )
    values = [document(operation.name, piece)["value"] for piece in kept]
    if stream.outcome is not None and not timer.over and (not kept or kept[-1].offset + len(kept[-1].data) == end):
        values.append(document(operation.name, stream.outcome)["value"])
    structured = _pieces(operation, values, timer.over)
    structured["exit_code"] = None if timer.over else log_exit_code(stream)
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


def _whole_characters(pieces: list[Any], end: int | None, *, cut_before: bool) -> Iterator[Any]:
    """The same bytes, with no UTF-8 character in two pieces, or half here and half on the next page.

    What stands at `end`, the last of the log, comes as it is. None: more may follow.
    """
    if cut_before and pieces and pieces[0].offset:
        # The rest of a character whose beginning was left out.
        rest = next((at for at, byte in enumerate(pieces[0].data[:4]) if byte & 0xC0 != 0x80), 0)
        pieces[0] = dataclasses.replace(pieces[0], offset=pieces[0].offset + rest, data=pieces[0].data[rest:])
    carried = b""
    for piece, after in itertools.zip_longest(pieces, pieces[1:]):
        data, offset = carried + piece.data, piece.offset - len(carried)
        there = piece.offset + len(piece.data)
        half = _half_character(data)
        last = there == end if after is None else after.offset != there
        carried = b"" if last else data[len(data) - half :]
        if data := data[: len(data) - len(carried)]:
            yield dataclasses.replace(piece, offset=offset, data=data)


def _half_character(data: bytes) -> int:
    """How many bytes at the end begin a UTF-8 character that is not whole."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        wanted = 2 if byte & 0xE0 == 0xC0 else 3 if byte & 0xF0 == 0xE0 else 4 if byte & 0xF8 == 0xF0 else 1
        return back if wanted > back else 0
    return 0


def _stream(operation: Operation, stream: Any) -> _Shown:
    """What a stream tells within its time: one look of a live view, else its pieces until it ends."""
    recorded = _Recorded(stream)
    with _paper() as (out, written), _at_most(STREAM_S) as timer:
        renderer(stream)(recorded, out)
    values = [document(operation.name, piece)["value"] for piece in recorded.pieces]
    cut = timer.over or recorded.full
    structured = _pieces(operation, values, cut)
    if cut and operation.policy != "read":
        structured["next_action"] = _instead_of_again(operation, stream)
    code = getattr(stream, "exit_code", None)
    problems = bool(recorded.pieces) and bool(getattr(recorded.pieces[-1], "problems", ()))
    # Of what is not over nobody knows how it ends.
    structured["exit_code"] = None if cut else int(problems) if code is None else code
    if operation.policy == "read" and values and "seq" in values[-1]:
        structured["next_cursor"] = f"since:{values[-1]['seq']}"
    return _Shown(structured, written())


def _pieces(operation: Operation, values: list[Any], cut: bool) -> dict[str, Any]:
    more = {"goes_on": True} if cut else {}
    return {"schema": "stoker.result/1", "operation": operation.name, "ok": True, "values": values, **more}


# Where one goes on to look at what is under way.
_GO_ON = {
    "workflow run": "workflows_change with do='workflow watch', workflow={workflow!r}",
    "workflow watch": "workflows_change with do='workflow watch', workflow={workflow!r}",
    "queue start": "jobs with do='queue list', queue={queue!r}",
    "node drain": "nodes with do='node list'",
}


def _instead_of_again(operation: Operation, stream: Any) -> str:
    """What to ask when the time is up: the same call would do the same thing a second time."""
    where = _GO_ON.get(operation.command, "jobs with do='events'").format(**_named(stream))
    return f"what was begun goes on: {where}" + (
        "" if where.startswith("workflows_change") else ", not this call again"
    )


def _named(stream: Any) -> dict[str, Any]:
    return {name: getattr(stream, name, None) for name in ("workflow", "queue")}


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


def _as_data(operation: Operation, text: str, structured: Mapping[str, Any]) -> str:
    """The text of an answer, and how one goes on from there."""
    reads = operation.policy == "read"
    more = f"\nnext_cursor: {structured['next_cursor']}" if structured.get("next_cursor") else ""
    if structured.get("goes_on"):
        more += "\nit goes on: ask again" if reads else f"\nnext_action: {fmt.safe(structured['next_action'])}"
    for cut in structured.get("left_out", ()):
        more += f"\nleft out: {cut.get('items', cut.get('characters')):,} at {cut['at']}" if not reads else ""
    return _marked(text, "ask for less, or go on by cursor" if reads else "they are not kept") + more


def _marked(text: str, advice: str) -> str:
    """The text between marks that it cannot know, so that nothing in it passes for a word of the server."""
    text = fmt.safe(text).strip("\n")
    if len(text) > TEXT_CHARACTERS:
        left = len(text) - TEXT_CHARACTERS
        text = f"{text[:TEXT_CHARACTERS]}\n… {left:,} more characters; {advice}"
    mark = secrets.token_hex(3)
    return f"<data-{mark}>\n{text}\n</data-{mark}>"


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
