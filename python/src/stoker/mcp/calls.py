"""Calls as the server sees them: handed to the worker, followed, given up; and confirmed where they destroy."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

from stoker.errors import StokerError, UsageError
from stoker.mcp.places import Places, Progress
from stoker.mcp.tools import NEW_PLAN, destroys, lasts
from stoker.mcp.worker import Worker
from stoker.operations.policy import Caller
from stoker.operations.registry import Operation

# A client that sees nothing for long takes the call for lost.
_HEARTBEAT_S = 5.0
_LONGEST_LINE = 64 * 1024 * 1024
CONFIRM_WITHIN_S = 600.0


class Calls:
    """What the callers of one server ask of one worker; `inventory` and `config` are what the server was told."""

    def __init__(self, worker: Worker, inventory: str | None, config: str | None) -> None:
        self._worker = worker
        self._told = {"inventory": inventory, "config": config}
        self._confirmations: dict[str, tuple[str, float]] = {}
        self._places = Places()

    async def ask(
        self, caller: Caller, operation: Operation, given: Mapping[str, Any], progress: Progress,
        *, cursor: str | None = None, key: str | None = None, confirm: str | None = None, whole: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        """The answer of an operation; where that destroys something, its plan and a token, until it is confirmed.

        Raises StokerError for a confirmation that is none, and when the process of the call broke.
        """
        request = {
            "operation": operation.command, "arguments": dict(given), "who": caller.who, "role": caller.role,
            "via": caller.via, "session": caller.session, "cursor": cursor, "key": key, "whole": whole, **self._told,
        }  # fmt: skip
        if confirm is not None:
            try:
                self._confirmed(confirm, caller, operation, given)
            except UsageError as problem:
                if key is None:
                    raise
                # Sent once more, since its answer was lost: the key knows what was said.
                return await self._call({**request, "unconfirmed": problem.message}, progress, lasts=False)
        elif destroys(operation, given):
            plan = await self._call({**request, "plan": True}, progress, lasts=False)
            return self._to_confirm(plan, caller, operation, given)
        return await self._call(request, progress, lasts=lasts(operation, given))

    def _confirmed(self, token: str, caller: Caller, operation: Operation, given: Mapping[str, Any]) -> None:
        """Use up a token. Raises UsageError where it is for something else, for somebody else, or too old."""
        wanted, until = self._confirmations.pop(token, ("", 0.0))
        if wanted != _what(caller, operation, given) or time.monotonic() > until:
            raise UsageError(
                "confirm: that token is used, too old, or for another call: nothing was done",
                next_step=NEW_PLAN,
            )

    def _to_confirm(
        self, plan: dict[str, Any], caller: Caller, operation: Operation, given: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The plan with a token for exactly this call."""
        if plan["error"] or "plan" not in plan["structured"]:
            return plan
        now = time.monotonic()
        self._confirmations = {token: what for token, what in self._confirmations.items() if what[1] > now}
        token = secrets.token_urlsafe(12)
        self._confirmations[token] = (_what(caller, operation, given), now + CONFIRM_WITHIN_S)
        step = f"when this is what the user wants: the same call with confirm={token!r}, within 10 minutes"
        plan["structured"] |= {"confirm": token, "next_action": step}
        plan["text"] += f"\nnext_action: {step}"
        return plan

    async def _call(self, request: Mapping[str, Any], progress: Progress, *, lasts: bool) -> dict[str, Any]:
        async with self._places.taken((request["via"], request["who"]), lasts, progress):
            try:
                connection = self._worker.begin(request)
            except OSError as problem:
                raise StokerError(
                    f"no call can be made any more: {problem}", next_step="start stoker mcp anew"
                ) from None
            connection.setblocking(False)
            reader, writer = await asyncio.open_unix_connection(sock=connection, limit=_LONGEST_LINE)
            try:
                return await _answer(reader, progress)
            finally:
                # Also when the client gave it up: that is how the call learns of it.
                writer.close()


async def _answer(reader: asyncio.StreamReader, progress: Progress) -> dict[str, Any]:
    """What a call says in the end; what it says before that, and that it goes on, is progress."""
    began = time.monotonic()
    line = asyncio.ensure_future(reader.readline())
    try:
        while True:
            done, _ = await asyncio.wait({line}, timeout=_HEARTBEAT_S)
            elapsed = time.monotonic() - began
            if not done:
                await progress(elapsed, f"{elapsed:.0f} s")
                continue
            said = line.result()
            if not said:
                raise StokerError(
                    "the process of this call has ended without an answer; what it did is not known",
                    next_step="jobs with do='events' or do='jobs' shows what there is: look before it is made again",
                )
            frame = json.loads(said)
            if "answer" in frame:
                answer: dict[str, Any] = frame["answer"]
                return answer
            if "broken" in frame:
                raise StokerError(f"a fault of Stoker: {frame['broken']}", next_step="its log has the trace")
            await progress(elapsed, str(frame["say"]))
            line = asyncio.ensure_future(reader.readline())
    finally:
        line.cancel()


def _what(caller: Caller, operation: Operation, given: Mapping[str, Any]) -> str:
    said = json.dumps([caller.who, caller.via, operation.name, given], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()
