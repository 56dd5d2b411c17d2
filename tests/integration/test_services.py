# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node says of its services: their state is what their endpoints answer now."""

from __future__ import annotations

from typing import Any

import pytest
from testbed import PlainNode
from testbed.node_side import NodeSide
from testbed.plain import free_port

# Answers with the status in the file `status` of its folder, 200 without one; does not answer at all while `hang` is
# there; listens only when `listen` is there.
SERVER = """
import http.server, os, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        while os.path.exists("hang"):
            time.sleep(0.1)
        self.send_response(int(open("status").read()) if os.path.exists("status") else 200)
        self.end_headers()
while not os.path.exists("listen"):
    time.sleep(0.05)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class Service:
    """A service called web on a node, and what the node says of it."""

    def __init__(self, node: PlainNode) -> None:
        self.node, self.side, self.port = node, NodeSide(node), free_port()
        (node.home / "server.py").write_text(SERVER)

    def start(self, job: str = "web-1", *, start_s: str = "60", command: tuple[str, ...] = ()) -> None:
        labels = {
            "stoker.service": job.partition("-")[0],
            "stoker.health": f"http://127.0.0.1:{self.port}/health",
            "stoker.start_s": start_s,
        }
        argv = command or (self.node.python, "server.py", str(self.port))
        self.side.start(job, *argv, labels=labels, workdir=str(self.node.home))

    def look(self, name: str = "web", wait: float = 0.0) -> dict[str, Any]:
        reply = self.side.ask("services", which=[name], wait=wait)
        assert reply["ok"], reply
        (told,) = reply["services"]
        return dict(told)

    def has(self, name: str, text: str | None = "") -> None:
        """Put a file into its folder, or take it away (None)."""
        if text is None:
            (self.node.home / name).unlink()
        else:
            (self.node.home / name).write_text(text)


@pytest.fixture
def service(node: PlainNode) -> Service:
    return Service(node)


@pytest.mark.accepts("D38")
def test_a_service_is_running_only_while_its_endpoint_answers_well(service: Service) -> None:
    service.start()
    starting = service.look()
    assert starting["state"] == "starting"
    assert "cannot be reached: Connection refused" in starting["evidence"]
    service.has("listen")
    running = service.look(wait=20)
    assert (running["state"], running["health"]["status"]) == ("running", 200)
    service.has("status", "503")
    sick = service.look()
    assert (sick["state"], sick["health"]["status"], sick["healthy_at"]) == ("unhealthy", 503, running["healthy_at"])
    service.has("status", "200")
    assert service.look()["state"] == "running"
    service.has("hang")
    hanging = service.look()
    assert hanging["state"] == "unhealthy"
    assert "gave no answer within 5 s" in hanging["evidence"]


@pytest.mark.accepts("D38")
def test_what_never_became_healthy_is_unhealthy_after_its_time_to_start(service: Service) -> None:
    service.start(start_s="0.1")
    told = service.look(wait=5)
    assert told["state"] == "unhealthy"
    assert told["evidence"].endswith("it never was healthy")


@pytest.mark.accepts("D38")
def test_a_killed_service_is_failed_and_a_stopped_one_stopped(service: Service) -> None:
    service.has("listen")
    service.start()
    assert service.look(wait=20)["state"] == "running"
    service.side.kill("web-1", "command")
    service.side.wait("web-1")
    dead = service.look()
    assert (dead["state"], dead["health"]) == ("failed", None)
    assert "SIGKILL" in dead["evidence"]
    service.start("web-2")
    assert service.look(wait=20)["job"] == "web-2"
    service.side.stop("web-2")
    assert service.look()["state"] == "stopped"


@pytest.mark.accepts("D38")
def test_a_service_does_not_live_on_the_answers_of_another(service: Service) -> None:
    service.has("listen")
    service.start()
    assert service.look(wait=20)["state"] == "running"
    service.start("late-1", command=("sleep", "600"), start_s="0.1")
    late = service.look("late", wait=5)
    assert late["state"] == "unhealthy"
    assert "answered 200, but it is web-1 that listens there" in late["evidence"]
    assert service.look()["state"] == "running"
