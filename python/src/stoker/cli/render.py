"""Showing an answer: as JSON, or by the renderer of its kind; and the exit code that goes with it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from stoker.analysis import values as run_values
from stoker.cli import format as fmt
from stoker.cli import (
    render_benchmark,
    render_containers,
    render_disk,
    render_environments,
    render_gpus,
    render_history,
    render_jobs,
    render_nodes,
    render_queue,
    render_runs,
    render_services,
    render_store,
    render_streams,
    render_sync,
    render_telemetry,
    render_templates,
    render_top,
)
from stoker.cli.out import Out
from stoker.errors import UsageError
from stoker.operations import (
    benchmark,
    compare,
    container_images,
    containers,
    environments,
    gpus,
    node_values,
    queue,
    services,
    stats,
    stores,
    template,
    values,
)
from stoker.operations.disk import DiskReport
from stoker.operations.dispatch import RoundStream
from stoker.operations.events import EventStream
from stoker.operations.logs import LogPiece, LogStream, logs
from stoker.operations.session import Session
from stoker.operations.sync import SyncReport
from stoker.operations.telemetry import SampleStream
from stoker.operations.top import TopStream
from stoker.operations.watch import WatchStream

if TYPE_CHECKING:
    from stoker.cli.build import Call

RENDERERS: dict[type, Callable[[Any, Out], None]] = {
    values.JobList: render_jobs.job_list,
    values.JobDetail: render_jobs.job_detail,
    values.Submitted: render_jobs.submitted,
    values.Ended: render_jobs.ended,
    values.StopList: render_jobs.stop_list,
    values.Signalled: render_jobs.signalled,
    values.CleanReport: render_jobs.clean_report,
    values.AdoptReport: render_jobs.adopt_report,
    template.TemplateSaved: render_templates.saved,
    template.TemplateList: render_templates.template_list,
    template.TemplateDetail: render_templates.template_detail,
    template.TemplateDeleted: render_templates.deleted,
    stats.JobStats: render_history.job_stats,
    compare.Comparison: render_history.comparison,
    node_values.Status: render_nodes.status,
    node_values.NodeList: render_nodes.node_list,
    node_values.GpuList: render_gpus.gpu_list,
    gpus.GpuReleased: render_gpus.released,
    values.ExecReport: render_nodes.exec_report,
    queue.QueueList: render_queue.queue_list,
    queue.Queued: render_queue.queued,
    queue.QueueChange: render_queue.queue_change,
    stores.StoreCopy: render_store.store_copy,
    stores.StoreCheck: render_store.store_check,
    values.Written: render_nodes.written,
    benchmark.BenchmarkReport: render_benchmark.report,
    environments.EnvironmentReport: render_environments.report,
    environments.EnvironmentList: render_environments.listing,
    SyncReport: render_sync.sync_report,
    DiskReport: render_disk.disk_report,
    containers.ContainerList: render_containers.container_list,
    containers.ContainerChange: render_containers.container_change,
    containers.ContainerLog: render_containers.container_log,
    container_images.UpdateList: render_containers.update_list,
    container_images.Installed: render_containers.installed,
    services.ServiceList: render_services.service_list,
    services.ServiceChange: render_services.service_change,
    run_values.RunList: render_runs.run_list,
    run_values.RunSummary: render_runs.summary,
    run_values.RunKeys: render_runs.keys,
    run_values.RunConfig: render_runs.config,
    run_values.RunNotes: render_runs.notes,
    run_values.RunHistory: render_runs.history,
    run_values.RunChart: render_runs.chart,
    run_values.RunStats: render_runs.stats,
    run_values.RunStability: render_runs.stability,
    run_values.Ranking: render_runs.ranking,
    run_values.RunComparison: render_runs.comparison,
}
# What a terminal would obey or nobody would see, and JSON need not have as it is.
_UNSEEN = re.compile(
    "[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
    "\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
STREAMS = (LogStream, WatchStream, RoundStream, EventStream, SampleStream, TopStream)
Stream = LogStream | WatchStream | RoundStream | EventStream | SampleStream | TopStream


def show(value: Any, call: Call, out: Out, session: Session) -> int:
    """Print `value` and return the exit code of the command."""
    if isinstance(value, STREAMS):
        return _show_stream(value, call, out)
    follow = call.follow and isinstance(value, values.Submitted)
    if call.json:
        out.text(_json(call, value) + "\n")
    elif follow:
        render_jobs.started(value, out)
    else:
        RENDERERS[type(value)](value, out)
    _problems(getattr(value, "problems", ()), out)
    if follow:
        return _show_stream(logs(session, value.job.id, follow=True), call, out)
    return exit_code(value)


def exit_code(value: Any) -> int:
    """0: all well. 1: a node could not be asked, or the job that was waited for did not succeed.

    A value that has an `exit_code` of its own knows better.
    """
    code: int | None = getattr(value, "exit_code", None)
    if code is not None:
        return code
    if isinstance(value, values.Ended):
        return render_streams.outcome_code(value.job)
    if isinstance(value, values.StopList):
        return int(any(result.outcome not in ("stopped", "already_over") for result in value.stopped))
    if isinstance(value, values.Submitted):
        refused = value.job.reason == "start" and value.job.elapsed_s is None
        return int(refused or (bool(value.problems) and not value.job.confirmed))
    return int(bool(getattr(value, "problems", ())))


def check_raw(call: Call, out: Out) -> None:
    """Refuse `--raw` on a terminal: what a job prints may be commands to the terminal."""
    if call.raw and out.is_terminal:
        raise UsageError(
            "--raw is for files and pipes: a log may hold commands to the terminal", next_step="... --raw | less"
        )


def _show_stream(stream: Stream, call: Call, out: Out) -> int:
    if isinstance(stream, TopStream):
        return _json_lines([stream.once()], call, out) if call.json else render_top.show(stream, out)
    if call.json:
        return _json_lines(stream, call, out)
    if isinstance(stream, SampleStream):
        return render_telemetry.stream(stream, out)
    if isinstance(stream, LogStream):
        return render_streams.log(stream, out, raw=call.raw)
    if isinstance(stream, WatchStream):
        return render_streams.watch(stream, out)
    if isinstance(stream, queue.QueueStream):
        return render_queue.queue_stream(stream, out)
    if isinstance(stream, EventStream):
        return render_streams.events(stream, out)
    return render_streams.rounds(stream, out)


def _json_lines(stream: Iterable[Any], call: Call, out: Out) -> int:
    """A stream as JSON: one object a line; after a log, the job."""
    problems = False
    for piece in stream:
        out.text(_json(call, piece) + "\n")
        problems = bool(getattr(piece, "problems", ()))
    if isinstance(stream, SampleStream):
        return int(bool(stream.failed))
    if isinstance(stream, LogStream):
        if stream.outcome is not None:
            out.text(_json(call, stream.outcome) + "\n")
        return render_streams.log_exit_code(stream)
    if isinstance(stream, queue.QueueStream):
        return stream.exit_code
    return int(problems)


def _json(call: Call, value: Any) -> str:
    plain = fmt.plain(value)
    if isinstance(value, LogPiece):
        plain = _log_piece(value)
    if isinstance(value, values.ExecReport):
        for entry, output in zip(plain["outputs"], value.outputs, strict=True):
            entry.update(_exact("stdout", output.stdout), **_exact("stderr", output.stderr))
    if isinstance(value, values.WatchReport):
        plain.update(_exact("new_log", value.new_log))
    answer = {"schema": "stoker.result/1", "operation": call.operation.name, "ok": True, "value": plain}
    text = json.dumps(answer, ensure_ascii=not _utf8(), separators=(", ", ": "))
    return _UNSEEN.sub(lambda found: json.dumps(found[0])[1:-1], text)


def _utf8() -> bool:
    import sys

    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def _log_piece(piece: LogPiece) -> dict[str, Any]:
    where = {"job": piece.job, "attempt": piece.attempt, "offset": piece.offset, "next": piece.offset + len(piece.data)}
    return {**where, "source": piece.source, **_exact("data", piece.data)}


def _exact(name: str, data: bytes) -> dict[str, str]:
    """Bytes as text; where they are not UTF-8 also as base64, since text cannot hold them."""
    try:
        return {name: data.decode("utf-8")}
    except UnicodeDecodeError:
        return {name: data.decode("utf-8", "backslashreplace"), f"{name}_base64": base64.b64encode(data).decode()}


def _problems(problems: Iterable[values.Problem], out: Out) -> None:
    """What could not be asked, in the nodes' own words, on standard error."""
    for problem in problems:
        who = f"{problem.node}: " if problem.node and not problem.message.startswith(f"{problem.node}:") else ""
        verb = "could not be asked: " if problem.kind == "unreachable" else ""
        out.note(fmt.one_line(f"{who}{verb}{problem.message}"))
        if problem.next_step:
            out.note(fmt.one_line(f"  next: {problem.next_step}"))
