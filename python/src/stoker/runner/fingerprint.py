"""A text that changes when code that a launcher has imported changes on disk."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path


def code_fingerprint() -> str:
    """Times and sizes of Stoker's modules and plugins, and of the installed packages' folder. A few milliseconds."""
    digest = hashlib.sha256()
    for path in _files():
        try:
            found = os.stat(path)
        except OSError:
            continue  # removed while we looked: the next look sees it
        digest.update(f"{path}\0{found.st_mtime_ns}\0{found.st_size}\n".encode())
    return digest.hexdigest()[:24]


def _files() -> Iterator[str]:
    package = Path(__file__).resolve().parents[1]
    yield from _python_files(package)
    for plugins in (
        package.parent / "ansible_collections" / "stoker" / "fleet" / "plugins",
        package.parents[2] / "plugins",
    ):
        if plugins.is_dir():
            yield from _python_files(plugins)
    yield from sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    ansible = importlib.util.find_spec("ansible")
    if ansible is not None and ansible.origin is not None:
        yield str(Path(ansible.origin).with_name("release.py"))


def _python_files(folder: Path) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        yield from (os.path.join(parent, name) for name in sorted(names) if name.endswith(".py"))
