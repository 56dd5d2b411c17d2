# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client's own rules, before anything is sent and after any answer; tests/contracts has the provider itself."""

from __future__ import annotations

import io
import socket
import threading
import urllib.request
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.stoker.fleet.plugins.module_utils.vast.client import Vast
from ansible_collections.stoker.fleet.plugins.module_utils.vast.errors import VastError
from ansible_collections.stoker.fleet.plugins.module_utils.vast.keys import find_key
from ansible_collections.stoker.fleet.plugins.module_utils.vast.paced import INTERVALS, Pace, pause_after
from ansible_collections.stoker.fleet.plugins.module_utils.vast.rental import Created, body_of, public_key
from ansible_collections.stoker.fleet.plugins.module_utils.vast.wire import check_url, document
from ansible_collections.stoker.fleet.plugins.plugin_utils import bundle

PLAIN: dict[str, Any] = {
    "image": "pytorch/pytorch", "disk_gb": 20, "label": "me/1", "price": None, "env": None, "onstart": None,
    "image_login": None, "args": None, "runtype": "ssh_direc ssh_proxy", "cancel_unavail": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": ""}, "label"),
        ({"label": "x" * 257}, "label"),
        ({"image": " "}, "image"),
        ({"disk_gb": 5}, "8 GB"),
        ({"price": 0}, "bid"),
        ({"price": 200}, "bid"),
        ({"runtype": "telnet"}, "runtype"),
        ({"args": ["sh"]}, "args"),
        ({"onstart": "x" * 4097}, "4096"),
        ({"env": {"A": "x" * 257}}, "256"),
        ({"env": {f"A{i}": "x" * 250 for i in range(200)}}, "32768"),
        ({"env": {"VAST_API_KEY": "secret"}}, "VAST_API_KEY"),
    ],
)
def test_what_the_provider_would_refuse_is_not_sent(change: dict[str, Any], words: str) -> None:
    with pytest.raises(VastError, match=words) as caught:
        body_of(**{**PLAIN, **change})
    assert (caught.value.kind, caught.value.sent) == ("refused", False)


def test_a_create_without_a_bid_is_on_demand_and_leaves_nothing_where_the_offer_is_gone() -> None:
    body = body_of(**PLAIN)
    assert (body["price"], body["cancel_unavail"], body["label"]) == (None, True, "me/1")


@pytest.mark.parametrize(
    "text", ["~/.ssh/id_ed25519.pub", "-----BEGIN OPENSSH PRIVATE KEY-----", "ssh-ed25519 AAAA", None]
)
def test_a_path_or_a_private_key_is_no_public_key(text: Any) -> None:
    with pytest.raises(VastError, match="public key"):
        public_key(text)


def test_the_key_is_found_where_the_official_client_keeps_it(tmp_path: Path) -> None:
    found = {}
    with pytest.raises(VastError, match="VAST_API_KEY") as caught:
        find_key(None, {}, str(tmp_path))
    assert caught.value.kind == "auth"
    for name in (".vast_api_key", ".config/vastai/vast_api_key", ".config/vastai/vast_tfa_key"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{name}\n")
        found[name] = find_key(None, {}, str(tmp_path)).value
    assert all(name == value for name, value in found.items())
    assert find_key(None, {"VAST_API_KEY": "of-env"}, str(tmp_path)).value == "of-env"
    assert find_key("given", {"VAST_API_KEY": "of-env"}, str(tmp_path)).value == "given"
    with pytest.raises(VastError, match="no key"):
        find_key("two words", {}, str(tmp_path))


def test_keys_do_not_show_themselves() -> None:
    for kept in (find_key("geheim", {}, "/"), Created(1, "geheim")):
        assert "geheim" not in f"{kept!r} {kept}"


@pytest.mark.parametrize(
    "url", ["http://console.vast.ai", "https://me:pw@console.vast.ai", "ftp://x", "console.vast.ai", ""]
)
def test_the_key_goes_by_https_or_stays_here(url: str) -> None:
    with pytest.raises(VastError, match="address"):
        check_url(url)
    assert check_url("http://127.0.0.1:8000/") == "http://127.0.0.1:8000"


def test_calls_of_an_endpoint_keep_their_distance() -> None:
    now, slept = [100.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    pace = Pace(sleep, lambda: now[0])
    for _ in range(3):
        pace.call("destroy", lambda: None)
        pace.call("list", lambda: None)
    assert slept == [INTERVALS["destroy"], INTERVALS["destroy"]]
    assert [pause_after("create", tries) for tries in (1, 2, 3)] == [12.0, 24.0, 48.0]
    assert pause_after("list", 1, 4.5) == 4.5


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (401, '{"error":"auth_error","msg":"Invalid user key"}', "auth"),
        (404, '{"success":false,"error":"auth_error","msg":"Invalid user key"}', "auth"),
        (403, '{"error":"auth_error","msg":"This action requires login."}', "auth"),
        (404, '{"success":false,"msg":"Session expired. Please log in again."}', "auth"),
        (404, '{"success":false,"error":"no_such_instance"}', "gone"),
        (200, '{"success":false,"error":"no_such_instance"}', "gone"),
        (410, '{"success":false,"msg":"error 410/3907: no_such_ask 7 no longer available."}', "taken"),
        (404, "error 404/3603: no_such_ask 7 is not available.", "taken"),
        (410, '{"success":false,"error":"deprecated_endpoint","msg":"Use /api/v1/instances/ instead."}', "refused"),
        (400, '{"success":false,"error":"missing_billing"}', "refused"),
        (404, "<html>not found</html>", "unreadable"),
        (200, "<html>maintenance</html>", "unreadable"),
        (200, "", "unreadable"),
        (302, "", "unreadable"),
        (502, "Bad Gateway", "unanswered"),
        (429, "API requests too frequent: endpoint threshold=4.5", "busy"),
        (429, '{"detail":"API requests too frequent endpoint threshold=4.5"}', "busy"),
        (429, '{"error":"search_quota_exceeded"}', "quota"),
    ],
)
def test_an_error_is_of_its_kind_whatever_its_number(status: int, text: str, kind: str) -> None:
    with pytest.raises(VastError) as caught:
        document("GET", "/api/v0/x/", status, {}, text.encode())
    assert caught.value.kind == kind
    assert caught.value.retry_after_s == (4.5 if "4.5" in text else None)


