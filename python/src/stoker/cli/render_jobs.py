"""Jobs on a terminal."""

from __future__ import annotations

import posixpath
import time

from stoker.cli import format as fmt
from stoker.cli import render_checkpoints, render_placement, render_use
from stoker.cli.out import Out, Piece
from stoker.operations.files import in_words
from stoker.operations.values import (
    AdoptReport,
    CleanReport,
    Ended,
    Job,
    JobDetail,
    JobList,
    Signalled,
    StopList,
    Submitted,
    Tracker,
)
from stoker.operations.waiting import waits_for

STYLES = {
    "running": "green", "starting": "green", "succeeded": "dim", "queued": "cyan", "cancelled": "dim",
    "failed": "red", "dead": "red", "lost": "red",
}  # fmt: skip
SHOWN_FINDINGS = 5


def state(job: Job, now: float) -> Piece:
    """The state, in its colour."""
    return fmt.state(job, now), "yellow" if job.unreachable_since is not None else STYLES.get(job.state, "")


def job_list(value: JobList, out: Out) -> None:
    """`stoker jobs`."""
    if not value.jobs:
        out.line("no jobs yet · stoker run -- COMMAND starts one")
        return
    table(value.jobs, out, value.freshness.asked_at)
    if value.left_out:
        out.line(f"and {value.left_out} older ones · stoker jobs --limit 0 shows all")
    out.line((fmt.freshness(value.freshness, "stoker jobs --live"), "dim"))


def table(jobs: tuple[Job, ...], out: Out, now: float) -> None:
    """One line for each job."""
    rows = [
        (job.id, state(job, now), job.node or "-", fmt.gpus(job), fmt.duration(job.elapsed_s), _last_words(job))
        for job in jobs
    ]
    columns = ("JOB", "STATE", "NODE", "GPU", "ELAPSED", "LAST LINE")
    if any(job.gang for job in jobs):
        ranks = [f"{job.rank} of {job.ranks}" if job.gang else "-" for job in jobs]
        out.table((*columns[:2], "RANK", *columns[2:]), [(*r[:2], n, *r[2:]) for r, n in zip(rows, ranks, strict=True)])
        return
    out.table(columns, rows)


def _last_words(job: Job) -> str:
    if job.unreachable_since is not None:
        return f"({_last_seen(job)})"
    if job.last_line:
        return fmt.one_line(job.last_line)
    return fmt.one_line(job.detail) if job.detail else "-"


def _last_seen(job: Job) -> str:
    return f"last seen {job.state}" if job.confirmed else "offered to the node, not yet taken"


def _lease(job: Job) -> str:
    """What becomes of a job while its node is away."""
    if job.lease_s is None:
        return "it is left alone until the node answers, and is not started elsewhere"
    return f"after {fmt.duration(job.lease_s)} without a word the node ends it, and it starts elsewhere"


def submitted(value: Submitted, out: Out) -> None:
    """`stoker run` without --follow."""
    job = value.job
    if value.cached:
        out.line(_cached(job))
    out.line((job.id, "bold"), "  ", *_sentence(job))
    _preflight(job, out)
    if job.finished:
        if job.state != "succeeded" and (why := job.evidence or job.detail):
            out.line(f"  {fmt.one_line(why)}")
        _figures(job, out)
        if results := _results(job):
            out.line(f"  results: {results}")
        out.line(f"  next: stoker logs {job.id}    ·    stoker job {job.id}")
        return
    if value.problems and not job.confirmed:
        out.line("  it stays queued and starts in a later round: stoker dispatch, or stoker dispatch --loop")
    out.line(f"  next: stoker logs -f {job.id}    ·    stoker watch {job.id}")


def started(value: Submitted, out: Out) -> None:
    """The head of `stoker run --follow`, on standard error: standard output is the job's own."""
    job = value.job
    if value.cached:
        out.note(_cached(job))
    words = "".join(p if isinstance(p, str) else p[0] for p in _sentence(job))
    more = "" if job.finished else "   (Ctrl-C leaves it running)"
    out.note(f"{job.id}  {words}{more}")
    for text in job.preflight:
        out.note(fmt.one_line(f"  warning: {text}"))


def _cached(job: Job) -> str:
    """Whose result this is, and how to have a new one."""
    age = fmt.duration(max(0.0, time.time() - job.created_at))
    return (
        f"cached: result of {job.id} of {age} ago: same code, data and parameters; nothing was started (--force does)"
    )


def _preflight(job: Job, out: Out) -> None:
    """What was odd about its GPUs when it took them."""
    for text in job.preflight:
        out.line("  ", ("warning", "yellow"), f": {fmt.one_line(text)}")


