# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes played by the test: what a runner would bring back from them."""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stoker.operations.session import Session
from stoker.runner import Inventory, InventoryNode, PlayResult, TaskResult
from stoker.store import JobRow, NodeRow


class PlayedNodes:
    """Stands where a Runner stands. `rounds` holds the requests of the rounds made, `on_round` is called for each."""

    def __init__(self, *names: str) -> None:
        local = {"ansible_connection": "local"}
        made = [InventoryNode(name, ("all",), local if name == "localhost" else {}) for name in names]
        self._inventory = Inventory(Path("inventory.yml"), tuple(made), {"all": names, "gpus": ("n1", "n2")})
        self.rounds: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.on_round: Callable[[dict[str, Any]], None] = lambda request: None
        self.logs: dict[tuple[str, int], bytes] = {}
        self.ended: set[tuple[str, int]] = set()
        self.away: dict[str, str] = {}
        self.answers: Callable[[str, str, dict[str, Any]], dict[str, Any]] = self._no_answer
        self.session: Session
        self.said: list[str]

    def inventory(self) -> Inventory:
        return self._inventory

    def forget_inventory(self) -> None:
        """Nothing is kept here."""

    def join(self, name: str) -> None:
        """Put a node into the inventory, as one that is edited meanwhile."""
        nodes = (*self._inventory.nodes, InventoryNode(name, ("all",), {}))
        groups = {**self._inventory.groups, "all": tuple(node.name for node in nodes)}
        self._inventory = Inventory(self._inventory.source, nodes, groups)

    def leave(self, name: str) -> None:
        """Take a node out of the inventory."""
        nodes = tuple(node for node in self._inventory.nodes if node.name != name)
        self._inventory = Inventory(self._inventory.source, nodes, self._inventory.groups)

    def play(self, playbook: str, *, extra_vars: dict[str, Any], limit: str | None = None, **_: Any) -> PlayResult:
        if playbook == "stoker.fleet.dispatch":
            self.rounds.append(extra_vars["stoker_round"])
            self.on_round(extra_vars["stoker_round"])
            return PlayResult(4 if self.away else 0, unreachable=dict(self.away))
        requests = json.loads(base64.b64decode(extra_vars["stoker_requests"]))
        results, unreachable = [], {}
        for node in (limit or "").split(","):
            request = requests.get(node, requests.get("*"))
            self.requests.append((playbook, node, request))
            if node in self.away:
                unreachable[node] = self.away[node]
                continue
            if playbook == "stoker.fleet.log" and (request["job"], request["attempt"]) not in self.logs:
                refused = f"no attempt {request['attempt']} of job {request['job']}"
                return PlayResult(2, failed={node: refused})
            res = self._log(request) if playbook == "stoker.fleet.log" else self.answers(playbook, node, request)
            results.append(TaskResult(node, "ask", playbook, "ok", res))
        return PlayResult(4 if unreachable else 0, results, unreachable=unreachable)

    def _no_answer(self, playbook: str, node: str, request: dict[str, Any]) -> dict[str, Any]:
        raise AssertionError(f"{node} was asked {playbook} {request}")

    def _log(self, request: dict[str, Any]) -> dict[str, Any]:
        key = request["job"], request["attempt"]
        log = self.logs[key]
        if "tail" in request:
            kept = b"".join(log.splitlines(keepends=True)[-request["tail"] :]) if request["tail"] else b""
            offset = len(log) - len(kept)
        else:
            offset = request["offset"]
        data = log[offset : offset + request["limit"]]
        end = offset + len(data)
        packed = base64.b64encode(zlib.compress(data)).decode()
        eof = key in self.ended and end >= len(log)
        return {"chunk": {"offset": offset, "next": end, "size": len(log), "data": packed, "eof": eof}}

    def show(self, job: str, state: str, *, node: str = "n1", attempt: int = 1, **observed: Any) -> JobRow:
        """Let the store hold what `node` showed of the job's attempt."""
        store = self.session.store
        row = store.job(job)
        assert row is not None
        now = time.time()
        job_fields = {k: observed.get(k) for k in ("reason", "exit_code", "signal", "elapsed_s")}
        attempt_fields = {
            "state": state, "node": node, "observation": observed, "observed_at": observed.pop("observed_at", now),
            **job_fields,
        }  # fmt: skip
        with store.write() as transaction:
            if transaction.attempt(job, attempt) is None:
                values = {"job_id": job, "number": attempt, "claimed_at": now, "confirmed_at": now}
                transaction.add_attempt({**values, "log_start": 0, "log_end": 0, **attempt_fields})
            else:
                transaction.change_attempt(job, attempt, attempt_fields)
            transaction.change_job(
                row, {"state": state, "node": node, "attempt": attempt, "updated_at": now, **job_fields}
            )
        return store.job(job)  # type: ignore[return-value]

    def know(self, node: str, **facts: Any) -> None:
        """Let the store know a node; `unreachable_since` makes it one that does not answer."""
        fields = {"last_seen": time.time(), "unreachable_since": None, "unreachable_message": None, "misses": 0}
        fields.update({k: facts.pop(k) for k in list(facts) if k in fields})
        with self.session.store.write() as transaction:
            transaction.put_node(NodeRow(name=node, facts=facts, **fields))
