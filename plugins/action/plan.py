# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of stoker.fleet.plan: decide a round, and claim what it starts. Runs on the controller."""

from __future__ import annotations

import time

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.stoker.fleet.plugins.plugin_utils.controller import (
    IMPORT_PROBLEM,
    refuse_without_stoker,
    sentence,
)

if IMPORT_PROBLEM is None:
    from stoker.dispatch import NodeInfo, RoundRequest, begin_round
    from stoker.errors import StokerError
    from stoker.store import open_store


class ActionModule(ActionBase):
    """See the module's documentation."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        refuse_without_stoker()
        _validation, args = self.validate_argument_spec(
            argument_spec={
                "store_url": {"type": "str", "no_log": True},
                "round": {"type": "dict", "default": {}},
            }
        )
        try:
            with open_store(args["store_url"] or None) as store:
                requests = begin_round(
                    store,
                    inventory_nodes(task_vars),
                    RoundRequest.parse(args["round"]),
                    time.time(),
                    dry_run=self._task.check_mode,
                )
                snapshots = needed_snapshots(requests, store)
                locks = str(store.snapshots.locks_of_data()) if needed_of(requests, "dataset") else None
        except StokerError as problem:
            raise AnsibleActionFail(sentence(problem)) from problem
        claimed = any(order["order"] == "start" for request in requests.values() for order in request["orders"])
        result.update(
            changed=claimed, orders=requests, nodes=sorted(requests), snapshots=snapshots,
            checkpoints=needed_of(requests, "resume"), datasets=needed_of(requests, "dataset"), locks=locks,
        )  # fmt: skip
        return result


def needed_snapshots(requests, store):
    """For each node that is to start jobs with one: the folder here, by digest."""
    needed = {}
    for node, request in requests.items():
        for order in request["orders"]:
            spec = order["spec"] if order["order"] == "start" else {}
            for field, kept in (("snapshot", store.snapshots), ("resume", store.checkpoints.files)):
                if wanted := spec.get(field):
                    needed.setdefault(node, {})[wanted["digest"]] = str(kept.tree(wanted["digest"]))
            if wanted := spec.get("dataset"):
                needed.setdefault(node, {})[wanted["digest"]] = store.snapshots.data_at(wanted)
    return needed


def needed_of(requests, field):
    """Which of these are checkpoints (field ``resume``), or data (``dataset``), by node."""
    found = {}
    for node, request in requests.items():
        named = [order["spec"].get(field) for order in request["orders"] if order["order"] == "start"]
        found[node] = sorted(each["digest"] for each in named if each)
    return {node: digests for node, digests in found.items() if digests}


def inventory_nodes(task_vars):
    """The hosts of the inventory as the planner knows nodes: names, groups, stoker_ variables and ansible_host."""
    # In the order of the inventory, which parts such as gpu[0:2] count by.
    members = {host: [] for host in task_vars["groups"].get("all", ())}
    for group, hosts in task_vars["groups"].items():
        for host in hosts:
            members.setdefault(host, []).append(group)
    hostvars = task_vars["hostvars"]
    return [
        NodeInfo(
            str(name),
            tuple(sorted(groups)),
            # Raw: templating all variables of all hosts would cost more than the rest of the round.
            {
                key: value
                for key, value in hostvars.raw_get(name).items()
                if key.startswith("stoker_") or key == "ansible_host"
            },
        )
        for name, groups in members.items()
    ]
