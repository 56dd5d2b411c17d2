# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The double of the provider, asked over HTTP: what it refuses, what it shows when, what it charges."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from urllib.parse import quote_plus, urlsplit

import pytest
from contracts.vast import Double, vast_double
from contracts.vast.webhooks import Delivery
from testbed import wait_until

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
        connection = http.client.HTTPConnection(urlsplit(self._double.url).netloc, timeout=180)
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


# Its faults: each does what the contract says


def counted(double: Double) -> int:
    return len(double.instances)


def test_a_lost_reply_of_a_create_leaves_an_instance_and_a_retry_finds_no_ask(ask: Client, double: Double) -> None:
    double.fault("create-reply-lost", times=1)
    number = ask.search()[0]["id"]
    assert [ask.create(number).status, ask.create(number).status, counted(double)] == [502, 404, 1]


def test_a_create_can_end_without_an_answer(ask: Client, double: Double) -> None:
    double.fault("create-cut", times=1)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        ask.create()
    assert (counted(double), double.requests[-1].status) == (1, 0)


def test_a_refused_create_can_leave_a_stopped_instance(ask: Client, double: Double) -> None:
    double.fault("create-error", times=1)
    said = ask.create()
    assert (said.status, states(ask.shown(said.body["new_contract"]))) == (400, STOPPED)
    double.advance(3600)
    bill = double.billed(said.body["new_contract"])
    assert (bill.gpu, bill.disk > 0) == (0, True)


def test_a_bid_too_low_leaves_one_too_unless_that_is_called_off(ask: Client, double: Double) -> None:
    kept, left = ask.create(price=0.05), ask.create(price=0.05, cancel_unavail=True)
    assert (kept.body["error"], "new_contract" in kept.body, "new_contract" in left.body) == (
        "invalid_price",
        True,
        False,
    )
    assert [states(ask.shown(number)) for number in double.instances] == [STOPPED]


def test_asks_can_be_gone_for_some_tries(ask: Client, double: Double) -> None:
    double.fault("asks-gone", times=2)
    answers = [ask.create() for _ in range(3)]
    assert [one.status for one in answers] == [410, 410, 200]
    assert "error 410/3907: no_such_ask" in answers[0].body["msg"]


def test_429_comes_in_four_forms(ask: Client, double: Double) -> None:
    number = ask.made()
    said = {}
    for form in ("plain", "json", "retry-after", "quota"):
        double.fault("too-frequent", times=1, endpoint="destroy", form=form)
        said[form] = ask.destroy(number)
        assert said[form].status == 429
    assert said["plain"].text == "API requests too frequent: endpoint threshold=3.0"
    assert said["json"].body == {"detail": "API requests too frequent endpoint threshold=3.0"}
    assert said["retry-after"].headers["Retry-After"] == "4"
    assert (said["quota"].body["error"], "Retry-After" in said["plain"].headers) == ("search_quota_exceeded", False)
    assert ask.destroy(number).body == {"success": True}


@pytest.mark.parametrize("at", ["null", "created", "loading"])
def test_an_instance_can_be_stuck_on_its_way_and_its_gpus_cost_nothing(ask: Client, double: Double, at: str) -> None:
    double.fault("stuck", at=at, times=1)
    number = ask.made()
    double.advance(86400)
    assert ask.shown(number)["actual_status"] == (None if at == "null" else at)
    assert (double.billed(number).gpu, double.billed(number).disk > 0) == (0, True)


@pytest.mark.parametrize("how", ["null", "absent", "other"])
def test_ports_can_lack(ask: Client, double: Double, how: str) -> None:
    number = ask.made()
    double.advance(30)
    double.fault("no-ports", number, how=how)
    row = ask.shown(number)
    assert {"null": ("ports" in row and row["ports"] is None), "absent": "ports" not in row,
            "other": "22/tcp" not in (row.get("ports") or {"22/tcp": 1})}[how]  # fmt: skip
    assert row["ssh_port"] > 0


