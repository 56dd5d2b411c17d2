"""Which of the nodes that have room a job goes to: the one with the highest score. Pure; docs/placement.md says it.

Each part of a score lies between 0 and 1, 1 is best; a part that is not known, or told by a sample that is too old,
counts 0.5, neither for nor against the node. The score is the mean of the parts by their weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from stoker.config import Weights
from stoker.dispatch.demand import FACTS_S
from stoker.store import JobRow, NodeRow, SampleRow

# An older sample says nothing of now, in seconds.
SAMPLE_S = 120.0
UNKNOWN = 0.5
# A network that moves so much is busy: 1 Gbit/s in bytes.
NETWORK_BYTES_S = 125e6


@dataclass(frozen=True)
class Part:
    """One part of a score: `value` from 0 to 1, None: not known; `why` says what it comes from."""

    value: float | None
    why: str


@dataclass(frozen=True)
class Score:
    """A node's score for one job. `age_s`: of the sample that was used, None: there was none that is new enough."""

    node: str
    total: float
    parts: Mapping[str, Part]
    age_s: float | None

    def document(self) -> dict[str, Any]:
        """As it is kept in the event of a claim."""
        parts = {name: {"value": part.value, "why": part.why} for name, part in self.parts.items()}
        return {"node": self.node, "score": self.total, "sample_age_s": self.age_s, "parts": parts}


@dataclass(frozen=True)
class Seen:
    """What is known of one node when it is scored; `samples` are recent ones, oldest first, `jobs` how many it has."""

    row: NodeRow | None
    samples: Sequence[SampleRow]
    jobs: int
    variables: Mapping[str, Any]


def score(node: str, job: JobRow, gpus: int, seen: Seen, ran_with: Mapping[str, frozenset[str]], weights: Weights,
          now: float) -> Score:  # fmt: skip
    """The score of `node` for `job`, which needs so many `gpus`, at `now` (Unix seconds)."""
    sample = seen.samples[-1] if seen.samples and now - seen.samples[-1].at <= SAMPLE_S else None
    parts = {
        "cpu": _used("CPU", sample.cpu_pct if sample else None),
        "memory": _used("memory", _share(sample.memory_used, sample.memory_total) if sample else None),
        "disk": _disk(sample),
        "network": _network(seen.samples, now),
        "jobs": Part(1.0 / (1 + seen.jobs), f"{seen.jobs} job{'' if seen.jobs == 1 else 's'} there"),
    }
    if gpus:
        parts |= {
            "gpu_memory": _gpu_memory(sample, gpus),
            "gpu_load": _gpu_load(sample, gpus),
            "health": _health(seen.row, now),
        }
    keys = keys_of(job)
    for name in ("code", "data"):
        wanted = [key for key in keys if (key.partition(" ")[0] == "data") == (name == "data")]
        if wanted:
            parts[name] = _had(node, wanted, ran_with, seen.variables)
    total = sum(getattr(weights, name) for name in parts)
    value = sum(getattr(weights, n) * (UNKNOWN if p.value is None else p.value) for n, p in parts.items())
    age = round(now - sample.at, 1) if sample else None
    return Score(node, round(value / total, 4) if total else UNKNOWN, parts, age)


def keys_of(job: JobRow) -> dict[str, str]:
    """What of a job a node may have already, as `kind name`, with the words by which the store finds it (JSON)."""
    from json import dumps

    spec, wants = job.spec, job.wants or {}
    found = {}
    if digest := (spec.get("snapshot") or {}).get("digest"):
        found[f"snapshot {digest}"] = f'"digest": {dumps(digest)}'
    elif (folder := spec.get("workdir")) and str(folder).startswith("/"):
        found[f"folder {folder}"] = f'"workdir": {dumps(folder)}'
    if image := (spec.get("container") or {}).get("image"):
        found[f"image {image}"] = f'"image": {dumps(image)}'
    for name in wants.get("data") or {}:
        found[f"data {name}"] = f"{dumps(name)}: 1"
    return found


def _used(what: str, percent: float | None) -> Part:
    if percent is None:
        return Part(None, f"{what} unknown")
    return Part(_clip(1.0 - percent / 100.0), f"{what} {percent:.0f}% used")


