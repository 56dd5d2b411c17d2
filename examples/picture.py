"""Draw what a terminal really showed: run a command on a pseudo-terminal and write the screen as an SVG.

python examples/picture.py docs/demo.svg examples/demo.sh
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from itertools import groupby
from pathlib import Path

import pyte
from pyte.screens import Char
from rich.console import CONSOLE_SVG_FORMAT, Console
from rich.style import Style
from rich.text import Text

COLUMNS, ROWS = 110, 40
TALL = 400  # rows of the emulated screen: what scrolled away in a window of ROWS is wanted, too


def record(command: list[str]) -> tuple[pyte.Screen, int]:
    """Run the command on a terminal of COLUMNS x ROWS, and show it here; gives what it showed and its exit code."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    env = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**env, "TERM": "xterm-256color"},
        start_new_session=True,
    )
    os.close(theirs)
    screen = pyte.Screen(COLUMNS, TALL)
    stream = pyte.ByteStream(screen)
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # Linux says EIO when the last writer has closed its side
            break
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        stream.feed(data)
    os.close(ours)
    return screen, process.wait()


def style(char: Char) -> Style:
    """pyte's attributes in Rich's words."""

    def colour(name: str) -> str | None:
        if name == "default":
            return None
        if re.fullmatch(r"[0-9a-f]{6}", name):
            return f"#{name}"
        return name.replace("brown", "yellow").replace("bright", "bright_")

    return Style(
        color=colour(char.fg),
        bgcolor=colour(char.bg),
        bold=char.bold,
        italic=char.italics,
        underline=char.underscore,
        reverse=char.reverse,
    )


def lines(screen: pyte.Screen) -> list[Text]:
    """The rows of the screen up to the last one that is not empty."""
    found = []
    for number in range(TALL):
        row = screen.buffer[number]
        text = Text(no_wrap=True)
        for look, chars in groupby((row[column] for column in range(COLUMNS)), key=style):
            text.append("".join(char.data for char in chars), look)
        text.rstrip()
        found.append(text)
    while found and not found[-1].plain:
        found.pop()
    return found


def draw(rows: list[Text], title: str) -> str:
    """The rows as an SVG that needs nothing from elsewhere: the viewer's own monospaced font."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for row in rows:
        console.print(row)
    own_fonts = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    own_fonts = own_fonts.replace("Fira Code, monospace", "ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace")
    return console.export_svg(title=title, code_format=own_fonts, unique_id="terminal")


def main() -> int:
    """Record, draw, write; the exit code is the command's, and a failed one leaves the old picture."""
    parser = argparse.ArgumentParser(description="Draw what a terminal showed while a command ran, as an SVG.")
    parser.add_argument("picture", type=Path)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    screen, status = record(options.command)
    if status == 0:
        options.picture.write_text(draw(lines(screen), " ".join(options.command)), encoding="utf-8")
        print(f"wrote {options.picture}")
    return status


if __name__ == "__main__":
    sys.exit(main())
