# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The provider's endpoints for offers and instances."""

from __future__ import annotations

import base64
import itertools
import json
import secrets
import shlex
import subprocess
from decimal import Decimal
from typing import Any

from . import checks
from .calls import Call, Route, route
from .instances import STORED, Instance
from .offers import fulfils, search
from .provider import Provider
from .refusal import Refusal, Reply, no_such_instance

PAGE = 25
DONE = {"success": True}
OLD_LIST = "/api/v0/instances/ is deprecated. Use /api/v1/instances/ instead."
NONSENSE = {
    "empty": Reply(200, b'""'),
    "html": Reply(200, b"<html><body>Just a moment...</body></html>", {}, "text/html"),
    "refused": Reply(200, b'{"success": false, "error": "internal", "msg": "try again later"}'),
}


class InstancesApi:
    """Searches, creates, lists, changes and destroys."""

    def __init__(self, provider: Provider, url: str) -> None:
        self._provider, self._url = provider, url
        self._logs: dict[str, tuple[float, int]] = {}
        self._outputs: dict[str, str] = {}
        self._pending = itertools.count(7001)

    def routes(self) -> list[Route]:
        one = "/api/v0/instances/{id}/"
        changes = "/api/v0/instances/(?:accept|reject)-price-increase/"
        return [
            route("POST", "/api/v0/bundles/", "search", self.search, denied=404),
            route("PUT", "/api/v0/search/asks/", "search", self.search_asks),
            route("PUT", "/api/v0/asks/{id}/", "create", self.create),
            route("POST", "/api/v0/asks/bulk/", "create", self.create_many),
            route("GET", "/api/v1/instances/", "list", self.list),
            route("GET", "/api/v0/instances/", "list", self.old_list),
            route("PUT", "/api/v0/instances/", "change", self.change_many),
            route("DELETE", "/api/v0/instances/", "destroy", self.destroy_many),
            route("GET", "/api/v0/instances/filters/", "filters", self.filters),
            route("GET", "/api/v0/instances/pending-price-increases/", "rises", self.rises),
            route("PUT", changes, "rises", self.decide),
            route("GET", one, "show", self.show),
            route("PUT", one, "change", self.change),
            route("DELETE", one, "destroy", self.destroy),
            route("PUT", "/api/v0/instances/reboot/{id}/", "reboot", self.reboot),
            route("PUT", "/api/v0/instances/recycle/{id}/", "reboot", self.recycle),
            route("PUT", "/api/v0/instances/bid_price/{id}/", "bid", self.bid),
            route("PUT", "/api/v0/instances/update_template/{id}/", "change", self.update),
            route("PUT", "/api/v0/instances/prepay/{id}/", "prepay", self.prepay),
            route("PUT", "/api/v0/instances/request_logs/{id}/", "logs", self.logs),
            route("PUT", "/api/v0/instances/command/{id}/", "command", self.command),
            route("GET", "/results/{token}.log", "result", self.result, login=False),
        ]

    # Offers

    def search(self, call: Call) -> object:
        return {"offers": search(self._provider.listed(), call.body)}

    def search_asks(self, call: Call) -> object:
        body = checks.hold(call.body, {"select_cols": checks.words, "q": lambda value: True}, ("q",))
        return {"offers": search(self._provider.listed(), body["q"])}

    # Create

    def create(self, call: Call) -> object:
        return self._create(call.part, checks.create(call.body))

    def create_many(self, call: Call) -> object:
        body = dict(checks.create(call.body, ("ids", checks.ids)))
        asks = body.pop("ids", None)
        if not asks:
            raise Refusal(400, "invalid_args", "missing field: ids")
        return {"success": True, "results": [self._create(ask, body) for ask in asks]}

    def _create(self, ask: int, body: dict[str, Any]) -> object:
        provider, faults = self._provider, self._provider.faults
        if faults.take("asks-gone"):
            raise Refusal(410, "no_such_ask", f"error 410/3907: no_such_ask Ask {ask} is no longer available.")
        if ask not in provider.offers:
            message = f"error 404/3603: no_such_ask Instance type by id {ask} is not available."
            raise Refusal(404, "no_such_ask", message)
        if provider.credit() <= 0:
            raise Refusal(400, "missing_billing", "Your account lacks credit.")
        row = provider.offers[ask]
        if body["disk"] > row["disk_space"]:
            raise Refusal(400, "invalid_args", "disk: more than the machine has")
        price = body.get("price")
        if price is not None and Decimal(str(price)) < provider.market[row["machine_id"]]:
            made = {} if body.get("cancel_unavail") else {"new_contract": provider.create(ask, body, stopped=True).id}
            raise Refusal(400, "invalid_price", "error 400/3712: invalid_price: bid too low", **made)
        if faults.take("create-error"):
            made = {"new_contract": provider.create(ask, body, stopped=True).id}
            raise Refusal(400, "internal_error", "the instance could not be started", **made)
        return self._created(provider.create(ask, body))

    def _created(self, one: Instance) -> object:
        faults = self._provider.faults
        body = {"success": True, "new_contract": one.id, "instance_api_key": one.key}
        if faults.take("create-reply-lost"):
            return Reply(502, b"<html><h1>502 Bad Gateway</h1></html>", {}, "text/html")
        reply = Reply.of(body)
        reply.cut = faults.take("create-cut") is not None
        slow = faults.take("create-slow")
        reply.held = slow.held if slow else None
        return reply if reply.cut or reply.held else body

    # List and show

    def list(self, call: Call) -> object:
        provider, faults = self._provider, self._provider.faults
        nonsense = faults.take("list-nonsense")
        if nonsense:
            return NONSENSE[nonsense["body"]]
        given = checks.query(call.query, "select_filters", "order_by", "limit", "after_token", "select_cols")
        size = faults.peek("pages")
        limit = given.get("limit", PAGE)
        if not checks.whole(1, PAGE)(limit):
            raise Refusal(400, "invalid_args", f"limit: 1 to {PAGE}")
        everything = [self._row(one) for one in provider.looked_at()]
        rows = sort(kept(everything, given.get("select_filters", {})), given.get("order_by", []))
        start = place_of(call.query.get("after_token"), rows)
        if start and faults.take("page-lost"):
            return Reply(502, b"<html><h1>502 Bad Gateway</h1></html>", {}, "text/html")
        page = rows[start : start + min(limit, size["size"] if size else PAGE)]
        more = start + len(page) < len(rows)
        counts: dict[str, int] = {}
        for row in rows:
            counts[row["label"] or ""] = counts.get(row["label"] or "", 0) + 1
        return {
            "success": True, "instances_found": len(page), "total_instances": len(rows), "label_counts": counts,
            "next_token": token_of(page[-1]["id"]) if more else None,
            "instances": [columns(row, given.get("select_cols")) for row in page],
        }  # fmt: skip

    def old_list(self, call: Call) -> object:
        checks.query(call.query, "owner")
        if not self._provider.faults.take("old-list"):
            raise Refusal(410, "deprecated_endpoint", OLD_LIST)
        return {"instances": [self._row(one) for one in self._provider.looked_at()]}

    def show(self, call: Call) -> object:
        given = checks.query(call.query, "owner")
        if given.get("owner", "me") != "me":
            raise Refusal(400, "invalid_args", "owner: me")
        found = next((self._row(one) for one in self._provider.looked_at() if one.id == call.part), None)
        return {"instances": found}

    def filters(self, call: Call) -> object:
        rows = [self._row(one) for one in self._provider.looked_at()]
        names = ("actual_status", "verification", "gpu_name")
        return {
            "filters": [dict(zip(names, values, strict=True)) for values in {tuple(r[n] for n in names) for r in rows}]
        }

    def _row(self, one: Instance) -> dict[str, Any]:
        provider, faults = self._provider, self._provider.faults
        row = one.row(provider.now, float(provider.credit()))
        row["min_bid"] = float(provider.market[one.offer["machine_id"]])
        hidden = faults.peek("no-ports", one.id)
        if hidden and hidden["how"] == "absent":
            del row["ports"]
        elif hidden:
            row["ports"] = (
                None if hidden["how"] == "null" else {"8080/tcp": [{"HostIp": "0.0.0.0", "HostPort": "40080"}]}
            )
        if faults.peek("blank-address", one.id):
            row["public_ipaddr"] += " \n"
        if faults.peek("null-fields", one.id):
            row |= {"start_date": None, "extra_env": None}
        return row

    # Changes

    def change(self, call: Call) -> object:
        fields = {"state": checks.one_of("running", "stopped"), "label": checks.text()}
        body = checks.hold(call.body, fields)
        if not body:
            raise Refusal(400, "invalid_args", "state or label")
        one = self._find(call.part)
        if len(body.get("label") or "") > 1024:
            raise Refusal(400, "label_too_long", "label: at most 1024 characters")
        one.label = body.get("label", one.label)
        self._set(one, body.get("state"))
        return DONE

    def change_many(self, call: Call) -> object:
        fields = {"state": checks.one_of("running", "stopped"), "ids": checks.ids}
        body = checks.hold(call.body, fields, ("state", "ids"))
        for one in [self._find(number) for number in body["ids"]]:
            self._set(one, body["state"])
        return DONE

    def _set(self, one: Instance, state: str | None) -> None:
        if state == "running" and self._provider.credit() <= 0:
            raise Refusal(400, "missing_billing", "Your account lacks credit.")
        if state == "running":
            self._provider.start(one)
        elif state == "stopped":
            one.outbid = False
            self._provider.stop(one)

    def destroy(self, call: Call) -> object:
        checks.hold(call.body, {})
        faults = self._provider.faults
        one = self._provider.instances.get(call.part)
        if one is None or one.looks_left is not None:
            return {"success": False, "error": "no_such_instance", "msg": f"Instance {call.part} not found."}
        self._provider.destroy(one)
        if faults.take("destroy-404", one.id):
            raise Refusal(404, "not_found", "Not found")
        if faults.take("destroy-gone", one.id):
            return {"success": False, "error": "no_such_instance", "msg": f"Instance {one.id} not found."}
        return DONE

    def destroy_many(self, call: Call) -> object:
        body = checks.hold(call.body, {"instance_ids": checks.ids}, ("instance_ids",))
        for one in [self._find(number) for number in body["instance_ids"]]:
            self._provider.destroy(one)
        return DONE

    def reboot(self, call: Call) -> object:
        checks.hold(call.body, {})
        self._provider.reboot(self._find(call.part), recycled=False)
        return DONE

    def recycle(self, call: Call) -> object:
        checks.hold(call.body, {})
        self._provider.reboot(self._find(call.part), recycled=True)
        return DONE

    def bid(self, call: Call) -> object:
        fields = {"client_id": checks.one_of("me"), "price": checks.optional(checks.number(0.001, 128))}
        body = checks.hold(call.body, fields, ("client_id", "price"))
        one = self._find(call.part)
        if not one.is_bid:
            raise Refusal(400, "invalid_args", "not an interruptible instance")
        self._provider.bid(one, None if body["price"] is None else Decimal(str(body["price"])))
        return DONE

    def update(self, call: Call) -> object:
        fields = {name: checks.CREATE[name] for name in ("image", "args", "env", "onstart")} | {"id": checks.whole(1)}
        body = dict(checks.hold(call.body, fields, ("id",)))
        one = self._find(call.part)
        if body.pop("id") != one.id:
            raise Refusal(400, "invalid_args", "id: another than in the path")
        one.body.update(body)
        return {"success": True, "updated_instance": one.id}

    def prepay(self, call: Call) -> object:
        checks.hold(call.body, {"amount": checks.number(0.01, 1e6)}, ("amount",))
        self._find(call.part)
        return {"success": True, "timescale": 1.0, "discount_rate": 0.0}

    # Price rises

    def rises(self, call: Call) -> object:
        rows = list(self._provider.rises.values())
        return {"success": True, "count": len(rows), "truncated": False, "pending_price_increases": rows}

    def decide(self, call: Call) -> object:
        field = "pending_price_increase_id"
        body = checks.hold(call.body, {field: checks.whole(1)}, (field,))
        row = self._provider.rises.pop(body[field], None)
        if row is None:
            raise Refusal(404, "no_pending_price_increase")
        if "/accept-" in call.path:
            one = self._find(row["contract_id"])
            self._provider.bid(one, self._provider.risen.pop(body[field]))
        return DONE

    # Logs and commands

    def logs(self, call: Call) -> object:
        digits = lambda value: isinstance(value, str) and value.isdigit()  # noqa: E731
        fields = {"tail": digits, "filter": checks.text(), "daemon_logs": checks.one_of("true", "false")}
        checks.hold(call.body, fields)
        one = self._find(call.part)
        said = one.machine.log.read_text(errors="replace") if one.machine and one.machine.log.exists() else ""
        lines = [text for text in said.splitlines() if call.body.get("filter", "") in text]
        return self._output("\n".join(lines[-int(call.body.get("tail", 1000)) :]) + "\n")

    def command(self, call: Call) -> object:
        body = checks.hold(call.body, {"command": checks.text(512, 1)}, ("command",))
        one = self._find(call.part)
        words = shlex.split(body["command"])
        if not words or words[0] not in ("ls", "rm", "du"):
            raise Refusal(400, "invalid_args", "Invalid command given: only ls, rm and du")
        if one.machine is None:
            raise Refusal(400, "invalid_args", "this double has no machine for the instance")
        done = subprocess.run(
            words, cwd=one.machine.node.home, capture_output=True, text=True, timeout=180, check=False
        )
        return {**self._output(done.stdout + done.stderr), "writeable_path": "/var/lib/docker/"}

    def _output(self, said: str) -> dict[str, object]:
        token = secrets.token_hex(8)
        self._outputs[token] = said
        return {"success": True, "result_url": f"{self._url}/results/{token}.log", "msg": "Command executed."}

    def result(self, call: Call) -> object:
        if call.token not in self._outputs or self._provider.faults.take("logs-never"):
            return Reply(403, b"<Error><Code>AccessDenied</Code></Error>", {}, "application/xml")
        return Reply(200, self._outputs[call.token].encode(), {}, "text/plain")

    def _find(self, number: int) -> Instance:
        one = self._provider.instances.get(number)
        if one is None:
            raise no_such_instance(number)
        return one


