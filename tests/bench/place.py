# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the measuring happens: a test bed with plain nodes, and folders of its own for Stoker and Ansible."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stoker import Fleet
from stoker.runner.environment import launcher_dir
from stoker.store import JobRow, Store, open_store
from tests.bench.measure import Daemons, Meter, Usage
from tests.testbed import Bed, PlainNode, start_all, wait_until, write_inventory
from tests.testbed.processes import all_processes, environment, kill_until_gone

PROGRAMS = Path(sys.executable).parent
STOKER = PROGRAMS / "stoker"
FORKS = "50"
_SSH_ARGS = "-C -o ControlMaster=auto -o ControlPersist=300s -o ServerAliveInterval=5 -o ServerAliveCountMax=3"
_ROOT = Path(__file__).resolve().parents[2]
LONG = "600"


class Place:
    """A running bed. Everything that it starts has ended when it is closed."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        self.meter = Meter(Daemons(f"STOKER_STATE_HOME={bed.folder / 'state'}"))
        self.nodes: list[PlainNode] = []
        self.inventory = bed.folder / "inventory.yml"
        self.cold = {**os.environ, "STOKER_LAUNCHER": "off"}

    def use(self, count: int) -> list[PlainNode]:
        """Have exactly this many fresh nodes, and an empty store."""
        self._end_nodes()
        self.nodes = [PlainNode(self.bed, f"n{number}") for number in range(1, count + 1)]
        start_all(self.nodes)
        write_inventory(self.inventory, self.nodes)
        os.environ["STOKER_STORE_URL"] = self.cold["STOKER_STORE_URL"] = (
            f"sqlite:///{self.bed.new_folder('s') / 'stoker.db'}"
        )
        return self.nodes

    def _end_nodes(self) -> None:
        for node in self.nodes:
            node.close()
        self.nodes = []

    def fleet(self) -> Fleet:
        """The API over the present nodes and store."""
        return Fleet(self.inventory)

    def stoker(self, *words: str, cold: bool = False, stdout: Path | None = None) -> Usage:
        """Measure one call of the command line. Raises RuntimeError when it fails."""
        argv = [STOKER, "--inventory", str(self.inventory), *words]
        return self.meter.command(argv, env=self.cold if cold else dict(os.environ), stdout=stdout)

    def ansible(self, *words: str) -> Usage:
        """Measure plain Ansible, ad hoc, on all nodes: same connection settings and forks as Stoker's."""
        env = {
            **os.environ,
            "ANSIBLE_PIPELINING": "True",
            "ANSIBLE_FORKS": FORKS,
            "ANSIBLE_SSH_ARGS": _SSH_ARGS,
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self._control("ansible")),
            "ANSIBLE_HOST_KEY_CHECKING": "True",
        }
        return self.meter.command([PROGRAMS / "ansible", "all", "-i", str(self.inventory), *words], env=env)

    def ssh(self, command: str, nodes: Sequence[PlainNode] | None = None, stdout: Path | None = None) -> Usage:
        """Measure bare ssh to all nodes at once, over connections that stay open."""
        argvs = [[*self.ssh_words(node), command] for node in (self.nodes if nodes is None else nodes)]
        return self.meter.together(argvs, stdout=stdout)

    def ssh_words(self, node: PlainNode) -> list[str]:
        """The start of a command line that runs its next words on the node over a shared connection."""
        control = f"ControlPath={self._control('ssh')}/%C"
        return node.ssh_command("-o", "ControlMaster=auto", "-o", control, "-o", "ControlPersist=300s")

    def _control(self, name: str) -> Path:
        folder = self.bed.folder / f"c{name}"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def warm(self) -> None:
        """Have a launcher that answers: the first run only starts it."""
        self.stoker("jobs", "--live")
        wait_until(lambda: any(path.is_socket() for path in launcher_dir().iterdir()), "a launcher", 180)

    def jobs_on_all(self, argv: Sequence[str], each: int = 1) -> list[str]:
        """Write `each` jobs for each node into the store. Nothing is started. The ids."""
        with open_store() as store:
            return [queue(store, argv, node.name).id for node in self.nodes for _ in range(each)]

    def start_on_all(self, fleet: Fleet, each: int = 1) -> list[str]:
        """The same, and have them run."""
        ids = self.jobs_on_all(["sleep", LONG], each)
        self.dispatch_until_running(fleet, ids)
        return ids

    def dispatch_until_running(self, fleet: Fleet, ids: Sequence[str]) -> int:
        """Make rounds until all these jobs run; how many it took. Raises RuntimeError when they do not run."""
        for number in range(1, 6):
            report = list(fleet.dispatch.rounds())[-1]
            if report.problems:
                raise RuntimeError(f"a round had problems: {report.problems}")
            states = {job.id: job.state for job in fleet.jobs.list(limit=0).jobs}
            if all(states[job] == "running" for job in ids):
                return number
        raise RuntimeError(f"not all jobs run: {states}")

    def close(self) -> None:
        """End the nodes with all that runs there, the launchers and the masters of connections."""
        self._end_nodes()
        mark = f"STOKER_STATE_HOME={self.bed.folder / 'state'}".encode()
        kill_until_gone(lambda: [p for p in all_processes().values() if mark in environment(p.pid)])


def queue(store: Store, argv: Sequence[str], target: str) -> JobRow:
    """Write one job into the store."""
    return store.add_job(
        "bench",
        {
            "argv": list(argv), "script": None, "workdir": None, "env": {}, "secret_env": [], "gpus": 0,
            "timeout_s": None, "memory_bytes": None, "cpus": None, "grace_s": 0.0, "checkpoint_signal": None,
            "split_output": False, "log_patterns": [], "metrics": [],
        },
        target,
    )  # fmt: skip


@contextmanager
def place() -> Iterator[Place]:
    """A place to measure in, and nothing left of it afterwards."""
    before = dict(os.environ)
    with Bed() as bed:
        for name, folder in (("STOKER_STATE_HOME", "state"), ("XDG_RUNTIME_DIR", "run"), ("ANSIBLE_HOME", "ansible")):
            (bed.folder / folder).mkdir(mode=0o700)
            os.environ[name] = str(bed.folder / folder)
        os.environ["ANSIBLE_CONFIG"] = str(_ROOT / ".ci" / "ansible.cfg")
        os.environ.pop("STOKER_LAUNCHER", None)
        here = Place(bed)
        try:
            yield here
        finally:
            here.close()
            os.environ.clear()
            os.environ.update(before)
