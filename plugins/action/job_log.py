# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of stoker.fleet.job_log: one chunk of a log by byte offset, waiting for it where asked."""

from __future__ import annotations

import base64
import zlib

from ansible_collections.stoker.fleet.plugins.module_utils.terminal_text import safe_text
from ansible_collections.stoker.fleet.plugins.plugin_utils.node_call import NodeAction


class ActionModule(NodeAction):
    """See the module's documentation."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            argument_spec={
                "id": {"type": "str", "required": True, "aliases": ["job"]},
                "attempt": {"type": "int"},
                "offset": {"type": "int"},
                "tail": {"type": "int"},
                "limit": {"type": "int", "default": 65536},
                "wait": {"type": "float", "default": 0.0},
                "stream": {"type": "str", "choices": ["out", "stdout", "stderr"], "default": "out"},
                "content": {"type": "bool", "default": True},
            },
            mutually_exclusive=[("offset", "tail")],
        )
        request = {"op": "log", "job": args["id"]}
        request.update(
            {
                name: args[name]
                for name in ("attempt", "offset", "tail", "limit", "wait", "stream")
                if args[name] is not None
            }
        )
        reply = self.asked(request, task_vars)
        chunk = reply["chunk"]
        result.update(changed=False, chunk=chunk, observation=reply["observation"])
        if args["content"]:
            result["content"] = safe_text(zlib.decompress(base64.b64decode(chunk["data"])), len(chunk["data"]) * 1000)
        return result
