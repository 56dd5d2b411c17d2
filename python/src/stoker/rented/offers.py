"""Which machine to rent: what is asked of offers, and what each would really cost for one run.

A cheap machine that takes long to start, charges for traffic or is lost now and then is not cheap. What is known of a
machine from earlier times (`MarkRow`) outweighs what is guessed of one that was never rented.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stoker.pool_settings import Pool
from stoker.rented import bids
from stoker.rented.figures import amount
from stoker.store.instance_rows import InstanceRow, MarkRow

Offer = Mapping[str, Any]
# Until more is known: how long a machine takes until it runs a job, in how many of 100 times it never does, and how
# often one that takes bids is outbid in an hour. What is known counts against as much of this as one boot, or one day.
BOOT_S, NEVER, OUTBID_PER_H = 240.0, 0.05, 1 / 12
_KNOWN_H = 24.0
_HOURS_OF_MONTH = 720.0


@dataclass(frozen=True)
class History:
    """What earlier runs tell: of machines by their number, and how long such a run takes by the name of the GPU."""

    marks: Mapping[int, MarkRow] = field(default_factory=dict)
    run_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Ranked:
    """An offer, what an hour of work on it and a whole run come to in dollars, and why.

    `gpu_rate` and `disk_rate` are what it charges an hour; `bid` is the price to offer, None: on-demand.
    """

    offer: Offer
    usd_per_hour_effective: float
    usd_per_run: float
    gpu_rate: float
    disk_rate: float
    bid: float | None
    why: str

    @property
    def usd_per_hour(self) -> float:
        """What it charges while it runs, its disk included."""
        return self.gpu_rate + self.disk_rate


def query(pool: Pool, exclude: Collection[int] = ()) -> dict[str, Any]:
    """What is asked of the provider's search for a pool; machines in `exclude` are left out."""
    asked: dict[str, Any] = {
        "rentable": {"eq": True},
        "rented": {"eq": False},
        "external": {"eq": False},
        "num_gpus": {"eq": pool.gpus},
        "disk_space": {"gte": pool.disk_gb},
        "reliability2": {"gte": pool.min_reliability},
        ("min_bid" if pool.kind == "bid" else "dph_total"): {"lte": pool.price},
    }
    least = {
        "gpu_ram": _mb(pool.gpu_memory_gb), "cpu_ram": _mb(pool.memory_gb), "cpu_cores_effective": pool.cpu_cores,
        "inet_down": pool.min_inet_mbps, "inet_up": pool.min_inet_mbps, "cuda_max_good": pool.cuda,
    }  # fmt: skip
    asked |= {name: {"gte": value} for name, value in least.items() if value is not None}
    asked |= {"gpu_name": {"in": list(pool.gpu)}} if pool.gpu else {}
    asked |= {"verified": {"eq": True}} if pool.verified else {}
    asked |= {"datacenter": {"eq": True}} if pool.datacenter else {}
    asked |= {"machine_id": {"notin": sorted(exclude)}} if exclude else {}
    return asked


def excluded(rows: Iterable[InstanceRow]) -> set[int]:
    """The machines that a job is not given again: those that failed it, by the rows of its instances.

    What the provider refused to rent says nothing against a machine.
    """
    return {row.machine_id for row in rows if row.machine_id is not None and row.problem not in (None, "refused")}


def ranked(
    offers: Iterable[Offer], pool: Pool, history: History | None = None, exclude: Collection[int] = ()
) -> list[Ranked]:
    """The offers that fit, the best first: by what a run costs; of those that cost alike, by what is preferred."""
    known = history or History()
    found = [_ranked(offer, pool, known) for offer in offers if unfit(offer, pool, exclude) is None]
    if not found:
        return []
    alike = min(each.usd_per_run for each in found) * (1 + pool.prefer_pct / 100)

    def turn(each: Ranked) -> tuple[int, int, int, float, int]:
        preferred = (_gpu_place(each.offer, pool), _region_place(each.offer, pool))
        near = each.usd_per_run <= alike
        return (
            (0, *preferred, each.usd_per_run, _id(each.offer)) if near else (1, 0, 0, each.usd_per_run, _id(each.offer))
        )

    return sorted(found, key=turn)


