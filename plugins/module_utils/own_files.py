# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files that tell this machine what to do: settings, inventory, git's. Nothing from a node may change them."""

from __future__ import annotations

import os

_NAMES = (b"stoker.yml", b"stoker-nodes.yml", b"ansible.cfg", b"known_hosts")
_FOLDERS = (b".git", b".stoker", b".ssh")
# What Ansible reads beside an inventory.
_BESIDE = (b"group_vars", b"host_vars")


def is_own(path: bytes, inventories: list[bytes], settings: bytes | None = None) -> bool:
    """Whether the file of this absolute path is one of them; inventories are files and folders, absolute.

    `settings` is the absolute path of the file of settings in use, where it may have another name.
    """
    real = _placed(path)
    parts = real.split(b"/")
    if parts[-1] in _NAMES or any(folder in parts for folder in _FOLDERS):
        return True
    if settings is not None and real in (_placed(settings), os.path.realpath(settings)):
        return True
    return any(_is_of(real, os.path.realpath(source)) for source in inventories)


def _placed(path: bytes) -> bytes:
    """The path without links in its folders; what it names may be one, which would be written over."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def _is_of(path: bytes, source: bytes) -> bool:
    """Whether Ansible reads it for this inventory."""
    if path == source or path.startswith(source + b"/"):
        return True
    folder = os.path.dirname(source)
    return any((path + b"/").startswith(os.path.join(folder, name) + b"/") for name in _BESIDE)