def _sentence(job: Job) -> list[Piece]:
    """`running on spark since 0.4 s`, `failed (oom) on rtx-03 after 4 m 02 s`, or where it waits and for what."""
    now = time.time()
    where = f" on {job.node}" if job.node else f" for {fmt.one_line(job.target)}" if job.target else ""
    if job.state == "running":
        return [state(job, now), f"{where} since {fmt.duration(job.elapsed_s)}"]
    if job.state in ("queued", "starting"):
        why = fmt.one_line(waits_for(job))
        return [state(job, now), where + (f": {why}" if why else "")]
    took = f" after {fmt.duration(job.elapsed_s)}" if job.elapsed_s is not None else ""
    times = f", attempt {job.attempt} of {job.max_attempts}" if job.max_attempts > 1 else ""
    return [state(job, now), where + took + times]


def outcome(job: Job, out: Out) -> None:
    """The block that ends a job: state, duration, exit, metrics, what next."""
    code = (
        f"  exit {job.exit_code}"
        if job.exit_code is not None
        else f"  {fmt.signal_name(job.signal)}"
        if job.signal
        else ""
    )
    where = f" on {job.node}" if job.node else ""
    took = f" in {fmt.duration(job.elapsed_s)}" if job.elapsed_s is not None else ""
    out.line((job.id, "bold"), "  ", state(job, time.time()), f"{where}{took}{code}")
    if job.state != "succeeded" and (why := job.evidence or job.detail):
        out.line(f"  {fmt.one_line(why)}")
    _figures(job, out)
    if results := _results(job):
        out.line(f"  results: {results}")
    if job.checkpoints is not None and job.state != "succeeded":
        for name, text in render_checkpoints.of_job(job):
            out.line(f"  {name}: {fmt.one_line(text)}")
    step = f"stoker retry {job.id}" if job.state in ("failed", "dead", "lost", "cancelled") else f"stoker job {job.id}"
    out.line(f"  next: stoker logs {job.id}    ·    {step}")


def _results(job: Job) -> str | None:
    """Where the results are, or the very command that fetches them; None: nothing is known of any."""
    told = job.results
    if told is None or not (job.finished or told.asked):
        return None
    if told.fetched_at is not None:
        count = f"{told.files} file{'s' * (told.files != 1)}"
        return fmt.one_line(f"{count} ({fmt.size(told.bytes)}) fetched to {told.local}")
    if not job.finished:
        return fmt.one_line(f"fetched to {told.host}:{told.local} when it is over")
    if told.problem is not None:
        return fmt.one_line(f"not fetched: {told.problem}" + (f"; {told.command}" if told.command else ""))
    return None if told.command is None else fmt.one_line(told.command)


def _figures(job: Job, out: Out) -> None:
    for name, metric in job.metrics.items():
        spark = fmt.sparkline(metric, ascii_only=out.ascii_only)
        course = (
            f"{fmt.number(metric.first)} → {fmt.number(metric.last)}" if metric.count > 1 else fmt.number(metric.last)
        )
        span = (
            f"   min {fmt.number(metric.min)}, max {fmt.number(metric.max)}, {metric.count} values"
            if metric.count > 1
            else ""
        )
        out.line(f"  {fmt.one_line(name)} {course} {spark}".rstrip() + span)
    for finding in job.findings[-SHOWN_FINDINGS:]:
        out.line("  ", (finding.severity, "red"), f" line {finding.line}: {fmt.one_line(finding.text)}")
    if len(job.findings) > SHOWN_FINDINGS:
        out.line(f"  and {len(job.findings) - SHOWN_FINDINGS} findings before these")


