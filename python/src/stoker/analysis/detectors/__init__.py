"""Detectors: one small file each, behind `base.Detector`. `ALL` lists first what costs a run most."""

from __future__ import annotations

from stoker.analysis.detectors.base import Case, Detector, Limits
from stoker.analysis.detectors.change_points import ChangePoints
from stoker.analysis.detectors.divergence import Divergence
from stoker.analysis.detectors.gradients import Exploding, Vanishing
from stoker.analysis.detectors.instability import Instability
from stoker.analysis.detectors.learning_rate import NoWarmup, RateTooHigh, RateTooLow
from stoker.analysis.detectors.not_finite import NotFinite
from stoker.analysis.detectors.overfit import Overfit
from stoker.analysis.detectors.plateau import Plateau
from stoker.analysis.detectors.schedule import ScheduleMismatch
from stoker.analysis.detectors.silence import Silence
from stoker.analysis.detectors.spike import Spike
from stoker.analysis.detectors.throughput import ThroughputDrop
from stoker.analysis.values import Machine

ALL: tuple[Detector, ...] = (
    Silence(), Divergence(), Exploding(), Vanishing(), Overfit(), Instability(), RateTooHigh(), NoWarmup(),
    RateTooLow(), ScheduleMismatch(), ThroughputDrop(), NotFinite(), Spike(), ChangePoints(), Plateau(),
)  # fmt: skip

__all__ = ["ALL", "Case", "Detector", "Limits", "Machine"]
