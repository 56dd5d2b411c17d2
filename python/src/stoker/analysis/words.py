"""What the name of a metric says: its group, which way is better, and how soon a person wants to see it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from stoker.analysis.values import Direction

_DOWN = re.compile(
    r"loss|(^|[_/.-])(err|error|nll|mae|mse|rmse|mape|wer|cer|fid|ppl|perplexity|bpb|bpc|kl|elapsed|latency)($|[_/.-])"
)
_UP = re.compile(
    r"acc|(^|[_/.-])(f1|auc|auroc|ap|map|iou|miou|bleu|rouge\d?|psnr|ssim|precision|recall|reward|return|score|r2"
    r"|success|win_rate|mfu)($|[_/.-])|per_s(ec(ond)?)?$|throughput"
)
_MACHINE = re.compile(r"^(_|system[/.]|gpu\.|cpu\.|memory|disk|network|proc\.)")


def direction(name: str) -> Direction | None:
    """Which way is better, told by the name alone; None where it does not tell."""
    lower = name.lower()
    if _DOWN.search(lower):
        return "min"
    return "max" if _UP.search(lower) else None


def better(name: str, said: Mapping[str, str]) -> Direction | None:
    """Which way is better: what the writer said (`min`, `max`), else what the name tells, else None."""
    way = said.get(name)
    return "min" if way == "min" else "max" if way == "max" else direction(name)


def group(name: str) -> str:
    """`train` of `train/loss`; empty without a slash."""
    return name.rpartition("/")[0]


def importance(name: str) -> int:
    """0: a loss; 1: another result; 2: what steers a training; 3: the rest; 4: the machine."""
    lower = name.lower()
    if _MACHINE.search(lower):
        return 4
    if "loss" in lower:
        return 0
    if direction(name):
        return 1
    return 2 if re.search(r"grad_norm|learning_rate|(^|[/_])lr($|[/_-])", lower) else 3
