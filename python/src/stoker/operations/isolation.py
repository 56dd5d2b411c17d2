"""What separates a job from its node: a container, a sandbox, another user."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stoker.errors import UsageError
from stoker.operations import quantities

SANDBOXES = ("bwrap", "container")
ENGINES = ("podman", "docker")
PULLS = ("missing", "never", "always")


def isolation_spec(
    *, container: str | None, mount: Sequence[str], shm: int | str | None, engine: str | None, image_pull: str | None,
    network: str | None, user: str | None, sandbox: str | None,
) -> dict[str, Any]:  # fmt: skip
    """The fields of a spec; those that were not named are left out. Raises UsageError for what cannot be meant."""
    _one_of("--sandbox", sandbox, SANDBOXES)
    _one_of("--engine", engine, ENGINES)
    _one_of("--image-pull", image_pull, PULLS)
    more = {
        "mounts": [_mount(text) for text in mount] or None,
        "shm_bytes": quantities.size(shm, "--shm") if shm is not None else None,
        "engine": engine,
        "pull": image_pull,
        "network": network,
    }
    more = {name: value for name, value in more.items() if value is not None}
    if more and container is None and sandbox != "container":
        option = {"mounts": "mount", "shm_bytes": "shm", "pull": "image-pull"}.get(next(iter(more)), next(iter(more)))
        raise UsageError(f"--{option} belongs to a container, and none is named", next_step="--container IMAGE")
    if sandbox == "bwrap" and container is not None:
        raise UsageError("a container cannot be in the sandbox bwrap, too", next_step="--sandbox container")
    wanted = {**more, **({"image": container} if container is not None else {})}
    found = {"container": wanted or None, "user": user, "sandbox": sandbox}
    return {name: value for name, value in found.items() if value is not None}


def _one_of(option: str, value: str | None, known: Sequence[str]) -> None:
    if value is not None and value not in known:
        raise UsageError(f"{option}: {value!r} is none of {', '.join(known)}")


def _mount(text: str) -> dict[str, Any]:
    """`SRC:DST` or `SRC:DST:ro`; SRC alone is seen under the same path."""
    parts = text.split(":")
    read_only = len(parts) > 1 and parts[-1] in ("ro", "rw")
    access = parts.pop() if read_only else "rw"
    if not 1 <= len(parts) <= 2 or not all(parts):
        raise UsageError(f"--mount: {text!r} is no mount", next_step="write it as SOURCE:TARGET or SOURCE:TARGET:ro")
    source, target = parts[0], parts[-1]
    if not Path(target).is_absolute():
        raise UsageError(f"--mount: {target!r} has to be an absolute path in the container")
    return {"source": source, "target": target, "read_only": access == "ro"}
