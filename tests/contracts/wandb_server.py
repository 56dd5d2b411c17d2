# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A W&B server as its public API wants to be asked: a schema that a real GraphQL engine holds questions to, pages of
runs and of rows, a key, and thinned rows for whoever asks for fewer than there are."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from graphql import GraphQLError, build_schema, graphql_sync

SCHEMA = build_schema("""
scalar JSONString
scalar JSON
scalar Int64
scalar DateTime
type Query { viewer: User, project(name: String, entityName: String): Project }
type User { id: ID!, entity: String, username: String, name: String, flags: String, email: String, admin: Boolean,
            teams: Teams, apiKeys: Keys }
type Teams { edges: [TeamEdge!]! } type TeamEdge { node: Team! } type Team { name: String }
type Keys { edges: [KeyEdge!]! } type KeyEdge { node: Key! } type Key { id: ID!, name: String, description: String }
type Project { id: ID!, internalId: ID!, name: String!, readOnly: Boolean, runCount(filters: JSONString): Int!,
               run(name: String!): Run,
               runs(filters: JSONString, after: String, first: Int, order: String): RunConnection! }
type RunConnection { edges: [RunEdge!]!, pageInfo: PageInfo! }
type RunEdge { node: Run!, cursor: String! }
type PageInfo { endCursor: String, hasNextPage: Boolean! }
type Run { id: ID!, projectId: ID, name: String!, displayName: String, state: String, config: JSONString, group: String,
           sweepName: String, jobType: String, commit: String, readOnly: Boolean, tags: [String!]!, notes: String,
           description: String, createdAt: DateTime!, heartbeatAt: DateTime, summaryMetrics: JSONString,
           systemMetrics: JSONString, historyLineCount: Int, historyKeys: JSON, user: User,
           history(minStep: Int64, maxStep: Int64, samples: Int): [JSONString!]!,
           parquetHistory(liveKeys: [String!]!): Parquet! }
type Parquet { liveData: [JSON!]!, parquetUrls: [String!]! }
""")


class WandbServer:
    """Listens until closed. `runs` are those of `me/pine`; who has not `key` is refused."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.runs: list[Mapping[str, Any]] = []
        self.asked: list[Mapping[str, Any]] = []
        self.busy = self.turned_away = 0
        self.pause = "0"
        self.broken: bytes | None = None
        self.stuck: tuple[str | None] | None = None
        handler = type("Bound", (_Handler,), {"server_of": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add(
        self, name: str, state: str, rows: Sequence[Mapping[str, Any]], config: Mapping[str, Any], **fields: Any
    ) -> None:
        """Have a run with these rows, each with its `_step`."""
        steps = [row["_step"] for row in rows]
        base = {
            "id": f"id-{name}", "projectId": "1", "name": name, "displayName": name, "state": state, "tags": [],
            "config": json.dumps({**{key: {"value": value, "desc": None} for key, value in config.items()},
                                  "_wandb": {"value": {"cli_version": "0.22.3"}}}),
            "summaryMetrics": json.dumps(rows[-1] if rows else {}), "systemMetrics": "{}", "readOnly": False,
            "createdAt": f"2026-01-01T00:00:{len(self.runs):02d}", "heartbeatAt": "2026-01-01T01:00:00Z",
            "historyLineCount": len(rows), "rows": rows, "user": {"id": "1", "name": "Me", "username": "me"},
            "historyKeys": {"keys": {}, "sets": [], "lastStep": max(steps)} if steps else None,
        }  # fmt: skip
        self.runs.append({**base, **fields})

    def answer(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append(body)
        done = graphql_sync(SCHEMA, body["query"], _Root(self), variable_values=body.get("variables"))
        return done.formatted  # type: ignore[return-value]


class _Root:
    def __init__(self, server: WandbServer) -> None:
        self._server = server

    def viewer(self, _info: Any) -> Mapping[str, Any]:
        nothing: Mapping[str, Any] = {"edges": []}
        return {"id": "1", "entity": "me", "username": "me", "flags": "{}", "teams": nothing, "apiKeys": nothing}

    def project(self, _info: Any, name: str, entityName: str) -> _Project | None:  # noqa: N803  the schema's name
        return _Project(self._server) if (entityName, name) == ("me", "pine") else None


class _Project:
    id, internalId, name, readOnly = "p", "1", "pine", False  # noqa: N815

    def __init__(self, server: WandbServer) -> None:
        self._runs, self._stuck = server.runs, server.stuck

    def runCount(self, _info: Any, filters: str | None = None) -> int:  # noqa: N802
        return len(self._runs)

    def run(self, _info: Any, name: str) -> Mapping[str, Any] | None:
        return next((_shown(run) for run in self._runs if run["name"] == name), None)

    def runs(
        self,
        _info: Any,
        first: int = 50,
        after: str | None = None,
        order: str | None = None,
        filters: str | None = None,
    ) -> Mapping[str, Any]:
        if order not in (None, "+created_at", "-created_at"):
            raise GraphQLError(f"unknown order {order}")
        start = int(after or 0)
        page = self._runs[start : start + first]
        end = start + len(page)
        edges = [{"node": _shown(run), "cursor": str(start + at + 1)} for at, run in enumerate(page)]
        if self._stuck is not None:
            return {"edges": edges, "pageInfo": {"endCursor": self._stuck[0], "hasNextPage": True}}
        return {"edges": edges, "pageInfo": {"endCursor": str(end), "hasNextPage": end < len(self._runs)}}


def _shown(run: Mapping[str, Any]) -> Mapping[str, Any]:
    def history(_info: Any, minStep: int, maxStep: int, samples: int) -> list[str]:  # noqa: N803
        rows = [row for row in run["rows"] if minStep <= row["_step"] < maxStep]
        return [json.dumps(row) for row in rows[:: -(-len(rows) // samples) or 1]]

    # Newer clients ask for the rows as files; what is not in one yet comes along.
    parquet = {"liveData": list(run["rows"]), "parquetUrls": []}
    return {**run, "history": history, "parquetHistory": lambda _info, liveKeys: parquet}  # noqa: N803


class _Handler(BaseHTTPRequestHandler):
    server_of: WandbServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = self.server_of
        body = self.rfile.read(int(self.headers["Content-Length"]))
        login = "Basic " + base64.b64encode(f"api:{server.key}".encode()).decode()
        if server.broken is not None:
            self._send(200, server.broken)
        elif server.busy > 0:
            server.busy -= 1
            server.turned_away += 1
            self._send(429, b"{}", {"Retry-After": server.pause})
        elif self.path != "/graphql" or self.headers.get("Content-Type") != "application/json":
            self._send(404, b"{}")
        elif self.headers.get("Authorization") != login:
            self._send(401, b'{"errors":[{"message":"user is not logged in"}]}')
        else:
            answer = server.answer(json.loads(body))
            self._send(400 if answer.get("data") is None else 200, json.dumps(answer).encode())

    def _send(self, code: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""