class Elsewhere(BaseHTTPRequestHandler):
    """Gives everybody the same answer (by default: go on to somewhere else), and notes who came with which key."""

    came: list[tuple[str, str | None]]
    said: tuple[int, str]

    def do_GET(self) -> None:
        self.came.append((self.path, self.headers.get("Authorization")))
        self.send_response(self.said[0])
        self.send_header("Location", "/taken")
        self.send_header("Content-Length", str(len(self.said[1])))
        self.end_headers()
        self.wfile.write(self.said[1].encode())

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def elsewhere() -> Iterator[ThreadingHTTPServer]:
    Elsewhere.came, Elsewhere.said = [], (302, "")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_key_follows_no_redirect_and_netrc_is_not_read(
    elsewhere: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setattr(urllib.request, "_opener", None)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(VastError) as caught:
        Vast("geheim", f"http://127.0.0.1:{elsewhere.server_address[1]}").instances()
    assert caught.value.kind == "unreadable"
    assert [key for _path, key in Elsewhere.came] == ["Bearer geheim"]
    # The process's own way to open addresses is left as it was.
    assert urllib.request._opener is None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "body",
    [
        '{"success": true, "instances": null}',
        '{"success": true}',
        '{"success": true, "instances": [{"id": "101"}]}',
        '{"success": true, "instances": [{"id": 101}], "total_instances": 3, "next_token": null}',
        '{"success": true, "instances": [{"id": 101}], "total_instances": 1, "next_token": "again"}',
        '{"success": true, "instances": [{"id": 101}]}',
        '{"success": true, "instances": [], "total_instances": null}',
        "[]",
        '""',
    ],
)
def test_a_list_is_whole_and_of_the_contract_or_an_error(elsewhere: ThreadingHTTPServer, body: str) -> None:
    Elsewhere.said = (200, body)
    url = f"http://127.0.0.1:{elsewhere.server_address[1]}"
    with pytest.raises(VastError) as caught:
        Vast("k", url, sleep=lambda seconds: None).instances()
    assert caught.value.kind == "unreadable"


@pytest.mark.parametrize(("status", "kind"), [(400, "refused"), (408, "unanswered"), (409, "unanswered"),
                                              (200, "unanswered")])  # fmt: skip
def test_only_a_plain_refusal_proves_that_nothing_was_rented(
    elsewhere: ThreadingHTTPServer, status: int, kind: str
) -> None:
    Elsewhere.said = (status, '{"success": false, "error": "timeout", "msg": "Request timed out"}')
    with pytest.raises(VastError) as caught:
        Vast("k", f"http://127.0.0.1:{elsewhere.server_address[1]}").create(7, "ubuntu", 20, "me/1")
    assert (caught.value.kind, len(Elsewhere.came)) == (kind, 1)


@pytest.mark.parametrize("code", ["not_found", "no_such_instance"])
def test_a_404_alone_does_not_prove_that_an_instance_is_gone(elsewhere: ThreadingHTTPServer, code: str) -> None:
    Elsewhere.said = (404, f'{{"success": false, "error": "{code}", "msg": "no"}}')
    with pytest.raises(VastError):
        Vast("k", f"http://127.0.0.1:{elsewhere.server_address[1]}").instance(101)
    # After `no_such_instance` the list is asked for; it fails here, too.
    assert len(Elsewhere.came) == (2 if code == "no_such_instance" else 1)


def test_where_nobody_listens_a_create_never_left() -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(VastError, match="cannot be reached") as caught:
            Vast("k", url, sleep=sleep, clock=lambda: now[0]).create(7, "ubuntu", 20, "me/1")
    assert (caught.value.kind, caught.value.sent) == ("unanswered", False)
    assert now[0] > 10


def test_the_client_is_not_pushed_to_nodes() -> None:
    names = zipfile.ZipFile(io.BytesIO(bundle.build()[1])).namelist()
    assert "stoker_node/ctl.py" in names
    assert not [name for name in names if "vast" in name]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_json_is_no_answer(number: str) -> None:
    with pytest.raises(VastError) as refused:
        document(
            "GET", "/api/v1/instances/", 200, {}, f'{{"instances": [{{"id": 1, "dph_total": {number}}}]}}'.encode()
        )
    assert refused.value.kind == "unreadable"
