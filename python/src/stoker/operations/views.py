"""Rows of the store as the values that operations answer."""

from __future__ import annotations

import math
import posixpath
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stoker.operations.node_values import Container, Gpu, GpuProcess, Quarantine
from stoker.operations.results import results_of
from stoker.operations.values import Attempt, Checkpoint, Finding, Freshness, Job, Kept, Metric, Tracker

if TYPE_CHECKING:
    from stoker.operations.session import Session
    from stoker.store import AttemptRow, CheckpointRow, JobRow, NodeRow


def jobs_of(session: Session, rows: Iterable[JobRow], now: float | None = None) -> tuple[Job, ...]:
    """The jobs of `rows`, each with what its newest attempt and its node last showed (three queries, however many)."""
    rows = list(rows)
    moment = time.time() if now is None else now
    newest = {a.job_id: a for a in session.store.newest_attempts([row.id for row in rows])}
    nodes = {node.name: node for node in session.store.nodes()}
    kept = checkpoints_of(session, rows, newest)
    return tuple(
        replace(_job(row, newest.get(row.id), nodes.get(row.node or ""), moment), checkpoints=kept.get(row.id))
        for row in rows
    )


def checkpoints_of(session: Session, rows: Sequence[JobRow], newest: Mapping[str, AttemptRow]) -> dict[str, Kept]:
    """By job, what is kept of its checkpoints; a job that has none to keep is not in it."""
    wanted = [row for row in rows if row.spec.get("checkpoints")]
    if not wanted:
        return {}
    ids = [row.id for row in wanted]
    found, pulls = session.store.checkpoints.of_jobs(ids), session.store.checkpoints.pulls(ids)
    kept = {}
    for row in wanted:
        settings, pull, attempt = row.spec["checkpoints"], pulls.get(row.id), newest.get(row.id)
        resumed = attempt.resume if attempt is not None else None
        kept[row.id] = Kept(
            settings["path"], float(settings["every_s"]), tuple(checkpoint_of(each) for each in found.get(row.id, ())),
            {name: value for name, value in resumed.items() if name not in ("schema", "place")} if resumed else None,
            pull.tried_at if pull else None, pull.problem if pull else None,
        )  # fmt: skip
    return kept


def checkpoint_of(row: CheckpointRow) -> Checkpoint:
    """One checkpoint."""
    host, _, folder = row.place.partition(":")
    return Checkpoint(
        row.name, row.step, row.files, row.bytes, row.digest, row.of_job, row.attempt, row.node, host,
        posixpath.join(folder, row.digest, "tree", row.name), row.written_at, row.at, row.damaged,
    )  # fmt: skip


def job_of(session: Session, row: JobRow) -> Job:
    """One job."""
    return jobs_of(session, [row])[0]


def _put_back(row: JobRow) -> int:
    """How many attempts were stopped to be followed by another one: those use up no retry."""
    ended = row.attempt if row.state == "queued" and row.node is None else row.attempt - 1
    return max(0, ended - row.retries_used)


