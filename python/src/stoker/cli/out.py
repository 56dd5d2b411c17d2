"""Where output goes: plain lines and tables, coloured only on a terminal, ASCII where the encoding has no more."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TextIO

if TYPE_CHECKING:
    from rich.console import Console

Piece = str | tuple[str, str]
Form = Literal["text", "md", "csv"]

_ASCII = str.maketrans({
    "·": "-", "…": "~", "→": "->", "✓": "ok", "×": "x",
    "█": "#", "░": ".", "▁": "_", "▂": "_", "▃": ".", "▄": "-", "▅": "-", "▆": "=", "▇": "^",
    "↑": "^", "↓": "v", "±": "+-",
    "│": "|", "←": "<-", "■": "*", chr(0x2800): " ", **{chr(dots): "*" for dots in range(0x2801, 0x2900)},
})  # fmt: skip


class OutputError(Exception):
    """The answer could not be written: the disk behind standard output is full, say."""


class ReaderGone(OutputError):
    """Whoever read standard output has gone."""


class Guarded:
    """Standard output for writers that are not ours: what it takes no more becomes an `OutputError`.

    The library that prints the help ends the program by itself when its reader has gone.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """As of a text stream. Raises OutputError, ReaderGone."""
        return int(self._guarded(self._stream.write, text))

    def flush(self) -> None:
        """As of a text stream. Raises OutputError, ReaderGone."""
        self._guarded(self._stream.flush)

    def _guarded(self, act: Callable[..., Any], *args: str) -> Any:
        try:
            with _writing():
                return act(*args)
        except BrokenPipeError as gone:
            raise ReaderGone("its reader has gone") from gone


@contextmanager
def _writing() -> Iterator[None]:
    """Tell a stream that takes no more from every other fault. That its reader has gone is for `main` to judge."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as problem:
        raise OutputError(problem.strerror or str(problem)) from problem


class Out:
    """Standard output for values, standard error for everything said about them."""

    def __init__(
        self,
        *,
        ascii_only: bool = False,
        form: Form = "text",
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.stdout = stdout or sys.stdout
        self.stderr = stderr or sys.stderr
        for stream in (self.stdout, self.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        self.ascii_only = ascii_only or not _encodes(self.stdout)
        self.form = form
        self.is_terminal = self.stdout.isatty() and form == "text"
        self._console: Console | None = None
        self._passing = False

    def line(self, *pieces: Piece) -> None:
        """One line on standard output; a piece may be (text, style). Safe with any text: no markup is read."""
        if not self.is_terminal:
            self._plain(self.stdout, clean("".join(p if isinstance(p, str) else p[0] for p in pieces)))
            return
        from rich.text import Text

        text = Text(no_wrap=False, end="")
        for piece in pieces:
            words, style = (piece, "") if isinstance(piece, str) else piece
            text.append(self.spelled(clean(words)), style)
        with _writing():
            self._rich().print(text, soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Piece]]) -> None:
        """A table. On a terminal the last column is cut to fit; elsewhere nothing is."""
        columns = [clean(column) for column in columns]
        rows = [[clean(p) if isinstance(p, str) else (clean(p[0]), p[1]) for p in row] for row in rows]
        if self.form != "text":
            self._document_table([list(columns), *([p if isinstance(p, str) else p[0] for p in row] for row in rows)])
            return
        if self.is_terminal:
            self._rich_table(columns, rows)
            return
        from rich.cells import cell_len

        cells = [[p if isinstance(p, str) else p[0] for p in row] for row in [list(columns), *rows]]
        widths = [max(cell_len(row[i]) for row in cells) for i in range(len(columns))]
        for row in cells:
            padded = [cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
            self._plain(self.stdout, "  ".join(padded).rstrip())

    def progress(self) -> Callable[[str], None] | None:
        """What shows a line on standard error in the place of the one before; None where that is no terminal."""
        return self._progress if self.stderr.isatty() else None

    def _progress(self, text: str) -> None:
        columns = shutil.get_terminal_size().columns - 1
        self.stderr.write("\r\x1b[K" + self.spelled(clean(text))[:columns])
        self.stderr.flush()
        self._passing = bool(text)

    def remark(self, *pieces: Piece) -> None:
        """A line about the tables: beside them on standard output, but on standard error where that is to be CSV."""
        if self.form == "csv":
            self.note(clean("".join(p if isinstance(p, str) else p[0] for p in pieces)))
        else:
            self.line(*pieces)

    def note(self, text: str) -> None:
        """One line on standard error."""
        if self._passing:
            self._progress("")
        self._plain(self.stderr, text)

    def spelled(self, text: str) -> str:
        """The text as this output can show it."""
        return text.translate(_ASCII) if self.ascii_only else text

    def bytes(self, data: bytes) -> None:
        """Exactly these bytes on standard output."""
        with _writing():
            self.stdout.flush()
            self.stdout.buffer.write(data)
            self.stdout.buffer.flush()

    def text(self, text: str) -> None:
        """Text on standard output, at once, with no line end added."""
        with _writing():
            self.stdout.write(text)
            self.stdout.flush()

    def _document_table(self, lines: Sequence[Sequence[str]]) -> None:
        """The table as CSV, or as GitHub reads it: each row on one line, with as many cells as the head."""
        if self.form == "csv":
            import csv

            with _writing():
                csv.writer(self.stdout, lineterminator="\n").writerows(
                    [self.spelled(c) for c in line] for line in lines
                )
                self.stdout.flush()
            return
        head, *rows = ([cell.replace("\\", "\\\\").replace("|", "\\|") for cell in line] for line in lines)
        rule = ["---"] * len(head)
        shown = [f"| {' | '.join(line)} |" for line in (head, rule, *rows)]
        self._plain(self.stdout, "\n" + "\n".join(shown) + "\n")

    def _plain(self, stream: TextIO, text: str) -> None:
        with _writing():
            stream.write(self.spelled(text) + "\n")
            stream.flush()

    def _rich(self) -> Console:
        if self._console is None:
            from rich.console import Console

            plain = bool(os.environ.get("NO_COLOR"))
            self._console = Console(file=self.stdout, highlight=False, markup=False, emoji=False, no_color=plain)
        return self._console

    def _rich_table(self, columns: Sequence[str], rows: Sequence[Sequence[Piece]]) -> None:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for number, column in enumerate(columns, 1):
            last = number == len(columns)
            # rich makes columns smaller that may wrap; no cell does.
            table.add_column(column, no_wrap=not last, overflow="ellipsis", min_width=8 if last else None)
        for row in rows:
            cells = [(p, "") if isinstance(p, str) else p for p in row]
            table.add_row(
                *(Text(self.spelled(text), style, no_wrap=True, overflow="ellipsis") for text, style in cells)
            )
        with _writing():
            self._rich().print(table)


def clean(text: str) -> str:
    """`text` on one line, without anything that a terminal would obey: names of nodes and GPUs come from elsewhere."""
    from ansible_collections.stoker.fleet.plugins.module_utils.terminal_text import safe_text

    return str(safe_text(text)).replace("\n", "\\n")


def _encodes(stream: TextIO) -> bool:
    try:
        "·…→✓▁▇█░↑×│←■⣿".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
