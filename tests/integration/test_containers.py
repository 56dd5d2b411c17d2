# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node side with a real Podman: a container brought to a state, replaced, put back, and packages in it."""

from __future__ import annotations

import base64
import io
import json
import time
import zipfile
import zlib
from typing import Any

import pytest
from testbed import PodmanEngine
from testbed.node_side import NodeSide

pytestmark = pytest.mark.root

IMAGE, NEWER, BROKEN = "localhost/app:1", "localhost/app:2", "localhost/app:3"
DEFINITION = {
    "image": IMAGE,
    "gpus": "all",
    "ports": ["127.0.0.1:8080:80"],
    "mounts": ["/srv/proj:/work/proj", "models:/models:ro"],
    "env": {"MODE": "fast mode"},
    "workdir": "/work",
    "restart": "on-failure:3",
    "shm_bytes": 1 << 27,
}


class Box:
    """The container `box` of a node, by way of the node side."""

    def __init__(self, podman: PodmanEngine) -> None:
        self.podman, self.side = podman, NodeSide(podman.node, rung="subreaper")
        podman.image(IMAGE, "CMD echo one; sleep 999", "ENV KIND=one")
        podman.shell("mkdir -p /srv/proj; echo mine > /srv/proj/file")

    def ask(self, action: str, **fields: Any) -> dict[str, Any]:
        return self.side.ask("container", container="box", action=action, grace_s=0, **fields)

    def do(self, action: str, **fields: Any) -> dict[str, Any]:
        reply = self.ask(action, **fields)
        assert reply["ok"], reply
        return reply

    def refused(self, action: str, **fields: Any) -> str:
        reply = self.ask(action, **fields)
        assert not reply["ok"], reply
        return str(reply["error"]["message"])

    def inside(self, *words: str) -> str:
        return self.podman("exec", "box", *words)

    def names(self) -> list[str]:
        return sorted(self.podman("ps", "--all", "--format", "{{.Names}}").split())

    def id(self) -> str:
        return self.podman("inspect", "--format", "{{.Id}}", "box")


@pytest.fixture
def box(podman: PodmanEngine) -> Box:
    return Box(podman)


@pytest.mark.accepts("D34", "D35")
def test_a_container_is_made_once_and_has_all_that_was_asked_for(box: Box) -> None:
    odd = ' "hunter2" #no comment, $HOME = \\n '
    asked = {"definition": DEFINITION, "secrets": {"TOKEN": odd}}
    planned = box.do("started", dry_run=True, **asked)
    assert (planned["changed"], planned["actions"], box.names()) == (True, ["created", "started"], [])
    made = box.do("started", **asked)
    assert (made["changed"], made["drift"], made["container"]["state"]) == (True, [], "running")
    assert made["container"]["gpus"] == ["all"]
    assert "/dev/nvidia0" in box.inside("ls", "/dev/nvidia0")
    assert box.inside("cat", "/work/proj/file") == "mine"
    assert box.inside("pwd") == "/work"
    environment = box.inside("env").splitlines()
    assert {"MODE=fast mode", f"TOKEN={odd}", "KIND=one"} <= set(environment)
    # Not on the command line that made it, and no file of it is left.
    assert "hunter2" not in box.podman("inspect", "--format", "{{.Config.CreateCommand}}", "box")
    assert not list((box.podman.node.folder / "upper/srv/root/.stoker").glob("env-*"))
    assert "hunter2" not in json.dumps(made)
    first = box.id()
    again = box.do("started", **asked)
    assert (again["changed"], again["actions"], again["drift"], box.id()) == (False, [], [], first)


@pytest.mark.accepts("D34")
def test_start_and_stop_change_nothing_the_second_time(box: Box) -> None:
    assert "there is no container box" in box.refused("started")
    box.podman("create", "--name", "box", IMAGE)
    for action, changed in (("started", True), ("started", False), ("stopped", True), ("stopped", False)):
        reply = box.do(action)
        assert (action, reply["changed"]) == (action, changed)
        assert (reply["container"]["state"] == "running") == (action == "started")
    planned = box.do("started", dry_run=True)
    assert (planned["changed"], planned["before"], planned["after"]) == (True, "exited", "running")
    assert box.podman("inspect", "--format", "{{.State.Status}}", "box") == "exited"
    log = box.do("logs", tail=1)
    assert zlib.decompress(base64.b64decode(log["log"])) == b"one\n"
    (listed,) = box.side.ask("containers")["containers"]
    assert (listed["name"], listed["state"], listed["image"]) == ("box", "exited", IMAGE)
    assert box.do("absent")["changed"] is True
    assert box.do("absent")["changed"] is False


