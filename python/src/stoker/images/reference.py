"""The name of an image, in parts: which registry, which repository, which tag."""

from __future__ import annotations

import re
from dataclasses import dataclass

DOCKER_HUB = "registry-1.docker.io"
_TAG = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"^{_PART}(?:/{_PART})*$")


@dataclass(frozen=True)
class Reference:
    """`nvcr.io/nvidia/pytorch:25.03-py3` in parts.

    `registry` is where its API answers, `prefix` what stands before the colon, as it was written; `tag` is None where
    the name has none (a digest, or nothing).
    """

    registry: str
    repository: str
    tag: str | None
    prefix: str


def parse(name: str) -> Reference | None:
    """The parts of an image's name; None for what is no name, and for images that were made on the node."""
    plain = name.partition("@")[0]
    head, _, last = plain.rpartition("/")
    last, colon, tag = last.partition(":")
    path = f"{head}/{last}" if head else last
    first, slash, rest = path.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, repository = first, rest
    else:
        registry, repository = "docker.io", path
    # A local name, unless a port says that a registry answers there.
    if registry == "localhost" or not _REPOSITORY.match(repository) or (colon and not _TAG.match(tag)):
        return None
    if registry in ("docker.io", "index.docker.io"):
        registry, repository = DOCKER_HUB, repository if "/" in repository else f"library/{repository}"
    digest = "@" in name
    return Reference(registry, repository, (tag or None) if not digest else None, path)
