"""Many contexts, asked at the same time: one that hangs holds up no other, and none holds up the caller."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stoker.errors import StokerError
from stoker.kube.cluster import Cluster, client_library
from stoker.kube.errors import Forbidden, Refused
from stoker.kube.kubeconfig import Context

State = Literal["reachable", "refused", "unreachable"]
# What a thread gets to tidy up behind itself when the time is over, in seconds.
_GRACE_S = 0.5


@dataclass(frozen=True)
class Look:
    """What came of asking. `refused`: the server answers, but not with these credentials. `version` is the server's."""

    state: State
    version: str | None
    why: str | None
    next_step: str | None = None


def look_at(contexts: Sequence[Context], within_s: float) -> list[Look]:
    """One look for each context, in their order, all of it within `within_s` and a moment.

    Raises StokerError where the client is not installed.
    """
    client_library()
    deadline = time.monotonic() + within_s
    stop = threading.Event()
    found: dict[int, Look] = {}

    def ask(number: int, context: Context) -> None:
        found[number] = _one(context, deadline, stop)

    # They end by themselves; a name server that never answers must not keep the program from ending.
    threads = [
        threading.Thread(target=ask, args=(number, context), daemon=True) for number, context in enumerate(contexts)
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
    finally:
        stop.set()
        end = time.monotonic() + _GRACE_S
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
    late = Look("unreachable", None, f"it does not answer within {within_s:g} s")
    return [found.get(number, late) for number in range(len(contexts))]


def _one(context: Context, deadline: float, stop: threading.Event) -> Look:
    try:
        with Cluster(context, deadline, stop) as cluster:
            version = cluster.get("/version").get("gitVersion")
    except Refused as problem:
        return Look("refused", None, problem.why, problem.next_step)
    except Forbidden as problem:
        return Look("reachable", None, f"its version is not told: {problem.why}")
    except StokerError as problem:
        return Look("unreachable", None, getattr(problem, "why", problem.message), problem.next_step)
    except Exception as problem:  # noqa: BLE001 - one context that is wrong is no reason to say nothing of the others
        # Its text may have in it what was sent.
        return Look("unreachable", None, f"what the kubeconfig says of it cannot be used ({type(problem).__name__})")
    return Look("reachable", version if isinstance(version, str) else None, None)
