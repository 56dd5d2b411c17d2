# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The provider's faults, each with a name, so that a test can switch it on."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

# name: (number in the contract's catalogue, what it does, its options with their defaults)
CATALOGUE: dict[str, tuple[int, str, dict[str, Any]]] = {
    "create-reply-lost": (1, "a create is carried out and answered with 502", {}),
    "create-cut": (2, "a create is carried out and the connection ends without an answer", {}),
    "create-error": (3, "a create is refused, and leaves a stopped instance that its answer names", {}),
    "asks-gone": (4, "every ask is no longer there (410)", {}),
    "too-frequent": (5, "429 of an endpoint; form: plain, json, retry-after, quota", {"endpoint": "", "form": "plain"}),
    "stuck": (6, "new instances go no further than this: null, created, loading", {"at": "loading"}),
    "port-closed": (7, "running, and nothing listens", {}),
    "sshd-late": (7, "running, and sshd comes so many seconds later", {"seconds": 30.0}),
    "host-key": (7, "sshd has another host key after a stop and start", {}),
    "no-ports": (8, "no direct address; how: null, absent, other", {"how": "null"}),
    "blank-address": (8, "the address ends in white space", {}),
    "null-fields": (9, "start_date and extra_env are null", {}),
    "pages": (10, "pages of the list hold so few", {"size": 2}),
    "page-lost": (10, "the second page of a list is answered with 502", {}),
    "old-list": (11, "/api/v0/instances/ still answers with 200", {}),
    "list-nonsense": (12, "the list is no list; body: empty, html, refused", {"body": "empty"}),
    "stuck-scheduling": (14, "a started instance waits for its GPUs", {}),
    "destroy-lingers": (19, "destroy says 200, and the instance is there for so many looks more", {"looks": 2}),
    "destroy-404": (19, "destroy is carried out and says 404 not_found", {}),
    "destroy-gone": (19, "destroy is carried out and says 200 with no_such_instance", {}),
    "create-slow": (20, "a create is carried out at once and answered when `release` is called", {}),
    "clock-skew": (23, "start_date lies so many seconds in the future", {"seconds": 3600.0}),
    "logs-never": (24, "the address of a log never has it", {}),
    "broken": (0, "an endpoint answers with this status", {"endpoint": "", "status": 500}),
}


@dataclass
class Fault:
    """One that is switched on: for one instance or all, so many times or for good."""

    name: str
    options: dict[str, Any]
    instance: int | None = None
    times: int | None = None
    hits: int = 0
    held: threading.Event = field(default_factory=threading.Event)

    def __getitem__(self, option: str) -> Any:
        return self.options[option]

    def release(self) -> None:
        """Let what was held back go."""
        self.held.set()


class Faults:
    """Those that are on."""

    def __init__(self) -> None:
        self._on: list[Fault] = []

    def add(self, name: str, instance: int | None = None, times: int | None = None, **options: Any) -> Fault:
        if name not in CATALOGUE:
            raise ValueError(f"no fault is called {name}; there are {', '.join(CATALOGUE)}")
        known = CATALOGUE[name][2]
        if unknown := sorted(set(options) - set(known)):
            raise ValueError(f"{name} has no {', '.join(unknown)}")
        fault = Fault(name, {**known, **options}, instance, times)
        self._on.append(fault)
        return fault

    def remove(self, name: str) -> None:
        for fault in [one for one in self._on if one.name == name]:
            fault.release()
            self._on.remove(fault)

    def release(self) -> None:
        for fault in self._on:
            fault.release()

    def peek(self, name: str, instance: int | None = None, **options: Any) -> Fault | None:
        """The fault when it is on for this instance and these options, not counted. An empty option is all of them."""
        for fault in [one for one in self._on if one.name == name]:
            if fault.instance in (None, instance) and all(fault[key] in ("", value) for key, value in options.items()):
                return fault
        return None

    def take(self, name: str, instance: int | None = None, **options: Any) -> Fault | None:
        """The same, counted; one that has had all its times is off."""
        fault = self.peek(name, instance, **options)
        if fault is not None:
            fault.hits += 1
            if fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self._on.remove(fault)
        return fault
