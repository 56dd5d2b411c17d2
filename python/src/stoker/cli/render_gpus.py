"""GPUs on a terminal: one line each, and what is odd about them below."""

from __future__ import annotations

import time

from stoker.cli import format as fmt
from stoker.cli.out import Out, Piece
from stoker.operations.gpus import GpuReleased
from stoker.operations.node_values import Gpu, GpuList

COLUMNS = ("NODE", "GPU", "NAME", "MEMORY", "LOAD", "TEMP", "POWER", "CLOCK", "ECC", "JOBS")


def gpu_list(value: GpuList, out: Out) -> None:
    """`stoker gpus`."""
    if value.gpus:
        out.table(COLUMNS, [_row(gpu) for gpu in value.gpus])
        for gpu in value.gpus:
            _remarks(gpu, out)
    else:
        out.line("no GPU is known")
    for node, reason in value.unknown.items():
        out.line("  ", (node, "yellow"), f"  GPUs unknown: {fmt.one_line(reason)}")
    out.line((fmt.freshness(value.freshness, "stoker gpus"), "dim"))


def released(value: GpuReleased, out: Out) -> None:
    """`stoker gpu release`."""
    name = f"GPU {value.index} of {fmt.one_line(value.node)}"
    if value.was is None:
        out.line(f"{name} is not quarantined: nothing changed")
        return
    out.line(f"{name} may be used again; it was quarantined for {fmt.one_line('; '.join(value.was.evidence))}")
    out.line("  only what comes on top of this brings it back")


def memory(gpu: Gpu) -> str:
    """`12 of 80 GB`; of a GPU that uses the machine's memory that one, marked as such."""
    used, total = (gpu.unified_used, gpu.unified_total) if gpu.unified else (gpu.memory_used, gpu.memory_total)
    told = "unknown" if used is None else fmt.memory(used)
    return f"{told} of {'unknown' if total is None else fmt.memory(total)}{' (unified)' if gpu.unified else ''}"


def _row(gpu: Gpu) -> tuple[Piece, ...]:
    return (
        gpu.node or "-", "-" if gpu.index is None else str(gpu.index), fmt.one_line(gpu.name or "unknown"), memory(gpu),
        _figure(gpu.utilisation, "%"), _figure(gpu.temperature, " C"),
        _figure(gpu.power, " W") + (f" of {gpu.power_limit:.0f} W" if gpu.power_limit is not None else ""),
        _figure(gpu.clock, " MHz"), _figure(gpu.ecc_uncorrected, ""), fmt.one_line(", ".join(gpu.jobs)) or "-",
    )  # fmt: skip


def _figure(value: float | None, unit: str) -> str:
    return "unknown" if value is None else f"{value:.0f}{unit}"


def _remarks(gpu: Gpu, out: Out) -> None:
    where = f"  {gpu.node} GPU {'-' if gpu.index is None else gpu.index}"
    slowed = [reason for reason in gpu.throttle or () if reason != "idle"]
    if slowed:
        out.line(where, (f"  slowed down: {fmt.one_line(', '.join(slowed))}", "yellow"))
    if gpu.quarantine is not None:
        why = fmt.one_line("; ".join(gpu.quarantine.evidence))
        until = time.strftime("%Y-%m-%d %H:%M", time.localtime(gpu.quarantine.until))
        out.line(where, (f"  quarantined until {until}: {why}", "red"))
        out.line(f"{where}  next: stoker gpu release {gpu.node} {gpu.index}, when it was looked at")
    if gpu.busy_with:
        out.line(where, (f"  busy with {fmt.one_line(gpu.busy_with)}: no job gets it now", "yellow"))
    if gpu.health_unknown:
        told = "; ".join(f"{name}: {why}" for name, why in gpu.health_unknown.items())
        out.line(where, (f"  health not known in full: {fmt.one_line(told)}", "dim"))
    for process in gpu.processes or ():
        owner = f"job {process.job}" if process.job else "not a job of Stoker's here"
        held = "unknown memory" if process.memory is None else fmt.memory(process.memory)
        name = fmt.one_line(process.name or "unknown")
        out.line(f"{where}  process {process.pid}  {name}  {held}  {fmt.one_line(owner)}")