def _job(row: JobRow, attempt: AttemptRow | None, node: NodeRow | None, now: float) -> Job:
    seen: Mapping[str, Any] = (attempt.observation if attempt else None) or {}
    live = row.state in ("queued", "starting", "running") and attempt is not None
    unreachable_since = node.unreachable_since if node and live else None
    gpus = tuple(seen.get("gpus") or ())
    return Job(
        id=row.id,
        name=row.name,
        state=row.state,
        reason=row.reason,
        detail=row.detail,
        evidence=seen.get("evidence") if not _overtaken(attempt, seen) else row.detail,
        node=row.node,
        target=row.target,
        attempt=row.attempt,
        max_attempts=row.max_retries + 1 + _put_back(row),
        next_attempt_at=row.not_before if row.state == "queued" and row.attempt and row.node is None else None,
        exit_code=row.exit_code,
        signal=row.signal,
        oom=seen.get("oom"),
        argv=tuple(row.spec["argv"]) if row.spec.get("argv") is not None else None,
        script=row.spec.get("script"),
        workdir=row.spec.get("workdir"),
        gpus_asked=int(row.spec.get("gpus") or 0),
        gpus=gpus,
        gpu_indexes=_indexes(gpus, node),
        elapsed_s=_elapsed(row, attempt, unreachable_since, now),
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        observed_at=attempt.observed_at if attempt else None,
        unreachable_since=unreachable_since,
        unreachable_message=why_unreachable(node) if unreachable_since is not None else None,
        stopping=bool(seen.get("stopping")),
        stop_requested=row.stop_requested,
        retry_of=row.retry_of,
        template=row.template,
        submitted_by=row.submitted_by,
        waiting=seen.get("waiting") if row.state == "queued" else None,
        last_line=seen.get("last_line"),
        log_size=seen.get("log_size"),
        metrics={name: _metric(value) for name, value in (seen.get("metrics") or {}).items()},
        findings=tuple(
            Finding(f["line"], f["offset"], f["name"], f["severity"], f["text"]) for f in seen.get("findings") or ()
        ),
        finding_counts=dict(seen.get("finding_counts") or {}),
        trackers=tuple(Tracker(t["tracker"], t.get("url"), t.get("folder")) for t in seen.get("trackers") or ()),
        sample=seen.get("sample"),
        rung=seen.get("rung"),
        left_behind=seen.get("left_behind"),
        confirmed=attempt is not None and attempt.confirmed_at is not None,
        snapshot=row.spec.get("snapshot"),
        results=results_of(row, node),
        preflight=tuple(str(item.get("text")) for item in seen.get("preflight") or ()),
        container=(row.spec.get("container") or {}).get("image"),
        sandbox=row.spec.get("sandbox"),
        user=row.spec.get("user"),
        gang=row.gang,
        rank=row.rank,
        ranks=int((row.wants or {}).get("ranks") or 1) if row.gang is not None else None,
        lease_s=_lease_s(row, attempt),
        agent={name: value for name, value in (row.spec.get("agent") or {}).items() if name != "prompt"} or None,
        usage=seen["usage"] if isinstance(seen.get("usage"), Mapping) else None,
    )


def _overtaken(attempt: AttemptRow | None, seen: Mapping[str, Any]) -> bool:
    """Whether something else than its node's last word decided how the attempt is: what that proved counts no more."""
    return attempt is not None and seen.get("state", attempt.state) != attempt.state


def _lease_s(row: JobRow, attempt: AttemptRow | None) -> float | None:
    asked = row.spec.get("lease") or {}
    found = attempt.lease if attempt is not None and attempt.lease is not None else None
    if found is None and asked.get("policy") == "move":
        found = asked
    return float(found["seconds"]) if found is not None else None


def why_unreachable(node: NodeRow | None) -> str | None:
    """Why a node could not be asked, in one line, without Ansible's and ssh's introductions."""
    if node is None or node.unreachable_message is None:
        return None
    from stoker.runner.diagnose import one_line

    return one_line(node.unreachable_message)


def _elapsed(row: JobRow, attempt: AttemptRow | None, unreachable_since: float | None, now: float) -> float | None:
    """Seconds by the node's clock; while the job runs, what passed here since the node last told is added.

    Never the controller's clock minus the node's: they may differ by hours.
    """
    counted = attempt.elapsed_s if attempt is not None else None
    if counted is None:
        return row.elapsed_s
    if row.state != "running" or unreachable_since is not None or attempt is None or attempt.observed_at is None:
        return counted
    return counted + max(0.0, now - attempt.observed_at)


def _indexes(gpus: tuple[str, ...], node: NodeRow | None) -> tuple[int | None, ...]:
    known = {gpu.get("uuid"): gpu.get("index") for gpu in _gpu_facts(node)}
    return tuple(known.get(uuid) for uuid in gpus)


def _gpu_facts(node: NodeRow | None) -> list[Mapping[str, Any]]:
    facts = (node.facts if node else None) or {}
    gpus = facts.get("gpus")
    return [gpu for gpu in gpus if isinstance(gpu, Mapping)] if isinstance(gpus, list) else []


def _metric(value: Mapping[str, Any]) -> Metric:
    return Metric(
        count=int(value.get("count") or 0),
        first=_number(value.get("first")),
        last=_number(value.get("last")),
        min=_number(value.get("min")),
        max=_number(value.get("max")),
        series=tuple((_number(line) or 0.0, _number(point) or 0.0) for line, point in value.get("series") or ()),
    )


