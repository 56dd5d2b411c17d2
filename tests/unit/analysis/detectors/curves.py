# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs with a known truth: healthy ones of many shapes, and the same with one fault, weak, clear or strong.

A curve is made from a seed alone. `faults` are what is wrong with it, `also` what may be said of it and is not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stoker.analysis.detectors import Machine
from stoker.analysis.model import Metric, Run
from stoker.analysis.values import RunInfo, State

NOW = 1_700_100_000.0
STRENGTHS = ("weak", "clear", "strong")
FINISHED = State("finished", "exit record: code 0", 0)
Random = np.random.Generator
Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass
class Curve:
    """A run in the making."""

    family: str
    metrics: dict[str, tuple[Array, Array]] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    seconds: Array | None = None
    state: State = FINISHED
    silent_s: float = 0.0
    machine: Machine = field(default_factory=Machine)
    faults: frozenset[str] = frozenset()
    also: frozenset[str] = frozenset()
    strength: str = ""

    def values(self, name: str) -> Array:
        return self.metrics[name][1]

    def run(self) -> Run:
        """As the readers give it."""
        end = NOW - self.silent_s
        metrics = {}
        for name, (steps, values) in self.metrics.items():
            times = None
            if self.seconds is not None and len(self.seconds) == len(steps):
                times = end - self.seconds[-1] + self.seconds
            metrics[name] = Metric(name, steps, values, times, ("metrics.jsonl",))
        info = RunInfo(
            "jsonl", "run", None, None, None, None, (), None, None, None, self.state, None, end, 1, ("metrics.jsonl",),
            self.config,
        )  # fmt: skip
        return Run(info, metrics, {}, {}, {}, (), ())


# Writes a curve as JSON lines into a folder, and its settings beside it: the fixture `written`.
Written = Callable[[Curve], Path]

# Shapes of healthy runs -------------------------------------------------------------------------------------------


def _length(random: Random) -> int:
    return int(np.exp(random.uniform(np.log(600), np.log(5000))))


def _steps(n: int, random: Random) -> Array:
    return np.arange(n, dtype=np.float64) * float(random.choice([1, 10, 50]))


def _noisy(clean: Array, random: Random, low: float = 0.003, high: float = 0.04) -> Array:
    """Noise that shrinks with the loss, as that of batches does."""
    return clean * (1 + random.uniform(low, high) * random.normal(size=len(clean)))


def _fall(n: int, random: Random) -> Array:
    """Exponentials and power laws over a floor; they still fall at the end."""
    t = np.arange(n) / n
    floor, gain = random.uniform(0.2, 2.5), random.uniform(0.8, 6.0)
    if random.random() < 0.5:
        return floor + gain * np.exp(-t / random.uniform(0.15, 0.4))
    return floor + gain * (1 + random.uniform(20, 300) * t) ** -random.uniform(0.25, 0.6)


def _rate(n: int, random: Random, kind: str) -> Array:
    warm = max(2, int(n * random.uniform(0.01, 0.08)))
    t = np.arange(n, dtype=np.float64)
    share = np.clip((t - warm) / (n - warm), 0, 1)
    after = {"cosine": 0.5 * (1 + np.cos(np.pi * share)), "linear": 1 - share, "constant": np.ones(n)}[kind]
    return 10 ** random.uniform(-4.5, -2.5) * np.where(t < warm, t / warm, after)


def _grads(n: int, random: Random) -> Array:
    """Skewed, with a fall to a third over the run."""
    return random.uniform(0.3, 5) * (0.3 + 0.7 * np.exp(-np.arange(n) / n * 4)) * random.lognormal(0, 0.25, n)


