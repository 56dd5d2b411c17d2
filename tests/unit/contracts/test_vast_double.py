# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The double of the provider, asked over HTTP: what it refuses, what it shows when, what it charges."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import quote_plus, urlsplit

import pytest
from contracts.vast import Double, vast_double

CREATE = {"client_id": "me", "image": "pytorch/pytorch", "disk": 20.0, "runtype": "ssh_direc ssh_proxy", "env": {}}


class Asked:
    """An answer: ``status``, ``text``, and ``body`` where it is JSON."""

    def __init__(self, status: int, text: str, headers: dict[str, str]) -> None:
        self.status, self.text, self.headers = status, text, headers

    @property
    def body(self) -> Any:
        return json.loads(self.text)


class Client:
    """Asks once, whatever the answer."""

    def __init__(self, double: Double, key: str | None = None) -> None:
        self._double, self._key = double, double.key if key is None else key

    def __call__(self, method: str, path: str, body: Any = None, **query: Any) -> Asked:
        words = [f"{name}={quote_plus(v if isinstance(v, str) else json.dumps(v))}" for name, v in query.items()]
        connection = http.client.HTTPConnection(urlsplit(self._double.url).netloc, timeout=60)
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self._key}"} if self._key else {})
        data = None if method == "GET" else json.dumps({} if body is None else body)
        try:
            connection.request(method, path + ("?" + "&".join(words) if words else ""), data, headers)
            answer = connection.getresponse()
            return Asked(answer.status, answer.read().decode(), dict(answer.headers))
        finally:
            connection.close()

    def search(self, **wanted: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self("POST", "/api/v0/bundles/", wanted).body["offers"]
        return found

    def create(self, ask: int | None = None, **fields: Any) -> Asked:
        number = self.search()[0]["id"] if ask is None else ask
        return self("PUT", f"/api/v0/asks/{number}/", {**CREATE, **fields})

    def made(self, **fields: Any) -> int:
        number: int = self.create(**fields).body["new_contract"]
        return number

    def show(self, number: int) -> dict[str, Any] | None:
        row: dict[str, Any] | None = self("GET", f"/api/v0/instances/{number}/", owner="me").body["instances"]
        return row

    def shown(self, number: int) -> dict[str, Any]:
        row = self.show(number)
        assert row is not None
        return row

    def list(self, **query: Any) -> Asked:
        return self("GET", "/api/v1/instances/", **query)

    def destroy(self, number: int) -> Asked:
        return self("DELETE", f"/api/v0/instances/{number}/")

    def change(self, number: int, **body: Any) -> Asked:
        return self("PUT", f"/api/v0/instances/{number}/", body)


@pytest.fixture
def double() -> Iterator[Double]:
    offers = ({}, {"gpu_name": "H100 SXM", "gpu_ram": 81559, "dph_base": 1.8, "geolocation": "Paris, FR"}, {})
    with vast_double(offers=offers, start=1_800_000_000.0) as made:
        yield made


@pytest.fixture
def ask(double: Double) -> Client:
    return Client(double)


def states(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("actual_status", "intended_status", "cur_state", "next_state"))


STOPPED = ("stopped", "stopped", "stopped", "stopped")


# Searching


def test_a_search_filters_orders_and_prices_with_the_disk(ask: Client) -> None:
    assert [row["gpu_name"] for row in ask.search(order=[["dph_total", "desc"]], limit=1)] == ["H100 SXM"]
    found = ask.search(
        gpu_name={"eq": "RTX 4090"}, num_gpus={"gte": "1"}, verified={"eq": True}, allocated_storage=100.0
    )
    assert [row["dph_total"] for row in found] == [pytest.approx(0.36 + 0.144 * 100 / 720)] * 2
    assert [row["geolocation"] for row in ask.search(geolocation={"in": ["FR", "DE"]})] == ["Paris, FR"]
    assert [row["dph_base"] for row in ask.search(type="bid", gpu_name={"eq": "RTX 4090"})] == [0.12] * 2
    assert ask.search(gpu_ram={"gte": 200000.0}) == []


@pytest.mark.parametrize(
    "wanted",
    [{"gpu_nam": {"eq": "x"}}, {"num_gpus": {"is": 1}}, {"num_gpus": 1}, {"num_gpus": {"eq": "two"}}, {"type": "spot"},
     {"order": ["score"]}, {"limit": "3"}, {"gpu_name": {"in": "RTX 4090"}}],
)  # fmt: skip
def test_a_search_that_is_not_the_contracts_is_refused(ask: Client, wanted: dict[str, Any]) -> None:
    assert ask("POST", "/api/v0/bundles/", wanted).status == 400


# Creating


@pytest.mark.parametrize(
    "wrong",
    [{"disk": 7.0}, {"disk": "20"}, {"price": 0.0001}, {"price": 129}, {"label": "x" * 257}, {"runtype": "ssh_direct"},
     {"onstart": "x" * 4000, "args": ["x" * 97]}, {"env": {"A": "x" * 257}}, {"env": {"A": 1}}, {"colour": "red"},
     {"image": ""}, {"env": {f"-p {n}:{n}": "1" for n in range(65)}}, {"disk": 500.0}, {"image_login": 7}],
)  # fmt: skip
def test_a_create_that_is_not_the_contracts_is_refused_and_takes_nothing(
    ask: Client, double: Double, wrong: dict[str, Any]
) -> None:
    assert ask.create(**wrong).status == 400
    assert (len(ask.search()), double.instances) == (3, {})


def test_an_instance_comes_up_step_by_step_and_an_ask_is_taken_once(ask: Client, double: Double) -> None:
    number = ask.search()[0]["id"]
    made = ask.create(number, label="mine").body
    assert (made["success"], len(made["instance_api_key"])) == (True, 64)
    again = ask.create(number)
    assert (again.status, again.body["error"]) == (404, "no_such_ask")
    seen = [states(ask.shown(made["new_contract"]))]
    for seconds in (2, 3, 25):
        double.advance(seconds)
        seen.append(states(ask.shown(made["new_contract"])))
    assert [state[0] for state in seen] == [None, "created", "loading", "running"]
    assert seen[-1] == ("running",) * 4
    row = ask.shown(made["new_contract"])
    assert row["ports"]["22/tcp"][0]["HostPort"] == str(row["ssh_port"])
    assert (row["label"], row["extra_env"], row["is_bid"]) == ("mine", [], False)


def test_what_lacks_a_part_or_has_one_too_many_is_refused(ask: Client) -> None:
    number = ask.made()
    assert ask("GET", f"/api/v0/instances/{number}").status == 404  # its last stroke is missing
    assert ask("GET", f"/api/v0/instances/{number}/", color="red").status == 400
    assert ask.change(number, state="paused").status == 400
    assert ask.change(number).status == 400
    assert ask("DELETE", f"/api/v0/instances/{number}/", {"id": number}).status == 400
    assert ask("PUT", f"/api/v0/instances/bid_price/{number}/", {"price": 0.2}).status == 400
    assert ask("POST", f"/api/v0/instances/{number}/").status == 405


# Who asks


def test_a_wrong_key_is_refused_in_three_ways_and_an_instances_own_does_little(ask: Client, double: Double) -> None:
    made = ask.create().body
    stranger, nobody, own = Client(double, "x"), Client(double, ""), Client(double, made["instance_api_key"])
    answers = [stranger.list(), stranger("GET", "/api/v0/charges/"), nobody.list()]
    assert [(one.status, one.body["error"]) for one in answers] == [(s, "auth_error") for s in (401, 404, 403)]
    other = ask.made()
    assert own.change(made["new_contract"], state="stopped").body == {"success": True}
    assert [own.change(other, state="stopped").status, own.list().status] == [401, 401]
    assert own.destroy(made["new_contract"]).status == 401
    assert nobody.list(api_key=double.key).status == 200
    assert double.key not in repr(double.requests)


def test_calls_that_come_too_soon_are_refused_where_asked_for() -> None:
    with vast_double(offers=[{}, {}], paced=True) as double:
        ask = Client(double)
        ask.made()
        double.advance(4.4)
        early = ask.create()
        assert (early.status, early.text) == (429, "API requests too frequent: endpoint threshold=4.5")
        double.advance(11.9)  # the penalty of a create
        assert ask.create().status == 429
        double.advance(12)
        assert ask.create().status == 200


# Listing and showing


def test_a_list_comes_in_pages_of_25(double: Double, ask: Client) -> None:
    made = [double.foreign(label="a" if n % 2 else None) for n in range(26)]
    first = ask.list(order_by=[{"col": "id", "dir": "asc"}], limit=25).body
    assert (first["instances_found"], first["total_instances"], first["label_counts"]) == (25, 26, {"a": 13, "": 13})
    second = ask.list(order_by=[{"col": "id", "dir": "asc"}], limit=25, after_token=first["next_token"]).body
    assert [row["id"] for row in first["instances"] + second["instances"]] == made
    assert second["next_token"] is None
    assert [row["id"] for row in ask.list(select_filters={"id": {"in": made[:2]}}).body["instances"]] == made[:2]


@pytest.mark.parametrize(
    "wrong", [{"limit": 26}, {"after_token": "x"}, {"select_filters": {"dph_total": {"gt": 1}}}, {"order_by": ["id"]},
              {"select_cols": ["colour"]}, {"colour": "red"}],
)  # fmt: skip
def test_a_list_that_is_not_the_contracts_is_refused(ask: Client, wrong: dict[str, Any]) -> None:
    ask.made()
    assert ask.list(**wrong).status == 400


def test_what_is_gone_is_null_and_to_destroy_it_again_says_so(ask: Client, double: Double) -> None:
    number = ask.made()
    assert ask.destroy(number).body == {"success": True}
    assert ask.show(number) is None
    assert ask.destroy(number).body["error"] == "no_such_instance"
    assert ask.change(number, state="running").status == 404
    assert list(double.ended) == [number]


# Money, by the provider's clock


def test_only_what_runs_costs_its_gpus_and_what_exists_its_disk(ask: Client, double: Double) -> None:
    number = ask.made(disk=100.0)
    disk = Decimal("0.144") * 100 / 720
    double.advance(30)
    assert (double.billed(number).gpu, double.billed(number).disk) == (0, disk * 30 / 3600)
    double.advance(3600)
    assert double.billed(number).gpu == Decimal("0.36")
    ask.change(number, state="stopped")
    double.advance(7200)
    assert double.billed(number).gpu == Decimal("0.36")
    ask.change(number, state="running")
    double.advance(30 + 1800)
    double.transfer(number, up_gb=10)
    ask.destroy(number)
    double.advance(86400)
    bill = double.billed(number)
    assert (bill.gpu, bill.disk, bill.transfer) == (
        Decimal("0.54"), disk * (30 + 3600 + 7200 + 30 + 1800) / 3600, Decimal("0.03"),
    )  # fmt: skip
    assert [(one.kind, one.end) for one in double.intervals(number) if one.end is None] == []
    window = {"day": {"gte": 0, "lte": double.now()}, "type": {"in": ["instance"]}}
    said = ask("GET", "/api/v0/charges/", select_filters=window, limit=20, latest_first=False, format="table").body
    assert said["results"][0]["source"] == f"instance-{number}"
    assert said["results"][0]["amount"] == pytest.approx(float(bill.total))
    assert {item["type"] for item in said["results"][0]["items"]} == {"gpu", "disk", "bwu"}


def test_no_storage_is_charged_while_the_host_is_away(ask: Client, double: Double) -> None:
    number = ask.made()
    double.advance(30)
    double.offline(number)
    before = double.billed().total
    double.advance(3600)
    assert (ask.shown(number)["actual_status"], double.billed().total) == ("offline", before)
    double.online(number)
    double.advance(3600)
    assert double.billed().total > before + Decimal("0.36")
