"""Which tags are newer than another: pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable

_VERSION = re.compile(r"^(?P<v>v?)(?P<numbers>\d+(?:\.\d+)*)(?P<suffix>[-_+].*)?$")


def parts(tag: str) -> tuple[tuple[int, ...], str] | None:
    """`25.03-py3` as ((25, 3), "-py3"); None for a tag that is no version, such as `latest`."""
    match = _VERSION.match(tag)
    if match is None:
        return None
    return tuple(int(number) for number in match["numbers"].split(".")), match["v"] + (match["suffix"] or "")


def newer(tag: str, tags: Iterable[str]) -> list[str]:
    """Those of `tags` that are newer than `tag`, the newest first.

    Only tags of the same kind count: same suffix (`-py3`, `-py3-igpu`, `-runtime`) and as many numbers, so that
    `25.03` is no older version of `2025.1.1`. A date or a hash of eight digits and more is none of a release either.
    """
    mine = parts(tag)
    if mine is None:
        return []
    found: dict[tuple[int, ...], str] = {}
    for other in tags:
        theirs = parts(other)
        if theirs is None or theirs[1] != mine[1] or len(theirs[0]) != len(mine[0]) or theirs[0] <= mine[0]:
            continue
        if max(theirs[0]) >= 10**7 > max(mine[0]):
            continue
        found[theirs[0]] = other
    return [found[key] for key in sorted(found, reverse=True)]
