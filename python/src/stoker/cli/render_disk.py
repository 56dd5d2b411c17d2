"""Disks on a terminal."""

from __future__ import annotations

from stoker.cli import format as fmt
from stoker.cli.out import Out, Piece
from stoker.operations.disk import DiskReport, Mount


def disk_report(value: DiskReport, out: Out) -> None:
    """`stoker disk`."""
    if value.mounts:
        out.table(("NODE", "MOUNT", "TYPE", "SIZE", "USED", "FREE", "FULL"), [_row(mount) for mount in value.mounts])
    for node, reason in value.unknown.items():
        out.line("  ", (node, "yellow"), f"  disks unknown: {fmt.one_line(reason)}")
    marked = sum(1 for mount in value.mounts if mount.full)
    if marked:
        out.line((f"{marked} of {len(value.mounts)} at {value.warn_pct:g} % or more", "yellow"))


def _row(mount: Mount) -> list[Piece]:
    sizes = [fmt.size(count) for count in (mount.total, mount.used, mount.free)]
    cells = [mount.node, fmt.one_line(mount.mount), mount.type, *(size if size != "-" else "unknown" for size in sizes)]
    return [*cells, _share(mount)]


def _share(mount: Mount) -> Piece:
    if mount.used_pct is None:
        return fmt.one_line(f"unknown: {mount.unknown or 'no reason told'}"), "yellow"
    text = f"{mount.used_pct:.0f}%"
    return (f"{text}  almost full", "yellow") if mount.full else text