@pytest.mark.accepts("D34")
def test_a_log_has_both_streams_in_the_order_in_which_they_were_written(box: Box) -> None:
    write = "for i in 1 2 3 4; do echo out $i; sleep 0.2; echo err $i >&2; sleep 0.2; done; exec sleep 999"
    box.do("started", definition={"image": IMAGE, "command": ["sh", "-c", write]})
    wanted = [f"{stream} {i}" for i in range(1, 5) for stream in ("out", "err")]

    def lines(**fields: Any) -> list[str]:
        return zlib.decompress(base64.b64decode(box.do("logs", **fields)["log"])).decode().splitlines()

    deadline = time.monotonic() + 150
    while len(lines()) < len(wanted) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert lines() == wanted
    # What is left out is the oldest, of whichever stream.
    assert lines(limit=12) == wanted[-2:]


@pytest.mark.accepts("D34")
def test_with_an_engine_that_is_silent_no_container_is_not_told(box: Box) -> None:
    box.podman.shell(
        "printf '#!/bin/sh\\necho no daemon >&2\\nexit 1\\n' >/usr/local/bin/docker; chmod 755 /usr/local/bin/docker"
    )
    unknown = "whether there is a container box on this node is not known: docker ps failed: no daemon"
    for action in ("absent", "started", "logs"):
        assert box.refused(action) == unknown
    assert box.refused("absent", dry_run=True) == unknown
    made = box.do("present", definition={"image": IMAGE})
    assert made["notes"] == ["docker ps failed: no daemon"]
    # The engine that answers has it: the other one does not matter, and need not be asked where one is named.
    removed = box.do("absent")
    assert (removed["changed"], removed["notes"]) == (True, [])
    assert box.do("absent", engine="podman")["changed"] is False


def test_a_container_that_ends_at_once_has_not_been_started(box: Box) -> None:
    message = box.refused("started", definition={"image": IMAGE, "command": ["sh", "-c", "echo bad flag; exit 4"]})
    assert message == "box ended at once with 4: bad flag"


@pytest.mark.accepts("D35")
def test_drift_is_told_field_by_field_and_ended_only_when_asked(box: Box) -> None:
    box.do("started", definition=DEFINITION)
    first = box.id()
    box.podman.image(NEWER, "CMD echo two; sleep 999")
    want = {
        **DEFINITION, "image": NEWER, "gpus": "none", "ports": ["127.0.0.1:8081:80"], "mounts": ["models:/models"],
        "env": {"MODE": "slow", "NEW": "1"}, "workdir": "/tmp", "restart": "always", "command": ["sleep", "888"],
    }  # fmt: skip
    told = box.do("started", definition=want)
    assert told["changed"] is False
    assert box.id() == first
    drift = {item["field"]: (item["wanted"], item["actual"]) for item in told["drift"]}
    assert drift == {
        "image": (NEWER, IMAGE),
        "command": ("sleep, 888", "/bin/sh, -c, echo one; sleep 999"),
        "workdir": ("/tmp", "/work"),
        "restart": ("always", "on-failure:3"),
        "gpus": ("none", "all"),
        "ports": ("127.0.0.1:8081:80/tcp", "127.0.0.1:8080:80/tcp"),
        "mounts": ("models:/models", "models:/models:ro, /srv/proj:/work/proj"),
        "env MODE": ("slow", "another value"),
        "env NEW": ("1", "not set"),
    }
    anew = box.do("started", definition=want, recreate=True)
    assert (anew["changed"], anew["drift"], anew["container"]["state"]) == (True, [], "running")
    # Not named, and kept: the shared memory.
    assert box.podman("inspect", "--format", "{{.HostConfig.ShmSize}}", "box") == str(1 << 27)
    assert box.names() == ["box"]


# -- replacing ---------------------------------------------------------------------------------------------------