def unfit(offer: Offer, pool: Pool, exclude: Collection[int] = ()) -> str | None:
    """Why an offer is not for a pool, as the end of a sentence about several; None: it is. The unknown does not fit."""
    machine = offer.get("machine_id")
    if machine in exclude:
        return "are machines that failed before"
    if pool.gpu and str(offer.get("gpu_name")) not in pool.gpu:
        return f"have no {' or '.join(pool.gpu)}"
    if offer.get("num_gpus") != pool.gpus:
        return f"have not {pool.gpus} GPUs"
    if (pool.verified and not _verified(offer)) or (pool.datacenter and not _in_datacenter(offer)):
        return "are not verified" if pool.verified and not _verified(offer) else "are in no datacenter"
    for value, least, words in _limits(offer, pool):
        if least is not None and (value is None or value < least):
            return f"have less than {words.format(least)}"
    rates = rates_of(offer, pool)
    if rates is None:
        return "do not say what they cost" if pool.kind != "bid" else f"take no bid within ${pool.price:g} per hour"
    if sum(rates) > pool.price:
        return f"cost more than ${pool.price:g} per hour"
    return None


def why_none(offers: Sequence[Offer], pool: Pool, exclude: Collection[int] = ()) -> str:
    """Why no offer fits, in one sentence."""
    if not offers:
        return "the provider has no offer that fits"
    reasons = Counter(unfit(offer, pool, exclude) for offer in offers)
    counted = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common() if reason is not None)
    return f"of {len(offers)} offers none fits: {counted}"


def rates_of(offer: Offer, pool: Pool) -> tuple[float, float] | None:
    """What it would charge for GPU and disk, in dollars per hour; None: not known, or no bid within the cap wins."""
    disk = _disk_rate(offer, pool)
    total = amount(offer.get("dph_total"))
    if disk is None:
        return None
    if pool.kind == "bid":
        least = amount(offer.get("min_bid"))
        price = bids.first(pool, least, disk) if least is not None else None
        return None if price is None else (price, disk)
    return None if total is None else (max(0.0, total - disk), disk)


def _ranked(offer: Offer, pool: Pool, history: History) -> Ranked:
    gpu, disk = rates_of(offer, pool) or (0.0, 0.0)
    machine = offer.get("machine_id")
    mark = history.marks.get(machine) if isinstance(machine, int) else None
    mark = mark or MarkRow(-1)
    run_s = history.run_s.get(str(offer.get("gpu_name")), pool.expected_s)
    hours = run_s / 3600
    boot_s = (mark.boot_s + BOOT_S) / (mark.boots + 1)
    never = (mark.failures + NEVER) / (mark.boots + mark.failures + 1)
    losses = _losses_per_h(offer, mark, pool) * hours
    stage_s = _stage_s(offer, pool)
    rework_s = losses * (min(pool.checkpoint_s, run_s) / 2 + boot_s + stage_s)
    price = gpu + disk
    tries = 1 + never / (1 - never) if never < 1 else 1.0
    parts = {
        "boot": disk * (boot_s + (tries - 1) * pool.boot_timeout_s) / 3600,
        "staging": price * stage_s / 3600,
        "traffic": _traffic(offer, pool, run_s, losses),
        "rework": price * rework_s / 3600,
    }
    run = price * hours + sum(parts.values())
    why = _why(offer, price, disk, run, hours, parts, mark)
    return Ranked(offer, run / hours, run, gpu, disk, gpu if pool.kind == "bid" else None, why)


def _losses_per_h(offer: Offer, mark: MarkRow, pool: Pool) -> float:
    """How often it is lost in an hour: at first by its reliability, a day of which weighs as much as a day that ran."""
    guessed = 1 - min(1.0, _reliability(offer) or 0.0) + (OUTBID_PER_H * _KNOWN_H if pool.kind == "bid" else 0.0)
    return (mark.losses + guessed) / (mark.run_s / 3600 + _KNOWN_H)


def _stage_s(offer: Offer, pool: Pool) -> float:
    """How long code and data take to get there, at the speed that is on offer."""
    speed = amount(offer.get("inet_down")) or 0.0
    sent = (pool.code_gb + pool.data_gb) * 8000
    return sent / speed if speed > 0 else (0.0 if sent == 0 else pool.boot_timeout_s)


