# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real parts for the tests: ssh nodes of three kinds, fake GPUs, Podman, PostgreSQL. README.md says how to use them."""

from __future__ import annotations

from .bed import Bed, MissingError, find_python, programs_without, write_inventory
from .browser import Browser, Page, PageError
from .gpus import FakeGpus
from .isolated import IsolatedNode, start_isolated
from .network import Network
from .nvml import FakeNvml
from .plain import PlainNode, start_all
from .podman import PodmanNode
from .podman_engine import PodmanEngine
from .postgres import Postgres
from .ssh_node import SshNode, wait_until
from .systemd import SystemdNode, start_systemd

__all__ = [
    "Bed",
    "Browser",
    "FakeGpus",
    "FakeNvml",
    "IsolatedNode",
    "MissingError",
    "Network",
    "Page",
    "PageError",
    "PlainNode",
    "PodmanEngine",
    "PodmanNode",
    "Postgres",
    "SshNode",
    "SystemdNode",
    "find_python",
    "programs_without",
    "start_all",
    "start_isolated",
    "start_systemd",
    "wait_until",
    "write_inventory",
]
