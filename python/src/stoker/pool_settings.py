"""The settings of rented machines (`pools` and `budget` in stoker.yml): which, at what price, and for how long."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from stoker.setting import FORBID, Count, Is, Name, OnOff, Positive, Seconds, Weight

# What the provider takes as a price, in dollars per hour.
LEAST_PRICE, MOST_PRICE = 0.001, 128.0
# The least that the provider rents out, in GB.
LEAST_DISK_GB = 8.0
# The longest command at the start and the longest value of a variable, in characters: of the 4096 that the provider
# takes at the start, the lease of the machine needs the rest.
MOST_ONSTART, MOST_VALUE = 2048, 256
_POOL = re.compile(r"[a-z][a-z0-9_]{0,47}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

PerHour = Annotated[float, Is("a number of dollars per hour")]
Dollars = Annotated[float, Is("a number of dollars, more than 0", least=0.000001)]
_IS_GPUS = Is("a list of names of GPUs such as RTX 4090")
_IS_REGIONS = Is("a list of regions such as US, or Texas, US")


@dataclass(frozen=True)
class ImageLogin:
    """How the image is fetched from a registry that asks who it is: names of variables of the environment."""

    __pydantic_config__ = FORBID

    server: Name
    user_env: Name
    password_env: Name


@dataclass(frozen=True)
class Pool:
    """A rule for rented machines: which offers are good, how many to hold (`min` to `max`), and until when.

    `price` is the most that a machine may cost, in dollars per hour, its disk included; of kind `bid` no bid goes
    above it. A bid begins with `bid` (None: the least that wins now) and is raised by `bid_step`; a machine that was
    outbid is waited for `bid_wait_s` seconds before its job moves on.

    A machine without a job is ended after `idle_s`, any machine after `time_to_live_s`: `after` says whether it is
    stopped, and destroyed `stop_keep_s` later, or destroyed. It stops by itself when its lease of `lease_s` was not
    renewed. One that takes no job within `boot_timeout_s` is given up. A job gets `max_respawns` other machines for
    those that it lost. With `fetch_after_exit` a machine that exited, and on which results lie that nobody fetched, is
    started once more for them, within its time to live and the budget; otherwise they are lost, and that is said.

    `gpu`: names of GPUs, one of which it has. `prefer_gpus` and `prefer_regions`: in this order, where the offers cost
    alike (up to `prefer_pct` more). `setup` are commands that run once on a new machine; `environment`: what the
    project needs is installed, too. `expected_s`: how long a job runs that does not say it, to compare offers by.
    `code_gb`, `data_gb`, `checkpoint_gb` and `checkpoint_s` are what is sent to it, and what comes back how often.
    """

    __pydantic_config__ = FORBID

    price: PerHour
    image: Name
    kind: Annotated[Literal["on-demand", "bid"], Is("on-demand or bid")] = "on-demand"
    bid: PerHour | None = None
    bid_step: PerHour = 0.01
    bid_wait_s: Seconds = 600.0
    gpu: Annotated[tuple[Name, ...], _IS_GPUS] = ()
    gpus: Annotated[int, Is("a whole number, 1 or more", least=1)] = 1
    gpu_memory_gb: Weight | None = None
    cpu_cores: Weight | None = None
    memory_gb: Weight | None = None
    min_reliability: Annotated[float, Is("a share from 0 to 1, such as 0.98", least=0)] = 0.95
    min_inet_mbps: Weight | None = None
    cuda: Annotated[float | None, Is("a version of CUDA such as 12.4", least=1)] = None
    datacenter: OnOff = False
    verified: OnOff = True
    prefer_gpus: Annotated[tuple[Name, ...], _IS_GPUS] = ()
    prefer_regions: Annotated[tuple[Name, ...], _IS_REGIONS] = ()
    prefer_pct: Annotated[float, Is("a share in percent, 0 or more", least=0)] = 10.0
    disk_gb: Annotated[float, Is(f"a number of GB, {LEAST_DISK_GB:g} or more", least=LEAST_DISK_GB)] = 20.0
    min: Count = 0
    max: Annotated[int, Is("a whole number, 1 or more", least=1)] = 1
    idle_s: Seconds = 600.0
    time_to_live_s: Positive = 86400.0
    lease_s: Annotated[float, Is("a number of seconds, 60 or more", least=60)] = 1800.0
    boot_timeout_s: Annotated[float, Is("a number of seconds, 60 or more", least=60)] = 1200.0
    after: Annotated[Literal["stop", "destroy"], Is("stop or destroy")] = "destroy"
    stop_keep_s: Seconds = 86400.0
    max_respawns: Count = 2
    fetch_after_exit: OnOff = False
    image_login: Annotated[ImageLogin | None, Is("a mapping with server, user_env, password_env")] = None
    onstart: Name | None = None
    env: Annotated[Mapping[str, str], Is("a mapping of names to texts")] = field(default_factory=dict)
    setup: Annotated[tuple[Name, ...], Is("a list of commands")] = ()
    environment: OnOff = False
    expected_s: Positive = 3600.0
    code_gb: Weight = 0.0
    data_gb: Weight = 0.0
    checkpoint_gb: Weight = 0.0
    checkpoint_s: Positive = 300.0


@dataclass(frozen=True)
class Budget:
    """The most that may be spent on rented machines, in dollars; None: no limit of that kind.

    `per_job`: on one job, with all its attempts; `per_day`: on all, in a day of UTC; `per_project`: on the jobs of one
    project, ever.
    """

    __pydantic_config__ = FORBID

    per_job: Dollars | None = None
    per_day: Dollars | None = None
    per_project: Dollars | None = None


def faults(pools: Mapping[str, Pool]) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """What is wrong with pools beyond their types: where (within `pools`), and the end of a sentence about it."""
    for name, pool in pools.items():
        if not _POOL.fullmatch(name):
            yield (name,), "is no name for a pool: small letters, digits and underscores, a letter first"
        yield from (((name, *where), words) for where, words in _of_pool(pool))


def _of_pool(pool: Pool) -> Iterator[tuple[tuple[int | str, ...], str]]:
    for name in ("price", "bid", "bid_step"):
        dollars = getattr(pool, name)
        if dollars is not None and not LEAST_PRICE <= dollars <= MOST_PRICE:
            yield (name,), f"{dollars:g} is not from {LEAST_PRICE:g} to {MOST_PRICE:g} dollars per hour"
    if pool.bid is not None and pool.kind != "bid":
        yield ("bid",), "is for pools of kind: bid; this one rents on-demand, at the price of the offer"
    elif pool.bid is not None and pool.bid > pool.price:
        yield ("bid",), f"{pool.bid:g} is above the price of {pool.price:g}: it is the most that a machine may cost"
    if pool.min_reliability > 1:
        yield ("min_reliability",), f"{pool.min_reliability:g} is not a share from 0 to 1, such as 0.98"
    if pool.min > pool.max:
        yield ("min",), f"{pool.min} is more than max, {pool.max}"
    if pool.onstart is not None and len(pool.onstart) > MOST_ONSTART:
        yield (
            ("onstart",),
            f"has {len(pool.onstart):,} characters; there is room for {MOST_ONSTART:,}: put it into setup",
        )
    for variable, value in pool.env.items():
        if not _VARIABLE.fullmatch(variable):
            yield ("env", variable), "is no name for a variable of the environment"
        elif len(value) > MOST_VALUE:
            yield ("env", variable), f"has {len(value):,} characters; the provider takes {MOST_VALUE} in a variable"
    login = pool.image_login
    for name in ("user_env", "password_env") if login is not None else ():
        if not _VARIABLE.fullmatch(getattr(login, name)):
            yield ("image_login", name), "is no name for a variable: the value itself is not written into this file"