def _number(value: Any) -> float | None:
    """A metric's value: a number, or one of the texts nan, inf, -inf that stand for what JSON has not."""
    if value is None:
        return None
    return float(value) if isinstance(value, int | float | str) else math.nan


def attempt_of(row: AttemptRow) -> Attempt:
    """One attempt."""
    return Attempt(
        number=row.number,
        node=row.node,
        state=row.state,
        reason=row.reason,
        exit_code=row.exit_code,
        signal=row.signal,
        started_at=row.started_at,
        ended_at=row.ended_at,
        elapsed_s=row.elapsed_s,
    )


def gpus_of(node: NodeRow | None, held: Mapping[str, str]) -> tuple[Gpu, ...] | None:
    """The GPUs of a node from its facts, None when it never told. `held` says which job holds which UUID."""
    if node is None or "gpus" not in (node.facts or {}):
        return None
    if not isinstance(node.facts["gpus"], list):
        return None
    return tuple(_gpu(node.name, gpu, held) for gpu in _gpu_facts(node))


def _gpu(node: str, gpu: Mapping[str, Any], held: Mapping[str, str]) -> Gpu:
    uuid, holders = gpu.get("uuid"), gpu.get("held_by") or ()
    unified, throttle, processes = gpu.get("unified_memory"), gpu.get("throttle"), gpu.get("processes")
    return Gpu(
        index=gpu.get("index"),
        uuid=uuid,
        name=gpu.get("name"),
        memory_used=_mebibytes(gpu.get("mem_used_mib")),
        memory_total=_mebibytes(gpu.get("mem_total_mib")),
        utilisation=gpu.get("util_pct"),
        temperature=gpu.get("temp_c"),
        held_by=held.get(str(uuid)) or next(iter(holders), None),
        unknown=dict(gpu.get("unknown") or {}),
        node=node,
        source=gpu.get("source"),
        memory_utilisation=gpu.get("mem_util_pct"),
        unified=unified is not None,
        unified_total=_mebibytes(unified["total_mib"]) if unified else None,
        unified_used=_mebibytes(unified["used_mib"]) if unified else None,
        power=gpu.get("power_w"),
        power_limit=gpu.get("power_limit_w"),
        clock=gpu.get("clock_sm_mhz"),
        clock_memory=gpu.get("clock_mem_mhz"),
        throttle=None if throttle is None else tuple(throttle),
        ecc_uncorrected=gpu.get("ecc_uncorrected"),
        ecc_uncorrected_total=gpu.get("ecc_uncorrected_total"),
        quarantine=quarantine_of(gpu.get("quarantine")),
        health_unknown=dict(gpu.get("health_unknown") or {}),
        xids=None if gpu.get("xids") is None else tuple(int(xid["code"]) for xid in gpu["xids"]),
        busy_with=(gpu.get("busy") or {}).get("name"),
        processes=None
        if processes is None
        else tuple(GpuProcess(p["pid"], p["name"], _mebibytes(p["mem_mib"]), p["job"]) for p in processes),
    )


def quarantine_of(told: Mapping[str, Any] | None) -> Quarantine | None:
    """A quarantine as a node tells it; None: there is none."""
    if not told:
        return None
    return Quarantine(told["since"], told["until"], tuple(str(item["text"]) for item in told["evidence"]))


def containers_of(node: NodeRow | None) -> tuple[Container, ...] | None:
    """The containers of a node from its facts; None when it never told."""
    told = (node.facts if node else {}).get("containers")
    if not isinstance(told, list):
        return None
    return tuple(Container(**{name: item.get(name) for name in Container.__dataclass_fields__}) for item in told)


def _mebibytes(count: float | None) -> int | None:
    return None if count is None else int(count * 1024 * 1024)


def freshness_of(jobs: Iterable[Job], *, live: bool, now: float | None = None) -> Freshness:
    """How old the oldest observation of a job that is not over is; when all are over, nothing can have changed: 0."""
    moment = time.time() if now is None else now
    placed = [job for job in jobs if job.state in ("queued", "starting", "running") and job.attempt]
    ages = [moment - job.observed_at for job in placed if job.observed_at is not None and job.unreachable_since is None]
    age = max([0.0, *ages]) if ages else None if placed else 0.0
    return Freshness("live" if live else "stored", moment, age)
