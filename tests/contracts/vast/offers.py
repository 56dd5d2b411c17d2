# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on offer, and which of it a search finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from .checks import flag, is_number, number, whole
from .refusal import Refusal

HOURS_OF_A_MONTH = 720

# What a search may ask for beside the fields of an offer.
ASKED = {
    "verified", "external", "rented", "datacenter", "reliability", "gpu_total_ram", "has_avx", "cpu_cores", "cpu_ghz",
    "gpu_display_active", "gpu_mem_bw", "gpu_max_power", "gpu_max_temp", "mobo_name", "pci_gen", "total_flops",
    "flops_per_dphtotal", "ubuntu_version", "cluster_id",
}  # fmt: skip
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda have, want: have == want,
    "neq": lambda have, want: have != want,
    "gt": lambda have, want: have is not None and have > want,
    "gte": lambda have, want: have is not None and have >= want,
    "lt": lambda have, want: have is not None and have < want,
    "lte": lambda have, want: have is not None and have <= want,
    "in": lambda have, want: have in want,
    "notin": lambda have, want: have not in want,
}
KINDS = {"on-demand": "on-demand", "ondemand": "on-demand", "bid": "bid", "reserved": "reserved"}


def offer(number_: int, machine: int, now: float, **fields: Any) -> dict[str, Any]:
    """An offer as the provider's search gives it; any field can be set."""
    base: dict[str, Any] = {
        "id": number_, "ask_contract_id": number_, "bundle_id": 9000 + machine, "machine_id": machine,
        "host_id": 500 + machine, "gpu_name": "RTX 4090", "num_gpus": 1, "gpu_ram": 24564, "gpu_totalram": 24564,
        "gpu_frac": 1.0, "gpu_arch": "nvidia", "compute_cap": 890, "cuda_max_good": 12.8,
        "driver_version": "570.86.15", "cpu_arch": "amd64", "cpu_cores": 32, "cpu_cores_effective": 16.0,
        "cpu_ram": 64000, "disk_space": 400.0, "disk_bw": 3200.0, "inet_up": 800.0, "inet_down": 900.0,
        "inet_up_cost": 0.003, "inet_down_cost": 0.002, "internet_up_cost_per_tb": 3.0,
        "internet_down_cost_per_tb": 2.0, "direct_port_count": 100, "static_ip": True, "reliability": 0.99,
        "reliability2": 0.99, "verification": "verified", "hosting_type": 0, "geolocation": "Texas, US",
        "dlperf": 80.0, "score": 300.0, "dph_base": 0.36, "min_bid": 0.12, "storage_cost": 0.144,
        "duration": 30 * 86400.0, "end_date": now + 30 * 86400.0, "rentable": True, "rented": False, "is_bid": False,
        "bw_nvlink": 0.0, "pcie_bw": 24.0, "vms_enabled": False, "external": False,
    }  # fmt: skip
    unknown = sorted(set(fields) - set(base))
    if unknown:
        raise ValueError(f"an offer has no {', '.join(unknown)}")
    return {**base, **fields}


def disk_rate(row: Mapping[str, Any], gigabytes: float) -> Decimal:
    """Dollars per hour of so large a disk."""
    return Decimal(str(row["storage_cost"])) * Decimal(str(gigabytes)) / HOURS_OF_A_MONTH


def priced(row: Mapping[str, Any], kind: str, gigabytes: float) -> dict[str, Any]:
    """The offer with its prices for a disk of this size."""
    base = row["min_bid"] if kind == "bid" else row["dph_base"]
    disk = float(disk_rate(row, gigabytes))
    total = base + disk
    return {
        **row,
        "dph_base": base,
        "dph_total": total,
        "dlperf_per_dphtotal": row["dlperf"] / total,
        "is_bid": kind == "bid",
        "search": {"gpuCostPerHour": base, "diskHour": disk, "totalHour": total},
    }


def search(rows: Iterable[Mapping[str, Any]], asked: Any) -> list[dict[str, Any]]:
    """The offers that a search finds, in its order. Raises Refusal for what the provider does not know."""
    if not isinstance(asked, dict):
        raise Refusal(400, "invalid_request", "Invalid json body")
    wanted = dict(asked)
    order = wanted.pop("order", [["score", "desc"]])
    kind = KINDS.get(wanted.pop("type", "on-demand"))
    limit = wanted.pop("limit", 64)
    gigabytes = wanted.pop("allocated_storage", 5.0)
    bundling = wanted.pop("disable_bundling", False)
    if kind is None or not whole(1)(limit) or not number(0, 1e6)(gigabytes) or not flag(bundling):
        raise Refusal(400, "invalid_args", "invalid type, limit, allocated_storage or disable_bundling")
    found = [priced(row, kind, gigabytes) for row in rows]
    known = {*found[0], *ASKED} if found else None
    for name, conditions in wanted.items():
        if known is not None and name not in known:
            raise Refusal(400, "invalid_args", f"unknown field: {name}")
        found = [row for row in found if fulfils(seen(row, name), name, conditions)]
    for name, direction in reversed(ordering(order)):
        found.sort(key=lambda row: (seen(row, name) is None, seen(row, name)), reverse=direction == "desc")
    return found[:limit]


def ordering(order: Any) -> list[tuple[str, str]]:
    if not isinstance(order, list) or any(not isinstance(one, list) or len(one) != 2 for one in order):
        raise Refusal(400, "invalid_args", "order: a list of [field, direction]")
    if any(direction not in ("asc", "desc") for _, direction in order):
        raise Refusal(400, "invalid_args", "order: asc or desc")
    return [(name, direction) for name, direction in order]


def seen(row: Mapping[str, Any], name: str) -> Any:
    """The value that a condition is about."""
    derived = {
        "verified": row["verification"] == "verified",
        "datacenter": row["hosting_type"] == 1,
        "gpu_total_ram": row["gpu_totalram"],
        "geolocation": row["geolocation"][-2:],
    }
    return derived[name] if name in derived else row.get(name)


def fulfils(have: Any, name: str, conditions: Any) -> bool:
    """Whether a value is as asked. Numbers may come as text, as the official client sends them."""
    if not isinstance(conditions, dict) or not conditions:
        raise Refusal(400, "invalid_args", f"{name}: an operator and a value")
    for operator, want in conditions.items():
        if operator not in OPERATORS:
            raise Refusal(400, "invalid_args", f"{name}: unknown operator {operator}")
        if (operator in ("in", "notin")) != isinstance(want, list):
            raise Refusal(400, "invalid_args", f"{name}: {operator} takes {'no ' * isinstance(want, list)}a list")
        if not OPERATORS[operator](have, alike(have, want, name)):
            return False
    return True


def alike(have: Any, want: Any, name: str) -> Any:
    if isinstance(want, list):
        return [alike(have, one, name) for one in want]
    if is_number(have) and isinstance(want, str):
        try:
            return float(want)
        except ValueError:
            raise Refusal(400, "invalid_args", f"{name}: not a number: {want}") from None
    if have is not None and want is not None and is_number(have) != is_number(want):
        raise Refusal(400, "invalid_args", f"{name}: wrong type")
    return want
