"""Which metrics of a run are what, told by their names and by the schema of the project."""

from __future__ import annotations

import re
from collections.abc import Callable

from stoker.analysis import words
from stoker.analysis.model import Run

_EDGE, _END = r"(^|[_/.\- ])", r"($|[_/.\- \d])"
# A number that scales, weighs or counts losses is no loss.
_NO_LOSS = re.compile(r"loss_?(scale|scaling|weight|coef|factor|ratio)|scale|num_?loss|n_loss")
# Losses that need not fall: of two networks against each other, and what steers a policy.
_NEED_NOT_FALL = re.compile(
    _EDGE + r"(g|d|gen|generator|disc|discriminator|adv|adversarial|gan|policy|pg|actor|critic|value|vf|entropy|alpha"
    r"|temperature|approx_kl|kl|surrogate|clip|commit(ment)?)" + _END
)
_VALIDATION = re.compile(_EDGE + r"(val|valid|validation|eval|evaluation|test|dev|heldout|holdout)" + _END)
_GRADIENT = re.compile(r"grad(ient)?s?([/_.\-].*)?norm|gnorm|norm.*grad")
_RATE = re.compile(r"(^|[/_.\-])lr($|[/_.\-\d])|learning_?rate")
_SPEED = re.compile(
    r"throughput|(tokens|samples|examples|images|imgs|frames|steps?|it|iter|batches|tok)(_per_|/)s(ec(ond)?)?($|[_/.])"
    r"|_per_s(ec(ond)?)?$|(^|[/_])(tps|fps|sps|tflops|mfu)$"
)
_TIME = re.compile(r"(step|batch|iter(ation)?)_?time|time_per_(step|batch|iter)|s(ec(ond)?s?)?_per_(step|iter|batch)")
_DROPPED = re.compile(r"^(train|training|val|valid|validation|eval|evaluation|test|dev|heldout|holdout|epoch|step)$")


def losses(run: Run) -> list[str]:
    """The losses, of training and of validation."""
    return _named(run, lambda name: words.importance(name) == 0 and not _NO_LOSS.search(name))


def falling(run: Run) -> list[str]:
    """The losses that fall in a training that works: not those of a GAN or of a policy."""
    return [name for name in losses(run) if not _NEED_NOT_FALL.search(name.lower())]


def training_losses(run: Run) -> list[str]:
    """The losses that have to fall, without those of validation."""
    return [name for name in falling(run) if not is_validation(run, name)]


def validations(run: Run) -> list[str]:
    """Metrics of validation of which it is known which way is better."""
    return _named(run, lambda name: is_validation(run, name) and sign(run, name) != 0 and words.importance(name) < 2)


def gradients(run: Run) -> list[str]:
    """Norms of gradients."""
    return _named(run, lambda name: bool(_GRADIENT.search(name)) and "clip" not in name)


def rates(run: Run) -> list[str]:
    """Learning rates."""
    return _named(run, lambda name: bool(_RATE.search(name)))


def speeds(run: Run) -> dict[str, int]:
    """Metrics that say how fast it goes: 1 where higher is faster, -1 for a time of each step."""
    found = dict.fromkeys(_named(run, lambda name: bool(_SPEED.search(name))), 1)
    return found | {name: -1 for name in _named(run, lambda name: bool(_TIME.search(name))) if name not in found}


def is_validation(run: Run, name: str) -> bool:
    """Whether a metric is one of validation, by the schema or by its name."""
    return words.group(name) in run.schema.validation or bool(_VALIDATION.search(name.lower()))


def sign(run: Run, name: str) -> int:
    """1 where lower is better, -1 where higher is, 0 where it is not known."""
    way = words.better(name, run.directions)
    return 1 if way == "min" else -1 if way == "max" else 0


def partner(run: Run, name: str) -> str | None:
    """The metric of training that a metric of validation is held against: of the same words, with the most points."""
    wanted = _words(run, name)
    same = [
        other
        for other in run.metrics
        if not is_validation(run, other) and words.importance(other) < 2 and _words(run, other) == wanted
    ]
    return max(same, key=lambda other: len(run.metrics[other]), default=None)


def _words(run: Run, name: str) -> tuple[str, ...]:
    prefix = words.group(name)
    rest = name[len(prefix) + 1 :] if prefix in run.schema.validation else name
    parts = re.split(r"[_/.\- ]+", rest.lower())
    return tuple(part for part in parts if part and not _DROPPED.match(part))


def _named(run: Run, wanted: Callable[[str], bool]) -> list[str]:
    return [name for name in sorted(run.metrics) if words.importance(name) < 4 and wanted(name.lower())]
