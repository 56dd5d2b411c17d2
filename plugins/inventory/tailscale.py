# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Inventory of the machines of a tailnet, as this machine's own Tailscale knows them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: tailscale
short_description: The machines of a tailnet that are online, as C(tailscale status) lists them
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - Asks the Tailscale of the controller with C(tailscale status --json). It needs no API key and asks nobody else.
  - Machines that are offline or whose key has expired are left out.
  - A machine is named by its DNS name without the part that all machines of the tailnet share, C(spark) for
    C(spark.tail1234.ts.net). One that another tailnet lends has its whole DNS name.
  - Each is in the group C(tailscale), in C(os_<system>), and in C(tag_<name>) for each of its tags.
  - That a machine is in a tailnet is nobody's word that it may run jobs. Each but the controller has the variable
    C(stoker_needs_approval), and gets nothing of Stoker before C(stoker node approve). The setting
    C(membership.auto_approve) of C(stoker.yml) names groups that need no approval, such as C(tag_gpu).
  - What the tailnet says is data. A machine whose name is none for a host, is C(localhost) or the name of a group, is
    left out with a warning, and no value is ever read as a template.
extends_documentation_fragment:
  - constructed
  - inventory_cache
requirements:
  - Tailscale on the controller, logged in
options:
  plugin:
    description: Says that a file is meant for this plugin.
    type: str
    required: true
    choices: [stoker.fleet.tailscale]
  tags:
    description:
      - Only machines with one of these tags, with or without C(tag:) before the name.
      - All machines by default, phones included.
    type: list
    elements: str
    default: []
  include_self:
    description: Have the controller itself in the inventory, too, as a host with the connection C(local).
    type: bool
    default: false
  address:
    description:
      - What C(ansible_host) is. With V(auto), the DNS name where the tailnet uses MagicDNS, else the first address.
    type: str
    choices: [auto, dns, ip]
    default: auto
  command:
    description: The program to ask, as a name to find in PATH or a path.
    type: str
    default: tailscale
  timeout:
    description: How long it may take to answer, in seconds.
    type: int
    default: 10
"""

EXAMPLES = r"""
# fleet.tailscale.yml: every machine that is tagged as a GPU machine
plugin: stoker.fleet.tailscale
tags: [gpu]

---
# Logged in to as ubuntu, this machine too, a group for each part of the network, remembered for a minute
plugin: stoker.fleet.tailscale
include_self: true
compose:
  ansible_user: "'ubuntu'"
groups:
  spark: tailscale_hostname is match('spark')