@pytest.mark.accepts("D36")
def test_an_upgrade_keeps_everything_but_the_image(box: Box) -> None:
    box.do("started", definition=DEFINITION, secrets={"TOKEN": "hunter2"})
    box.podman.image(NEWER, "CMD echo two; sleep 998", "ENV KIND=two")
    health = {"command": ["ls", "/work/proj/file"], "timeout_s": 20}
    reply = box.do("upgrade", image=NEWER, pull=False, health=health)
    assert reply["actions"] == [f"made anew of {NEWER}"]
    assert box.do("started", definition={**DEFINITION, "image": NEWER}, secrets={"TOKEN": "hunter2"})["drift"] == []
    # What comes with the image is the newer one's.
    assert "KIND=two" in box.inside("env")
    assert "sleep 998" in box.inside("ps")
    assert box.names() == ["box"]
    assert box.do("upgrade", image=NEWER, pull=False)["changed"] is False


@pytest.mark.accepts("D36")
@pytest.mark.parametrize("health", [None, {"command": ["ls", "/nowhere"], "timeout_s": 1}], ids=["ends", "unhealthy"])
def test_an_upgrade_that_does_not_work_leaves_the_old_one_running(box: Box, health: dict[str, Any] | None) -> None:
    box.do("started", definition={**DEFINITION, "restart": "no"})
    first = box.id()
    box.podman.image(BROKEN, "CMD echo no such thing; exit 7" if health is None else "CMD sleep 999")
    # The old one is looked at with the same check: it must pass there.
    if health:
        box.inside("touch", "/nowhere")
    message = box.refused("upgrade", image=BROKEN, pull=False, health=health)
    why = "it ended with 7: no such thing" if health is None else "it was not healthy within 1 s"
    assert message.startswith(f"the new box does not work: {why}")
    assert message.endswith("the old one is back and runs")
    assert (box.id(), box.names()) == (first, ["box"])
    assert box.inside("cat", "/work/proj/file") == "mine"
    assert box.do("started", definition=DEFINITION | {"restart": "no"})["changed"] is False


@pytest.mark.accepts("D36")
def test_an_upgrade_is_refused_while_jobs_run_and_names_them(box: Box) -> None:
    box.do("started", definition=DEFINITION)
    box.podman.image(NEWER, "CMD sleep 998")
    first = box.id()
    box.side.start("train", "sleep", "600")
    assert box.refused("upgrade", image=NEWER, pull=False) == "box is not replaced while jobs run on the node: train"
    assert box.id() == first
    box.side.stop("train")
    assert box.do("upgrade", image=NEWER, pull=False)["changed"] is True


# In the place of podman: kills the caller just before the engine would do one thing.
KILLER = '#!/bin/sh\n[ "$1" != "$(cat /tmp/kill-at)" ] || kill -KILL $PPID\nexec /usr/bin/podman "$@"\n'


@pytest.mark.accepts("D36")
def test_an_upgrade_killed_before_any_step_is_mended_by_the_next_call(box: Box) -> None:
    box.do("started", definition=DEFINITION)
    first = box.id()
    box.podman.image(NEWER, "CMD sleep 998")
    box.podman.shell("cat > /usr/local/bin/podman && chmod 755 /usr/local/bin/podman", stdin=KILLER)
    request = {
        "schema": "stoker.request/1", "op": "container", "state_dir": box.side.state_dir, "container": "box",
        "action": "upgrade", "image": NEWER, "pull": False, "grace_s": 0, "rungs": ["subreaper"],
    }  # fmt: skip
    call = f"{box.podman.node.python} -I -S {box.side.folder} ctl"
    for step in ("stop", "rename", "create", "start"):
        box.podman.shell(f"echo {step} > /tmp/kill-at")
        assert "STOKER-REPLY" not in box.podman.node.ssh(call, stdin=json.dumps(request), timeout_s=180).stdout
        box.podman.shell("echo nothing > /tmp/kill-at")
        # None is lost, and it can be seen that something is unfinished.
        assert first in {item["id"] for item in box.side.ask("containers")["containers"]}
        mended = box.do("started", definition=DEFINITION)
        assert mended["actions"] == ["an interrupted replacement was taken back: the old box is in its place"], step
        assert (box.id(), box.names(), mended["drift"], mended["container"]["state"]) == (first, ["box"], [], "running")
    # The new one was found to work: that is what the next call goes on with.
    box.podman.shell("echo rm > /tmp/kill-at")
    assert "STOKER-REPLY" not in box.podman.node.ssh(call, stdin=json.dumps(request), timeout_s=180).stdout
    box.podman.shell("echo nothing > /tmp/kill-at")
    ended = box.do("started")
    assert ended["actions"] == ["an interrupted replacement was ended: the new box works, the old one is removed"]
    assert (ended["container"]["image"], ended["container"]["state"], box.names()) == (NEWER, "running", ["box"])
    assert box.do("started")["changed"] is False


