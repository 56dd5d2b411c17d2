# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node whose connections fail: what is repeated, and what runs once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from plays import Plays
from testbed import PlainNode, wait_until


class Way:
    """Stands between ssh and a node: ends the first ``bad`` connections at once, passes on the others until ``cut``."""

    def __init__(self, node: PlainNode, bad: int) -> None:
        self.node, self.bad, self.came = node, bad, 0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.came += 1
            if self.came <= self.bad:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self.node.port))
            self._open += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    @staticmethod
    def _pass_on(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def cut(self) -> None:
        for one in self._open:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for one in self._open:
            one.close()


@pytest.fixture
def way(nodes: Callable[..., list[PlainNode]]) -> Iterator[Way]:
    [node] = nodes(1)
    way = Way(node, bad=2)
    node.host_vars |= {
        "ansible_port": way.port,
        "ansible_ssh_common_args": f"-F none -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={node.home}/kh",
        "stoker_connect_retries": 5,
    }
    yield way
    way.close()


@pytest.mark.accepts("V02")
def test_a_connection_is_tried_again_and_a_command_runs_once(
    way: Way, inventory: Callable[..., Path], tmp_path: Path
) -> None:
    plays, home = Plays(tmp_path, inventory([way.node])), way.node.home
    done = plays.run(
        "- stoker.fleet.node_exec: {argv: [sh, -c, 'echo ran >>~/runs; exit 7']}\n  register: said", hosts="all"
    )
    assert done.results["n1"]["said"]["code"] == 7, done.output
    assert (home / "runs").read_text() == "ran\n"
    assert way.came >= 3

    def cut_when_it_runs() -> None:
        wait_until(lambda: (home / "lost").exists(), "the command", 120)
        way.cut()

    cutting = threading.Thread(target=cut_when_it_runs)
    cutting.start()
    lost = plays.run(
        "- stoker.fleet.node_exec: {argv: [sh, -c, 'echo ran >>~/lost; sleep 100']}\n  register: said", hosts="all"
    )
    cutting.join()
    assert "code" not in lost.results["n1"]["said"], lost.output
    assert (home / "lost").read_text() == "ran\n"
