# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who waits for what: calls that last, and calls that do not, of one caller and of several."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from stoker.errors import StokerError
from stoker.mcp import places, tools
from stoker.operations.registry import operations

ALICE, BOB = ("http", "alice"), ("http", "bob")


async def silent(_elapsed: float, _text: str) -> None:
    """Nobody looks."""


def test_what_waits_keeps_nobody_from_anything_else() -> None:
    async def scene() -> None:
        here = places.Places()
        async with AsyncExitStack() as held:
            for _ in range(places.LASTING_AT_ONCE):
                await held.enter_async_context(here.taken(ALICE, True, silent))
            with pytest.raises(StokerError, match="no more may at once") as refused:
                await held.enter_async_context(here.taken(ALICE, True, silent))
            assert refused.value.next_step
            for caller, lasts in ((ALICE, False), (BOB, True), (BOB, False)):
                async with asyncio.timeout(60), here.taken(caller, lasts, silent):
                    pass
        async with asyncio.timeout(60), here.taken(ALICE, True, silent):
            pass

    asyncio.run(scene())


def test_who_waits_for_his_turn_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_HEARTBEAT_S", 0.05)

    async def scene() -> None:
        here, told = places.Places(), asyncio.Event()
        said: list[str] = []

        async def progress(_elapsed: float, text: str) -> None:
            said.append(text)
            told.set()

        async def one() -> str:
            async with here.taken(ALICE, False, progress):
                return "done"

        async with AsyncExitStack() as held:
            for _ in range(places.AT_ONCE):
                await held.enter_async_context(here.taken(ALICE, False, silent))
            waiting = [asyncio.ensure_future(one()) for _ in range(places.QUEUED)]
            async with asyncio.timeout(60):
                await told.wait()
            with pytest.raises(StokerError, match="wait for their turn"):
                await one()
            waiting.pop().cancel()
        async with asyncio.timeout(60):
            assert set(await asyncio.gather(*waiting)) == {"done"}
            assert await one() == "done"
        assert "behind 8 other calls of yours" in said[0]

    asyncio.run(scene())


def test_all_together_are_not_more_than_the_machine_can_hold() -> None:
    async def scene() -> None:
        here = places.Places()
        async with AsyncExitStack() as held:
            for number in range(places.OF_ALL):
                await held.enter_async_context(here.taken(("http", str(number)), False, silent))
            with pytest.raises(StokerError, match="calls are under way here"):
                await held.enter_async_context(here.taken(ALICE, False, silent))

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("command", "given", "lasts"),
    [
        ("wait", {"job": "x"}, True), ("watch", {"job": "x"}, True), ("watch", {"job": "x", "once": True}, False),
        ("logs", {"job": "x"}, False), ("logs", {"job": "x", "follow": True}, True), ("events", {}, False),
        ("telemetry", {}, False), ("telemetry", {"watch": True}, True), ("exec", {}, True), ("run", {}, False),
        ("workflow run", {}, True), ("workflow status", {}, False), ("dispatch", {}, True), ("queue start", {}, True),
        ("queue add", {"timeout": "1h"}, False), ("jobs", {}, False), ("stop", {}, False), ("node drain", {}, True),
    ],
)  # fmt: skip
def test_which_calls_last(command: str, given: dict[str, Any], lasts: bool) -> None:
    (operation,) = [found for found in operations() if found.command == command]
    assert tools.lasts(operation, given) is lasts