def kept(rows: list[dict[str, Any]], filters: Any) -> list[dict[str, Any]]:
    """Those that a list asks for; only what is stored can be asked for."""
    if not isinstance(filters, dict):
        raise Refusal(400, "invalid_args", "select_filters: an object")
    for name in filters:
        if name not in STORED:
            raise Refusal(400, "invalid_args", f"select_filters: {name} cannot be filtered by")
    return [row for row in rows if all(fulfils(row[name], name, want) for name, want in filters.items())]


def sort(rows: list[dict[str, Any]], order: Any) -> list[dict[str, Any]]:
    if not isinstance(order, list) or any(not isinstance(one, dict) or set(one) != {"col", "dir"} for one in order):
        raise Refusal(400, "invalid_args", "order_by: a list of col and dir")
    for one in reversed(order):
        if one["col"] not in STORED or one["dir"] not in ("asc", "desc"):
            raise Refusal(400, "invalid_args", "order_by: unknown col or dir")
        rows.sort(key=lambda row: (row[one["col"]] is None, row[one["col"]]), reverse=one["dir"] == "desc")
    return rows


def columns(row: dict[str, Any], wanted: Any) -> dict[str, Any]:
    if wanted in (None, ["*"]):
        return row
    if not checks.words(wanted) or any(name not in row for name in wanted):
        raise Refusal(400, "invalid_args", "select_cols: unknown column")
    return {name: row[name] for name in wanted}


def token_of(number: int) -> str:
    return base64.urlsafe_b64encode(json.dumps({"after": number}).encode()).decode()


def place_of(token: str | None, rows: list[dict[str, Any]]) -> int:
    """Where the page after the token begins."""
    if token is None:
        return 0
    try:
        after = json.loads(base64.urlsafe_b64decode(token))["after"]
        found = [at + 1 for at, row in enumerate(rows) if row["id"] == after]
        # What was there when the page was made may be gone: in the order of numbers its place is known.
        return found[0] if found else sum(row["id"] < after for row in rows)
    except (ValueError, KeyError, TypeError):
        raise Refusal(400, "invalid_args", "after_token: not one of this list") from None
