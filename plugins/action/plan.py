# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of stoker.fleet.plan: decide a round, and claim what it starts. Runs on the controller."""

from __future__ import annotations

import time

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# At the top: Ansible loads an action in its parent process first, and the forks that run plan and record inherit it.
try:
    from stoker.dispatch import NodeInfo, RoundRequest, begin_round
    from stoker.errors import StokerError
    from stoker.store import open_store
except ImportError as problem:
    IMPORT_PROBLEM = problem
else:
    IMPORT_PROBLEM = None


class ActionModule(ActionBase):
    """See the module's documentation."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        refuse_without_stoker(IMPORT_PROBLEM)
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
        except StokerError as problem:
            raise AnsibleActionFail(sentence(problem)) from problem
        claimed = any(order["order"] == "start" for request in requests.values() for order in request["orders"])
        result.update(changed=claimed, orders=requests, nodes=sorted(requests), snapshots=snapshots)
        return result


def needed_snapshots(requests, store):
    """For each node that is to start jobs with one: the folder here, by digest."""
    needed = {}
    for node, request in requests.items():
        for order in request["orders"]:
            wanted = order["spec"].get("snapshot") if order["order"] == "start" else None
            if wanted:
                needed.setdefault(node, {})[wanted["digest"]] = str(store.snapshots.tree(wanted["digest"]))
    return needed


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


def refuse_without_stoker(problem):
    """Fail with one sentence where the Python package is missing, or is not whole."""
    if problem is None:
        return
    name = getattr(problem, "name", None) or "stoker"
    if name.split(".")[0] == "stoker":
        text = "the Python package stoker is needed on the controller (next: pip install stoker)"
    else:
        text = "the Python package stoker on the controller lacks {0} (next: pip install stoker)".format(name)
    raise AnsibleActionFail(text) from problem


def sentence(problem):
    """A StokerError as one sentence, with the next step where it names one."""
    return "{0} (next: {1})".format(problem, problem.next_step) if problem.next_step else str(problem)
