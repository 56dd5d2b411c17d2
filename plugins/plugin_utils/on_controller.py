# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Actions whose module runs on the controller, or not at all: it has a key that no other machine may see."""

from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


class ControllerAction(ActionBase):
    """Run the module of the same name here."""

    TRANSFERS_FILES = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        transport = getattr(self._connection, "transport", None)
        if transport != "local":
            words = (
                "{0} runs on the controller only, and this task is for another machine (next: delegate_to: localhost)"
            )
            raise AnsibleActionFail(words.format(self._task.action))
        result.update(self._execute_module(task_vars=task_vars, wrap_async=self._task.async_val))
        return result
