# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real parts for the tests: ssh nodes of three kinds, fake GPUs, PostgreSQL. README.md says how to use them."""

from __future__ import annotations

from .bed import Bed, Missing, find_python, write_inventory
from .gpus import FakeGpus
from .plain import PlainNode, start_all

__all__ = ["Bed", "FakeGpus", "Missing", "PlainNode", "find_python", "start_all", "write_inventory"]
