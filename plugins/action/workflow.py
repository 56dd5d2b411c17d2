# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of stoker.fleet.workflow: a workflow of the store, on the controller."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.stoker.fleet.plugins.plugin_utils.controller import (
    IMPORT_PROBLEM,
    refuse_without_stoker,
    sentence,
)

if IMPORT_PROBLEM is None:
    from stoker.dispatch.workflows import ask_end, go_on
    from stoker.errors import StokerError
    from stoker.operations import workflows
    from stoker.operations.session import Session


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
                "file": {"type": "path"},
                "context": {"type": "dict", "default": {}},
                "id": {"type": "str"},
                "state": {
                    "type": "str",
                    "choices": ["submitted", "shown", "cancelled", "resumed"],
                    "default": "submitted",
                },
                "store_url": {"type": "str", "no_log": True},
                "inventory": {"type": "path"},
            },
            required_if=[
                ("state", "submitted", ["file"]),
                ("state", "shown", ["id"]),
                ("state", "cancelled", ["id"]),
                ("state", "resumed", ["id"]),
            ],
        )
        session = Session(inventory_of(args["inventory"], task_vars), store_url=args["store_url"] or None)
        try:
            result["changed"], name = getattr(self, "_" + args["state"])(session, args, self._task.check_mode)
            result["workflow"] = None if name is None else plain(workflows.status(session, name).workflow)
        except StokerError as problem:
            raise AnsibleActionFail(sentence(problem)) from problem
        finally:
            session.close()
        return result

    def _submitted(self, session, args, check):
        file = self._loader.path_dwim(args["file"])
        context = {key: text(value) for key, value in args["context"].items()}
        if check:
            workflows.validate(session, file, context=context)
            return True, None
        return True, workflows.written(session, file, context).id

    def _shown(self, session, args, check):
        return False, args["id"]

    def _cancelled(self, session, args, check):
        known = workflows.status(session, args["id"]).workflow
        if check:
            return known.state == "running" and not known.stopping, known.id
        return ask_end(session.store, known.id, time.time()), known.id

    def _resumed(self, session, args, check):
        known = workflows.status(session, args["id"]).workflow
        # One that runs is where it was asked to be; one that succeeded never will be.
        if known.state == "running" or check:
            return known.state != "running", known.id
        go_on(session.store, known.id, time.time())
        return True, known.id


def inventory_of(named, task_vars):
    """The inventory that was named, else the play's own where it is one file or folder, else what Stoker finds."""
    sources = [named] if named else task_vars.get("ansible_inventory_sources") or []
    paths = [source for source in sources if os.path.exists(source)]
    return Path(paths[0]) if len(paths) == 1 == len(sources) else None


def text(value):
    """A value of the play as the command line has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def plain(value):
    """A dataclass as Ansible can hold it."""
    return dataclasses.asdict(value)