def _share(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else 100.0 * part / whole


def _disk(sample: SampleRow | None) -> Part:
    told = [d["used_pct"] for d in (sample.detail.get("disks") if sample else None) or () if d["used_pct"] is not None]
    return _used("emptiest disk", min(told) if told else None)


def _network(samples: Sequence[SampleRow], now: float) -> Part:
    """From what the two newest samples counted: all interfaces but the machine's own."""
    last = [sample for sample in samples if now - sample.at <= SAMPLE_S][-2:]
    counts = [_bytes(sample) for sample in last]
    if len(last) < 2 or None in counts or last[1].at <= last[0].at:
        return Part(None, "network unknown")
    rate = (counts[1] - counts[0]) / (last[1].at - last[0].at)  # type: ignore[operator]
    if rate < 0:
        return Part(None, "network unknown (it booted)")
    return Part(_clip(1.0 - rate / NETWORK_BYTES_S), f"network {rate / 1e6:.1f} MB/s")


def _bytes(sample: SampleRow) -> int | None:
    told = sample.detail.get("network")
    if not isinstance(told, list):
        return None
    return sum(int(item["rx_bytes"]) + int(item["tx_bytes"]) for item in told if item["name"] != "lo")


def _gpu_memory(sample: SampleRow | None, gpus: int) -> Part:
    """The share that is free on those that the job would get: the emptiest ones."""
    told = [
        _share(g["mem_used_mib"], g["mem_total_mib"]) for g in (sample.detail.get("gpus") if sample else None) or ()
    ]
    return _best("GPU memory", told, gpus)


def _gpu_load(sample: SampleRow | None, gpus: int) -> Part:
    told = [gpu["util_pct"] for gpu in (sample.detail.get("gpus") if sample else None) or ()]
    return _best("GPU load", told, gpus)


def _best(what: str, used: Sequence[float | None], count: int) -> Part:
    known = sorted(value for value in used if value is not None)[:count]
    if len(known) < count:
        return Part(None, f"{what} unknown")
    return _used(f"{what} (the best {count})" if len(used) > count else what, sum(known) / count)


def _health(row: NodeRow | None, now: float) -> Part:
    """A quarantined GPU counts as lost, one with an Xid, an ECC error or a busy process as half."""
    facts = row.facts if row is not None else {}
    gpus = facts.get("gpus")
    old = now - float(facts.get("gpus_at") or 0.0) > FACTS_S
    if not isinstance(gpus, list) or not gpus or old or not any("quarantine" in gpu for gpu in gpus):
        return Part(None, "health unknown")
    away = sum(1 for gpu in gpus if gpu.get("quarantine"))
    odd = sum(1 for gpu in gpus if not gpu.get("quarantine") and _suspect(gpu))
    text = f"{away} of {len(gpus)} GPUs quarantined, {odd} suspect" if away or odd else "GPUs healthy"
    return Part(_clip(1.0 - (away + 0.5 * odd) / len(gpus)), text)


def _suspect(gpu: Mapping[str, Any]) -> bool:
    return bool(gpu.get("xids") or gpu.get("ecc_uncorrected") or gpu.get("busy"))


def _had(node: str, keys: Sequence[str], ran_with: Mapping[str, frozenset[str]], variables: Mapping[str, Any]) -> Part:
    """The share of what the job wants that the node has: a job ran there with it, or `stoker_data` says so."""
    said = variables.get("stoker_data") or ()
    listed = {str(item) for item in ([said] if isinstance(said, str) else said)}
    here = [key for key in keys if node in ran_with.get(key, ()) or key.partition(" ")[2] in listed]
    text = f"has {len(here)} of {len(keys)}: " if here else "has none of "
    return Part(len(here) / len(keys), text + ", ".join(_short(key) for key in here or keys))


def _short(key: str) -> str:
    kind, _, name = key.partition(" ")
    return f"{kind} {name[:12] if kind == 'snapshot' else name}"


def _clip(value: float) -> float:
    return round(min(1.0, max(0.0, value)), 4)


def weights_of(weights: Weights) -> dict[str, float]:
    """The weights by name."""
    return {field.name: getattr(weights, field.name) for field in fields(weights)}
