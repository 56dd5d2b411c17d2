# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an assistant pays for the tools before it asks anything, and for the usual answers: tokens."""

from __future__ import annotations

import json
from typing import Any

from stoker.config import Access
from stoker.mcp.tools import tools
from stoker.store import open_store
from tests.bench.offline import fill
from tests.bench.place import Place
from tests.bench.table import Table
from tests.bench.written import json_lines
from tests.testbed.assistant import Assistant, assistant, over_stdio

# What a tokenizer makes of the listing, as in docs/mcp.md; it differs from model to model.
BYTES_A_TOKEN = 3.9
_LISTING, _ANSWER = "limit: all tools listed", "limit: text of a usual answer"
_JOBS = 20


def tokens(place: Place) -> Table:
    """The tools, and answers about 20 jobs, a node and a training: the text, and the same as JSON."""
    node = place.use(1)[0]
    folder = place.bed.new_folder("a")
    with open_store() as store:
        fill(store, _JOBS)
        job = store.jobs(limit=1)[0].id
    json_lines(folder / "run.jsonl", 2000)
    table = Table("assistant", "Tokens for an assistant", (_LISTING, _ANSWER), by="tokens")
    table.add(_LISTING, tokens=6000)
    table.add(_ANSWER, tokens=500)
    env = {"STOKER_INVENTORY": str(place.inventory)}
    asked: dict[str, dict[str, Any]] = {
        "jobs": {}, "job": {"job": job}, "queue list": {}, "events": {}, "status": {"stored": True},
        "nodes": {"stored": True}, "alerts": {"on": node.name}, "runs summary": {"run": "run.jsonl"},
        "runs check": {"run": "run.jsonl"}, "runs eta": {"run": "run.jsonl"},
    }  # fmt: skip
    with assistant(over_stdio(env, folder)) as helper:
        listed = helper.ask("list_tools").tools
        whole = [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in listed]
        table.add(f"{len(listed)} tools listed", tokens=_count(json.dumps(whole, separators=(",", ":"))))
        for words, arguments in asked.items():
            answer = _answered(helper, words, arguments)
            said = _count(json.dumps(answer.structured_content, separators=(",", ":")))
            table.add(words, tokens=_count(answer.content[0].text), tokens_json=said)
    return table


def _answered(helper: Assistant, words: str, arguments: dict[str, Any]) -> Any:
    tool = next(tool.name for tool in tools("read", Access()) if tool.operation(words))
    answer = helper.call(tool, do=words, **arguments)
    if answer.is_error:
        raise RuntimeError(f"{words}: {answer.content[0].text}")
    return answer


def _count(text: str) -> float:
    return len(text.encode()) / BYTES_A_TOKEN
