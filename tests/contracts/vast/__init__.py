# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vast.ai as its contract says it is: strict, with its states, its bills and its faults; its machines are real."""

from __future__ import annotations

from .double import Double, vast_double
from .provider import Boot

__all__ = ["Boot", "Double", "vast_double"]
