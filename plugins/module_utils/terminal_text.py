# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text of unknown origin, made fit for a terminal: nothing in it can move the cursor, set a title or reorder a line."""

from __future__ import annotations

import re

# CSI, OSC and other strings (ended by BEL or ST), charset choice, two-character escapes. None crosses a line end.
ESCAPE_SEQUENCE = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b\r\n]*(?:\x07|\x1b\\)|[ -/]+[0-~]|[0-Z\\^-~])"
)
_ESCAPE_IN_TEXT = re.compile(ESCAPE_SEQUENCE.pattern.decode("ascii"))
# C0 without \n and \t, DEL, C1, line and paragraph separators, bidi marks and overrides, surrogates; and what nobody
# sees, but a program that reads along does: zero width space and marks, tags, more variation selectors. Joiners stay:
# Persian and emoji need them.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
    "\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_READ_AT_LEAST = 65536


def _escaped(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code > 0xFFFF:
        return f"\\U{code:08x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def safe_text(data: bytes | str, limit: int | None = None) -> str:
    r"""Return what may be printed on a terminal, at most `limit` characters (a cut shows as a last "…").

    Bytes are decoded as UTF-8 with replacement. Escape sequences are left out, what is left of control characters
    (but \n and \t) and bidi controls is shown as \x1b or \u202e. \r\n becomes \n.
    """
    cut = False
    if limit is not None:
        # A line of 10 MB costs no more than one of 64 KiB.
        enough = max(_READ_AT_LEAST, 8 * limit)
        cut, data = len(data) > enough, data[:enough]
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    text = _UNSAFE.sub(_escaped, _ESCAPE_IN_TEXT.sub("", text).replace("\r\n", "\n"))
    if limit is not None and (cut or len(text) > limit):
        return text[: max(0, limit - 1)] + "…"[:limit]
    return text