@pytest.mark.accepts("D36")
def test_what_would_be_lost_is_named_before_anything_is_done(box: Box) -> None:
    box.podman("run", "-d", "--name", "box", "--dns", "192.0.2.1", "--tmpfs", "/scratch", IMAGE)
    first = box.id()
    box.podman.image(NEWER, "CMD sleep 998")
    message = box.refused("upgrade", image=NEWER, pull=False)
    assert message == "box has settings that a new container would lack: Dns, Tmpfs"
    assert (box.id(), box.names()) == (first, ["box"])


# -- packages ----------------------------------------------------------------------------------------------------

CONTROL = (
    "Package: stoker-probe\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <n@example.org>\nDescription: probe\n"
)
REPOSITORY = """
set -e
mkdir -p /srv/repo/p/DEBIAN /srv/repo/p/usr/share/stoker-probe
cat > /srv/repo/p/DEBIAN/control
echo here > /srv/repo/p/usr/share/stoker-probe/file
dpkg-deb --root-owner-group -b /srv/repo/p /srv/repo/stoker-probe.deb >/dev/null
cd /srv/repo
{ dpkg-deb -f stoker-probe.deb; echo "Filename: ./stoker-probe.deb"; echo "Size: $(stat -c %s stoker-probe.deb)"
  echo "SHA256: $(sha256sum stoker-probe.deb | cut -d' ' -f1)"; echo; } > Packages
"""


@pytest.fixture
def debian(box: Box) -> Box:
    """`box` with a real apt and pip, and a repository of one package: this machine's own system, copied on write."""
    box.podman.shell(REPOSITORY, stdin=CONTROL)
    words = ("run", "-d", "--name", "box", "--network", "none", "-v", "/srv/repo:/srv/repo", "--rootfs", "/:O")
    box.podman(*words, "sleep", "999")
    box.inside(
        "sh",
        "-c",
        "rm -rf /etc/apt/sources.list* && echo 'deb [trusted=yes] file:/srv/repo ./' > /etc/apt/sources.list",
    )
    return box


@pytest.mark.accepts("D37")
def test_apt_packages_are_installed_once_and_a_failure_is_apts_own(debian: Box) -> None:
    first = debian.do("install", apt=["stoker-probe"])
    assert (first["changed"], first["failed"]) == (True, None)
    assert first["packages"] == [{"manager": "apt", "name": "stoker-probe", "before": None, "after": "1.0"}]
    assert debian.inside("cat", "/usr/share/stoker-probe/file") == "here"
    second = debian.do("install", apt=["stoker-probe"])
    assert (second["changed"], second["packages"], second["failed"]) == (False, [], None)
    failed = debian.do("install", apt=["no-such-package"])
    assert (failed["failed"], failed["code"], failed["changed"]) == ("apt-get install -q -y", 100, False)
    assert "Unable to locate package no-such-package" in failed["output"]
    assert debian.refused("install", apt=["-o=x"]) == "'-o=x' is not the name of a package"


@pytest.mark.accepts("D37")
def test_pip_packages_are_installed_once(debian: Box) -> None:
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as packed:
        info = "stoker_probe-1.0.dist-info"
        packed.writestr("stoker_probe.py", "x = 1\n")
        packed.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: stoker-probe\nVersion: 1.0\n")
        packed.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        packed.writestr(f"{info}/RECORD", "")
    data = base64.b64encode(wheel.getvalue()).decode()
    debian.podman.shell("base64 -d > /srv/repo/stoker_probe-1.0-py3-none-any.whl", stdin=data)
    settings = "[global]\\nno-index = true\\nfind-links = /srv/repo\\nbreak-system-packages = true\\n"
    debian.inside("sh", "-c", f"printf '{settings}' > /etc/pip.conf")
    first = debian.do("install", pip=["stoker-probe"])
    assert (first["failed"], first["output"]) == (None, "")
    assert first["packages"] == [{"manager": "pip", "name": "stoker-probe", "before": None, "after": "1.0"}]
    second = debian.do("install", pip=["stoker-probe>=1.0"])
    assert (second["changed"], second["failed"]) == (False, None)
    failed = debian.do("install", pip=["stoker-probe==9"])
    assert failed["failed"].startswith("python3 -m pip")
    assert "No matching distribution found for stoker-probe==9" in failed["output"]
