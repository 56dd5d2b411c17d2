"""HTML of a report: text of somebody else is only ever text, and nothing is loaded or run but what is in the file."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any

from ansible_collections.stoker.fleet.plugins.module_utils.terminal_text import safe_text

# How a file that may be written over begins.
MARK = "<!doctype html>\n<!-- A report of stoker runs. -->\n"
LONGEST = 2000
_PAGE = Path(__file__).parent / "page"


def page(*, data: Any, **parts: str) -> str:
    """The file: `parts` of HTML for the places of report.html, and `data` for its script.

    Its own policy lets in no style and no script but these two, by their hashes.
    """
    shell, style, script = ((_PAGE / f"report.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js"))
    allowed = f"style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    return Template(shell).substitute(parts, policy=policy, style=style, script=script, data=_json(data))


def text(value: object, longest: int = LONGEST) -> str:
    """Text of somebody else: no markup, nothing that reorders a line, no more than fits."""
    return html.escape(safe_text(str(value), longest), quote=True)


def name(value: object) -> str:
    """The same for a name, whose letters do not turn those around it."""
    return f"<bdi>{text(value)}</bdi>"


def dim(value: object) -> str:
    """The same, less visible."""
    return f'<small class="dim">{text(value)}</small>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Collection[int] = ()) -> str:
    """A table of cells that are HTML already; those of the columns `numbers` stand to the right."""

    def cells(tag: str, row: Sequence[str]) -> str:
        opened = [f'<{tag} class="n">' if at in numbers else f"<{tag}>" for at in range(len(row))]
        return "".join(f"{start}{cell}</{tag}>" for start, cell in zip(opened, row, strict=True))

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    head = f"<thead><tr>{cells('th', heads)}</tr></thead>"
    return f'<div class="wide"><table>{head}<tbody>\n{body}</tbody></table></div>'


def section(title: str, body: str, kind: str = "") -> str:
    """A part with a heading; both are HTML already."""
    return f'<section class="{kind}"><h2>{title}</h2>{body}</section>'


def details(summary: str, body: str) -> str:
    """A part that is opened when it is wanted."""
    return f"<details><summary>{summary}</summary>{body}</details>"


def _json(value: Any) -> str:
    """JSON in which no markup can begin."""
    plain = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
