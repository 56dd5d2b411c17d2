"""Runs of a W&B server, by the GraphQL questions that its own client asks. Every logged row, not a sample."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ansible_collections.stoker.fleet.plugins.module_utils.readers.jsonl import add_row
from ansible_collections.stoker.fleet.plugins.module_utils.readers.reading import Reading, Table
from stoker.analysis.errors import NotThere, Unreadable
from stoker.analysis.servers.address import Address
from stoker.analysis.servers.asking import Asker, an_object, basic, from_netrc, next_page, objects, words

# The server thins what has more rows than were asked for, so that a page is never more steps wide than rows long.
ROWS_PAGE, RUNS_PAGE = 10_000, 50
_FIELDS = (
    "name displayName state config group jobType commit tags notes createdAt heartbeatAt summaryMetrics"
    " historyLineCount historyKeys"
)
_PROJECT = "$entity: String!, $project: String!"
_IN_PROJECT = "project(name: $project, entityName: $entity)"
_LIST = f"""query Runs({_PROJECT}, $cursor: String, $perPage: Int!) {{ {_IN_PROJECT} {{
  runs(after: $cursor, first: $perPage, order: "+created_at") {{
    edges {{ node {{ {_FIELDS} }} }} pageInfo {{ endCursor hasNextPage }} }} }} }}"""
_ONE = f"query Run({_PROJECT}, $name: String!) {{ {_IN_PROJECT} {{ run(name: $name) {{ {_FIELDS} }} }} }}"
_PAGE = f"""query HistoryPage({_PROJECT}, $run: String!, $minStep: Int64!, $maxStep: Int64!, $pageSize: Int!) {{
  {_IN_PROJECT} {{ run(name: $run) {{ history(minStep: $minStep, maxStep: $maxStep, samples: $pageSize) }} }} }}"""
_VIEWER = "query Viewer { viewer { entity } }"
_ODD = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
# W&B calls a run crashed when it has not heard of it for some minutes: nobody saw it end.
_STATES = {
    "finished": "finished", "failed": "failed", "killed": "failed", "running": "running", "preempting": "running",
    "crashed": "unfinished", "preempted": "unfinished",
}  # fmt: skip
_KEY = "set WANDB_API_KEY, or have the key in ~/.netrc"


class Wandb:
    """A W&B server. Where the address names no entity, that of the key's owner is meant."""

    def __init__(self, address: Address, env: Mapping[str, str] = os.environ) -> None:
        found = ("api", env["WANDB_API_KEY"]) if env.get("WANDB_API_KEY") else from_netrc(address.url, env)
        self._asker = Asker(address.url, basic(*found) if found else None, _KEY)
        self.address = address
        if not address.entity:
            self.address = replace(address, entity=self._owner())

    def heads(self) -> Iterator[Reading]:
        """What is known of each run, without metrics. Raises Unreadable, NotThere."""
        if self.address.run:
            yield self._head(self._run(self.address.run))
            return
        cursor: str | None = None
        before: set[str] = set()
        while True:
            project = self._project(_LIST, cursor=cursor, perPage=RUNS_PAGE)
            runs = self._object(project, "runs")
            for edge in objects(runs, "edges", self.address.url):
                yield self._head(self._object(edge, "node"))
            page = self._object(runs, "pageInfo")
            if not page.get("hasNextPage"):
                return
            cursor = next_page(page, "endCursor", self.address.url, before)
            if cursor is None:
                raise Unreadable(f"{self.address.url} said what makes no sense: there are more runs, but not where")

    def history(self, run: str) -> Reading:
        """Every row of a run. Raises Unreadable, NotThere."""
        node = self._run(run)
        reading, table = self._head(node), Table()
        keys = _plain(node.get("historyKeys"))
        last = keys.get("lastStep")
        end = int(last) + 1 if isinstance(last, int | float) and math.isfinite(last) else 0
        for start in range(0, end, ROWS_PAGE):
            project = self._project(
                _PAGE, run=run, minStep=start, maxStep=min(start + ROWS_PAGE, end), pageSize=ROWS_PAGE
            )
            for text in _listed(self._object(project, "run").get("history")):
                row = _plain(text)
                if not row:
                    reading.skip("row that is no JSON object")
                    continue
                add_row(_numbers(row), table, reading)
                table.end_row()
        count = node.get("historyLineCount")
        if isinstance(count, int) and count > table.rows:
            reading.notes.append(
                f"the server counts {count:,} rows, and sent {table.rows:,}: it may be behind, or have thinned"
            )
        table.finish(reading)
        return reading

    def _object(self, answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        return an_object(answer, name, self.address.url)

    def _owner(self) -> str:
        entity = self._object(self._ask(_VIEWER), "viewer").get("entity")
        if not isinstance(entity, str) or not entity:
            raise Unreadable(f"{self.address.url} does not know whose key this is", next_step=_KEY)
        return entity

    def _run(self, run: str) -> Mapping[str, Any]:
        node = self._project(_ONE, name=run).get("run")
        if not isinstance(node, dict):
            hint = f"stoker runs list {replace(self.address, run=None)}"
            raise NotThere(f"{self.address} has no run '{run}'", next_step=hint)
        return node

    def _project(self, query: str, **variables: Any) -> Mapping[str, Any]:
        where = {"entity": self.address.entity, "project": self.address.project}
        project = self._ask(query, **where, **variables).get("project")
        if not isinstance(project, dict):
            raise NotThere(f"there is no project {self.address}, or this key may not see it", next_step=_KEY)
        return project

    def _ask(self, query: str, **variables: Any) -> Mapping[str, Any]:
        answer = self._asker.ask("/graphql", {"query": query, "variables": variables})
        if answer.get("errors"):
            said = words(json.dumps(answer).encode())
            raise Unreadable(f"{self.address.url} cannot answer: {said}", next_step=_KEY)
        data = answer.get("data")
        return data if isinstance(data, dict) else {}

    def _head(self, node: Mapping[str, Any]) -> Reading:
        name = str(node.get("name"))
        reading = Reading("wandb", self.address.page(name))
        said = {"name": "displayName", "group": "group", "job_type": "jobType", "notes": "notes", "commit": "commit"}
        info = reading.info
        info.update({key: node.get(field) for key, field in said.items() if node.get(field)})
        info.update(id=name, project=self.address.project, tags=[str(tag) for tag in _listed(node.get("tags"))])
        info["started_at"], info["updated_at"] = _moment(node.get("createdAt")), _moment(node.get("heartbeatAt"))
        state = str(node.get("state"))
        doubt = ": nobody saw it end" if state == "crashed" else ""
        info["state"] = (_STATES.get(state, "unknown"), f"W&B says {state}{doubt}")
        for key, setting in _plain(node.get("config")).items():
            if key != "_wandb":
                reading.config[key] = setting["value"] if isinstance(setting, dict) and "value" in setting else setting
        summary = _plain(node.get("summaryMetrics"))
        reading.summary = {key: value for key, value in _numbers(summary).items() if key != "_wandb"}
        return reading


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _plain(value: Any) -> Mapping[str, Any]:
    """A JSON object, which W&B sends as text or as it is; empty for anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def _numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    """With numbers for what JSON has none for."""
    return {key: _ODD.get(value, value) if isinstance(value, str) else value for key, value in row.items()}


def _moment(text: Any) -> float | None:
    """An ISO time, of UTC where it names no zone, as Unix seconds."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
