# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of stoker.fleet.vast_instance: keeps the module on the controller."""

from __future__ import annotations

from ansible_collections.stoker.fleet.plugins.plugin_utils.on_controller import ControllerAction


class ActionModule(ControllerAction):
    """See the module's documentation."""
