# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin for Tailscale, by `ansible-inventory`, with a program in place of `tailscale`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml  # type: ignore[import-untyped]

PROGRAMS = Path(sys.executable).parent
NEVER = "0001-01-01T00:00:00Z"
# As strict as the real one: it takes `status --json` and nothing else, and counts how often it was asked.
STAND_IN = """#!/bin/sh
[ "$*" = "status --json" ] || { echo "flag provided but not defined: $*" >&2; exit 1; }
echo asked >>"$0.asked"
[ ! -e "$0.hang" ] || exec sleep 600
[ ! -e "$0.error" ] || { cat "$0.error" >&2; exit 1; }
cat "$0.json"
"""


def peer(name: str, address: str, **more: Any) -> dict[str, Any]:
    """A machine as `tailscale status --json` tells of it (ipnstate.PeerStatus)."""
    return {
        "ID": f"n{name}CNTRL", "PublicKey": "nodekey:" + name, "HostName": name, "DNSName": f"{name}.tail1234.ts.net.",
        "OS": "linux", "UserID": 1, "TailscaleIPs": [address, "fd7a:115c:a1e0::1"], "AllowedIPs": [f"{address}/32"],
        "Addrs": None, "CurAddr": "", "Relay": "fra", "RxBytes": 0, "TxBytes": 0, "Created": "2026-01-02T03:04:05.6Z",
        "LastWrite": NEVER, "LastSeen": NEVER, "LastHandshake": NEVER, "Online": True, "ExitNode": False,
        "ExitNodeOption": False, "Active": False, "InNetworkMap": True, "InMagicSock": True, "InEngine": False, **more,
    }  # fmt: skip


