# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client against the provider's contract, with its faults; the provider's time stands still but for waits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from contracts.vast import Double, vast_double

from ansible_collections.stoker.fleet.plugins.module_utils.vast import wanted
from ansible_collections.stoker.fleet.plugins.module_utils.vast.client import Vast
from ansible_collections.stoker.fleet.plugins.module_utils.vast.errors import VastError
from ansible_collections.stoker.fleet.plugins.module_utils.vast.reading import judge

KEY = "ssh-ed25519 " + "A" * 68
TERMS: dict[str, Any] = {"image": "pytorch/pytorch", "disk_gb": 20}


@pytest.fixture
def double() -> Iterator[Double]:
    with vast_double(offers=[{}, {}, {}], paced=True) as double:
        yield double


@pytest.fixture
def vast(double: Double) -> Vast:
    return Vast(double.key, double.url, sleep=double.advance, clock=double.now)


def asks(vast: Vast) -> list[int]:
    return [offer["id"] for offer in vast.offers({}, disk_gb=20)]


def creates(double: Double) -> int:
    return len([one for one in double.requests if one.endpoint == "create"])


def test_what_is_rented_is_shown_changed_and_gone(double: Double, vast: Vast) -> None:
    offer = vast.offers({"num_gpus": {"eq": 1}}, disk_gb=20)[0]
    made = vast.create(offer["id"], label="me/1", price=None, env={"A": "1"}, onstart="true", **TERMS)
    assert made.api_key
    vast.attach_key(made.id, KEY)
    vast.set_label(made.id, "me/2")
    row = wanted.wait_running(vast, made.id, sleep=double.advance, clock=double.now)
    assert (row["label"], judge(row).phase) == ("me/2", "running")
    vast.set_state(made.id, "stopped")
    assert judge(wanted.wait_stopped(vast, made.id, sleep=double.advance, clock=double.now)).phase == "stopped"
    vast.destroy(made.id)
    assert vast.instance(made.id) is None
    vast.destroy(made.id)
    assert vast.instances() == []
    assert not [one for one in double.requests if one.status == 429]


def test_keys_account_and_charges(double: Double, vast: Vast) -> None:
    number = vast.add_key(KEY + " me")
    kept = vast.keys()
    assert [key["id"] for key in kept] == [number]
    vast.remove_key(number)
    assert vast.keys() == []
    start = double.now()
    made = vast.create(asks(vast)[0], label="me/1", **TERMS)
    double.advance(7200)
    vast.destroy(made.id)
    rows = vast.charges(start, double.now())
    assert {row["source"] for row in rows} == {f"instance-{made.id}"}
    user = vast.user()
    assert user["credit"] < 100
    assert "api_key" not in user


def test_a_list_is_complete_or_an_error(double: Double, vast: Vast) -> None:
    numbers = [double.foreign(label=f"me/{index}") for index in range(30)]
    other = double.foreign(label="you")
    assert [row["id"] for row in vast.instances()] == [*numbers, other]
    assert [row["id"] for row in vast.instances("me/2")] == [numbers[2], *numbers[20:30]]
    double.fault("page-lost")
    with pytest.raises(VastError) as caught:
        vast.instances()
    assert caught.value.kind == "unanswered"


@pytest.mark.parametrize("body", ["empty", "html", "refused"])
def test_a_list_that_is_none_is_no_empty_list(double: Double, vast: Vast, body: str) -> None:
    double.fault("list-nonsense", body=body)
    with pytest.raises(VastError):
        vast.instances()


def test_one_odd_row_hides_no_other(double: Double, vast: Vast) -> None:
    one, two = double.foreign(), double.foreign()
    double.fault("null-fields", instance=one)
    assert [row["id"] for row in vast.instances()] == [one, two]


@pytest.mark.parametrize("form", ["plain", "json", "retry-after"])
@pytest.mark.parametrize("endpoint", ["destroy", "list", "create"])
def test_too_many_calls_are_waited_for(double: Double, vast: Vast, endpoint: str, form: str) -> None:
    offer = asks(vast)[0]
    double.fault("too-frequent", times=2, endpoint=endpoint, form=form)
    made = vast.create(offer, label="me/1", **TERMS)
    assert [row["id"] for row in vast.instances()] == [made.id]
    vast.destroy(made.id)
    assert vast.instance(made.id) is None
    assert [one.status for one in double.requests if one.endpoint == endpoint][:2] == [429, 429]


def test_a_quota_is_final(double: Double, vast: Vast) -> None:
    double.fault("too-frequent", endpoint="search", form="quota")
    with pytest.raises(VastError) as caught:
        vast.offers({})
    assert caught.value.kind == "quota"
    assert len(double.requests) == 1


def test_429_for_ever_ends_as_busy(double: Double, vast: Vast) -> None:
    double.fault("too-frequent", endpoint="list")
    before = double.now()
    with pytest.raises(VastError) as caught:
        vast.instances()
    assert caught.value.kind == "busy"
    assert double.now() - before <= 60


@pytest.mark.parametrize("fault", ["create-reply-lost", "create-cut"])
def test_a_create_whose_reply_is_lost_is_never_sent_again(double: Double, vast: Vast, fault: str) -> None:
    double.fault(fault, times=1)
    number, reconciled = wanted.rent(vast, asks(vast), "me/1", sleep=double.advance, **TERMS)
    assert reconciled
    assert list(double.instances) == [number]
    assert creates(double) == 1


def test_a_create_that_nobody_knows_of_is_said_to_be_unknown(double: Double, vast: Vast) -> None:
    double.fault("broken", endpoint="create", status=500)
    with pytest.raises(VastError, match="nothing was sent again") as caught:
        wanted.rent(vast, asks(vast), "me/1", sleep=double.advance, **TERMS)
    assert caught.value.kind == "unanswered"
    assert creates(double) == 1


