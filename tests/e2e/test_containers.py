# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers of a real Podman: from a playbook, by the role, and on the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli import Cli
from contracts.registry import Registry
from plays import Plays
from testbed import PodmanEngine
from testbed.podman_engine import root_file_system

pytestmark = pytest.mark.root

IMAGE = "localhost/app:1"


@pytest.fixture
def plays(podman: PodmanEngine, inventory: Callable[..., Path], tmp_path: Path) -> Plays:
    podman.image(IMAGE, "CMD echo hello; sleep 999")
    return Plays(tmp_path, inventory([podman.node]))


@pytest.mark.accepts("D34")
def test_the_module_starts_once_and_check_mode_changes_nothing(plays: Plays, podman: PodmanEngine) -> None:
    task = f"- stoker.fleet.container: {{name: box, image: {IMAGE}, state: %s, grace: 0}}\n  register: %s\n"
    started = task % ("started", "now")
    checked = plays.run(started, "--check", "--diff", hosts="all")
    told = checked.results["i1"]["now"]
    assert (told["changed"], told["actions"], podman("ps", "-aq")) == (True, ["created", "started"], "")
    assert told["diff"] == {"before": {"state": "absent"}, "after": {"state": "running"}}
    info = "- stoker.fleet.container_info:\n  register: info\n"
    results = plays.run(started + task % ("started", "again") + info, hosts="all").results["i1"]
    assert (results["now"]["changed"], results["again"]["changed"]) == (True, False)
    (listed,) = results["info"]["containers"]
    assert (listed["name"], listed["state"]) == ("box", "running")
    stop = plays.run(task % ("stopped", "check"), "--check", hosts="all").results["i1"]["check"]
    assert (stop["changed"], podman("ps", "--format", "{{.Names}}")) == (True, "box")
    results = plays.run(task % ("stopped", "first") + task % ("stopped", "second"), hosts="all").results["i1"]
    assert (results["first"]["changed"], results["second"]["changed"]) == (True, False)
    # A second engine that does not answer may have one of that name, too.
    podman.shell("printf '#!/bin/sh\\nexit 1\\n' >/usr/local/bin/docker; chmod 755 /usr/local/bin/docker")
    other = task.replace("box", "other")
    results = plays.run(other % ("absent", "gone") + other % ("present", "made"), hosts="all").results["i1"]
    assert results["gone"]["failed"] is True
    assert "whether there is a container other on this node is not known: docker ps failed" in results["gone"]["msg"]
    (warning,) = results["made"]["warnings"]
    assert warning.startswith("an engine that may have other, too, did not answer: docker ps failed")


ROLE = """
- ansible.builtin.include_role:
    name: stoker.fleet.container
  vars:
    container_name: work
    container_image: localhost/app:1
    container_projects: [/srv/projects/vision, /srv/projects/speech]
    container_ports: ["127.0.0.1:8888:8888"]
"""


@pytest.mark.accepts("D35")
def test_the_role_makes_the_container_once_and_reports_drift(plays: Plays, podman: PodmanEngine) -> None:
    # A folder that is there keeps its mode: a group may share it.
    podman.shell("mkdir -p /srv/projects/vision; chmod 2770 /srv/projects/vision")
    first = plays.run(ROLE, hosts="all")
    assert first.code == 0, first.output
    assert "changed=2" in first.output
    assert podman.shell("stat -c %a /srv/projects/vision /srv/projects/speech").split() == ["2770", "755"]
    podman.shell("echo v > /srv/projects/vision/f; echo s > /srv/projects/speech/f")
    assert podman("exec", "work", "cat", "/workspace/vision/f", "/workspace/speech/f") == "v\ns"
    assert podman("exec", "work", "ls", "/dev/nvidia0") == "/dev/nvidia0"
    assert podman("port", "work") == "8888/tcp -> 127.0.0.1:8888"
    second = plays.run(ROLE, hosts="all")
    assert "changed=0" in second.output, second.output
    assert "drift" not in second.output
    other = plays.run(ROLE.replace("127.0.0.1:8888:8888", "127.0.0.1:9999:8888"), hosts="all")
    assert "changed=0" in other.output, other.output
    assert "work: ports is 127.0.0.1:8888:8888/tcp, wanted 127.0.0.1:9999:8888/tcp" in other.output
    assert podman("port", "work") == "8888/tcp -> 127.0.0.1:8888"


@pytest.mark.accepts("D34")
def test_list_logs_stop_and_start_on_the_command_line(stoker: Callable[..., Cli], podman: PodmanEngine) -> None:
    podman.image(IMAGE, "CMD echo hello; exec sleep 999")
    cli = stoker(podman.node)
    made = cli("container", "create", "i1", "box", "--image", IMAGE, "--gpus", "all", "--port", "127.0.0.1:8080:80")
    assert made.code == 0, made
    assert made.out == "box  running on i1  created, started\n"
    listed = cli("container", "list").out.splitlines()
    assert listed[1].split() == ["i1", "box", "running", "all", "127.0.0.1:8080:80/tcp", IMAGE]
    assert cli("container", "logs", "i1", "box").out == "hello\n"
    assert cli("container", "start", "i1", "box").out == "box  running on i1  nothing to do\n"
    assert cli("container", "stop", "i1", "box", "--grace", "0", "--json").json()["changed"] is True
    missing = cli("container", "start", "i1", "bax")
    assert (missing.code, "there is no container bax on this node" in missing.err) == (1, True)
    failed = cli("container", "install", "i1", "box", "--apt", "vim")
    assert (failed.code, "box is exited: nothing can be installed in it" in failed.err) == (1, True)


