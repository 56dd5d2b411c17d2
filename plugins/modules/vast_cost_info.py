#!/usr/bin/python
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vast_cost_info
short_description: What vast.ai charged, and what is billed now
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - The charges of a time, added up exactly, and what the instances that are there now cost per hour.
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
  start:
    description: From this moment on, in seconds since the epoch.
    type: float
    required: true
  end:
    description: Until this moment, in seconds since the epoch; by default until now.
    type: float
  label_prefix:
    description: Only what belongs to instances whose label begins so.
    type: str
"""

EXAMPLES = r"""
- name: Add up the last week
  stoker.fleet.vast_cost_info:
    start: "{{ now(utc=true).timestamp() - 7 * 86400 }}"
    label_prefix: nightly/
  register: cost
  delegate_to: localhost
"""

RETURN = r"""
total:
  description: US dollars that were charged, exact, as text.
  returned: success
  type: str
  sample: "12.3456"
by_type:
  description: The same by what for, as the service calls it (V(gpu), V(disk), V(bwd), V(bwu)).
  returned: success
  type: dict
  sample: {gpu: "11.9", disk: "0.4456"}
by_source:
  description: The same by instance.
  returned: success
  type: dict
  sample: {instance-101: "12.3456"}
charges:
  description: The charges, as the service gives them.
  returned: success
  type: list
  elements: dict
per_hour:
  description:
    - US dollars per hour of the instances that are there now, as text; of those that do not run, their disk.
  returned: success
  type: str
  sample: "0.412"
unknown_price:
  description: Numbers of instances that show no price, and are missing in RV(per_hour).
  returned: success
  type: list
  elements: int
credit:
  description: What is left on the account, in US dollars; null where the service does not say.
  returned: success
  type: float
"""

import time
from decimal import Decimal, InvalidOperation

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.stoker.fleet.plugins.module_utils.vast import modules
from ansible_collections.stoker.fleet.plugins.module_utils.vast.errors import VastError
from ansible_collections.stoker.fleet.plugins.module_utils.vast.reading import judge


def dollars(value):
    """A number of the service, exact. Raises VastError where it is none."""
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        found = None
    if found is None or isinstance(value, bool) or not found.is_finite():
        raise VastError("a charge has no amount that can be read", "unreadable")
    return found


def text(amount):
    """An amount as plain digits."""
    return format(amount, "f")


def charged(rows):
    """The sums of charges: all of them, by type, by instance."""
    total, by_type, by_source = Decimal(0), {}, {}
    for row in rows:
        amount, source = dollars(row.get("amount")), str(row.get("source"))
        total += amount
        by_source[source] = by_source.get(source, Decimal(0)) + amount
        for item in row.get("items") or []:
            kind = str(item.get("type"))
            by_type[kind] = by_type.get(kind, Decimal(0)) + dollars(item.get("amount"))
    return {
        "total": text(total),
        "by_type": {kind: text(amount) for kind, amount in sorted(by_type.items())},
        "by_source": {source: text(amount) for source, amount in sorted(by_source.items())},
    }


def hourly(rows):
    """What these instances cost now: (dollars per hour, numbers of those that do not say)."""
    total, unknown = Decimal(0), []
    for row in rows:
        phase = judge(row).phase
        if phase == "offline":
            continue
        price = row.get("dph_total" if phase in ("running", "frozen", "rebooting", "unknown") else "storage_total_cost")
        if price is None:
            unknown.append(row["id"])
        else:
            total += dollars(price)
    return text(total), unknown


def work(vast, params):
    """The charges, and what is billed now."""
    prefix = params["label_prefix"]
    rows = vast.charges(params["start"], time.time() if params["end"] is None else params["end"])
    if prefix:
        rows = [row for row in rows if str((row.get("metadata") or {}).get("label") or "").startswith(prefix)]
    per_hour, unknown = hourly(vast.instances(prefix))
    credit = vast.user().get("credit")
    return dict(charged(rows), changed=False, charges=rows, per_hour=per_hour, unknown_price=unknown, credit=credit)


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec=dict(
            modules.ARGUMENTS,
            start={"type": "float", "required": True},
            end={"type": "float"},
            label_prefix={"type": "str"},
        ),
        supports_check_mode=True,
    )
    modules.run(module, work)


if __name__ == "__main__":
    main()
