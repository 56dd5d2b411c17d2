# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules and the inventory plugin of vast.ai have in common: where key and address come from."""

from __future__ import annotations

from .client import Vast
from .errors import VastError, sentence
from .keys import find_key

ARGUMENTS = {"api_key": {"type": "str", "no_log": True}, "api_url": {"type": "str"}}


def connect(api_key=None, api_url=None):
    """The provider, asked with the key of ``find_key``. Raises VastError."""
    return Vast(find_key(api_key).value, api_url or None)


def run(module, work):
    """End the module with what ``work(vast, params)`` gives, or with the provider's error as one sentence."""
    try:
        result = work(connect(module.params["api_key"], module.params["api_url"]), module.params)
    except VastError as problem:
        module.fail_json(msg=sentence(problem), kind=problem.kind, code=problem.code, instance_id=problem.instance)
    module.exit_json(**result)