def _times(n: int, random: Random) -> Array:
    """Steps of about equal time, with a validation now and then."""
    each = random.uniform(0.05, 2.0) * random.lognormal(0, 0.05, n)
    each[:: max(50, n // 20)] *= random.uniform(3, 20)
    return np.cumsum(each)


def plain(random: Random, family: str = "exponential or power law") -> Curve:
    """Loss, norm of gradients, constant rate after a warm-up, times."""
    n = _length(random)
    steps = _steps(n, random)
    curve = Curve(family, seconds=_times(n, random))
    curve.metrics["train/loss"] = steps, _noisy(_fall(n, random), random)
    curve.metrics["grad_norm"] = steps, _grads(n, random)
    curve.metrics["lr"] = steps, _rate(n, random, "constant")
    return curve


def cosine(random: Random) -> Curve:
    """A loss that bends with its cosine, settings that say so, and a flat end that is meant."""
    curve = plain(random, "cosine schedule")
    steps, _ = curve.metrics["train/loss"]
    n = len(steps)
    rate = _rate(n, random, "cosine")
    progress = np.cumsum(rate) / rate.sum()
    clean = random.uniform(0.2, 2) + random.uniform(1, 5) * np.exp(-progress * random.uniform(2, 5))
    curve.metrics["train/loss"] = steps, _noisy(clean, random)
    curve.metrics["lr"] = steps, rate
    warm = int(np.flatnonzero(rate >= rate.max() * 0.999)[0])
    curve.config = {
        "lr_scheduler_type": "cosine", "warmup_steps": float(steps[warm]), "max_steps": float(steps[-1]),
        "learning_rate": float(rate.max()),
    }  # fmt: skip
    return curve


def restarts(random: Random) -> Curve:
    """Warm restarts: the loss jumps up with the rate and comes down further each time."""
    curve = plain(random, "warm restarts")
    steps, _ = curve.metrics["train/loss"]
    n, cycles = len(steps), int(random.integers(2, 6))
    phase = (np.arange(n) * cycles / n) % 1
    rate = 1e-3 * 0.5 * (1 + np.cos(np.pi * phase))
    clean = _fall(n, random)
    bump = random.uniform(0.05, 0.15) * (rate / rate.max()) * clean * np.minimum(1, np.arange(n) * cycles / n)
    curve.metrics["train/loss"] = steps, _noisy(clean + bump, random, 0.003, 0.02)
    curve.metrics["lr"] = steps, rate
    return curve


def step_decay(random: Random) -> Curve:
    """The rate falls to a tenth twice, and the loss with it at once."""
    curve = plain(random, "step decay")
    steps, _ = curve.metrics["train/loss"]
    n = len(steps)
    rate, drop = np.full(n, 0.1), np.zeros(n)
    for at, size in ((0.4, 0.35), (0.75, 0.15)):
        rate[int(at * n) :] *= 0.1
        t = np.clip(np.arange(n) / n - at, 0, None)
        drop += size * (1 - np.exp(-t / 0.01))
    clean = 0.4 + 1.6 * np.exp(-np.arange(n) / n / 0.25) + 0.6 * (1 - drop)
    curve.metrics["train/loss"] = steps, _noisy(clean, random, 0.005, 0.05)
    curve.metrics["lr"] = steps, rate
    return curve


def accumulation(random: Random) -> Curve:
    """Gradient accumulation: each step is logged once for each of its batches, and a step's batches differ."""
    curve = plain(random, "gradient accumulation")
    steps, _ = curve.metrics["train/loss"]
    n, each = len(steps), int(random.integers(2, 9))
    curve.metrics["train/loss"] = np.floor(steps / steps[1] / each), _noisy(_fall(n, random), random, 0.02, 0.1)
    return curve


def rewards(random: Random) -> Curve:
    """Reinforcement learning: a noisy reward that rises, losses of policy and value that go nowhere, an entropy."""
    curve = plain(random, "reinforcement learning")
    steps, _ = curve.metrics.pop("train/loss")
    n = len(steps)
    rising = 200 * (1 - np.exp(-np.arange(n) / n * random.uniform(1.5, 4)))
    curve.metrics["rollout/reward"] = steps, rising + (20 + 0.3 * rising) * random.standard_t(4, n)
    curve.metrics["train/policy_loss"] = steps, 0.01 * random.normal(size=n) + 0.002
    curve.metrics["train/value_loss"] = steps, random.gamma(2, 5, n) * (0.2 + rising / 200)
    curve.metrics["train/entropy_loss"] = steps, -1.5 + 0.8 * np.arange(n) / n + 0.02 * random.normal(size=n)
    return curve


def gan(random: Random) -> Curve:
    """Two losses that sway against each other and go nowhere."""
    curve = plain(random, "GAN")
    steps, _ = curve.metrics.pop("train/loss")
    n = len(steps)
    sway = np.sin(np.arange(n) * random.uniform(0.005, 0.05)) * random.uniform(0.05, 0.3)
    curve.metrics["loss_g"] = steps, 1.2 + sway + random.gamma(2, 0.1, n)
    curve.metrics["loss_d"] = steps, 0.9 - sway + random.gamma(2, 0.08, n)
    return curve


def validated(random: Random) -> Curve:
    """Validation 10 to 60 times in a run, a little above training, falling or flat at the end."""
    curve = plain(random, "sparse validation")
    steps, _ = curve.metrics["train/loss"]
    n = len(steps)
    clean = _fall(n, random)
    curve.metrics["train/loss"] = steps, _noisy(clean, random)
    at = np.linspace(0, n - 1, int(random.integers(10, 60))).astype(int)
    gap = 1 + random.uniform(0, 0.2) * at / n
    level = np.maximum(clean[at] * gap, np.minimum.accumulate(clean[at] * gap) * 0.999)
    level = np.minimum.accumulate(level)
    curve.metrics["val/loss"] = steps[at], level * (1 + random.uniform(0.001, 0.01) * random.normal(size=len(at)))
    accuracy = 0.9 * (1 - level / level[0] * 0.9)
    curve.metrics["val/acc"] = steps[at], accuracy + 0.005 * random.normal(size=len(at))
    return curve


def resumed(random: Random) -> Curve:
    """Two segments with an hour between them, and a loss that needs some steps to come back."""
    curve = plain(random, "resumed")
    steps, loss = curve.metrics["train/loss"]
    at = int(len(steps) * random.uniform(0.3, 0.7))
    back = np.zeros(len(steps))
    back[at:] = random.uniform(0, 0.03) * np.exp(-np.arange(len(steps) - at) / 20)
    curve.metrics["train/loss"] = steps, loss * (1 + back)
    assert curve.seconds is not None
    curve.seconds[at:] += 3600
    return curve


def heavy_tails(random: Random) -> Curve:
    """Noise of Student's t with 5 degrees of freedom, as small and unlike batches make it."""
    curve = plain(random, "heavy-tailed noise")
    steps, _ = curve.metrics["train/loss"]
    clean = _fall(len(steps), random)
    noise = random.uniform(0.01, 0.05) * random.standard_t(5, len(steps))
    curve.metrics["train/loss"] = steps, clean * np.maximum(0.05, 1 + noise)
    return curve


def smoothed(random: Random) -> Curve:
    """A running mean is logged: noise with a memory."""
    curve = plain(random, "running mean")
    steps, _ = curve.metrics["train/loss"]
    clean, keep = _fall(len(steps), random), random.uniform(0.5, 0.95)
    shocks, noise, state = 0.03 * random.normal(size=len(steps)), np.empty(len(steps)), 0.0
    for index, shock in enumerate(shocks):
        state = keep * state + (1 - keep) * shock
        noise[index] = state
    curve.metrics["train/loss"] = steps, clean * (1 + noise)
    return curve


def rounded(random: Random) -> Curve:
    """Hugging Face's Trainer: every tenth step, four digits, linear rate, few points."""
    n = int(random.integers(120, 600))
    steps = (np.arange(n, dtype=np.float64) + 1) * 10
    curve = Curve("Trainer, rounded to four digits")
    curve.metrics["loss"] = steps, np.round(_noisy(_fall(n, random), random), 4)
    peak = 5e-5
    curve.metrics["learning_rate"] = steps, peak * (1 - steps / steps[-1])
    curve.config = {"lr_scheduler_type": "linear", "max_steps": float(steps[-1]), "learning_rate": peak}
    return curve


def epochs(random: Random) -> Curve:
    """Fine-tuning that goes over few data again and again: the loss steps down with each epoch."""
    curve = plain(random, "epochs that show")
    steps, _ = curve.metrics["train/loss"]
    n, count = len(steps), int(random.integers(3, 6))
    epoch = (np.arange(n) * count) // n
    clean = 2.0 * 0.75**epoch + 0.3 * np.exp(-np.arange(n) / n / 0.1)
    curve.metrics["train/loss"] = steps, _noisy(clean, random, 0.02, 0.06)
    curve.also = frozenset({"change_point"})
    return curve


def sgd(random: Random) -> Curve:
    """SGD that begins at its full rate and falls at once, linear schedule."""
    curve = plain(random, "SGD without warm-up")
    steps, _ = curve.metrics["train/loss"]
    curve.metrics["lr"] = steps, 0.1 * (1 - np.arange(len(steps)) / len(steps))
    return curve


HEALTHY: tuple[Callable[[Random], Curve], ...] = (
    plain, cosine, restarts, step_decay, accumulation, rewards, gan, validated, resumed, heavy_tails, smoothed, rounded,
    epochs, sgd,
)  # fmt: skip
_BASES = (plain, cosine, heavy_tails, smoothed, sgd)

# Faults: each changes a healthy run -------------------------------------------------------------------------------


def _base(random: Random) -> Curve:
    return _BASES[int(random.integers(len(_BASES)))](random)


def _noise(values: Array) -> float:
    return float(1.4826 * np.median(np.abs(np.diff(values))) / np.sqrt(2))


def spike(random: Random, level: int) -> Curve:
    """1 to 4 points 10, 30 or 100 times the noise from point to point up, at least 5%, 10% or 30% of the level."""
    curve = _base(random)
    loss = curve.values("train/loss")
    for _ in range(int(random.integers(1, 4))):
        at = int(random.integers(len(loss) // 10, len(loss) - 20))
        height = max((10, 30, 100)[level] * _noise(loss[max(0, at - 50) : at + 50]), (0.05, 0.1, 0.3)[level] * loss[at])
        width = int(random.integers(1, 5))
        loss[at : at + width] += height * np.exp(-np.arange(width) / 2)
    return curve


def not_finite(random: Random, level: int) -> Curve:
    """One NaN; an infinity and five NaN; NaN to the end."""
    curve = _base(random)
    loss = curve.values("train/loss")
    at = int(random.integers(len(loss) // 4, len(loss) * 3 // 4))
    if level == 2:
        loss[at:] = np.nan
    else:
        loss[at : at + 1 + 5 * level] = np.nan
        loss[at] = np.inf if level else np.nan
    return curve


def divergence(random: Random, level: int) -> Curve:
    """45%, 100% or 300% of what was gained is lost again, for good."""
    curve = _base(random)
    loss = curve.values("train/loss")
    n = len(loss)
    at = int(n * random.uniform(0.4, 0.7))
    gained = float(np.median(loss[: n // 40]) - np.median(loss[at - n // 40 : at]))
    ramp = np.clip((np.arange(n) - at) / (n * random.uniform(0.02, 0.2)), 0, 1)
    loss += (0.45, 1.0, 3.0)[level] * max(gained, 0.3) * ramp
    curve.also = frozenset({"rate_too_high", "change_point", "instability", "plateau"})
    return curve


def exploding(random: Random, level: int) -> Curve:
    """Norms that grow 30, 300 or 5,000 times and stay."""
    curve = _base(random)
    norms = curve.values("grad_norm")
    n = len(norms)
    at = int(n * random.uniform(0.5, 0.8))
    norms *= np.exp(np.log((30, 300, 5000)[level]) * np.clip((np.arange(n) - at) / (0.05 * n), 0, 1))
    return curve


def vanishing(random: Random, level: int) -> Curve:
    """Norms that fall to 1/1,500, 1e-5 or 1e-9 of what they were."""
    curve = _base(random)
    norms = curve.values("grad_norm")
    n = len(norms)
    at = int(n * random.uniform(0.3, 0.6))
    norms *= np.exp(np.log((1 / 1500, 1e-5, 1e-9)[level]) * np.clip((np.arange(n) - at) / (0.1 * n), 0, 1))
    return curve


def overfit(random: Random, level: int) -> Curve:
    """Validation 3%, 15% or 50% worse than at its best, in the second half."""
    curve = validated(random)
    loss = curve.values("val/loss")
    n = len(loss)
    turn = int(n * random.uniform(0.3, 0.55))
    up = np.clip((np.arange(n) - turn) / (n - turn), 0, None)
    base = np.where(np.arange(n) < turn, loss, loss[turn])
    loss[:] = base * (1 + (0.03, 0.15, 0.5)[level] * up) * (1 + 0.003 * random.normal(size=n))
    del curve.metrics["val/acc"]
    return curve


def instability(random: Random, level: int) -> Curve:
    """Noise that grows 3.5, 10 or 30 times over a fifth of the run and stays."""
    curve = plain(random)
    loss = curve.values("train/loss")
    n = len(loss)
    at = int(n * random.uniform(0.3, 0.6))
    growth = 1 + ((3.5, 10, 30)[level] - 1) * np.clip((np.arange(n) - at) / (0.2 * n), 0, 1)
    sigma = max(_noise(loss[at // 2 : at]), 0.003 * float(np.median(loss)))
    loss += sigma * np.sqrt(growth**2 - 1) * random.normal(size=n)
    curve.also = frozenset({"spike", "divergence", "plateau"})
    return curve


def throughput(random: Random, level: int) -> Curve:
    """22%, 50% or 80% slower for a sixth to a third of the run, by times or by a metric."""
    curve = _base(random)
    assert curve.seconds is not None
    n = len(curve.seconds)
    begin = int(n * random.uniform(0.2, 0.65))
    end = min(n, begin + int(n * random.uniform(0.17, 0.35)))
    factor = 1 / (1 - (0.22, 0.5, 0.8)[level])
    each = np.diff(curve.seconds, prepend=0)
    each[begin:end] *= factor
    if random.random() < 0.5:
        curve.metrics["tokens_per_s"] = curve.metrics["train/loss"][0], 4096 / each
        curve.seconds = None
    else:
        curve.seconds = np.cumsum(each)
    return curve


def no_warmup(random: Random, level: int) -> Curve:
    """The loss rises by 15%, 80% or 300% within the first steps, and comes back."""
    curve = plain(random)
    steps, loss = curve.metrics["train/loss"]
    n = len(loss)
    curve.metrics["lr"] = steps, np.full(n, 3e-3)
    t = np.arange(n) / n
    loss += (0.15, 0.8, 3.0)[level] * loss[:5].mean() * (t / 0.02) * np.exp(1 - t / 0.02) * 1.6
    curve.also = frozenset({"spike", "change_point", "instability", "rate_too_high", "plateau"})
    return curve


def too_high(random: Random, level: int) -> Curve:
    """A long warm-up: from 40% to 80% of the peak on the loss rises by 12%, 50% or 200%."""
    curve = plain(random)
    steps, loss = curve.metrics["train/loss"]
    n = len(loss)
    warm = int(n * random.uniform(0.2, 0.4))
    curve.metrics["lr"] = steps, 1e-2 * np.minimum(1, np.arange(n) / warm)
    at = int(warm * random.uniform(0.4, 0.8))
    rise = 1 - np.exp(-np.clip(np.arange(n) - at, 0, None) / (0.15 * n))
    loss[:] = np.where(np.arange(n) < at, loss, np.median(loss[max(0, at - 10) : at + 1]) * (loss / _smooth(loss)))
    loss *= 1 + (0.12, 0.5, 2.0)[level] * rise
    curve.also = frozenset({"divergence", "instability", "plateau", "change_point"})
    return curve


def too_low(random: Random, level: int) -> Curve:
    """A straight line down by 18%, 6% or 2% in all, and little noise."""
    curve = plain(random)
    steps, loss = curve.metrics["train/loss"]
    n = len(loss)
    fallen = (0.18, 0.06, 0.02)[level]
    clean = random.uniform(1, 8) * (1 - fallen * np.arange(n) / n)
    curve.metrics["train/loss"] = steps, clean * (1 + 0.1 * fallen * random.normal(size=n))
    return curve


def schedule(random: Random, level: int) -> Curve:
    """Settings and rate differ: no warm-up is made, the peak is another one, or another schedule is run."""
    curve = cosine(random)
    steps, _ = curve.metrics["lr"]
    if level == 0:
        curve.config["warmup_steps"] = float(steps[len(steps) // 20])
    elif level == 1:
        curve.config["learning_rate"] *= float(random.choice([0.1, 2.0, 10.0]))
    else:
        curve.metrics["lr"] = steps, _rate(len(steps), random, str(random.choice(["linear", "constant"])))
        curve.config["learning_rate"] = float(curve.values("lr").max())
        curve.also = frozenset({"plateau"})
    return curve


def change_point(random: Random, level: int) -> Curve:
    """The level jumps up by 7%, 30% or 80% of itself, and by 2, 5 or 5 standard deviations at least."""
    curve = plain(random)
    loss = curve.values("train/loss")
    at = int(len(loss) * random.uniform(0.25, 0.75))
    near = loss[at - 30 : at]
    loss[at:] += max((0.07, 0.3, 0.8)[level] * float(np.median(near)), (2, 5, 5)[level] * _noise(near))
    curve.also = frozenset({"divergence", "rate_too_high", "plateau"})
    return curve


def plateau(random: Random, level: int) -> Curve:
    """Nothing gained in the last 45%, 60% or 100% of the run, at a constant rate."""
    curve = plain(random)
    steps, loss = curve.metrics["train/loss"]
    n = len(loss)
    stop = int(n * (0.55, 0.4, 0.0)[level])
    noise = loss / _smooth(loss)
    t = np.arange(n) / max(stop, 1)
    clean = random.uniform(0.3, 2) * (1 + random.uniform(1, 3) * np.exp(-4 * t)) if stop else np.full(n, 2.303)
    floor = clean[min(stop, n - 1)]
    curve.metrics["train/loss"] = steps, np.maximum(clean, floor) * np.clip(noise, 0.8, 1.2)
    return curve


def silence(random: Random, level: int) -> Curve:
    """Hangs with its file open; was killed without an end; ended with an exit code."""
    curve = _base(random)
    curve.silent_s = random.uniform(3, 20) * 3600
    curve.state = (
        State("running", "process 4711 has metrics.jsonl open for writing"),
        State("unfinished", "no exit record; no process that can be seen from here has it open for writing"),
        State("failed", "exit record: code 1", 1),
    )[level]
    return curve


def _smooth(values: Array, width: int = 41) -> Array:
    padded = np.pad(values, width // 2, mode="edge")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1))


FAULTS: Mapping[str, Callable[[Random, int], Curve]] = {
    "silence": silence, "not_finite": not_finite, "divergence": divergence, "exploding_gradients": exploding,
    "vanishing_gradients": vanishing, "overfit": overfit, "instability": instability, "spike": spike,
    "throughput_drop": throughput, "no_warmup": no_warmup, "rate_too_high": too_high, "rate_too_low": too_low,
    "schedule_mismatch": schedule, "change_point": change_point, "plateau": plateau,
}  # fmt: skip


def healthy(make: Callable[[Random], Curve], seed: int) -> Curve:
    """A healthy run."""
    return make(np.random.default_rng([seed, HEALTHY.index(make)]))


def faulty(name: str, level: int, seed: int) -> Curve:
    """A run with one fault."""
    curve = FAULTS[name](np.random.default_rng([seed, 100 + list(FAULTS).index(name), level]), level)
    curve.faults, curve.strength = frozenset({name}), STRENGTHS[level]
    return curve
