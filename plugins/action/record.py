# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of stoker.fleet.record: write down what the nodes of a round answered. Runs on the controller."""

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
    from stoker.dispatch import NodeResult, RoundRequest, finish_round
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
                "orders": {"type": "dict", "required": True},
                "variable": {"type": "str", "required": True},
            }
        )
        results = node_results(args["orders"], args["variable"], task_vars["hostvars"])
        if self._task.check_mode:
            result.update(changed=False, summary=None)
            return result
        try:
            with open_store(args["store_url"] or None) as store:
                summary = finish_round(store, results, time.time(), request=RoundRequest.parse(args["round"]))
        except StokerError as problem:
            raise AnsibleActionFail(sentence(problem)) from problem
        result.update(changed=bool(summary.changed or summary.adopted), summary=dict(vars(summary)))
        return result


def node_results(requests, variable, hostvars):
    """What came of asking each node of the round. A node of which nothing was registered was not asked."""
    results = {}
    for name, request in requests.items():
        found = hostvars.raw_get(name).get(variable)
        if found is None:
            continue
        text = str(found.get("msg") or "no reason told").removeprefix("Task failed: ")
        if found.get("unreachable"):
            results[name] = NodeResult(unreachable=text, request=request)
        elif found.get("failed") or "reply" not in found:
            results[name] = NodeResult(failed=text, request=request, wrong=bool(found.get("wrong_variable")))
        else:
            results[name] = NodeResult(reply=found["reply"], request=request)
    return results
