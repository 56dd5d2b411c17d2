# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Contexts of kubeconfigs: all of them are asked at the same time, and each says how it is."""

from __future__ import annotations

import json
import os
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typed import Said, Stoker

from stoker.fleet import Fleet
from tests.contracts.kubernetes import Double, kubeconfig, kubernetes_double
from tests.contracts.kubernetes.authority import Authority


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with kubernetes_double(tmp_path / "cluster") as double:
        yield double


@pytest.fixture
def silent() -> Iterator[str]:
    """An address where connections are taken, and nobody ever says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield f"https://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def plain() -> Iterator[tuple[str, list[str]]]:
    """A server without TLS, or a proxy, that says its version; and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"gitVersion": "v1.2.3"}')

        def log_message(self, *_: Any) -> None:
            """Said nowhere."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()
        thread.join()


def looks(said: Said) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in said.json()["value"]["contexts"]}


def runs(pid: str) -> bool:
    try:
        return "Z (" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def plugin(folder: Path, text: str) -> dict[str, Any]:
    """A user whose credentials a program of this text gives."""
    program = folder / f"plugin-{len(list(folder.iterdir()))}"
    program.write_text(f"#!{sys.executable}\nimport json, os, sys, time\n{text}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(program)}}


def credential(**status: str) -> str:
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    return f"print({json.dumps(answer)!r})\n"


@pytest.mark.accepts("C16")
def test_every_context_says_how_it_is_and_none_holds_up_the_others(
    stoker: Stoker, cluster: Double, silent: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = f"https://127.0.0.1:{taken.getsockname()[1]}"
    bad_cluster = cluster.entry("nowhere")
    bad_cluster.pop("clusters")
    file = kubeconfig(
        tmp_path / "config",
        cluster.entry("good", namespace="research"),
        *(cluster.entry(f"silent-{number}", server=silent) for number in range(20)),
        cluster.entry("closed", server=closed), bad_cluster,
        cluster.entry("stranger", trusts=Authority()), cluster.entry("old-token", user={"token": "expired"}),
        cluster.entry("no-name", server="https://no-such-host.invalid"), cluster.entry("odd", server="ftp://x"),
        current="good",
    )  # fmt: skip
    said = stoker("kube", "contexts", "--kubeconfig", str(file), "--json")
    assert said.code == 0, said.err
    value = said.json()["value"]
    found = looks(said)
    assert len(found) == 27
    good = found.pop("good")
    assert (good["state"], good["current"], good["namespace"], good["why"]) == ("reachable", True, "research", None)
    assert good["version"].startswith("v1.")
    assert found["old-token"]["state"] == "refused"
    assert found["old-token"]["why"] == "it refused the credentials (401)"
    whys = {name: one["why"] for name, one in found.items() if one["state"] == "unreachable"}
    assert whys["closed"] == "Connection refused"
    assert whys["nowhere"] == "its cluster 'nowhere' is not in the kubeconfig"
    assert whys["odd"] == "its server 'ftp://x' is no address"
    assert whys["stranger"].startswith("its certificate is not to be trusted: ")
    # Some name servers take their time to say so.
    assert whys["no-name"] in ("its name cannot be resolved", "it does not answer within 5 s")
    assert all("in time" in whys[f"silent-{n}"] or "within 5 s" in whys[f"silent-{n}"] for n in range(20))
    # One after the other they would have taken 100 s. (By themselves 5.5 s.)
    assert value["elapsed_s"] < 50
    with Fleet() as fleet:
        [first, *_] = fleet.kubernetes.contexts(kubeconfig=str(file), timeout=2).contexts
        assert (first.name, first.current) == ("good", True)


@pytest.mark.accepts("C16")
def test_all_are_asked_at_the_same_time(stoker: Stoker, cluster: Double, tmp_path: Path) -> None:
    file = kubeconfig(tmp_path / "config", *(cluster.entry(f"c{number}") for number in range(40)))
    cluster.together(40)
    said = stoker("kube", "contexts", "--kubeconfig", str(file), "--timeout", "2m")
    assert "40 of 40 reachable" in said.out, said.out


@pytest.mark.accepts("C16")
@pytest.mark.parametrize("login", ["token", "token-file", "certificate", "certificate-file"])
def test_a_context_is_asked_with_the_credentials_of_its_user(
    stoker: Stoker, cluster: Double, login: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = kubeconfig(cluster.folder / "config", cluster.entry("c", login), current="c")
    monkeypatch.setenv("KUBECONFIG", str(file))
    monkeypatch.chdir("/")
    said = stoker("kube", "contexts")
    assert said.code == 0
    assert "1 of 1 reachable" in said.out
    assert [(request.user, request.path) for request in cluster.requests] == [("alice", "/version")]


@pytest.mark.accepts("C16")
def test_what_a_kubeconfig_says_of_tls_and_of_acting_as_somebody(
    stoker: Stoker, cluster: Double, tmp_path: Path
) -> None:
    stranger = Authority()
    (tmp_path / "ca.pem").write_bytes(cluster.authority.pem)
    by_file = {"certificate-authority-data": None, "certificate-authority": "ca.pem"}
    file = kubeconfig(
        tmp_path / "config",
        cluster.entry("file", **by_file),
        cluster.entry("named", **{"tls-server-name": "kubernetes.test"}),
        cluster.entry("misnamed", **{"tls-server-name": "other.test"}),
        cluster.entry("any", trusts=stranger, **{"insecure-skip-tls-verify": True}),
        cluster.entry("as-bob", user={"token": cluster.token(), "as": "bob"}),
        cluster.entry("no-file", **{**by_file, "certificate-authority": "gone.pem"}),
        cluster.entry("proxy", **{"proxy-url": "http://127.0.0.1:1"}),
    )
    said = stoker("kube", "contexts", "--kubeconfig", str(file), "--json", "--timeout", "30s")
    found = looks(said)
    good = {name for name, one in found.items() if one["state"] == "reachable"}
    assert good == {"file", "named", "any", "as-bob"}, said.out
    assert "Hostname mismatch" in found["misnamed"]["why"]
    assert found["no-file"]["why"] == f"its certificate-authority {tmp_path}/gone.pem is not there"
    assert found["proxy"]["why"] == "its proxy: Connection refused"
    assert [one.headers["Impersonate-User"] for one in cluster.requests if "Impersonate-User" in one.headers] == ["bob"]
    assert said.err == ""


@pytest.mark.accepts("C16")
def test_files_of_the_variable_are_one_and_the_first_is_right(
    stoker: Stoker, cluster: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = kubeconfig(tmp_path / "first", cluster.entry("one"), current="one")
    second = kubeconfig(
        tmp_path / "second", cluster.entry("one", server="https://127.0.0.1:1"), cluster.entry("two"), current="two"
    )
    broken, missing = tmp_path / "broken", tmp_path / "missing"
    broken.write_text("users: [{token: hunter2\n")
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(map(str, (missing, first, broken, second))))
    said = stoker("kube", "contexts", "--json")
    assert {name: (one["current"], one["state"]) for name, one in looks(said).items()} == {
        "one": (True, "reachable"),
        "two": (False, "reachable"),
    }
    assert said.code == 1
    assert f"{broken}: it is no YAML (line 2)" in said.err
    assert "hunter2" not in said.out + said.err


def test_without_a_kubeconfig_it_says_where_it_looked(stoker: Stoker, cluster: Double, tmp_path: Path) -> None:
    said = stoker("kube", "contexts")
    assert said.code == 2
    assert f"there is no kubeconfig: {tmp_path}/home/.kube/config does not exist" in said.err
    assert "--kubeconfig" in said.err
    (tmp_path / "empty").write_text("")
    assert "it is empty" in stoker("kube", "contexts", "--kubeconfig", str(tmp_path / "empty")).err
    (tmp_path / "list").write_text("- a\n")
    assert "it is no kubeconfig" in stoker("kube", "nodes", "--kubeconfig", str(tmp_path / "list")).err
    assert stoker("kube", "contexts", "--timeout", "0").code == 2


@pytest.mark.accepts("C16")
def test_programs_that_give_credentials(stoker: Stoker, cluster: Double, tmp_path: Path) -> None:
    certificate, key = (part.decode() for part in cluster.authority.user("bob"))
    of_bob = credential(clientCertificateData=certificate, clientKeyData=key)
    told = plugin(tmp_path, "info = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n"
                  f"assert info['spec']['cluster']['server'] == {cluster.url!r} and not sys.stdin.read()\n"
                  f"assert os.environ['REGION'] == 'north'\n{credential(token=cluster.token('carol'))}")  # fmt: skip
    told["exec"] |= {"provideClusterInfo": True, "env": [{"name": "REGION", "value": "north"}]}
    lost = {"exec": {**told["exec"], "command": "no-such-plugin", "installHint": "brew install it"}}
    always = {"exec": {**told["exec"], "interactiveMode": "Always"}}
    file = kubeconfig(
        tmp_path / "config",
        cluster.entry("token", user=told),
        cluster.entry("certificate", user=plugin(tmp_path, of_bob)),
        cluster.entry("failing", user=plugin(tmp_path, "sys.exit('session over; token=abcdef12345678 refused')")),
        cluster.entry("silent", user=plugin(tmp_path, "")),
        cluster.entry("lost", user=lost), cluster.entry("always", user=always),
        cluster.entry("provider", user={"auth-provider": {"name": "oidc"}}),
        cluster.entry("groups", user={"token": "x", "as-groups": ["admins"]}),
        cluster.entry("broken-token", user={"token": "line\nbreak"}),
    )  # fmt: skip
    said = stoker("kube", "contexts", "--kubeconfig", str(file), "--json", "--timeout", "2m")
    found = looks(said)
    assert {name for name, one in found.items() if one["state"] == "reachable"} == {"token", "certificate"}, said.out
    assert {request.user for request in cluster.requests} == {"bob", "carol"}
    whys = {name: one["why"] for name, one in found.items()}
    assert "ended with 1: session over; token=[redacted] refused" in whys["failing"]
    assert whys["silent"].endswith("said what is no JSON")
    assert "cannot be run: No such file" in whys["lost"]
    assert found["lost"]["next_step"] == "brew install it"
    assert "wants to ask a person" in whys["always"]
    assert "auth-provider" in whys["provider"]
    assert "as-groups" in whys["groups"]
    assert whys["broken-token"] == "its token has characters that no token has"
    assert "abcdef12345678" not in said.out + said.err


@pytest.mark.accepts("C16")
def test_nothing_is_left_of_a_program_that_gives_nothing(stoker: Stoker, cluster: Double, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    user = plugin(tmp_path, "")
    Path(user["exec"]["command"]).write_text(f"#!/bin/sh\nsleep 600 &\necho $! > {pid}.new\nmv {pid}.new {pid}\nwait\n")
    file = kubeconfig(tmp_path / "config", cluster.entry("hangs", user=user), cluster.entry("good"))
    said = stoker("kube", "contexts", "--kubeconfig", str(file), "--json", "--timeout", "6s")
    found = looks(said)
    assert found["good"]["state"] == "reachable"
    assert found["hangs"]["why"].endswith("gave nothing in time") or "within 6 s" in found["hangs"]["why"]
    waited = time.monotonic() + 60
    while runs(pid.read_text().strip()):
        assert time.monotonic() < waited
        time.sleep(0.1)


@pytest.mark.accepts("C16")
def test_a_program_that_leaves_something_behind_gave_its_token(stoker: Stoker, cluster: Double, tmp_path: Path) -> None:
    pid, answer = tmp_path / "pid", tmp_path / "answer"
    user, chatty = plugin(tmp_path, credential(token=cluster.token("dora"))), plugin(tmp_path, "")
    program, talks = Path(user["exec"]["command"]), Path(chatty["exec"]["command"])
    program.rename(answer)
    program.write_text(f"#!/bin/sh\nsleep 600 &\necho $! > {pid}\n{answer}\n")
    program.chmod(0o700)
    talks.write_text("#!/bin/sh\nexec yes\n")
    file = kubeconfig(tmp_path / "config", cluster.entry("leaves", user=user), cluster.entry("talks", user=chatty))
    said = stoker("kube", "contexts", "--kubeconfig", str(file), "--json", "--timeout", "20s")
    found = looks(said)
    assert found["leaves"]["state"] == "reachable", said.out
    assert [request.user for request in cluster.requests] == ["dora"]
    assert found["talks"]["why"].endswith("says more than 1 MiB")
    waited = time.monotonic() + 150
    while runs(pid.read_text().strip()):
        assert time.monotonic() < waited
        time.sleep(0.1)


@pytest.mark.accepts("C16")
@pytest.mark.parametrize(
    ("fault", "state", "why"),
    [
        ("broken", "unreachable", "it answered an error (500: etcdserver: request timed out)"),
        ("cut", "unreachable", "its answer broke off: the connection was cut"),
        ("garbage", "unreachable", "/version answered what is no JSON of Kubernetes"),
        (
            "drip",
            "unreachable",
            "it does not answer within 2 s|its answer did not end in time|it does not answer in time",
        ),
        ("busy", "reachable", None),
    ],
)
def test_answers_that_are_none(
    stoker: Stoker, cluster: Double, tmp_path: Path, fault: Any, state: str, why: str | None
) -> None:
    file = kubeconfig(tmp_path / "config", cluster.entry("c"), current="c")
    cluster.fault(fault, "/version")
    limit = "2s" if fault == "drip" else "30s"
    said = stoker("kube", "contexts", "--kubeconfig", str(file), "--json", "--timeout", limit)
    assert said.code == int(state != "reachable")
    assert looks(said)["c"]["state"] == state
    assert looks(said)["c"]["why"] in (why.split("|") if why else [None])


def test_no_secret_and_no_command_of_a_terminal_is_shown(stoker: Stoker, cluster: Double, tmp_path: Path) -> None:
    token = cluster.token()
    entry = cluster.entry("evil\x1b[2J", user={"token": token}, server=cluster.url.replace("//", "//u:hunter2pass@"))
    file = kubeconfig(tmp_path / "config", entry, cluster.entry("plain", server="http://example.invalid"))
    for mode in ((), ("--json",), ("--verbose",)):
        said = stoker("kube", "contexts", "--kubeconfig", str(file), *mode)
        for secret in (token, "hunter2pass", "\x1b"):
            assert secret not in said.out + said.err
    assert "would be sent without TLS" in said.out


@pytest.mark.accepts("C16")
def test_credentials_without_tls_go_through_no_proxy(
    stoker: Stoker, cluster: Double, plain: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, asked = plain
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    file = kubeconfig(
        tmp_path / "config",
        cluster.entry("here", server=url), cluster.entry("sent-away", server=url, **{"proxy-url": url}),
    )  # fmt: skip
    said = stoker("kube", "contexts", "--kubeconfig", str(file), "--json", "--timeout", "30s")
    found = looks(said)
    assert found["here"]["version"] == "v1.2.3", said.out
    assert found["sent-away"]["why"] == "its credentials would be sent without TLS, through its proxy"
    assert asked == ["/version"]


@pytest.mark.accepts("C16")
def test_one_context_that_is_wrong_says_so_and_the_others_are_asked(
    stoker: Stoker, cluster: Double, tmp_path: Path
) -> None:
    def program(**more: Any) -> dict[str, Any]:
        user = plugin(tmp_path, credential(token=cluster.token()))
        return {"exec": {**user["exec"], **more}}

    file = kubeconfig(
        tmp_path / "config", cluster.entry("good"), cluster.entry("server", server="https://[bad"),
        cluster.entry("port", server="https://x:99999"), cluster.entry("proxy", **{"proxy-url": "socks5://"}),
        cluster.entry("no-proxy", **{"proxy-url": "no address"}), cluster.entry("env", user=program(env=["A=B"])),
        cluster.entry("args", user=program(args=5)), cluster.entry("word", user=program(args=["a\0b"])),
        cluster.entry("key", user={"client-certificate": "a\0b", "client-key": "~no-such-user/key"}),
        cluster.entry("file", user={"tokenFile": "~no-such-user/token"}),
    )  # fmt: skip
    said = stoker("kube", "contexts", "--kubeconfig", str(file), "--json", "--timeout", "2m")
    assert said.code == 0, said.err
    found = looks(said)
    assert found.pop("good")["state"] == "reachable"
    whys = {name: one["why"] for name, one in found.items()}
    assert {one["state"] for one in found.values()} == {"unreachable"}
    for name in ("server", "port", "proxy", "no-proxy"):
        assert whys[name].endswith("is no address"), whys
    for name in ("env", "args"):
        assert "has args that are no list, or env of no name and value" in whys[name]
    assert "characters that no program can be given" in whys["word"]
    assert whys["key"].endswith("is not there")
    assert whys["file"] == "what the kubeconfig says of it cannot be used (RuntimeError)"


def test_a_time_to_wait_that_is_none_is_not_waited_for(stoker: Stoker, cluster: Double, tmp_path: Path) -> None:
    file = kubeconfig(tmp_path / "config", cluster.entry("c"))
    cluster.fault("busy", "/version")
    cluster.server.retry_after_s = "\u00b2"  # type: ignore[assignment]
    said = stoker("kube", "contexts", "--kubeconfig", str(file), "--json", "--timeout", "1m")
    assert looks(said)["c"]["why"].startswith("it answered an error (429: too many requests")
