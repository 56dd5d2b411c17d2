# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance: what the provider knows of it, and the row that it shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from .billing import Account
from .machines import Machine

STORED = (
    "id", "label", "actual_status", "intended_status", "verification", "gpu_name", "machine_id", "host_id",
    "image_uuid",
)  # fmt: skip


@dataclass
class Instance:
    """One contract. ``boots`` counts its starts: what was planned for an earlier one is void."""

    id: int
    offer: dict[str, Any]
    machine: Machine | None
    body: dict[str, Any]
    key: str
    created: float
    is_bid: bool
    gpu_rate: Decimal
    disk_rate: Decimal
    keys: dict[int, str]
    label: str | None = None
    actual: str | None = None
    intended: str = "running"
    current: str = "unloaded"
    following: str = "running"
    message: str | None = None
    port: int | None = None
    running_since: float | None = None
    boots: int = 0
    outbid: bool = False
    looks_left: int | None = None
    account: Account = field(default_factory=Account)

    @property
    def end(self) -> float:
        return float(self.offer["end_date"])

    def show(self, actual: str | None, current: str | None = None, message: str | None = None) -> None:
        self.actual, self.message = actual, message
        if current is not None:
            self.current = current

    def charge(self, now: float) -> None:
        """Bring the meters to what its state costs: GPUs while it holds them, its disk while the host is there."""
        offline = self.actual == "offline"
        holds = self.current == "running" and self.actual not in (None, "created", "loading") and not offline
        self.account.charge("gpu", self.gpu_rate if holds else None, now)
        self.account.charge("disk", None if offline else self.disk_rate, now)

    def environment(self) -> dict[str, str]:
        """What the container has in its environment, and a session over ssh has not."""
        return {
            "CONTAINER_ID": str(self.id),
            "CONTAINER_API_KEY": self.key,
            "VAST_CONTAINERLABEL": f"C.{self.id}",
            "PUBLIC_IPADDR": "127.0.0.1",
            "VAST_TCP_PORT_22": str(self.port),
            **{name: value for name, value in (self.body.get("env") or {}).items() if not name.startswith("-")},
        }

    def row(self, now: float, credit: float) -> dict[str, Any]:
        """What list and show say. Values that the provider does not have yet are null."""
        up = self.actual == "running"
        direct = up and "direc" in self.runtype
        gpu, disk = float(self.gpu_rate), float(self.disk_rate)
        hourly = {"gpuCostPerHour": gpu, "diskHour": disk, "totalHour": gpu + disk}
        kept = (
            "machine_id", "host_id", "bundle_id", "num_gpus", "gpu_name", "gpu_ram", "gpu_totalram", "gpu_frac",
            "cpu_cores_effective", "disk_bw", "inet_up", "inet_down", "inet_up_cost", "inet_down_cost",
            "internet_up_cost_per_tb", "internet_down_cost_per_tb", "static_ip", "geolocation", "verification",
            "hosting_type", "min_bid", "end_date", "reliability2", "driver_version", "cuda_max_good",
            "direct_port_count",            "cpu_ram", "storage_cost", "dlperf", "score", "gpu_arch", "compute_cap",
        )  # fmt: skip
        return {
            **{name: self.offer[name] for name in kept},
            "id": self.id, "label": self.label, "actual_status": self.actual, "intended_status": self.intended,
            "cur_state": self.current, "next_state": self.following, "status_msg": self.message,
            "image_uuid": self.body["image"], "image_runtype": self.runtype, "image_args": self.body.get("args") or [],
            "extra_env": [[name, value] for name, value in (self.body.get("env") or {}).items()],
            "onstart": self.body.get("onstart"), "start_date": self.created, "duration": max(0.0, self.end - now),
            "uptime_mins": (now - self.running_since) / 60 if up and self.running_since is not None else None,
            "gpu_util": 0.0 if up else None, "gpu_temp": 40.0 if up else None, "cpu_util": 0.0 if up else None,
            "mem_usage": 1.0 if up else None, "mem_limit": 64.0 if up else None,
            "disk_space": float(self.body["disk"]), "disk_usage": 1.0 if up else -1, "disk_util": 0.0 if up else -1,
            "public_ipaddr": "127.0.0.1", "local_ipaddrs": "127.0.0.1 \n",
            "ssh_host": "127.0.0.1", "ssh_port": self.proxy_port, "ssh_idx": "1",
            "machine_dir_ssh_port": self.port, "direct_port_start": 40000, "direct_port_end": 40010,
            "ports": {"22/tcp": [{"HostIp": "0.0.0.0", "HostPort": str(self.port)}]} if direct else None,
            "is_bid": self.is_bid, "dph_base": gpu, "dph_total": gpu + disk, "storage_total_cost": disk,
            "instance": hourly, "search": hourly, "template_id": None, "template_hash_id": None,
            "jupyter_token": "", "credit_balance": credit,
        }  # fmt: skip

    @property
    def runtype(self) -> str:
        return str(self.body.get("runtype") or "ssh")

    @property
    def proxy_port(self) -> int | None:
        """Clients add one where the instance has Jupyter."""
        if self.port is None:
            return None
        return self.port - 1 if "jupyter" in self.runtype else self.port
