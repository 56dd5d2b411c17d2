# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The provider's API, as far as Stoker uses it: typed errors, paced, complete answers or none."""

from __future__ import annotations

import json
import os
import random
import time
from urllib.parse import urlencode

from . import wire
from .errors import VastError
from .paced import Pace, pause_after
from .rental import SSH, Created, body_of, public_key

URL = "https://console.vast.ai"
# No try begins later than so many seconds after the first one.
PATIENCE_S = 60.0
_PAGE = 25
# With these numbers the provider itself refuses to rent.
_REFUSALS = (400, 401, 403, 404, 410, 429)
_MOST_PAGES = 400
_LOG_LOOKS, _LOG_PAUSE_S = 40, 1.0
# Fields of an account that open it to whoever has them.
_SECRET_FIELDS = ("api_key", "ssh_key", "password", "token", "tfa")


class Vast:
    """The provider, asked with one key. ``timeout_s``: for one answer, in seconds. Its methods raise VastError only.

    ``sleep`` and ``clock`` are those of ``time``, or a test's. Safe to use from several threads.
    """

    def __init__(self, key, url=None, timeout_s=30.0, sleep=time.sleep, clock=time.monotonic):
        self._key = key
        self._url = wire.check_url(url or os.environ.get("VAST_URL") or URL)
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._clock = clock
        self._pace = Pace(sleep, clock)

    @property
    def url(self):
        """Where the service is."""
        return self._url

    # -- offers ------------------------------------------------------------------------------------------------

    def offers(self, filters, kind="on-demand", disk_gb=10.0, order=(("dph_total", "asc"),), limit=64):
        """Offers that can be rented now, cheapest first. ``filters``: {field: {operator: value}} in the API's units.

        ``kind``: ``on-demand``, ``bid`` or ``reserved``. ``disk_gb``: prices are with a disk of so many GB.
        """
        body = {"rentable": {"eq": True}, "rented": {"eq": False}, "external": {"eq": False}}
        body.update(filters)
        body.update(order=[list(pair) for pair in order], type=kind, limit=limit, allocated_storage=float(disk_gb))
        found = self._ask("search", "POST", "/api/v0/bundles/", body)
        return _rows(found, "offers")

    # -- instances ---------------------------------------------------------------------------------------------

    def create(
        self,
        offer_id,
        image,
        disk_gb,
        label,
        price=None,
        env=None,
        onstart=None,
        image_login=None,
        args=None,
        runtype=SSH,
        cancel_unavail=None,
    ):
        """Rent this offer, once. ``price``: a bid in dollars per hour; None rents on demand. Gives a Created.

        Never sent again once it may have been carried out: the error is then ``unanswered``, and whether there is an
        instance is found out by its label. An error with ``instance`` left one behind that is billed.
        """
        body = body_of(image, disk_gb, label, price, env, onstart, image_login, args, runtype, cancel_unavail)
        try:
            answer = self._ask("create", "PUT", "/api/v0/asks/{0}/".format(int(offer_id)), body, once=True)
        except VastError as problem:
            raise _doubtful(problem) from None
        number = answer.get("new_contract") if isinstance(answer, dict) else None
        if not _is_id(number):
            words = "vast.ai did not say which instance it made of offer {0}"
            raise VastError(words.format(offer_id), "unanswered", 200)
        key = answer.get("instance_api_key")
        return Created(number, key if isinstance(key, str) else None)

    def instances(self, label_prefix=None):
        """The rows of all instances, by id, or of those whose label begins so. Complete, or it raises."""
        rows, total = self._listed()
        if len(rows) < total:
            # One that came or went between two pages makes the number wrong once, not twice.
            rows, total = self._listed()
            if len(rows) < total:
                words = "the list of instances is not complete: {0} of {1}".format(len(rows), total)
                raise VastError(words, "unreadable", 200)
        if label_prefix is None:
            return rows
        return [row for row in rows if isinstance(row.get("label"), str) and row["label"].startswith(label_prefix)]

    def _listed(self):
        rows, total = {}, None
        query = {"select_filters": {}, "order_by": [{"col": "id", "dir": "asc"}], "limit": _PAGE}
        for page in self._pages("list", "/api/v1/instances/", query):
            for row in _rows(page, "instances"):
                rows[row["id"]] = row
            total = page.get("total_instances")
            if not isinstance(total, int) or isinstance(total, bool):
                # Without it nothing says that the list is complete, and what it lacks would be taken for gone.
                raise _unreadable("how many instances there are")
        return [rows[number] for number in sorted(rows)], total

    def instance(self, id):  # noqa: A002
        """The row of one instance; None only where the provider says that there is none.

        It says so with a row of null, or with ``no_such_instance`` and a complete list that lacks it. Another 404 says
        nothing.
        """
        path = "/api/v0/instances/{0}/".format(int(id))
        try:
            answer = self._ask("show", "GET", path + "?owner=me")
        except VastError as problem:
            if problem.code != "no_such_instance":
                raise
            return next((row for row in self.instances() if row["id"] == int(id)), None)
        if not isinstance(answer, dict) or "instances" not in answer:
            raise _unreadable("instance {0}".format(id))
        row = answer["instances"]
        if row is not None and (not isinstance(row, dict) or row.get("id") != int(id)):
            raise _unreadable("instance {0}".format(id))
        return row

    def set_state(self, id, state):  # noqa: A002
        """Ask for ``running`` or ``stopped``. When it is so, its row says."""
        self._put("change", id, {"state": state})

    def set_label(self, id, text):  # noqa: A002
        """Give an instance another label."""
        self._put("change", id, {"label": text})

    def set_bid(self, id, price):  # noqa: A002
        """Bid so many dollars per hour; None bids what wins now."""
        path = "/api/v0/instances/bid_price/{0}/".format(int(id))
        self._ask("bid", "PUT", path, {"client_id": "me", "price": price})

    def destroy(self, id):  # noqa: A002
        """Ask for its end, its disk included. It is over when ``instance`` gives None; one that is gone is no error."""
        try:
            self._ask("destroy", "DELETE", "/api/v0/instances/{0}/".format(int(id)), {})
        except VastError as problem:
            if problem.kind != "gone":
                raise

    def _put(self, endpoint, number, body):
        self._ask(endpoint, "PUT", "/api/v0/instances/{0}/".format(int(number)), body)

    def log(self, id, tail=1000):  # noqa: A002
        """The last lines of the log of an instance, as text. Raises VastError (unanswered) where it does not come."""
        path = "/api/v0/instances/request_logs/{0}/".format(int(id))
        answer = self._ask("execute", "PUT", path, {"tail": str(int(tail))})
        place = answer.get("result_url") if isinstance(answer, dict) else None
        if not isinstance(place, str) or not (place.startswith(("https://", self._url + "/"))):
            raise _unreadable("the log of instance {0}".format(id))
        for look in range(_LOG_LOOKS):
            if look:
                self._sleep(_LOG_PAUSE_S)
            # Where it lies is nobody's business of whoever keeps the key: asked without it.
            status, _headers, data = wire.send("GET", place, timeout_s=self._timeout_s)
            if status == 200:
                return data.decode("utf-8", "replace")
            if status not in (403, 404):
                break
        raise VastError("the log of instance {0} did not come".format(id), "unanswered", status)

    # -- keys, money -------------------------------------------------------------------------------------------

    def attach_key(self, id, key):  # noqa: A002
        """Let a public key (its line) log in to this instance."""
        path = "/api/v0/instances/{0}/ssh/".format(int(id))
        self._ask("attach", "POST", path, {"ssh_key": public_key(key)})

    def keys(self):
        """The public keys of the account: [{id, public_key, created_at}]."""
        answer = self._ask("keys", "GET", "/api/v0/ssh/")
        found = []
        for row in _rows({"keys": answer}, "keys"):
            text = row.get("public_key") or row.get("key")
            if isinstance(text, str) and not row.get("deleted_at"):
                found.append({"id": row["id"], "public_key": text.strip(), "created_at": row.get("created_at")})
        return found

    def add_key(self, key):
        """Have a public key in the account; gives its number. Not sent again where it may have been carried out."""
        answer = self._ask("keys", "POST", "/api/v0/ssh/", {"ssh_key": public_key(key)}, once=True)
        made = answer.get("key") if isinstance(answer, dict) else None
        if not isinstance(made, dict) or not _is_id(made.get("id")):
            raise _unreadable("the new key")
        return made["id"]

    def remove_key(self, id):  # noqa: A002
        """Take a public key out of the account; one that is gone is no error."""
        try:
            self._ask("keys", "DELETE", "/api/v0/ssh/{0}/".format(int(id)), {})
        except VastError as problem:
            if problem.kind != "gone":
                raise

    def charges(self, start, end):
        """What was charged for times between two moments (seconds since the epoch): every row, in order."""
        query = {
            "select_filters": {"day": {"gte": start, "lte": end}},
            "latest_first": False,
            "limit": 100,
            "format": "table",
        }
        rows = []
        for page in self._pages("charges", "/api/v0/charges/", query):
            rows.extend(_rows(page, "results", numbered=False))
            total = page.get("total")
        if isinstance(total, int) and len(rows) < total:
            raise VastError(
                "the list of charges is not complete: {0} of {1}".format(len(rows), total), "unreadable", 200
            )
        return rows

    def user(self):
        """The account: id, email, balance, credit. Without what opens it."""
        answer = self._ask("user", "GET", "/api/v0/users/current/")
        if not isinstance(answer, dict) or not _is_id(answer.get("id")):
            raise _unreadable("the account")
        return {name: value for name, value in answer.items() if not any(word in name for word in _SECRET_FIELDS)}

    # -- asking ------------------------------------------------------------------------------------------------

    def _pages(self, endpoint, path, query):
        query, seen = dict(query), set()
        for _page in range(_MOST_PAGES):
            words = {name: value if isinstance(value, str) else json.dumps(value) for name, value in query.items()}
            page = self._ask(endpoint, "GET", path + "?" + urlencode(words))
            if not isinstance(page, dict):
                raise _unreadable(path)
            yield page
            token = page.get("next_token")
            if token is None or token == "":
                return
            if not isinstance(token, str) or token in seen:
                break
            seen.add(token)
            query["after_token"] = token
        raise _unreadable("the pages of " + path)

    def _ask(self, endpoint, method, path, body=None, once=False):
        """The answer's JSON. Tried again while that can help and does no harm, ``PATIENCE_S`` at most."""
        begun, waited, tries = self._clock(), 0.0, 0
        while True:
            try:
                return self._pace.call(endpoint, lambda: self._sent(method, path, body))
            except VastError as problem:
                tries += 1
                pause = pause_after(endpoint, tries, problem.retry_after_s) * random.uniform(1.0, 1.2)
                if not _may_repeat(problem, once) or max(waited, self._clock() - begun) + pause > PATIENCE_S:
                    raise
            waited += pause
            self._sleep(pause)

    def _sent(self, method, path, body):
        status, headers, data = wire.send(method, self._url + path, self._key, body, self._timeout_s)
        return wire.document(method, path.partition("?")[0], status, headers, data)


def _may_repeat(problem, once):
    if problem.kind == "busy":
        return True
    return problem.kind == "unanswered" and (not once or not problem.sent)


def _doubtful(problem):
    """The error of a create: what is no plain refusal, or cannot be read, may have been carried out as well."""
    # An answer of another number may be that of something in between, which gave up waiting for the provider.
    plain = problem.status is None or problem.status in _REFUSALS
    if problem.sent and (problem.kind == "unreadable" or not plain):
        problem.kind = "unanswered"
    return problem


def _rows(answer, name, numbered=True):
    """The list of mappings that an answer has under this name. Raises VastError where it is anything else."""
    rows = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _unreadable("a list of " + name)
    if numbered and not all(_is_id(row.get("id")) for row in rows):
        raise _unreadable("a list of {0} with numbers".format(name))
    return rows


def _is_id(value):
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _unreadable(what):
    return VastError("vast.ai answered with something else than {0}".format(what), "unreadable", 200)