def _traffic(offer: Offer, pool: Pool, run_s: float, losses: float) -> float:
    down = (pool.code_gb + pool.data_gb + pool.checkpoint_gb * losses) * (1 + losses)
    up = pool.checkpoint_gb * max(1.0, run_s / pool.checkpoint_s)
    return down * (amount(offer.get("inet_down_cost")) or 0.0) + up * (amount(offer.get("inet_up_cost")) or 0.0)


def _why(
    offer: Offer, price: float, disk: float, run: float, hours: float, parts: Mapping[str, float], mark: MarkRow
) -> str:
    head = f"${price:.4f} per hour (disk ${disk:.4f}), ${run:.4f} for a run of {hours:.3g} h"
    more = [f"{name} ${dollars:.4f}" for name, dollars in parts.items() if dollars >= 0.00005]
    past = []
    if mark.boots:
        past.append(f"{mark.boots} times ready after {mark.boot_s / mark.boots:.0f} s")
    past += [f"{mark.failures} times never ready"] if mark.failures else []
    lost = f"lost {mark.losses} times" if mark.losses else "never lost"
    past += [f"{lost} in {mark.run_s / 3600:.3g} h"] if mark.losses or mark.run_s else []
    known = f"this machine was {', '.join(past)}" if past else "this machine was never rented before"
    place = f"{offer.get('gpu_name')} in {offer.get('geolocation') or 'an unknown place'}"
    reliability = _reliability(offer)
    return f"{place}: {head}" + (f", with {', '.join(more)}" if more else "") + f"; reliability {reliability}; {known}"


def _limits(offer: Offer, pool: Pool) -> Iterable[tuple[float | None, float | None, str]]:
    yield amount(offer.get("gpu_ram")), _mb(pool.gpu_memory_gb), "{:,.0f} MB of GPU memory"
    yield amount(offer.get("cpu_ram")), _mb(pool.memory_gb), "{:,.0f} MB of memory"
    yield amount(offer.get("cpu_cores_effective")), pool.cpu_cores, "{:g} CPU cores"
    yield amount(offer.get("disk_space")), pool.disk_gb, "{:g} GB of disk"
    yield amount(offer.get("cuda_max_good")), pool.cuda, "CUDA {:g}"
    yield amount(offer.get("inet_down")), pool.min_inet_mbps, "{:g} Mbit/s to it"
    yield amount(offer.get("inet_up")), pool.min_inet_mbps, "{:g} Mbit/s from it"
    yield _reliability(offer), pool.min_reliability, "reliability {:g}"


def _disk_rate(offer: Offer, pool: Pool) -> float | None:
    search = offer.get("search")
    told = amount(search.get("diskHour")) if isinstance(search, Mapping) else None
    total, base = amount(offer.get("dph_total")), amount(offer.get("dph_base"))
    month = amount(offer.get("storage_cost"))
    if told is not None:
        return told
    if total is not None and base is not None and total >= base:
        return total - base
    return None if month is None else month * pool.disk_gb / _HOURS_OF_MONTH


def _reliability(offer: Offer) -> float | None:
    found = amount(offer.get("reliability2"))
    return found if found is not None else amount(offer.get("reliability"))


def _verified(offer: Offer) -> bool:
    return offer.get("verification") == "verified" or offer.get("verified") is True


def _in_datacenter(offer: Offer) -> bool:
    return offer.get("hosting_type") == 1 or offer.get("datacenter") is True


def _gpu_place(offer: Offer, pool: Pool) -> int:
    name = str(offer.get("gpu_name"))
    return pool.prefer_gpus.index(name) if name in pool.prefer_gpus else len(pool.prefer_gpus)


def _region_place(offer: Offer, pool: Pool) -> int:
    place = str(offer.get("geolocation") or "").strip()
    parts = {place.lower(), place[-2:].lower(), place.partition(",")[0].strip().lower()}
    fits = (index for index, region in enumerate(pool.prefer_regions) if region.strip().lower() in parts)
    return next(fits, len(pool.prefer_regions))


def _id(offer: Offer) -> int:
    found = offer.get("id")
    return found if isinstance(found, int) else 0


def _mb(gb: float | None) -> float | None:
    return None if gb is None else gb * 1000
