# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What W&B's own client reads from the server of WANDB_BASE_URL: argv is ENTITY/PROJECT. One JSON document."""

from __future__ import annotations

import json
import sys

import wandb

told = {}
for run in wandb.Api(timeout=60).runs(sys.argv[1], per_page=2):
    rows = [[row["_step"], row["loss"]] for row in run.scan_history(page_size=7)]
    told[run.name] = {"id": run.id, "state": run.state, "config": run.config, "tags": run.tags, "rows": rows}
print(json.dumps(told))
