"""Asking many nodes again and again, so that one that is slow or away holds up no other."""

from __future__ import annotations

import base64
import json
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stoker.errors import StokerError
from stoker.operations.rounds import looks

if TYPE_CHECKING:
    from stoker.dispatch import NodeResult
    from stoker.operations.session import Session
    from stoker.runner import Event

# What the end waits for Ansible to end, in seconds.
END_S = 5.0


class Sampling:
    """Asks nodes what they do, in one play an interval, and writes down what each tells as it comes.

    A node that has not answered yet is not asked again. `jobs`: ask about the jobs of the nodes that are not over, too.
    """

    def __init__(self, session: Session, nodes: Sequence[str], parts: Sequence[str], *, jobs: bool = False) -> None:
        self._session = session
        self.nodes = tuple(nodes)
        self._looks = looks(session, parts)
        self._jobs = jobs
        self._asked: dict[str, Mapping[str, Any]] = {}
        self._results: queue.Queue[tuple[str, NodeResult | StokerError]] = queue.Queue()
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        # Opened here, by one thread: those that play share them.
        session.store, session.runner, session.inventory  # noqa: B018

    @property
    def pending(self) -> frozenset[str]:
        """The nodes that were asked and have not answered."""
        return frozenset(self._asked)

    def ask(self) -> None:
        """Ask every node that owes no answer."""
        names = [name for name in self.nodes if name not in self._asked]
        if not names:
            return
        requests = {name: self._request(name) for name in names}
        self._asked.update(requests)
        thread = threading.Thread(target=self._play, args=(requests,), daemon=True)
        self._threads = [t for t in self._threads if t.is_alive()] + [thread]
        thread.start()

    def _request(self, node: str) -> dict[str, Any]:
        asked: dict[str, Any] = {"op": "reconcile", "orders": [], "observe": {"jobs": []}, "gpus": False}
        asked |= {
            key: value
            for key, value in self._looks.items()
            if key not in ("telemetry", "membership") and value is not None
        }
        if self._jobs:
            rows = self._session.store.jobs(states=["queued", "starting", "running"], node=node)
            asked["observe"] = {"jobs": [row.id for row in rows]}
        return asked

    def _play(self, requests: Mapping[str, Mapping[str, Any]]) -> None:
        from stoker.dispatch import NodeResult

        def take(event: Event) -> None:
            host = event.host
            if event.kind != "result" or host is None or host not in requests:
                return
            request = requests[host]
            if event.status == "ok":
                told = NodeResult(reply=event.res.get("reply"), request=request)
            elif event.status == "unreachable":
                told = NodeResult(unreachable=event.message or "no reason told", request=request)
            else:
                told = NodeResult(failed=event.message or "no reason told", request=request)
            heard.add(host)
            self._results.put((host, told))

        heard = set[str]()
        packed = base64.b64encode(json.dumps(requests).encode()).decode()
        lost: NodeResult | StokerError = NodeResult(failed="it gave no answer")
        try:
            self._session.runner.play(
                "stoker.fleet.request",
                extra_vars={"stoker_requests": packed},
                limit=",".join(requests),
                on_event=take,
                cancel=self._over.is_set,
            )
        except StokerError as problem:
            lost = problem
        except BaseException as problem:  # noqa: BLE001  a thread that ends without a word would be waited for
            lost = StokerError(f"the nodes could not be asked: {problem!r}")
        for name in requests:
            if name not in heard:
                self._results.put((name, lost))

    def answers(self, until: float) -> Iterator[tuple[str, ...]]:
        """The nodes whose answers have been written down, as they come, to `until` (time.monotonic()) or the last one.

        Raises StokerError when the nodes could not be asked at all.
        """
        while self._asked and (left := until - time.monotonic()) > 0:
            try:
                found = [self._results.get(timeout=min(left, 1.0))]
            except queue.Empty:
                continue
            while not self._results.empty():
                found.append(self._results.get())
            yield self._record(found)

    def _record(self, found: Sequence[tuple[str, NodeResult | StokerError]]) -> tuple[str, ...]:
        from stoker.dispatch import RoundRequest, finish_round

        results: dict[str, NodeResult] = {}
        for name, told in found:
            self._asked.pop(name, None)
            if isinstance(told, StokerError):
                raise told
            results[name] = told
        request = RoundRequest.parse({"mode": "observe", **self._looks})
        finish_round(self._session.store, results, time.time(), request=request)
        return tuple(results)

    def close(self) -> None:
        """End what is still asked."""
        self._over.set()
        for thread in self._threads:
            thread.join(END_S)
