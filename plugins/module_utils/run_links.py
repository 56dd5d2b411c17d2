# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where W&B and MLflow keep the run of a job, as they print it themselves. Nobody is asked, so it works offline."""

from __future__ import annotations

import re
from typing import Any

# A line without one of these has no address: the scan passes over it.
NEEDLES = ("View run ", "wandb sync ")
MOST = 20
_LONGEST = 500
# The part from `?` on is left out: W&B puts the key of an anonymous run there. So is a login before the host.
_PAGE = re.compile(r"\bView run (?:.{0,200}? )?at:? (https?://)(?:[^\s/@]{1,300}@)?([^\s?'\"<>]{1,500})")
_MLFLOW = re.compile(r"/#/experiments/[^/]+/runs/[^/]+$")
_WANDB = re.compile(r"^[^/]+/(?:[^/]+/){2,4}runs/[^/]+$")
_OFFLINE = re.compile(r"\bwandb sync (\S.{0,500}?offline-run-[\w-]{1,100})\s*$")


def link_in(line: str) -> dict[str, Any] | None:
    """The address in a line of a log: {tracker, url, folder}, of which the one that is not known is None.

    `folder` is what W&B wrote offline, for `wandb sync`: such a run has no page yet.
    """
    page = _PAGE.search(line)
    if page and _MLFLOW.search(page[2]):
        return {"tracker": "mlflow", "url": page[1] + page[2], "folder": None}
    if page and "wandb: " in line and _WANDB.match(page[2]):
        return {"tracker": "wandb", "url": page[1] + page[2], "folder": None}
    offline = _OFFLINE.search(line) if "wandb: " in line else None
    return {"tracker": "wandb", "url": None, "folder": offline[1][:_LONGEST]} if offline else None
