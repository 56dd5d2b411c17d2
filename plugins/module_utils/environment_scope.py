# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether what a project needs is the same wherever its file lies, or lies in the project's folder itself.

Two projects with the same file share an environment only in the first case: else one would run the other's code. In
doubt it belongs to the folder, which costs an environment more.
"""

from __future__ import annotations

import os
import re

_OPTION = rb"(?:-r|-c|--requirement|--constraint)[ \t=]*[\"']?([^\s\"'#,\]}]+)"
_INCLUDE = {
    "requirements": re.compile(rb"^[ \t]*" + _OPTION, re.MULTILINE),
    # As an entry of a list in YAML, of either style.
    "environment": re.compile(rb"(?:^|[\s\[,\"'])" + _OPTION, re.MULTILINE),
}
_EDITABLE = re.compile(r"^(-e|--editable)\b")
_INDEX = re.compile(r"^(?:-f|--find-links|-i|--index-url|--extra-index-url)[\s=]*(\S+)")
_COMMENT = re.compile(r"(^|\s)#.*$")
_ARCHIVE = re.compile(r"\.(whl|zip|tar|tgz|tbz|txz|tar\.\w+)$", re.IGNORECASE)
# In uv.lock: where a package comes from, as {kind = "place"}.
_SOURCE = re.compile(rb"\bsource\s*=\s*(?:\{\s*([\w-]+)\s*=\s*\"([^\"]*)\")?")
# In pylock.toml and pyproject.toml: what a package that lies beside the file is called by.
_BESIDE = re.compile(
    rb"\b(?:path|directory|workspace|editable|find-links)[\"']?\s*=|\bpackages\.directory\b|\bfile:|@\s*\.{0,2}/"
)


def included(kind, path, content):
    """The file's content and that of everything it includes. A file that is missing is for the installer to say."""
    return _follow(_INCLUDE[kind], path, content, set()) if kind in _INCLUDE else [content]


def _follow(include, path, content, seen):
    found = [content]
    seen.add(os.path.realpath(path))
    for name in include.findall(content):
        inner = os.path.join(os.path.dirname(path), os.fsdecode(name))
        if os.path.isfile(inner) and os.path.realpath(inner) not in seen:
            with open(inner, "rb") as handle:
                found += _follow(_INCLUDE["requirements"], inner, handle.read(), seen)
    return found


def belongs_to_folder(kind, contents):
    """Whether something of these files is taken from the project's folder, or may be."""
    if kind == "uv.lock":
        return any(_beside(*source) for content in contents for source in _SOURCE.findall(content))
    if kind in ("pylock", "pyproject"):
        return any(_BESIDE.search(content) for content in contents)
    lines = [line for content in contents for line in _lines(kind, content.decode("utf-8", "replace"))]
    return any(_names_a_path(line) for line in lines)


def _beside(kind, place):
    # Of the project itself only the dependencies are installed then.
    if (kind, place) == (b"virtual", b"."):
        return False
    return b"://" not in place or b"file:" in place


def _lines(kind, text):
    """What the file asks for, one by one, without comments and the marks of a YAML list."""
    parts = re.split(r"[\n\[\]{},]", text) if kind == "environment" else text.replace("\\\n", " ").split("\n")
    for part in parts:
        part = _COMMENT.sub("", part).strip()
        if kind == "environment":
            part = re.sub(r"^-\s+", "", part).strip("\"'")
        if part:
            yield part


def _names_a_path(line):
    """Whether a line of requirements takes something from a folder."""
    if line.startswith("-"):
        index = _INDEX.match(line)
        place = index.group(1) if index else "/"
        return bool(_EDITABLE.match(line)) or not ("://" in place or place.startswith("/"))
    if "file:" in line:
        return True
    name, at, place = line.partition("@")
    if "://" in name or "://" in place:
        return False
    place = re.split(r"[\s;]", name.strip())[0]
    return bool(at) or place.startswith((".", "~")) or "/" in place or "\\" in place or bool(_ARCHIVE.search(place))