def test_what_a_refused_create_leaves_behind_is_destroyed(double: Double, vast: Vast) -> None:
    double.fault("create-error", times=1)
    with pytest.raises(VastError, match="was destroyed"):
        wanted.rent(vast, asks(vast), "me/1", sleep=double.advance, **TERMS)
    assert not double.instances
    assert len(double.ended) == 1


def test_an_offer_that_is_taken_is_followed_by_the_next(double: Double, vast: Vast) -> None:
    offers = asks(vast)
    double.fault("asks-gone", times=2)
    assert wanted.rent(vast, offers, "me/1", sleep=double.advance, **TERMS)[0] in double.instances
    assert creates(double) == 3
    double.fault("asks-gone")
    with pytest.raises(VastError) as caught:
        wanted.rent(vast, asks(vast), "me/2", sleep=double.advance, **TERMS)
    assert caught.value.kind == "taken"


@pytest.mark.parametrize("fault", ["destroy-404", "destroy-gone", "destroy-lingers"])
def test_gone_is_said_when_the_provider_shows_it(double: Double, vast: Vast, fault: str) -> None:
    number = vast.create(asks(vast)[0], label="me/1", **TERMS).id
    double.fault(fault)
    wanted.end(vast, number, sleep=double.advance, clock=double.now)
    assert not double.instances


def test_what_stays_after_a_destroy_is_not_gone(double: Double, vast: Vast) -> None:
    number = vast.create(asks(vast)[0], label="me/1", **TERMS).id
    double.fault("destroy-lingers", looks=1000)
    with pytest.raises(wanted.NotReady, match="still there"):
        wanted.end(vast, number, timeout_s=30, sleep=double.advance, clock=double.now)


def test_a_wrong_key_is_called_so_by_every_endpoint(double: Double) -> None:
    for call in (lambda v: v.instances(), lambda v: v.charges(0, 1), lambda v: v.offers({}), lambda v: v.user()):
        with pytest.raises(VastError) as caught:
            call(Vast("wrong", double.url, sleep=double.advance, clock=double.now))
        assert caught.value.kind == "auth"


@pytest.mark.accepts("V01")
@pytest.mark.parametrize(("end", "words"), [("exit", "exited"), ("offline", "offline")])
def test_what_will_not_run_fails_at_once(double: Double, vast: Vast, end: str, words: str) -> None:
    number = vast.create(asks(vast)[0], label="me/1", **TERMS).id
    wanted.wait_running(vast, number, sleep=double.advance, clock=double.now)
    getattr(double, end)(number)
    began = double.now()
    with pytest.raises(wanted.NotReady, match=words) as caught:
        wanted.wait_running(vast, number, sleep=double.advance, clock=double.now)
    assert caught.value.over
    assert double.now() - began < wanted.LOOK_S


@pytest.mark.accepts("V01")
@pytest.mark.parametrize("how", ["keep", "destroy"])
def test_at_the_end_of_the_time_it_is_kept_or_destroyed_and_that_is_said(double: Double, vast: Vast, how: str) -> None:
    double.fault("stuck", at="loading")
    number = vast.create(asks(vast)[0], label="me/1", **TERMS).id
    with pytest.raises(wanted.NotReady, match="not ready after 120 s: loading") as caught:
        wanted.wait_running(vast, number, timeout_s=120, sleep=double.advance, clock=double.now)
    assert not caught.value.over
    said = wanted.give_up(vast, number, caught.value.message, how, sleep=double.advance)
    assert ("kept and is billed" in said, "destroyed" in said) == (how == "keep", how == "destroy")
    assert bool(double.instances) == (how == "keep")


@pytest.mark.accepts("V09")
def test_image_login_start_script_and_a_bad_image(double: Double, vast: Vast) -> None:
    login = "-u me -p hidden registry.example.org"
    terms = {**TERMS, "image_login": login, "onstart": "echo up"}
    number, _ = wanted.rent(vast, asks(vast), "me/1", sleep=double.advance, **terms)
    body = double.instances[number].body
    assert [body[name] for name in ("image", "image_login", "onstart")] == ["pytorch/pytorch", login, "echo up"]
    words = "Error response from daemon: manifest for pytorch/pytorch not found: manifest unknown"
    double.fail(number, words)
    with pytest.raises(wanted.NotReady, match=words):
        wanted.wait_running(vast, number, sleep=double.advance, clock=double.now)


def test_outbid_is_told_from_stopped(double: Double, vast: Vast) -> None:
    offer = vast.offers({}, kind="bid", disk_gb=20)[0]
    number = vast.create(offer["id"], label="me/1", price=round(offer["min_bid"] * 1.5, 4), **TERMS).id
    wanted.wait_running(vast, number, sleep=double.advance, clock=double.now)
    double.outbid(number)
    row = vast.instance(number)
    assert row is not None
    assert judge(row).phase == "outbid"
    vast.set_bid(number, 2.0)
    wanted.wait_running(vast, number, sleep=double.advance, clock=double.now)


def test_the_log_of_an_instance(double: Double, vast: Vast) -> None:
    number = vast.create(asks(vast)[0], label="me/1", **TERMS).id
    wanted.wait_running(vast, number, sleep=double.advance, clock=double.now)
    assert isinstance(vast.log(number), str)
    double.fault("logs-never")
    with pytest.raises(VastError, match="did not come"):
        vast.log(number)


def test_two_instances_of_a_label_are_not_guessed_at(double: Double, vast: Vast) -> None:
    double.foreign(label="me/1")
    double.foreign(label="me/1")
    with pytest.raises(VastError, match="several"):
        wanted.find(vast, "me/1")
