# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What all modules of vast.ai have in common."""

    DOCUMENTATION = r"""
options:
  api_key:
    description:
      - The key of the account. Best from a vault; see the notes for where it comes from without this option.
    type: str
  api_url:
    description:
      - Where the service is, by default the environment variable E(VAST_URL), else C(https://console.vast.ai).
      - Only https, but for this machine itself.
    type: str
notes:
  - The key is O(api_key), else the environment variable E(VAST_API_KEY), else what the official client saved with
    C(vastai set api-key) (C(~/.config/vastai/vast_tfa_key), C(~/.config/vastai/vast_api_key), C(~/.vast_api_key)).
  - It runs on the controller only, with C(delegate_to=localhost) or in a play of C(localhost), and refuses to be sent
    to any other machine, so that no rented machine ever gets the key.
  - The service allows few calls per second. Calls keep the distance that it asks for, and are repeated for up to
    a minute when it says that there were too many.
  - Nothing here was tried against the live service by its authors; the tests have a server that keeps its contract.
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying anything.
  diff_mode:
    description: Returns details on what has changed (or would in C(check_mode)) with C(--diff).
  action:
    description: Has a corresponding action plugin, which keeps it on the controller.
    support: full
  action_group:
    description: Is part of the action group C(stoker.fleet.vast), for C(module_defaults).
    support: full
    membership: [stoker.fleet.vast]
  idempotent:
    description: When run twice in a row outside check mode with the same arguments, the second run changes nothing.
"""
