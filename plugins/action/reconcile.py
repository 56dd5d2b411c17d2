# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of stoker.fleet.reconcile: many orders in, what is true out, in one round trip."""

from __future__ import annotations

import copy

from ansible_collections.stoker.fleet.plugins.plugin_utils.node_call import NodeAction


class ActionModule(NodeAction):
    """See the module's documentation."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            argument_spec={
                "request": {"type": "dict", "required": True},
                "snapshots": {"type": "dict", "default": {}},
            }
        )
        if args["snapshots"].get("unreachable"):
            # It was just tried: not another wait for the same answer.
            result.update(unreachable=True, msg=args["snapshots"].get("msg"))
            return result
        request = copy.deepcopy(args["request"])
        request["op"] = "reconcile"
        orders = request.get("orders") or []
        if self._task.check_mode:
            request["orders"] = []
        else:
            for order in orders:
                # What is missing the node refuses, for this order alone.
                order.update(self.secrets_of(order, task_vars))
        refused = _without_snapshot(request, args["snapshots"].get("staged") or {})
        reply = self.asked(request, task_vars)
        reply["orders"] += refused
        changed = any(item["changed"] for item in reply["orders"])
        result.update(changed=changed or bool(self._task.check_mode and orders), reply=reply)
        return result


def _missing(order, staged):
    """What is told of the snapshot or the checkpoint of a start that did not get there; None: all of it is there."""
    spec = (order.get("spec") or {}) if order.get("order") == "start" else {}
    for field in ("snapshot", "resume", "dataset"):
        told = staged.get(spec[field]["digest"]) if spec.get(field) else None
        if told is not None and not told["ok"]:
            return dict(told, resumes=field == "resume")
    return None


def _without_snapshot(request, staged):
    """Take the starts out of ``request`` whose snapshot did not get there.

    Returns the answers to those that are not to be tried again; the others are simply not made in this round.
    """
    refused, made = [], []
    for order in request.get("orders") or []:
        told = _missing(order, staged)
        if told is None:
            made.append(order)
        elif not told["again"]:
            # From a checkpoint that cannot be used the job does not begin: the controller names the one before.
            resumes = told.get("damaged") and told.get("resumes")
            error = {"code": "bad_checkpoint" if resumes else "conflict", "message": told["message"], "next": None}
            refused.append(
                {
                    "order": "start",
                    "job": order["spec"].get("job"),
                    "attempt": order.get("attempt"),
                    "ok": False,
                    "changed": False,
                    "error": error,
                }
            )
    request["orders"] = made
    return refused
