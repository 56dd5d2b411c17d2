# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The provider's endpoints for keys, money, notices and what else an account has."""

from __future__ import annotations

import itertools
import json
import secrets
from typing import Any

from . import checks
from .api_instances import place_of, token_of
from .calls import Call, Route, route
from .instances import Instance
from .offers import fulfils
from .provider import Provider
from .refusal import Refusal, no_such_instance

DONE = {"success": True}
EVENTS = {
    "client:low_credit", "client:instance_created", "client:instance_started", "client:instance_stopped",
    "client:outbid", "client:upcoming_downtime",
}  # fmt: skip


class AccountApi:
    """Keys of ssh, charges, webhooks, and lists that are asked for in passing."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self.webhooks: dict[int, dict[str, Any]] = {}
        self._numbers = itertools.count(301)

    def routes(self) -> list[Route]:
        return [
            route("GET", "/api/v0/ssh/", "ssh-keys", self.keys),
            route("POST", "/api/v0/ssh/", "ssh-keys", self.add_key),
            route("PUT", "/api/v0/ssh/{id}/", "ssh-keys", self.update_key),
            route("DELETE", "/api/v0/ssh/{id}/", "ssh-keys", self.remove_key),
            route("GET", "/api/v0/instances/{id}/ssh/", "attach", self.attached),
            route("POST", "/api/v0/instances/{id}/ssh/", "attach", self.attach),
            route("DELETE", "/api/v0/instances/{id}/ssh/{key}/", "detach", self.detach),
            route("GET", "/api/v0/users/current/?", "user", self.user),
            route("GET", "/api/v0/charges/", "charges", self.charges, denied=404),
            route("GET", "/api/v1/invoices/", "invoices", self.invoices, denied=404),
            route("POST", "/api/v0/contracts/fetch/", "fetch", self.fetch),
            route("GET", "/api/v0/webhooks/", "webhooks", self.list_webhooks),
            route("POST", "/api/v0/webhooks/", "webhooks", self.add_webhook),
            route("GET", "/api/v0/gpu_names/unique/", "names", self.gpu_names, login=False),
            route("GET", "/api/v0/gpu_types/", "names", lambda call: {"gpu_types": self._names()}, login=False),
            route("GET", "/api/v0/template/", "template", lambda call: {"success": True, "templates": []}),
            route("GET", "/api/v0/volumes/?", "volumes", lambda call: {"success": True, "volumes": []}),
        ]

    # Keys of ssh

    def keys(self, call: Call) -> object:
        checks.query(call.query)
        return [self._key(number) for number in self._provider.keys]

    def add_key(self, call: Call) -> object:
        """Takes any text, as the service does: who posts a file's name has a key that opens nothing."""
        body = checks.hold(call.body, {"ssh_key": checks.text(16384, 1)}, ("ssh_key",))
        number = next(self._numbers)
        self._provider.keys[number] = body["ssh_key"]
        return {"success": True, "key": self._key(number)}

    def update_key(self, call: Call) -> object:
        fields = {"id": checks.whole(1), "ssh_key": checks.text(16384, 1)}
        body = checks.hold(call.body, fields, ("id", "ssh_key"))
        self._known_key(call.part)
        self._provider.keys[call.part] = body["ssh_key"]
        return {"success": True, "key": self._key(call.part)}

    def remove_key(self, call: Call) -> object:
        self._known_key(call.part)
        del self._provider.keys[call.part]
        return DONE

    def _known_key(self, number: int) -> None:
        if number not in self._provider.keys:
            raise Refusal(404, "not_found", f"SSH key {number} not found.")

    def _key(self, number: int) -> dict[str, object]:
        text = self._provider.keys[number]
        return {
            "id": number, "user_id": self._provider.account, "public_key": text, "key": text,
            "created_at": "2026-01-01T00:00:00Z", "deleted_at": None,
        }  # fmt: skip

    def attached(self, call: Call) -> object:
        one = self._find(call.part)
        keys = [{"id": number, "ssh_key": text} for number, text in one.keys.items()]
        return {"success": True, "ssh_keys": json.dumps(keys)}

    def attach(self, call: Call) -> object:
        body = checks.hold(call.body, {"ssh_key": checks.text(16384, 1)}, ("ssh_key",))
        one = self._find(call.part)
        number = next((n for n, text in self._provider.keys.items() if text == body["ssh_key"]), None)
        one.keys[next(self._numbers) if number is None else number] = body["ssh_key"]
        self._authorize(one)
        return DONE

    def detach(self, call: Call) -> object:
        one = self._find(call.part)
        if one.keys.pop(call.second, None) is None:
            raise Refusal(404, "not_found", f"SSH key {call.second} is not attached.")
        self._authorize(one)
        return DONE

    def _authorize(self, one: Instance) -> None:
        if one.machine is not None:
            one.machine.authorize(one.keys.values())

    def _find(self, number: int) -> Instance:
        one = self._provider.instances.get(number)
        if one is None:
            raise no_such_instance(number)
        return one

    # Money

    def user(self, call: Call) -> object:
        credit = float(self._provider.credit())
        return {
            "id": self._provider.account, "email": "me@example.org", "balance": 0.0, "credit": credit, "ssh_key": "",
            "host_agreement_accepted": False, "username": "me",
        }  # fmt: skip

    def charges(self, call: Call) -> object:
        given = checks.query(call.query, "select_filters", "latest_first", "limit", "format", "after_token")
        filters = given.get("select_filters", {})
        since, until = self._window(filters, "day")
        kinds = filters.get("type", {"in": ["instance"]}).get("in", [])
        known = {**self._provider.ended, **self._provider.instances}
        rows = (
            [row for one in known.values() if (row := self._charge(one, since, until))] if "instance" in kinds else []
        )
        return self._page(rows, given, call.query.get("after_token"))

    def invoices(self, call: Call) -> object:
        given = checks.query(call.query, "select_filters", "latest_first", "limit", "after_token")
        self._window(given.get("select_filters", {}), "when")
        return self._page([], given, call.query.get("after_token"))

    def _window(self, filters: Any, field: str) -> tuple[float, float]:
        window = filters.get(field) if isinstance(filters, dict) else None
        if not isinstance(window, dict) or set(window) - {"gte", "lte"} or set(filters) - {field, "type", "service"}:
            raise Refusal(400, "invalid_args", f"select_filters: {field} with gte and lte")
        if not all(checks.is_number(value) for value in window.values()):
            raise Refusal(400, "invalid_args", f"select_filters: {field}: seconds since the epoch")
        return window.get("gte", 0.0), min(window.get("lte", self._provider.now), self._provider.now)

    def _charge(self, one: Instance, since: float, until: float) -> dict[str, Any] | None:
        items = one.account.items(since, until)
        if not items:
            return None
        return {
            "id": one.id, "start": min(item["start"] for item in items), "end": max(item["end"] for item in items),  # type: ignore[type-var]
            "type": "instance", "source": f"instance-{one.id}", "description": f"Instance {one.id}",
            "amount": float(one.account.bill(since, until).total),
            "metadata": {"label": one.label, "template_id": None}, "items": items,
        }  # fmt: skip

    def _page(self, rows: list[dict[str, Any]], given: dict[str, Any], token: str | None) -> object:
        limit = given.get("limit", 20)
        if not checks.whole(1, 500)(limit) or not checks.flag(given.get("latest_first", False)):
            raise Refusal(400, "invalid_args", "limit: 1 to 500; latest_first: true or false")
        rows.sort(key=lambda row: (row["start"], row["id"]), reverse=given.get("latest_first", False))
        start = place_of(token, rows)
        page = rows[start : start + limit]
        more = start + len(page) < len(rows)
        said = [{name: value for name, value in row.items() if name != "id"} for row in page]
        following = token_of(page[-1]["id"]) if more else None
        return {"success": True, "count": len(page), "total": len(rows), "next_token": following, "results": said}

    def fetch(self, call: Call) -> object:
        body = checks.hold(call.body, {"label": checks.text(), "contract_ids": checks.ids})
        rows = [one.row(self._provider.now, 0.0) for one in self._provider.looked_at()]
        numbers = body.get("contract_ids")
        rows = [row for row in rows if numbers is None or row["id"] in numbers]
        wanted = body.get("label")
        return {"contracts": [row for row in rows if wanted is None or fulfils(row["label"], "label", {"eq": wanted})]}

    # Notices

    def add_webhook(self, call: Call) -> object:
        fields = {"name": checks.text(256, 1), "webhook_url": checks.text(2048, 1), "event_types": checks.words}
        body = checks.hold(call.body, fields, ("name", "webhook_url", "event_types"))
        if not body["webhook_url"].startswith("https://") or not set(body["event_types"]) <= EVENTS:
            raise Refusal(400, "invalid_args", "webhook_url: https only; event_types: known ones only")
        if len(self.webhooks) >= 4:
            raise Refusal(400, "invalid_args", "at most 4 webhooks")
        number = next(self._numbers)
        self.webhooks[number] = {**body, "id": number, "webhook_secret": secrets.token_hex(32)}
        return {"success": True, "webhook": self.webhooks[number]}

    def list_webhooks(self, call: Call) -> object:
        shown = ("id", "name", "webhook_url", "event_types")
        return {"success": True, "webhooks": [{key: hook[key] for key in shown} for hook in self.webhooks.values()]}

    # In passing

    def gpu_names(self, call: Call) -> object:
        return {"gpu_names": self._names()}

    def _names(self) -> list[str]:
        return sorted({row["gpu_name"] for row in self._provider.offers.values()} | {"H100 SXM", "RTX 4090"})