keyed_groups:
  - {key: tailscale_os, prefix: system}
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/stoker-tailscale
cache_timeout: 60
"""

import ipaddress
import json
import re
import shutil
import subprocess
from datetime import UTC, datetime

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.stoker.fleet.plugins.module_utils.terminal_text import safe_text

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DNS_NAME = re.compile(r"^{0}(?:\.{0})*$(?!\n)".format(_LABEL))
_TAG = re.compile(r"^tag:[A-Za-z0-9][A-Za-z0-9_-]*$(?!\n)")
# Names that mean something else to a play.
_RESERVED = {"all", "ungrouped", "localhost", "tailscale"}
_LOGIN = {
    "NeedsLogin": "run: tailscale up",
    "NeedsMachineAuth": "an admin of the tailnet has to approve this machine",
    "Stopped": "run: tailscale up",
    "InUseOtherUser": "another user of this machine uses it; log out there first",
}
_SHOWN = 300


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """See the documentation above."""

    NAME = "stoker.fleet.tailscale"

    def verify_file(self, path):
        """Files named tailscale.yml or ending in .tailscale.yml are for this plugin."""
        return super().verify_file(path) and path.endswith(("tailscale.yml", "tailscale.yaml"))

    def parse(self, inventory, loader, path, cache=True):
        """Ask Tailscale, or the cache, and add what is there."""
        super().parse(inventory, loader, path, cache=cache)
        self._read_config_data(path)
        self.load_cache_plugin()
        key = self.get_cache_key(path)
        use_cache = self.get_option("cache")
        status = self._cache.get(key) if use_cache and cache else None
        if status is None:
            status = _needed(self._ask())
            if use_cache:
                self._cache[key] = status
        self._add_all(status)

    # -- asking ------------------------------------------------------------------------------------------------

    def _ask(self):
        """The status as Tailscale gives it, checked to be that of a machine that is in a tailnet."""
        program = shutil.which(self.get_option("command"))
        if program is None:
            raise AnsibleParserError(
                "there is no program {0} on this machine (next: install Tailscale, or set command)".format(
                    self.get_option("command")
                )
            )
        try:
            done = subprocess.run(
                [program, "status", "--json"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self.get_option("timeout"),
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise AnsibleParserError(
                "tailscale status gave no answer within {0} s (next: is tailscaled running?)".format(
                    self.get_option("timeout")
                )
            ) from None
        except OSError as problem:
            raise AnsibleParserError("{0} cannot be run: {1}".format(program, problem.strerror)) from problem
        if done.returncode != 0:
            words = _shown(done.stderr.decode("utf-8", "replace").strip() or done.stdout.decode("utf-8", "replace"))
            raise AnsibleParserError("tailscale status ended with {0}: {1}".format(done.returncode, words))
        try:
            status = json.loads(done.stdout)
        except ValueError as problem:
            raise AnsibleParserError("tailscale status answered no JSON: {0}".format(problem)) from problem
        state = status.get("BackendState") if isinstance(status, dict) else None
        if state != "Running":
            raise AnsibleParserError(
                "Tailscale is not connected, its state is {0} (next: {1})".format(
                    _shown(str(state)), _LOGIN.get(state, "look at: tailscale status")
                )
            )
        return status

    # -- what is taken -----------------------------------------------------------------------------------------

    def _add_all(self, status):
        machines = [machine for machine in status["peers"] if self._is_wanted(machine)]
        if self.get_option("include_self") and status["self"]:
            machines.append(dict(status["self"], own=True))
        self.inventory.add_group("tailscale")
        names = [_name(machine, status["suffix"]) for machine in machines]
        for machine, name in zip(machines, names, strict=True):
            if name is None:
                self._left_out(machine, "its name is none for a host")
            elif name in _RESERVED or name in self.inventory.groups:
                self._left_out(machine, "that name means something else here")
            elif names.count(name) > 1:
                self._left_out(machine, "two machines have this name")
            else:
                self._add(machine, name, status["dns"])

    def _is_wanted(self, machine):
        if machine["online"] is not True or machine["expired"] or machine["shared"]:
            return False
        wanted = {tag if tag.startswith("tag:") else "tag:" + tag for tag in self.get_option("tags")}
        return not wanted or bool(wanted.intersection(machine["tags"]))

    def _left_out(self, machine, why):
        name = machine["dns_name"] or machine["hostname"] or machine["id"] or "a machine without a name"
        self.display.warning("tailscale: left out {0}: {1}".format(_shown(name), why))

    def _add(self, machine, name, magic_dns):
        address = self._address(machine, magic_dns)
        if address is None:
            self._left_out(machine, "it has no address")
            return
        tags = [tag for tag in machine["tags"] if _TAG.match(tag)]
        groups = ["tag_" + tag[len("tag:") :] for tag in tags]
        if machine["os"] and re.match(r"^[A-Za-z0-9]+$(?!\n)", machine["os"]):
            groups.append("os_" + machine["os"].lower())
        self.inventory.add_host(name, group="tailscale")
        for group in groups:
            group = self._sanitize_group_name(group)
            self.inventory.add_group(group)
            self.inventory.add_host(name, group=group)
        variables = {
            "ansible_host": address,
            "tailscale_dns_name": machine["dns_name"],
            "tailscale_hostname": machine["hostname"],
            "tailscale_id": machine["id"],
            "tailscale_ips": machine["ips"],
            "tailscale_os": machine["os"],
            "tailscale_tags": tags,
        }
        if machine.get("own"):
            variables["ansible_connection"] = "local"
        else:
            variables["stoker_needs_approval"] = True
        for key, value in variables.items():
            # Never a template, also where Ansible itself would take one from an inventory.
            self.inventory.set_variable(name, key, wrap_var(value))
        strict = self.get_option("strict")
        known = self.inventory.get_host(name).get_vars()
        self._set_composite_vars(self.get_option("compose"), known, name, strict=strict)
        known = self.inventory.get_host(name).get_vars()
        self._add_host_to_composed_groups(self.get_option("groups"), known, name, strict=strict, fetch_hostvars=False)
        self._add_host_to_keyed_groups(
            self.get_option("keyed_groups"), known, name, strict=strict, fetch_hostvars=False
        )

    def _address(self, machine, magic_dns):
        wanted, name = self.get_option("address"), machine["dns_name"].lower()
        if _DNS_NAME.match(name) and (wanted == "dns" or (wanted == "auto" and magic_dns)):
            return name
        return machine["ips"][0] if machine["ips"] else None


def _name(machine, suffix):
    """The DNS name without the part that all of this tailnet share, or what a machine without one calls itself."""
    name = (machine["dns_name"] or machine["hostname"]).lower()
    if suffix and name.endswith("." + suffix):
        name = name[: -len(suffix) - 1]
    return name if _DNS_NAME.match(name) else None


def _needed(status):
    """What this plugin uses of a status, in a form that a cache can keep. Any field may be missing or null."""
    peers = status.get("Peer") or {}
    tailnet = status.get("CurrentTailnet") or {}
    own = status.get("Self")
    suffix = tailnet.get("MagicDNSSuffix") or status.get("MagicDNSSuffix") or ""
    return {
        "dns": bool(tailnet.get("MagicDNSEnabled")),
        "suffix": suffix.strip(".").lower(),
        "self": _machine(own) if isinstance(own, dict) else None,
        "peers": [_machine(peer) for _key, peer in sorted(peers.items()) if isinstance(peer, dict)],
    }


def _machine(peer):
    def text(field):
        value = peer.get(field)
        return value if isinstance(value, str) else ""

    def texts(field):
        return [value for value in peer.get(field) or [] if isinstance(value, str)]

    return {
        "id": text("ID"),
        "hostname": text("HostName"),
        "dns_name": text("DNSName").rstrip("."),
        "os": text("OS"),
        "ips": [address for address in texts("TailscaleIPs") if _is_address(address)],
        "tags": texts("Tags"),
        "online": peer.get("Online"),
        "expired": bool(peer.get("Expired")) or _is_past(text("KeyExpiry")),
        "shared": bool(peer.get("ShareeNode")),
    }


def _is_address(text):
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_past(moment):
    """Whether a time as Go writes it is over. The zero time means that there is none."""
    if not moment or moment.startswith("0001-"):
        return False
    # Of a second there may be nine digits, more than every Python reads.
    plain = re.sub(r"\.[0-9]+", "", moment).replace("Z", "+00:00")
    try:
        expiry = datetime.fromisoformat(plain)
    except ValueError:
        return False
    if expiry.tzinfo is None:
        expiry = expiry.replace(tzinfo=UTC)
    return expiry <= datetime.now(UTC)


def _shown(text):
    """What somebody else wrote, on one line and without anything that a terminal would obey."""
    return safe_text(" ".join(text.split()))[:_SHOWN]
