"""The bundle of `stoker diag` on a terminal."""

from __future__ import annotations

from pathlib import Path

from stoker.cli import format as fmt
from stoker.cli.out import Out
from stoker.marked import shown_path
from stoker.operations.diag import DiagBundle


def bundle(value: DiagBundle, out: Out) -> None:
    """`stoker diag`."""
    name = fmt.one_line(shown_path(Path(value.file)))
    out.line(f"{name}  {fmt.size(value.bytes)}, {value.answered} of {value.nodes} nodes answered")
    for one in value.missing:
        out.line((f"  not in it: {fmt.one_line(one.what)}: {fmt.one_line(one.why)}", "yellow"))
    out.line(("next: look through it before you hand it on: secrets are found by their form", "dim"))
