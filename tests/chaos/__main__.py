# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m tests.chaos --minutes 3 --seed 1`: faults over real sshd nodes, then the proof. Exit 1: it failed."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.chaos.dispatchers import Dispatchers
from tests.chaos.faults import Chaos
from tests.chaos.proof import prove
from tests.chaos.ring import ring


def main() -> int:
    """Do as asked, and print what happened and what was proved."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0, help="how long faults happen (3)")
    parser.add_argument("--seed", type=int, default=1, help="which faults, in which order (1)")
    parser.add_argument("--store", choices=("sqlite", "postgresql"), default="postgresql", help="the database")
    parser.add_argument("--dispatchers", type=int, default=2, help="how many loops (2)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ring(Path(folder), asked.store) as here:
        with Dispatchers(here, asked.dispatchers) as loops:
            chaos = Chaos(here, loops, asked.seed)
            chaos.run(asked.minutes * 60)
            chaos.calm()
            ended = chaos.wait_for_ends()
        proof = prove(here, chaos.submitted, ended)
    print(chaos.told())
    print(proof.told())
    return int(bool(proof.faults))


if __name__ == "__main__":
    sys.exit(main())
