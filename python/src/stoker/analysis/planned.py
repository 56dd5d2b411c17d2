"""What the settings of a run say of its course: how many steps, which learning rate, by which schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stoker.analysis.compare import flat

# The last part of a dotted name, in the order in which they count.
_TOTAL = (
    "max_steps", "total_steps", "num_training_steps", "max_train_steps", "train_steps", "training_steps", "num_steps",
    "max_iters", "train_iters", "max_iterations", "num_iterations", "total_iters", "lr_decay_iters", "lr_decay_steps",
    "total_timesteps", "total_updates", "T_max",
)  # fmt: skip
_EPOCHS = ("num_train_epochs", "max_epochs", "num_epochs", "epochs", "n_epochs", "total_epochs")
_WARMUP = ("warmup_steps", "num_warmup_steps", "lr_warmup_steps", "warmup_iters", "lr_warmup_iters", "warmup_updates")
_RATIO = ("warmup_ratio", "warmup_fraction", "lr_warmup_ratio")
_PEAK = ("learning_rate", "lr", "max_lr", "peak_lr", "base_lr")
_LOWEST = ("min_lr", "eta_min", "min_learning_rate", "end_lr", "lr_end")
_KIND = (
    "lr_scheduler_type",
    "lr_scheduler",
    "lr_schedule",
    "scheduler_type",
    "lr_decay_style",
    "scheduler",
    "schedule",
)
_NAMED = ("name", "type", "kind", "_target_", "class")


@dataclass(frozen=True)
class Setting:
    """A number among the settings, and its dotted name."""

    key: str
    value: float


@dataclass(frozen=True)
class Schedule:
    """A schedule among the settings: constant, linear or cosine, or another one as it is called there."""

    key: str
    name: str
    kind: str | None


def total_steps(config: Mapping[str, Any]) -> Setting | None:
    """How many steps were planned."""
    return _number(config, _TOTAL, least=1)


def total_epochs(config: Mapping[str, Any]) -> Setting | None:
    """How many epochs were planned."""
    return _number(config, _EPOCHS, least=1)


def warmup_steps(config: Mapping[str, Any]) -> Setting | None:
    """How many steps of warm-up; a ratio is one of the steps that were planned."""
    steps = _number(config, _WARMUP)
    if steps is not None and steps.value > 0:
        return steps
    ratio, total = _number(config, _RATIO), total_steps(config)
    if ratio is not None and ratio.value > 0:
        return Setting(ratio.key, ratio.value * total.value) if total is not None else None
    return steps or ratio


def peak_rate(config: Mapping[str, Any]) -> Setting | None:
    """The learning rate that was set."""
    return _number(config, _PEAK, above=0)


def lowest_rate(config: Mapping[str, Any]) -> Setting | None:
    """What a schedule goes down to."""
    return _number(config, _LOWEST)


def schedule(config: Mapping[str, Any]) -> Schedule | None:
    """The schedule of the learning rate, None where no setting names one."""
    texts = {key: value for key, value in flat(config).items() if isinstance(value, str) and value}
    for wanted in _KIND:
        for key, value in texts.items():
            parts = key.split(".")
            nested = len(parts) > 1 and parts[-1] in _NAMED and parts[-2] == wanted
            if parts[-1] == wanted or nested:
                return Schedule(key, value, _kind(value))
    return None


def _kind(name: str) -> str | None:
    lower = name.lower().rpartition(".")[2]
    if "restart" in lower or "hard" in lower or "cycl" in lower:
        return None
    return next((kind for kind in ("constant", "linear", "cosine") if kind in lower), None)


def _number(
    config: Mapping[str, Any], keys: tuple[str, ...], *, least: float = 0.0, above: float | None = None
) -> Setting | None:
    settings = flat(config)
    for wanted in keys:
        # The shortest name is the nearest to the top.
        for key in sorted(settings, key=lambda key: (key.count("."), key)):
            value = settings[key]
            if key.rpartition(".")[2] != wanted or isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if math.isfinite(value) and value >= least and (above is None or value > above):
                return Setting(key, float(value))
    return None