def test_an_address_can_end_in_white_space(ask: Client, double: Double) -> None:
    number = ask.made()
    double.fault("blank-address", number)
    assert ask.shown(number)["public_ipaddr"] == "127.0.0.1 \n"


def test_one_row_can_have_nulls_among_good_ones(ask: Client, double: Double) -> None:
    good, bad = ask.made(), ask.made()
    double.fault("null-fields", bad)
    rows = {row["id"]: (row["start_date"], row["extra_env"]) for row in ask.list().body["instances"]}
    assert rows == {good: (double.now(), []), bad: (None, None)}


def test_pages_can_be_short_and_the_second_can_be_lost(ask: Client, double: Double) -> None:
    for _ in range(3):
        double.foreign()
    double.fault("pages", size=2)
    double.fault("page-lost", times=1)
    token = ask.list().body["next_token"]
    assert ask.list(after_token=token).status == 502
    assert len(ask.list(after_token=token).body["instances"]) == 1


def test_the_old_list_is_gone_or_not_yet(ask: Client, double: Double) -> None:
    ask.made()
    old = ask("GET", "/api/v0/instances/")
    assert (old.status, old.body["error"]) == (410, "deprecated_endpoint")
    double.fault("old-list")
    assert len(ask("GET", "/api/v0/instances/", owner="me").body["instances"]) == 1


@pytest.mark.parametrize(("body", "text"), [("empty", '""'), ("html", "<html>"), ("refused", '{"success": false')])
def test_a_list_can_be_no_list(ask: Client, double: Double, body: str, text: str) -> None:
    ask.made()
    double.fault("list-nonsense", times=1, body=body)
    said = ask.list()
    assert (said.status, said.text.startswith(text)) == (200, True)
    assert len(ask.list().body["instances"]) == 1


def test_an_outbid_instance_is_stopped_and_comes_back_elsewhere_when_its_bid_wins(ask: Client, double: Double) -> None:
    number = ask.made(price=0.15)
    double.advance(30 + 3600)
    before = ask.shown(number)["ssh_port"]
    double.outbid(number)
    row = ask.shown(number)
    assert (states(row), row["min_bid"], row["dph_base"]) == (STOPPED, 0.16, 0.15)
    double.advance(3600)
    assert double.billed(number).gpu == Decimal("0.15")
    path = f"/api/v0/instances/bid_price/{number}/"
    assert ask("PUT", path, {"client_id": "me", "price": 0.2}).body == {"success": True}
    double.advance(30 + 3600)
    assert (ask.shown(number)["actual_status"], ask.shown(number)["ssh_port"] != before) == ("running", True)
    assert double.billed(number).gpu == Decimal("0.35")
    double.market(number, 0.9)
    assert ask("PUT", path, {"client_id": "me", "price": None}).body == {"success": True}  # whatever it takes
    double.advance(30)
    assert (ask.shown(number)["actual_status"], ask.shown(number)["dph_base"]) == ("running", 0.9)


def test_who_stops_an_outbid_instance_does_not_have_it_back(ask: Client, double: Double) -> None:
    number = ask.made(price=0.15)
    double.advance(30)
    double.outbid(number)
    ask.change(number, state="stopped")
    double.market(number, 0.01)
    double.advance(60)
    assert states(ask.shown(number)) == STOPPED


def test_an_on_demand_instance_has_no_bid(ask: Client) -> None:
    number = ask.made()
    assert ask("PUT", f"/api/v0/instances/bid_price/{number}/", {"client_id": "me", "price": 1}).status == 400


def test_a_start_can_wait_for_its_gpus_for_ever(ask: Client, double: Double) -> None:
    number = ask.made()
    double.advance(30)
    ask.change(number, state="stopped")
    double.fault("stuck-scheduling", number)
    assert ask.change(number, state="running").body == {"success": True}
    double.advance(86400)
    assert states(ask.shown(number)) == ("stopped", "running", "stopped", "running")
    double.mend("stuck-scheduling")
    double.advance(30)
    assert ask.shown(number)["actual_status"] == "running"


