"""How a pool of rented machines is named: as the target of a job, and on its nodes in the inventory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

PREFIX = "pool:"
# The host variable of a rented node that says whose it is. A job goes there when it names the pool, the node or a
# group: nobody pays for a machine that a job without a target happened to take.
VARIABLE = "stoker_pool"


def pool_of(target: str | None) -> str | None:
    """The pool that a target names; None: it names something else."""
    return target[len(PREFIX) :] if target is not None and target.startswith(PREFIX) else None


def group_of(pool: str) -> str:
    """The group that the nodes of a pool are in, in words that Ansible takes."""
    return "pool_" + re.sub(r"\W", "_", pool, flags=re.ASCII)


def takes(target: str | None, variables: Mapping[str, Any]) -> bool | None:
    """Whether a node with these variables is meant by a target that says so by itself: none, or a pool.

    None: the target has to be looked up among names and groups.
    """
    pool = pool_of(target)
    if target is None:
        return VARIABLE not in variables
    return None if pool is None else variables.get(VARIABLE) == pool
