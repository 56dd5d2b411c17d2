# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`stoker service`: started, looked at, restarted and stopped on a real node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cli import Cli, until
from testbed import PlainNode, PodmanEngine
from testbed.node_side import NodeSide
from testbed.plain import free_port
from testbed.processes import all_processes


def told(cli: Cli, *words: str, code: int = 0) -> Any:
    said = cli("service", words[0], "--json", *words[1:])
    assert said.code == code, said
    return said.json()


def alive(mark: str) -> list[int]:
    return [pid for pid, process in all_processes().items() if mark in process.argv]


@pytest.mark.accepts("D38")
def test_a_service_from_start_to_stop(stoker: Callable[..., Cli], node: PlainNode) -> None:
    cli, port = stoker(node), free_port()
    url = f"http://127.0.0.1:{port}/"
    mark, foreign = f"8{port}1", f"8{port}2"
    # A process of the same user and home that is not the service's, and one of the service's that ran away.
    node.ssh(f"setsid sleep {foreign} >/dev/null 2>&1 </dev/null &")
    run = f"setsid sleep {mark} & echo up; exec {node.python} -m http.server {port} --bind 127.0.0.1"
    command = ("--health", url, "--restart", "no", "--", "sh", "-c", run)
    first = told(cli, "start", "n1", "web", *command)
    assert (first["changed"], first["service"]["state"]) == (True, "running")
    again = told(cli, "start", "n1", "web", *command)
    assert (again["changed"], again["service"]["job"]) == (False, first["service"]["job"])
    logs = cli("service", "logs", "n1", "web")
    assert logs.code == 0
    assert logs.out.startswith("up\n")
    other = told(cli, "restart", "n1", "web")["service"]
    assert (other["state"], other["job"] != first["service"]["job"]) == ("running", True)
    assert alive(mark)
    stopped = told(cli, "stop", "n1", "web")
    assert (stopped["changed"], stopped["service"]["state"]) == (True, "stopped")
    assert not alive(mark)
    assert alive(foreign)
    assert told(cli, "stop", "n1", "web")["changed"] is False
    said = cli("service", "status", "n1", "web")
    assert said.code == 1
    assert said.out.startswith("web  stopped on n1  ")


@pytest.mark.accepts("D38")
def test_the_node_starts_a_service_again_that_fails(stoker: Callable[..., Cli], node: PlainNode) -> None:
    cli, port = stoker(node), free_port()
    serve = f"exec {node.python} -m http.server {port} --bind 127.0.0.1"
    run = f"[ -e second ] || {{ touch second; echo broken; exit 3; }}; {serve}"
    options = ("--health", f"http://127.0.0.1:{port}/", "--workdir", str(node.home), "--", "sh", "-c", run)
    assert told(cli, "start", "n1", "web", *options)["service"]["state"] == "running"
    logs = cli("service", "logs", "n1", "web").out
    assert logs.startswith("broken\nstoker: the service ended with 3; it is started again (1) in 1 s\n")
    assert told(cli, "stop", "n1", "web")["service"]["state"] == "stopped"


@pytest.mark.accepts("D38")
@pytest.mark.root
def test_a_service_in_a_container_ends_there_with_all_its_processes_and_no_others(
    stoker: Callable[..., Cli], podman: PodmanEngine
) -> None:
    podman.image("localhost/bb:1")
    podman("run", "-d", "--name", "box", "--network", "host", "localhost/bb:1", "sleep", "9999")
    cli = stoker(podman.node)
    run = "sleep 7777 & exec httpd -f -p 127.0.0.1:8099 -h /www"
    options = ("--container", "box", "--health", "http://127.0.0.1:8099/index.html", "--", "sh", "-c", run)
    podman("exec", "box", "sh", "-c", "echo hello > /www/index.html")
    assert told(cli, "start", "i1", "web", *options)["service"]["state"] == "running"
    assert "sleep 7777" in podman("exec", "box", "ps")
    assert told(cli, "stop", "i1", "web")["service"]["state"] == "stopped"
    left = podman("exec", "box", "ps")
    assert "sleep 9999" in left
    assert "7777" not in left
    assert "httpd" not in left


def test_a_service_is_refused_in_one_clear_sentence(stoker: Callable[..., Cli], node: PlainNode) -> None:
    cli = stoker(node)
    for words, sentence in (
        (("start", "n1", "web"), "web was never started on n1: it needs a command and --health"),
        (("start", "n1", "web", "--health", "ftp://x", "--", "true"), "'ftp://x' is not an http address"),
        (("start", "n1", "Web", "--", "true"), "'Web' is no name for a service"),
        (("stop", "n1", "web"), "there is no service 'web' on n1."),
    ):
        said = cli("service", *words)
        assert said.code == 2, said
        assert sentence in said.err


def test_a_service_of_another_controller_can_be_stopped(stoker: Callable[..., Cli], node: PlainNode) -> None:
    port = free_port()
    serve = (node.python, "-m", "http.server", str(port), "--bind", "127.0.0.1")
    url = f"http://127.0.0.1:{port}/"
    first = told(stoker(node), "start", "n1", "web", "--health", url, "--", *serve)["service"]["job"]
    # A third one started it at the same moment.
    labels = {"stoker.service": "web", "stoker.health": url}
    NodeSide(node).start("web-late", "sleep", f"9{port}", labels=labels)
    cli = stoker(node)
    (seen,) = told(cli, "status", "n1", "web", code=1)["services"]
    assert (seen["job"], seen["others"], seen["state"]) == ("web-late", [first], "starting")
    assert told(cli, "stop", "n1", "web")["service"]["state"] == "stopped"
    assert not alive(f"9{port}")
    until(lambda: not alive(str(port)), "its processes are gone")