def test_a_container_can_end_or_never_start(ask: Client, double: Double) -> None:
    number = ask.made()
    double.advance(30)
    double.exit(number, "exit code 137")
    double.advance(3600)
    row = ask.shown(number)
    assert (row["actual_status"], row["intended_status"], row["status_msg"]) == ("exited", "running", "exit code 137")
    other = ask.made()
    double.fail(other, "Error: OCI runtime create failed: no GPU")
    double.advance(3600)
    assert (ask.shown(other)["actual_status"], double.billed(other).gpu) == ("created", 0)


def test_without_credit_all_stops_at_the_moment_it_ends(ask: Client, double: Double) -> None:
    number = ask.made()
    double.advance(30)
    double.credit(0.364)  # an hour of the GPU and its disk
    double.advance(7200)
    assert states(ask.shown(number)) == STOPPED
    assert double.billed(number).gpu == pytest.approx(Decimal("0.36"), abs=Decimal("0.001"))
    assert ask.change(number, state="running").body["error"] == "missing_billing"
    assert ask.create().body["error"] == "missing_billing"
    assert ask("GET", "/api/v0/users/current/").body["credit"] < 0  # the disk is still charged


def test_a_contract_ends_and_is_deleted_two_days_later(ask: Client, double: Double) -> None:
    number = ask.made()
    double.advance(30)
    double.end_contract(number)
    row = ask.shown(number)
    assert (states(row), row["end_date"] < double.now()) == (STOPPED, True)
    ask.change(number, state="running")
    double.advance(48 * 3600 - 1)
    assert ask.shown(number)["cur_state"] == "stopped"
    double.advance(1)
    assert ask.show(number) is None


