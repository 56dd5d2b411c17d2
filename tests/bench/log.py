# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A large log: read whole through Stoker, and scanned on the node."""

from __future__ import annotations

import filecmp
import random
import re
import shlex
import time
from pathlib import Path

from ansible_collections.stoker.fleet.plugins.module_utils.logscan import (
    DEFAULT_PATTERNS,
    EXAMPLE_METRICS,
    LogScanner,
)
from tests.bench.measure import PeakMemory, Usage, interleaved
from tests.bench.place import Place
from tests.bench.table import Table

MB = 1_000_000
_CHUNK = 1 << 20


def training_log(path: Path, size: int) -> Path:
    """An ordinary log of a training run: steps with metrics, now and then a warning, never twice the same numbers."""
    chance, written, step = random.Random(1), 0, 0
    with open(path, "w") as file:
        while written < size:
            step += 1
            clock = f"12:{step // 60 % 60:02d}:{step % 60:02d},{step % 1000:03d}"
            line = (
                f"2026-03-01 {clock} INFO trainer: epoch {step // 5000} "
                f"step {step} | loss: {2.3 / (1 + step * 1e-4) + chance.random() / 10:.4f} | lr: {3e-4:.2e} | "
                f"grad_norm: {chance.random() * 2:.3f} | {chance.randrange(9000, 12000)} tokens/s\n"
            )
            if step % 5000 == 0:
                line += f"WARNING data loader: worker 3 was {chance.random():.2f} s late\nval_loss: 1.{step}\n"
            written += file.write(line)
    return path


def read(place: Place, size: int, runs: int) -> Table:
    """The whole log of a job that is over, to a file."""
    (node,) = place.use(1)
    source = training_log(place.bed.folder / "train.log", size)
    copy = place.bed.folder / "copy.log"
    with place.fleet() as fleet:
        place.warm()
        job = fleet.jobs.run(["cat", str(source)], on="n1").wait(timeout=300)
    log = next(node.state_dir.glob(f"jobs/{job.id}/1/out.log"))
    stoker, cat = "stoker, warm: logs --all --raw", "ssh, shared connection: cat"
    peak = PeakMemory(place.meter.daemons, lambda argv: len(argv) > 2 and Path(argv[1]).name == "stoker")

    def by_stoker() -> Usage:
        with peak:
            usage = place.stoker("logs", job.id, "--all", "--raw", stdout=copy)
        if not filecmp.cmp(source, copy, shallow=False):
            raise RuntimeError("the log that came back is not the one that was written")
        return usage

    usages = interleaved({cat: lambda: place.ssh(f"cat {shlex.quote(str(log))}", stdout=copy), stoker: by_stoker}, runs)
    table = Table("log", f"Read a log of {size // MB} MB", (cat,), by="mb_s")
    table.add(cat, usages[cat], mb_s=size / MB / usages[cat].wall_s)
    table.add(stoker, usages[stoker], mb_s=size / MB / usages[stoker].wall_s, rss_mb=peak.main_bytes / MB)
    table.add("  its largest other process", rss_mb=peak.others_bytes / MB)
    return table


def scan(place: Place, size: int, runs: int) -> Table:
    """How fast the scanner goes over it, by CPU, next to grep with the same patterns."""
    source = training_log(place.bed.folder / "scan.log", size)
    needles = "|".join(re.escape(needle) for pattern in DEFAULT_PATTERNS for needle in pattern["needles"])
    # Looked for only after a traceback, which grep has no word for.
    regexes = "|".join(f"(?:{p['regex']})" for p in DEFAULT_PATTERNS if p["name"] != "exception")
    contenders = {
        "grep -c -E, the same words": lambda: _grep(place, "-E", needles, source),
        "grep -c -P, the same patterns": lambda: _grep(place, "-P", regexes, source),
        "scanner, its own patterns": lambda: _scan(source, []),
        f"scanner, with {len(EXAMPLE_METRICS)} metrics": lambda: _scan(source, EXAMPLE_METRICS),
    }
    table = Table("scan", f"Scan a training log of {size // MB} MB (MB/s of CPU)", tuple(contenders)[:2], by="mb_s")
    for name, usage in interleaved(contenders, runs).items():
        table.add(name, usage, mb_s=size / MB / usage.cpu_s)
    return table


def _grep(place: Place, kind: str, pattern: str, path: Path) -> Usage:
    # Code 1, no match, is no failure.
    script = 'LC_ALL=C grep -c "$1" -e "$2" "$3" || [ $? = 1 ]'
    return place.meter.command(["sh", "-c", script, "grep", kind, pattern, str(path)])


def _scan(path: Path, metrics: list[dict[str, object]]) -> Usage:
    scanner = LogScanner(metrics=metrics)
    wall, cpu = time.monotonic(), time.process_time()
    with open(path, "rb") as file:
        while data := file.read(_CHUNK):
            scanner.feed(data, scanner.position)
    scanner.finish()
    return Usage(time.monotonic() - wall, time.process_time() - cpu)
