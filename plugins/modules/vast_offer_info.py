#!/usr/bin/python
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vast_offer_info
short_description: Machines that vast.ai has on offer
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - Asks for offers that can be rented now, cheapest first.
extends_documentation_fragment:
  - stoker.fleet.vast
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: none
options:
  filters:
    description:
      - Conditions by field, each a mapping of an operator (V(eq), V(neq), V(gt), V(gte), V(lt), V(lte), V(in),
        V(notin)) to a value, in the units of the service. C(gpu_ram) and C(cpu_ram) are MB, C(disk_space) GB,
        C(duration) seconds, C(dph_total) US dollars per hour.
      - Offers that are rented or cannot be rented are left out unless this says otherwise.
    type: dict
    default: {}
  kind:
    description: V(on-demand), or V(bid) for machines that others can outbid.
    type: str
    choices: [on-demand, bid]
    default: on-demand
  disk_gb:
    description: The disk that is to be rented, in GB. Prices are with it.
    type: float
    default: 10
  order:
    description: Fields to sort by, each as V(field asc) or V(field desc).
    type: list
    elements: str
    default: [dph_total asc]
  limit:
    description: The most offers.
    type: int
    default: 20
"""

EXAMPLES = r"""
- name: Look for two H100 in Europe
  stoker.fleet.vast_offer_info:
    filters:
      gpu_name: {eq: H100 SXM}
      num_gpus: {eq: 2}
      geolocation: {in: [DE, FR, NL, SE]}
    disk_gb: 100
  register: found
  delegate_to: localhost
"""

RETURN = r"""
offers:
  description: The offers, as the service gives them.
  returned: success
  type: list
  elements: dict
  sample: [{id: 7001, gpu_name: RTX 4090, num_gpus: 1, dph_total: 0.412, reliability2: 0.998, geolocation: "Texas, US"}]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.stoker.fleet.plugins.module_utils.vast import modules
from ansible_collections.stoker.fleet.plugins.module_utils.vast.errors import VastError

_OPERATORS = ("eq", "neq", "gt", "gte", "lt", "lte", "in", "notin")


def check(filters):
    """Raises VastError for a condition that the service would not understand, or ignore."""
    for field, conditions in filters.items():
        if not isinstance(conditions, dict) or not conditions or set(conditions) - set(_OPERATORS):
            words = "filters.{0}: a condition is a mapping, such as eq: 1; there are {1}"
            raise VastError(words.format(field, ", ".join(_OPERATORS)), "refused", sent=False)


def work(vast, params):
    """The offers that were asked for."""
    check(params["filters"])
    order = []
    for text in params["order"]:
        words = text.split()
        if len(words) != 2 or words[1] not in ("asc", "desc"):
            raise VastError("order: {0!r} is not as 'dph_total asc'".format(text), "refused", sent=False)
        order.append(words)
    offers = vast.offers(params["filters"], params["kind"], params["disk_gb"], order, params["limit"])
    return {"changed": False, "offers": offers}


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec=dict(
            modules.ARGUMENTS,
            filters={"type": "dict", "default": {}},
            kind={"type": "str", "choices": ["on-demand", "bid"], "default": "on-demand"},
            disk_gb={"type": "float", "default": 10},
            order={"type": "list", "elements": "str", "default": ["dph_total asc"]},
            limit={"type": "int", "default": 20},
        ),
        supports_check_mode=True,
    )
    modules.run(module, work)


if __name__ == "__main__":
    main()
