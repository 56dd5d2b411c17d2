"""Why two runs came to different results: what differs between them, what other runs say of that, what is unknown."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stoker.analysis.answers import Cause, RunCauses
from stoker.analysis.compare import Side, compare, config_difference, flat
from stoker.analysis.errors import AnalysisError, Unreadable
from stoker.analysis.model import Run
from stoker.analysis.naming import chosen
from stoker.analysis.runs import Found
from stoker.analysis.statistics import stats
from stoker.analysis.values import RunInfo
from stoker.analysis.words import importance

# From this share of the change on, what other runs say speaks for a cause.
_SPEAKS_FOR = 0.25
_DATA = re.compile(r"data|corpus|(^|[._/-])(train|val|test)_?(file|path|dir|set)s?$", re.IGNORECASE)
_STEERS = re.compile(
    r"(^|[._/-])lr|learning_rate|batch|optim|momentum|beta|decay|warmup|schedul|dropout|depth|layer|width|hidden|heads|embed"
    r"|epoch|steps|loss|precision|amp|fp16|bf16|clip|model|arch|augment|tokeniz",
    re.IGNORECASE,
)
_SEED = re.compile(r"(^|[._/-])(random_)?seed($|[._/-])", re.IGNORECASE)
# What says where and how often a run writes, or what it is called, whatever else is in the key.
_WRITES = re.compile(
    r"(^|[._/-])((run|exp|experiment)[_-]?(name|id)|timestamp|start_time|hostname"
    r"|(output|out|log|logging|save|checkpoint|ckpt)s?_?(dir|path|file|folder|name|prefix|level|steps|every|interval|freq))$"
    r"|^wandb($|[._/-])",
    re.IGNORECASE,
)
_NAMES = re.compile(r"(^|[._/-])(output|logs?|save|host|name|id|dir|folder|project|notes|tags)$", re.IGNORECASE)
_HEAVY_PACKAGES = re.compile(
    r"torch|cuda|cudnn|nccl|numpy|jax|tensorflow|transformers|accelerate|flash|triton|apex|deepspeed"
)
# What is known to change results more often than what, where no other run tells: the order of causes.
_ORDER = ("data", "setting", "code", "package", "seed", "machine", "other setting", "other package", "name")
_MACHINE = ("gpu", "gpus", "cuda", "python", "os")


def why(
    a: Run, b: Run, *, key: str | None = None, others: Sequence[Found] = (), read: Callable[[Found], Run] | None = None
) -> RunCauses:
    """What differs between two runs, the likeliest cause of the change in metric `key` (the most important) first.

    `others` are runs that are asked what a difference did elsewhere. Raises NotThere for a metric that neither has.
    """
    shared = [name for name in a.metrics if name in b.metrics]
    if not shared:
        raise AnalysisError("the two runs have no metric in common", next_step="stoker runs keys RUN")
    names = [key] if key else sorted(shared, key=lambda name: (importance(name), "val" not in name.lower(), name))[:1]
    (name,) = chosen(names, shared, "what both runs have")
    change = next(m for m in compare(Side(a), Side(b)).metrics if m.name == name)
    elsewhere = _elsewhere(name, a, b, others, read)
    causes, unknown = _differences(a, b)
    judged = [_judged(cause, a, b, name, elsewhere) for cause in causes]
    judged.sort(key=lambda cause: (_stage(cause), -(cause.share or 0.0), _ORDER.index(cause.kind), cause.name))
    return RunCauses(a.info, b.info, change, tuple(judged), tuple(unknown), len(elsewhere))


def _stage(cause: Cause) -> int:
    """0: other runs speak for it; 1: nobody tells; 2: other runs speak against it; 3: a name that none speaks for."""
    if cause.share is not None and cause.share >= _SPEAKS_FOR:
        return 0
    return 3 if cause.kind == "name" else 1 if cause.share is None else 2


def _differences(a: Run, b: Run) -> tuple[list[Cause], list[str]]:
    causes: list[Cause] = []
    unknown: list[str] = []

    def compared(kind: str, name: str, one: Any, two: Any) -> None:
        missing = [letter for letter, value in (("A", one), ("B", two)) if value is None]
        if missing:
            unknown.append(f"{name} of {' and '.join(missing)}")
        elif one != two:
            causes.append(Cause(kind, name, one, two, None, None))

    compared("code", "commit", a.info.commit, b.info.commit)
    if a.info.config or b.info.config:
        causes += [
            Cause(_kind(c.key), c.key, c.a if c.a_has else "(not set)", c.b if c.b_has else "(not set)", None, None)
            for c in config_difference(a.info.config, b.info.config)
        ]
    unknown += [f"settings of {letter}" for letter, run in (("A", a), ("B", b)) if not run.info.config]
    one, two = _packages(a.info), _packages(b.info)
    if one is None or two is None:
        compared("package", "packages", one, two)
    else:
        for package in sorted({*one, *two}):
            kind = "package" if _HEAVY_PACKAGES.search(package) else "other package"
            if one.get(package) != two.get(package):
                versions = (one.get(package, "(not there)"), two.get(package, "(not there)"))
                causes.append(Cause(kind, package, *versions, None, None))
    for fact in _MACHINE:
        compared("machine", fact, a.info.facts.get(fact), b.info.facts.get(fact))
    compared("machine", "host", a.info.host, b.info.host)
    return causes, unknown


def _kind(key: str) -> str:
    if _SEED.search(key):
        return "seed"
    if _WRITES.search(key):
        return "name"
    # `model_name` and `dataset.id` are no names of runs.
    if _DATA.search(key):
        return "data"
    return "setting" if _STEERS.search(key) else "name" if _NAMES.search(key) else "other setting"


def _packages(info: RunInfo) -> Mapping[str, str] | None:
    """What W&B wrote down beside its file; None where nobody did."""
    path = Path(info.segments[-1]).parent / "files" / "requirements.txt"
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else None
    except OSError:
        lines = None
    if lines is None:
        return None
    pairs = (line.strip().partition("==") for line in lines if "==" in line)
    return {name.strip().lower(): version.strip() for name, _, version in pairs}


def _elsewhere(
    name: str, a: Run, b: Run, others: Sequence[Found], read: Callable[[Found], Run] | None
) -> list[tuple[Mapping[str, Any], RunInfo, float]]:
    """(settings, info, value of the metric) of each other run that has it."""
    known: list[tuple[Mapping[str, Any], RunInfo, float]] = []
    for found in others:
        if read is None or found.info.segments in (a.info.segments, b.info.segments):
            continue
        try:
            run = read(found)
        except Unreadable:
            continue  # the list of runs tells of it
        last = stats(run.metrics[name], run.directions).last if name in run.metrics else None
        if last is not None:
            known.append((flat(found.info.config), found.info, last.value))
    return known


def _judged(
    cause: Cause, a: Run, b: Run, metric: str, elsewhere: Sequence[tuple[Mapping[str, Any], RunInfo, float]]
) -> Cause:
    """The cause with what other runs say: how much of the change those with the one value and the other differ by."""
    ends = [stats(run.metrics[metric], run.directions).last for run in (a, b)]
    if ends[0] is None or ends[1] is None or ends[0].value == ends[1].value:
        return cause
    groups: tuple[list[float], list[float]] = ([], [])
    for settings, info, value in elsewhere:
        has = info.commit if cause.kind == "code" else settings.get(cause.name, "(not set)")
        if cause.kind in ("package", "other package", "machine"):
            has = info.facts.get(cause.name) if cause.kind == "machine" else None
        for group, wanted in zip(groups, (cause.a, cause.b), strict=True):
            if has is not None and has == wanted:
                group.append(value)
    if not groups[0] or not groups[1]:
        return cause
    means = [sum(group) / len(group) for group in groups]
    share = (means[1] - means[0]) / (ends[1].value - ends[0].value)
    said = (
        f"other runs: {means[0]:.4g} with the one ({len(groups[0])}), {means[1]:.4g} with the other ({len(groups[1])})"
    )
    return Cause(cause.kind, cause.name, cause.a, cause.b, share, said)