def test_a_destroyed_instance_can_linger_and_cost(ask: Client, double: Double) -> None:
    number = ask.made()
    double.fault("destroy-lingers", times=1, looks=2)
    assert ask.destroy(number).body == {"success": True}
    assert [ask.show(number) is None for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize(("fault", "status", "error"), [("destroy-404", 404, "not_found"),
                                                        ("destroy-gone", 200, "no_such_instance")])  # fmt: skip
def test_a_destroy_that_works_can_say_that_there_was_nothing(
    ask: Client, double: Double, fault: str, status: int, error: str
) -> None:
    number = ask.made()
    double.fault(fault, times=1)
    said = ask.destroy(number)
    assert (said.status, said.body["error"], counted(double)) == (status, error, 0)


def test_the_reply_of_a_create_can_be_in_flight_while_the_instance_is_destroyed(ask: Client, double: Double) -> None:
    held = double.fault("create-slow", times=1)
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(ask.create, label="mine")
        wait_until(lambda: ask.list().body["total_instances"] == 1, "the create coming in", 180)
        [row] = ask.list(select_filters={"label": {"eq": "mine"}}).body["instances"]
        assert ask.destroy(row["id"]).body == {"success": True}
        assert not reply.done()
        held.release()
        assert reply.result(60).body["new_contract"] == row["id"]
    assert counted(double) == 0


def test_another_tool_may_have_taken_the_same_label(ask: Client, double: Double) -> None:
    theirs, mine = double.foreign(label="stoker/x/1"), ask.made(label="stoker/x/1")
    assert ask.list().body["label_counts"] == {"stoker/x/1": 2}
    assert [
        one["id"] for one in ask("POST", "/api/v0/contracts/fetch/", {"label": "stoker/x/1"}).body["contracts"]
    ] == [
        theirs,
        mine,
    ]


@pytest.mark.parametrize(("answer", "rate"), [("accept", "0.5"), ("reject", "0.36")])
def test_a_price_rise_waits_for_an_answer(ask: Client, double: Double, answer: str, rate: str) -> None:
    number = ask.made()
    double.advance(30)
    pending = double.price_rise(number, 0.5)
    [row] = ask("GET", "/api/v0/instances/pending-price-increases/").body["pending_price_increases"]
    assert (row["contract_id"], row["new_gpu_costpersec"]) == (number, pytest.approx(0.5 / 3600))
    path, body = f"/api/v0/instances/{answer}-price-increase/", {"pending_price_increase_id": pending}
    assert ask("PUT", path, {**body, "id": number}).status == 400
    assert ask("PUT", path, body).body == {"success": True}
    assert ask("PUT", path, body).body["error"] == "no_pending_price_increase"
    double.advance(3600)
    assert double.billed(number).gpu == Decimal(rate)


def test_an_instance_can_begin_in_the_future(ask: Client, double: Double) -> None:
    double.fault("clock-skew", times=1, seconds=600.0)
    assert ask.shown(ask.made())["start_date"] == double.now() + 600


def test_a_log_may_never_be_there(ask: Client, double: Double) -> None:
    number = ask.made()
    nobody = Client(double, "")

    def address() -> str:
        said = ask("PUT", f"/api/v0/instances/request_logs/{number}/", {"tail": "10"}).body
        return urlsplit(said["result_url"]).path

    assert nobody("GET", address()).status == 200
    double.fault("logs-never")
    assert nobody("GET", address()).status == 403
    assert ask("PUT", f"/api/v0/instances/request_logs/{number}/", {"tail": 10}).status == 400


def test_notices_are_signed_and_may_be_old_double_or_somebody_elses(ask: Client, double: Double) -> None:
    hook = {"name": "n", "webhook_url": "https://example.org/x", "event_types": ["client:outbid"]}
    assert ask("POST", "/api/v0/webhooks/", {**hook, "webhook_url": "http://example.org/x"}).status == 400
    made = ask("POST", "/api/v0/webhooks/", hook).body["webhook"]
    assert "webhook_secret" not in ask("GET", "/api/v0/webhooks/").body["webhooks"][0]

    def genuine(one: Delivery) -> bool:
        signed = one.headers["X-Vast-Timestamp"].encode() + b"." + one.body
        wanted = hmac.new(made["webhook_secret"].encode(), signed, hashlib.sha256).hexdigest()
        return one.headers["X-Vast-Signature-256"] == f"sha256={wanted}"

    first = double.webhook(made["id"], "client:outbid", event_id="e1")
    again = double.webhook(made["id"], "client:outbid", event_id="e1", attempt=2)
    old, forged = double.webhook(made["id"], "client:outbid", age_s=900), double.webhook(made["id"], "x", forged=True)
    assert [genuine(one) for one in (first, again, old, forged)] == [True, True, True, False]
    assert first.headers["X-Vast-Event-Id"] == again.headers["X-Vast-Event-Id"]
    assert int(old.headers["X-Vast-Timestamp"]) == double.now() - 900
    assert str(made["id"]) not in json.loads(first.body)


def test_any_endpoint_can_be_broken(ask: Client, double: Double) -> None:
    double.fault("broken", times=1, endpoint="show", status=503)
    assert ask("GET", "/api/v0/instances/1/").status == 503


def test_a_fault_that_does_not_exist_is_named(double: Double) -> None:
    with pytest.raises(ValueError, match="no fault is called outbit"):
        double.fault("outbit")
    with pytest.raises(ValueError, match="stuck has no wher"):
        double.fault("stuck", wher="x")


def test_time_runs_by_itself_where_told() -> None:
    with vast_double(offers=[{}], speed=1000.0) as double:
        number = Client(double).made()
        wait_until(lambda: double.instances[number].actual == "running", "running", 180)
        wait_until(lambda: double.billed(number).gpu > 0, "a bill", 180)
