"""Fetches checkpoints beside whoever makes rounds, as a process of its own: it may take long, and may be ended.

Standard input is JSON: {"store_url", "inventory", "config", "jobs"}. What came of it is in the store.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from stoker.errors import StokerError
from stoker.operations.checkpoint_pulls import pull_due
from stoker.operations.session import Session


def main() -> int:
    """Fetch what is due of the jobs named."""
    asked = json.load(sys.stdin)
    inventory, config = (Path(asked[name]) if asked[name] else None for name in ("inventory", "config"))
    session, code = Session(inventory, store_url=asked["store_url"], config_file=config), 0
    try:
        for job in asked["jobs"]:
            try:
                pull_due(session, [job])
            except StokerError as problem:
                # What is wrong with one is not to keep the others away.
                sys.stderr.write(f"{problem.message}\n")
                code = 1
    finally:
        session.close()
    return code


if __name__ == "__main__":
    sys.exit(main())