def job_detail(value: JobDetail, out: Out) -> None:
    """`stoker job ID`."""
    job = value.job
    out.line((job.id, "bold"), "  ", *_sentence(job))
    rows: list[tuple[str, str]] = [("command", fmt.command(job))]
    if job.workdir:
        rows.append(("folder", fmt.one_line(job.workdir)))
    apart = (("container", job.container), ("sandbox", job.sandbox), ("user", job.user))
    rows += [(name, fmt.one_line(text)) for name, text in apart if text]
    code = f"exit {job.exit_code}" if job.exit_code is not None else fmt.signal_name(job.signal) if job.signal else ""
    said = job.evidence or job.detail or ""
    if proof := "; ".join(part for part in ("" if code in said else code, said) if part):
        rows.append(("evidence", fmt.one_line(proof)))
    if job.snapshot:
        said = f"{job.snapshot['digest'][:12]}  {in_words(job.snapshot).removeprefix('snapshot of ')}"
        rows.append(("snapshot", fmt.one_line(said)))
    if job.gpus:
        rows.append(("GPU", f"{fmt.gpus(job)}  ({', '.join(fmt.one_line(uuid) for uuid in job.gpus)})"))
    rows += [("warning", fmt.one_line(text)) for text in job.preflight]
    if job.agent:
        rows.append(("agent", render_use.use(job.agent, job.usage)))
    if job.retry_of:
        rows.append(("again", f"of {job.retry_of}"))
    if job.template:
        rows.append(("template", job.template))
    rows += [("run", fmt.one_line(_tracked(tracker, job.workdir))) for tracker in job.trackers]
    for rank in value.gang:
        where = f" on {rank.node}" if rank.node else ""
        rows.append(("gang", f"rank {rank.rank} of {rank.ranks}  {rank.id}  {fmt.state(rank, time.time())}{where}"))
    if value.placement is not None:
        rows += [("placed", fmt.one_line(text)) for text in render_placement.lines(value.placement)]
    for machine in value.rented:
        from stoker.cli import render_vast

        rows.append(("rented", fmt.one_line(render_vast.of_job(machine))))
    if len(value.attempts) > 1:
        told = [f"{a.number} {a.state} on {a.node} ({fmt.duration(a.elapsed_s)})" for a in value.attempts]
        rows.append(("attempts", ", ".join(told)))
    if job.unreachable_since is not None:
        away = f"{job.node} cannot be reached: {job.unreachable_message}; {_last_seen(job)}; {_lease(job)}"
        rows.append(("node", fmt.one_line(away)))
    elif job.lease_s is not None and not job.finished:
        rows.append(("lease", _lease(job)))
    if results := _results(job):
        rows.append(("results", results))
    if job.checkpoints is not None:
        rows += [(name, fmt.one_line(text)) for name, text in render_checkpoints.of_job(job)]
    if job.left_behind:
        rows.append(("left", f"{job.left_behind} processes could not be ended"))
    if job.last_line:
        rows.append(("last line", fmt.one_line(job.last_line)))
    for name, text in rows:
        out.line("  ", (f"{name:<9}", "dim"), " ", text)
    _figures(job, out)
    out.line("  ", (f"{'next':<9}", "dim"), " ", _next(job))
    out.line((fmt.freshness(value.freshness, f"stoker job {job.id} --live"), "dim"))


def _tracked(tracker: Tracker, workdir: str | None) -> str:
    """The page of a run, or how one that was written offline gets one."""
    folder = posixpath.normpath(posixpath.join(workdir or "", tracker.folder or ""))
    return tracker.url or f"{tracker.tracker}, offline: wandb sync {fmt.quoted(folder)} sends it"


def _next(job: Job) -> str:
    if job.finished:
        return f"stoker logs {job.id}" + ("" if job.state == "succeeded" else f"    ·    stoker retry {job.id}")
    return f"stoker logs -f {job.id}    ·    stoker stop {job.id}"


def ended(value: Ended, out: Out) -> None:
    """`stoker wait`."""
    if value.timed_out:
        out.line((value.job.id, "bold"), "  ", *_sentence(value.job), "; it goes on")
        return
    outcome(value.job, out)


def stop_list(value: StopList, out: Out) -> None:
    """`stoker stop`."""
    for result in value.stopped:
        out.line(fmt.one_line(result.message))


def signalled(value: Signalled, out: Out) -> None:
    """`stoker signal`."""
    out.line(f"SIG{value.signal} sent to {value.job} on {fmt.one_line(value.node)}")
    out.line(f"  next: stoker logs -f {value.job}")


def clean_report(value: CleanReport, out: Out) -> None:
    """`stoker clean`."""
    if value.removed:
        columns = ("JOB", "NODE", "ATTEMPTS", "FREED")
        freed = "-" if value.dry_run else None
        out.table(columns, [(r.job, r.node or "-", str(r.attempts), freed or fmt.size(r.bytes)) for r in value.removed])
    verb = "would be deleted" if value.dry_run else "deleted"
    total = "" if value.dry_run else f", {fmt.size(sum(r.bytes for r in value.removed))} freed on the nodes"
    out.line(f"{len(value.removed)} {verb}{total}; {value.kept} finished kept")
    if value.unfetched:
        out.line(f"kept, their results were never fetched: {', '.join(value.unfetched)}")
        out.line(f"next: stoker wait {value.unfetched[0]}, or stoker clean --unfetched to delete them")
    if value.snapshots or value.node_snapshots:
        out.line(f"snapshots that no job uses, {verb}: {value.snapshots} here, {value.node_snapshots} on the nodes")
    if value.checkpoints:
        out.line(f"checkpoints that no job has any more, {verb}: {value.checkpoints}")


def adopt_report(value: AdoptReport, out: Out) -> None:
    """`stoker adopt`."""
    if value.adopted:
        table(value.adopted, out, time.time())
    out.line(f"{len(value.adopted)} adopted, {value.known} known already")