@pytest.mark.accepts("D37")
def test_install_ends_with_the_tools_own_words_when_it_fails(stoker: Callable[..., Cli], podman: PodmanEngine) -> None:
    # This machine's own system, copied on write: a real apt.
    podman("run", "-d", "--name", "box", "--network", "none", "--rootfs", "/:O", "sleep", "999")
    cli = stoker(podman.node)
    there = cli("container", "install", "i1", "box", "--apt", "bash", "--apt", "apt")
    assert (there.code, there.out) == (0, "box on i1: nothing changed\n"), there
    failed = cli("container", "install", "i1", "box", "--apt", "no-such-package")
    assert failed.code == 1
    assert "E: Unable to locate package no-such-package" in failed.err
    assert "box on i1: apt-get install -q -y ended with 100" in failed.err


# -- newer images --------------------------------------------------------------------------------------------------


NAME = "nvidia/pytorch"


@pytest.fixture
def serving() -> Iterator[Callable[[str], Registry]]:
    """A factory of registries that have two versions of an image: serving(address)."""
    made: list[Registry] = []

    def make(address: str) -> Registry:
        made.append(Registry(address, page=2))
        layer = root_file_system({})
        for tag in ("24.12-py3", "25.03-py3", "25.04-py3", "25.05-py3-igpu"):
            made[-1].publish(
                NAME, tag, layer=layer, config={"Cmd": ["sh", "-c", "exec sleep 999"], "Env": [f"TAG={tag}"]}
            )
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.mark.accepts("D36")
def test_newer_versions_are_listed_and_the_newest_taken(
    stoker: Callable[..., Cli], podman: PodmanEngine, serving: Callable[[str], Registry]
) -> None:
    server = serving("127.0.0.1")
    base = f"{server.host}/{NAME}"
    for tag in ("25.03-py3", "25.04-py3"):
        podman.image(f"{base}:{tag}", f"CMD sleep {tag[:2]}99")
    podman.image(IMAGE, "CMD sleep 999")
    podman("run", "-d", "--name", "work", f"{base}:25.03-py3")
    podman("run", "-d", "--name", "own", IMAGE)
    cli = stoker(podman.node)
    updates = {entry["name"]: entry for entry in cli("container", "check-updates", "--json").json()["updates"]}
    assert updates["work"]["newer"] == [f"{base}:25.04-py3"]
    assert (updates["own"]["newer"], updates["own"]["unknown"]) == ([], "made on the node")
    said = cli("container", "upgrade", "i1", "work", "--no-pull", "--grace", "0", "--", "true")
    assert said.code == 0, said
    assert said.out == f"work  running on i1  made anew of {base}:25.04-py3\n"
    after = cli("container", "check-updates", "i1", "--name", "work")
    assert after.out == f"work on i1  {base}:25.04-py3  the newest of its kind\n"
    server.repositories.clear()
    gone = cli("container", "check-updates", "i1", "--name", "work")
    assert (gone.code, "newer versions unknown" in gone.out, "no such image (404)" in gone.out) == (1, True, True)


@pytest.mark.accepts("D36")
def test_an_upgrade_fetches_the_image_and_looks_at_the_endpoint(
    stoker: Callable[..., Cli], podman: PodmanEngine, serving: Callable[[str], Registry]
) -> None:
    server = serving(podman.node.address.rpartition(".")[0] + ".1")
    settings = f'[[registry]]\nlocation = "{server.host}"\ninsecure = true\n'
    podman.shell("cat > /etc/containers/registries.conf", stdin=settings)
    base = f"{server.host}/{NAME}"
    serve = "mkdir -p /www; echo $TAG > /www/index.html; exec httpd -f -p 127.0.0.1:8099 -h /www"
    cli = stoker(podman.node)
    made = cli(
        "container",
        "create",
        "i1",
        "work",
        "--image",
        f"{base}:25.03-py3",
        "--network",
        "host",
        "--",
        "sh",
        "-c",
        serve,
    )
    assert made.out == f"work  running on i1  pulled {base}:25.03-py3, created, started\n", made
    url = ("--health-url", "http://127.0.0.1:8099/index.html", "--timeout", "20s", "--grace", "0")
    done = cli("container", "upgrade", "i1", "work", "--to", "25.04-py3", *url)
    assert done.code == 0, done
    assert podman.shell("wget -qO- http://127.0.0.1:8099/index.html") == "25.04-py3\n"
    missing = cli("container", "upgrade", "i1", "work", "--to", "25.99-py3", *url)
    assert missing.code == 1
    assert "podman pull ended with 125" in missing.err
    # A job of Stoker's: nothing is fetched, nothing is stopped.
    job = cli.run("sleep", "600")
    refused = cli("container", "upgrade", "i1", "work", "--to", "24.12-py3", *url)
    assert (refused.code, f"work is not replaced while jobs run on the node: {job}" in refused.err) == (1, True)
    assert podman.shell("wget -qO- http://127.0.0.1:8099/index.html") == "25.04-py3\n"
    cli("stop", job)