def status(*peers: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A whole answer (ipnstate.Status)."""
    return {
        "Version": "1.92.3", "TUN": True, "BackendState": "Running", "HaveNodeKey": True, "AuthURL": "",
        "TailscaleIPs": ["100.64.0.1"], "Self": peer("laptop", "100.64.0.1", OS="macOS"), "Health": [],
        "MagicDNSSuffix": "tail1234.ts.net",
        "CurrentTailnet": {"Name": "x@example.org", "MagicDNSSuffix": "tail1234.ts.net", "MagicDNSEnabled": True},
        "CertDomains": None, "Peer": {p["PublicKey"]: p for p in peers} or None, "User": {}, "ClientVersion": None,
        **more,
    }  # fmt: skip


class Said(NamedTuple):
    code: int
    hosts: Mapping[str, Mapping[str, Any]]
    groups: Mapping[str, list[str]]
    err: str


def unmarked(value: dict[str, Any]) -> Any:
    """A text without Ansible's mark that it is no template."""
    return value["__ansible_unsafe"] if list(value) == ["__ansible_unsafe"] else value


class Tailnet:
    """A stand-in for `tailscale`, and an inventory that uses it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.program = folder, folder / "tailscale"
        self.program.write_text(STAND_IN)
        self.program.chmod(0o755)

    def answers(self, answer: object) -> None:
        (self.folder / "tailscale.json").write_text(answer if isinstance(answer, str) else json.dumps(answer))

    def asked(self) -> int:
        told = self.folder / "tailscale.asked"
        return len(told.read_text().split()) if told.exists() else 0

    def inventory(self, **options: Any) -> Path:
        path = self.folder / "fleet.tailscale.yml"
        path.write_text(
            yaml.safe_dump(
                {"plugin": "stoker.fleet.tailscale", "command": str(self.program), "timeout": 120, **options}
            )
        )
        return path

    def listed(self, **options: Any) -> Said:
        done = subprocess.run(
            [PROGRAMS / "ansible-inventory", "-i", self.inventory(**options), "--list"], capture_output=True, text=True,
            timeout=180, stdin=subprocess.DEVNULL, cwd=self.folder,
            env={**os.environ, "ANSIBLE_INVENTORY_UNPARSED_FAILED": "True"},
        )  # fmt: skip
        found = json.loads(done.stdout, object_hook=unmarked) if done.returncode == 0 else {}
        groups = {name: entry.get("hosts", []) for name, entry in found.items() if name not in ("_meta", "all")}
        return Said(done.returncode, found.get("_meta", {}).get("hostvars", {}), groups, done.stderr)


@pytest.fixture
def tailnet(tmp_path: Path) -> Tailnet:
    return Tailnet(tmp_path)


@pytest.mark.accepts("C10")
def test_machines_that_are_online_with_their_groups_and_addresses(tailnet: Tailnet) -> None:
    old = peer("older", "100.64.0.9")
    for field in ("OS", "Online", "TailscaleIPs", "DNSName"):
        del old[field]
    tailnet.answers(
        status(
            peer("spark", "100.64.0.2", Tags=["tag:gpu", "tag:lab-2"]),
            peer("phone", "100.64.0.3", OS="iOS"),
            peer("attic", "100.64.0.4", Tags=["tag:gpu"], Online=False, LastSeen="2026-02-03T04:05:06Z"),
            peer("stale", "100.64.0.5", Tags=["tag:gpu"], Expired=True),
            peer("ended", "100.64.0.6", Tags=["tag:gpu"], KeyExpiry="2020-01-01T00:00:00.123456789Z"),
            peer("lasting", "100.64.0.7", Tags=None, KeyExpiry=NEVER),
            peer("lent", "100.64.0.8", DNSName="spark.tail9999.ts.net."),
            old,
        )
    )
    said = tailnet.listed()
    assert said.code == 0, said.err
    assert set(said.hosts) == {"spark", "phone", "lasting", "spark.tail9999.ts.net"}
    assert said.hosts["spark"] == {
        "ansible_host": "spark.tail1234.ts.net", "tailscale_dns_name": "spark.tail1234.ts.net",
        "tailscale_hostname": "spark", "tailscale_id": "nsparkCNTRL", "tailscale_os": "linux",
        "tailscale_ips": ["100.64.0.2", "fd7a:115c:a1e0::1"], "tailscale_tags": ["tag:gpu", "tag:lab-2"],
        "stoker_needs_approval": True,
    }  # fmt: skip
    assert said.groups["tag_gpu"] == said.groups["tag_lab_2"] == ["spark"]
    assert said.groups["os_ios"] == ["phone"]
    assert set(said.groups["tailscale"]) == set(said.hosts)


@pytest.mark.accepts("C10")
def test_only_machines_with_a_tag(tailnet: Tailnet) -> None:
    tailnet.answers(
        status(
            peer("spark", "100.64.0.2", Tags=["tag:gpu"]), peer("web", "100.64.0.3", Tags=["tag:web"]),
            peer("mine", "100.64.0.4"), peer("both", "100.64.0.5", Tags=["tag:web", "tag:big"]),
        )
    )  # fmt: skip
    assert set(tailnet.listed(tags=["gpu", "tag:big"]).hosts) == {"spark", "both"}


@pytest.mark.accepts("C10")
def test_addresses_this_machine_and_constructed_groups(tailnet: Tailnet) -> None:
    tailnet.answers(status(peer("spark", "100.64.0.2")))
    assert tailnet.listed(address="ip").hosts["spark"]["ansible_host"] == "100.64.0.2"
    said = tailnet.listed(
        include_self=True, compose={"ansible_user": "tailscale_os ~ '-user'"},
        groups={"fast": "'spar' in tailscale_hostname"}, keyed_groups=[{"key": "tailscale_os", "prefix": "sys"}],
    )  # fmt: skip
    assert said.hosts["laptop"]["ansible_connection"] == "local"
    assert "stoker_needs_approval" not in said.hosts["laptop"], "nobody found this machine"
    assert said.hosts["spark"]["ansible_user"] == "linux-user"
    assert (said.groups["fast"], said.groups["sys_macOS"]) == (["spark"], ["laptop"])
    # Without MagicDNS nobody could look the name up.
    tailnet.answers(status(peer("spark", "100.64.0.2"), CurrentTailnet={"MagicDNSEnabled": False}))
    assert tailnet.listed().hosts["spark"]["ansible_host"] == "100.64.0.2"
    tailnet.answers(status(peer("spark", "100.64.0.2"), CurrentTailnet=None))
    assert tailnet.listed(address="dns").hosts["spark"]["ansible_host"] == "spark.tail1234.ts.net"


def test_compose_can_say_that_being_found_is_enough(tailnet: Tailnet) -> None:
    tailnet.answers(status(peer("spark", "100.64.0.2")))
    said = tailnet.listed(compose={"stoker_needs_approval": "false"})
    assert said.code == 0, said.err
    assert said.hosts["spark"]["stoker_needs_approval"] is False


def test_a_tailnet_without_others_is_an_empty_inventory(tailnet: Tailnet) -> None:
    tailnet.answers(status(Self=None))
    said = tailnet.listed(include_self=True)
    assert (said.code, dict(said.hosts)) == (0, {})


def test_what_a_machine_calls_itself_is_data(tailnet: Tailnet) -> None:
    trick = "{{ lookup('pipe', 'touch %s') }}" % (tailnet.folder / "fired")
    tailnet.answers(
        status(
            peer("good", "100.64.0.2", HostName=trick, OS="{{ 1 }}", Tags=["tag:x'; rm", "tag:{{ 1 }}", 7, "tag:ok"]),
            peer("opt", "100.64.0.3", DNSName="-oProxyCommand=x.tail1234.ts.net."),
            peer("esc", "100.64.0.4", DNSName="\x1b[31mred.tail1234.ts.net."),
            peer("local", "100.64.0.5", DNSName="localhost.tail1234.ts.net."),
            peer("every", "100.64.0.6", DNSName="all.tail1234.ts.net."),
            peer("Bob's phone", "100.64.0.7", DNSName=""),
            peer("noaddr", "-oProxyCommand=x", DNSName="", TailscaleIPs=["-oProxyCommand=x"]),
            peer("one", "100.64.0.8", DNSName="", HostName="twin"),
            peer("two", "100.64.0.9", DNSName="", HostName="twin"),
        )
    )
    said = tailnet.listed(compose={"seen": "tailscale_hostname"}, keyed_groups=[{"key": "tailscale_os"}])
    assert said.code == 0, said.err
    assert list(said.hosts) == ["good"]
    assert said.hosts["good"]["tailscale_tags"] == ["tag:ok"]
    played = subprocess.run(
        [PROGRAMS / "ansible", "-i", tailnet.inventory(), "good", "-c", "local", "-m", "ansible.builtin.debug", "-a",
         "var=tailscale_hostname"],
        capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL, cwd=tailnet.folder,
    )  # fmt: skip
    assert "lookup(" in played.stdout
    assert not (tailnet.folder / "fired").exists()
    assert "\x1b[31m" not in said.err
    for why in (
        "its name is none for a host",
        "that name means something else here",
        "it has no address",
        "two machines have this name",
    ):
        assert why in " ".join(said.err.split()), said.err


@pytest.mark.accepts("C10")
def test_no_tailscale_is_said_in_one_sentence(tailnet: Tailnet) -> None:
    said = tailnet.listed(command="/no/such/tailscale")
    assert said.code != 0
    assert "there is no program /no/such/tailscale on this machine (next: install Tailscale" in flat(said.err)
    for state, word in (
        ("NeedsLogin", "tailscale up"),
        ("Stopped", "tailscale up"),
        ("Starting", "look at: tailscale status"),
    ):
        tailnet.answers(status(BackendState=state, Peer=None))
        said = tailnet.listed()
        assert said.code != 0
        assert f"Tailscale is not connected, its state is {state} (next: " in flat(said.err)
        assert word in flat(said.err)
    (tailnet.folder / "tailscale.error").write_text(
        "failed to connect to local tailscaled; it doesn't appear to be running\n"
    )
    assert "tailscale status ended with 1: failed to connect to local tailscaled" in flat(tailnet.listed().err)


@pytest.mark.accepts("C10")
def test_stoker_shows_the_machines_or_says_why_not(tailnet: Tailnet) -> None:
    def nodes() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "stoker", "nodes", "-i", tailnet.inventory()], capture_output=True, text=True,
            timeout=180, stdin=subprocess.DEVNULL, cwd=tailnet.folder,
            env={**os.environ, "STOKER_STORE_URL": f"sqlite:///{tailnet.folder}/s.db"},
        )  # fmt: skip

    tailnet.answers(status(peer("spark", "100.64.0.2")))
    assert "spark.tail1234.ts.net" in nodes().stdout
    tailnet.answers(status(BackendState="NeedsLogin"))
    done = nodes()
    assert done.returncode == 1
    assert "Tailscale is not connected, its state is NeedsLogin (next: run: tailscale up)" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("answer", ["", "no JSON", "[]", "null"])
def test_an_answer_that_is_none_is_an_error(tailnet: Tailnet, answer: str) -> None:
    tailnet.answers(answer)
    assert tailnet.listed().code != 0


def test_a_tailscale_that_hangs_is_given_up(tailnet: Tailnet) -> None:
    (tailnet.folder / "tailscale.hang").touch()
    assert "gave no answer within 1 s" in flat(tailnet.listed(timeout=1).err)


def test_the_cache_saves_the_question(tailnet: Tailnet) -> None:
    tailnet.answers(status(peer("spark", "100.64.0.2")))
    cache = {
        "cache": True,
        "cache_plugin": "ansible.builtin.jsonfile",
        "cache_connection": str(tailnet.folder / "kept"),
    }
    first = tailnet.listed(**cache)
    tailnet.answers(status(peer("other", "100.64.0.3")))
    second = tailnet.listed(**cache)
    assert (tailnet.asked(), dict(second.hosts)) == (1, dict(first.hosts))
    assert "other" in tailnet.listed().hosts


def flat(text: str) -> str:
    return " ".join(text.split())
