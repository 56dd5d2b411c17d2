"""Stoker keeps your GPUs fed: jobs on every machine of an Ansible inventory, and true answers about them.

For example:

    from stoker import Fleet

    fleet = Fleet("inventory.yml")
    job = fleet.jobs.run(["python", "train.py"], on="dgx", gpus=1)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stoker.fleet import Fleet as Fleet

__version__ = "0.1.0"
__all__ = ["Fleet", "__version__"]


def __getattr__(name: str) -> object:
    """Import `Fleet` on first use: `stoker --version` must not pay for it."""
    if name == "Fleet":
        from stoker.fleet import Fleet

        return Fleet
    raise AttributeError(f"module 'stoker' has no attribute {name!r}")
