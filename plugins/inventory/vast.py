# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Inventory of the machines that are rented of vast.ai."""

from __future__ import annotations

DOCUMENTATION = r"""
name: vast
short_description: The machines that are rented of vast.ai
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - Asks the service for the instances of the account. An answer that is not a complete list is an error, never an empty
    inventory.
  - An instance is the host C(vast-ID), such as C(vast-101), with root as its user. Hosts are those that run and have an
    address for ssh, directly or through the service's proxy. Others are left out, and are named with C(-v).
  - Each is in the group C(vast), in C(vast_label_LABEL), C(vast_state_PHASE) and C(vast_gpu_NAME), with every character
    but letters and digits as C(_).
  - The host key of an instance is pinned at first contact, by its name, in a file of its own (O(known_hosts)), and
    checked ever after; addresses and ports change at each start, and are given to others.
  - What the service says is data. No value is ever read as a template.
extends_documentation_fragment:
  - constructed
  - inventory_cache
options:
  plugin:
    description: Says that a file is meant for this plugin.
    type: str
    required: true
    choices: [stoker.fleet.vast]
  api_key:
    description:
      - The key of the account. Without it the environment variable E(VAST_API_KEY), else what the official client saved
        with C(vastai set api-key). It does not become a variable of any host.
    type: str
  api_url:
    description:
      - Where the service is, by default the environment variable E(VAST_URL), else C(https://console.vast.ai).
    type: str
  label_prefix:
    description: Only instances whose label begins so. All instances by default, those of other tools included.
    type: str
  known_hosts:
    description: The file of pinned host keys.
    type: path
    default: ~/.ssh/known_hosts.vast
  private_key_file:
    description: The private key to log in with; without it those that ssh takes by itself.
    type: path
  retries:
    description:
      - How often Stoker's own actions repeat what failed because there was no connection, after 2, 4, 8, 16 and 32
        seconds. A command that began is never repeated.
    type: int
    default: 5
"""

EXAMPLES = r"""
# rented.vast.yml: what Stoker and its playbooks rented
plugin: stoker.fleet.vast
label_prefix: nightly/

---
# The cheap ones as a group, remembered for a minute
plugin: stoker.fleet.vast
groups:
  cheap: vast.dph_total < 0.3
keyed_groups:
  - {key: vast.geolocation, prefix: place}
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/stoker-vast
cache_timeout: 60
"""

import os
import re

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.stoker.fleet.plugins.module_utils.vast import modules
from ansible_collections.stoker.fleet.plugins.module_utils.vast.errors import VastError, sentence
from ansible_collections.stoker.fleet.plugins.module_utils.vast.reading import shown
from ansible_collections.stoker.fleet.plugins.module_utils.vast.ssh import options_text


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """See the documentation above."""

    NAME = "stoker.fleet.vast"

    def verify_file(self, path):
        """Files named vast.yml or ending in .vast.yml are for this plugin."""
        name = os.path.basename(path)
        return super().verify_file(path) and (
            name.endswith((".vast.yml", ".vast.yaml")) or name in ("vast.yml", "vast.yaml")
        )

    def parse(self, inventory, loader, path, cache=True):
        """Ask the service, or the cache, and add what is there."""
        super().parse(inventory, loader, path, cache=cache)
        self._read_config_data(path)
        self.load_cache_plugin()
        key = self.get_cache_key(path)
        use_cache = self.get_option("cache")
        instances = self._cache.get(key) if use_cache and cache else None
        if instances is None:
            instances = self._ask()
            if use_cache:
                self._cache[key] = instances
        self.inventory.add_group("vast")
        for instance in instances:
            self._add(instance)

    def _ask(self):
        """What may be shown of each instance: neither its environment nor any key gets into a cache."""
        try:
            vast = modules.connect(self.get_option("api_key"), self.get_option("api_url"))
            return [shown(row) for row in vast.instances(self.get_option("label_prefix"))]
        except VastError as problem:
            raise AnsibleParserError(sentence(problem)) from None

    def _add(self, instance):
        name = instance["node"]
        if instance["phase"] != "running" or instance["ssh_host"] is None:
            why = instance["evidence"] if instance["phase"] != "running" else "it has no address for ssh"
            self.display.v("vast: left out {0}: {1}: {2}".format(name, instance["phase"], why))
            return
        self.inventory.add_host(name, group="vast")
        for part in ("label", "phase", "gpu_name"):
            if instance[part]:
                word = {"phase": "state", "gpu_name": "gpu"}.get(part, part)
                group = "vast_{0}_{1}".format(word, re.sub(r"[^A-Za-z0-9]", "_", instance[part]))
                self.inventory.add_group(group)
                self.inventory.add_host(name, group=group)
        try:
            words = options_text(name, self.get_option("known_hosts"))
        except VastError as problem:
            raise AnsibleParserError(sentence(problem)) from None
        variables = {
            "ansible_host": instance["ssh_host"],
            "ansible_port": instance["ssh_port"],
            "ansible_user": "root",
            "ansible_ssh_common_args": words,
            "stoker_connect_retries": self.get_option("retries"),
            "vast": instance,
        }
        if self.get_option("private_key_file"):
            variables["ansible_ssh_private_key_file"] = self.get_option("private_key_file")
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
