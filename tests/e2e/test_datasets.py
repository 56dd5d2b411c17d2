# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data comes to a node once, is checked there, and jobs find it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cli import Cli
from sqlalchemy import update
from testbed import IsolatedNode, PlainNode

from stoker.store import open_store, schema

Stoker = Callable[..., Cli]
LISTS = 'ls "$STOKER_DATA"'
READS = 'echo "$STOKER_DATA"; cd "$STOKER_DATA" && cat *.txt'


def run(cli: Cli, data: Path, on: str = "n1") -> tuple[str, Path, str]:
    """What was said of the data, where a job found it, and what it read there."""
    said = cli("run", "--follow", "--on", on, "--dataset", str(data), "--", "sh", "-c", READS)
    assert said.code == 0, said
    place, _, text = said.out.partition("\n")
    return said.err, Path(place), text


@pytest.mark.accepts("V35")
def test_data_comes_once_and_anew_only_when_it_changed(
    stoker: Stoker, nodes: Callable[..., list[PlainNode]], tmp_path: Path
) -> None:
    first, second = nodes(2)
    cli = stoker(first, second)
    data = tmp_path / "images"
    (data / ".git").mkdir(parents=True)
    (data / ".git" / "config").write_text("of its repository")
    (data / "a.txt").write_text("a\n")
    (data / "b.txt").write_text("b\n")
    told, place, text = run(cli, data)
    assert ("images brought to n1: 2 files, 4 bytes" in told, text) == (True, "a\nb\n"), told
    assert place.parent.parent == first.state_dir / "snapshots"
    before = (place / "a.txt").stat().st_ino
    told, again, text = run(cli, data)
    assert ("images is on n1 already" in told, again, text) == (True, place, "a\nb\n"), told
    assert (place / "a.txt").stat().st_ino == before, "it was not touched"
    (data / "b.txt").write_text("other\n")
    told, changed, text = run(cli, data)
    assert ("images brought to n1" in told, text) == (True, "a\nother\n"), told
    assert changed != place
    assert (changed / "a.txt").stat().st_ino == before, "what is the same is there once"
    # Damaged there, after it came.
    (changed / "b.txt").write_text("damaged\n")
    told, place, text = run(cli, data)
    assert ("images brought to n1" in told, place, text) == (True, changed, "a\nother\n"), told
    # Where the node is not known yet, the round that starts the job brings it; a file is a dataset, too.
    job = cli.run("sh", "-c", 'cat "$STOKER_DATA"', options=("--dataset", str(data / "b.txt"), "--on", "n1,n2"))
    assert cli("wait", job).code == 0
    assert cli("logs", job).out == "other\n"
    missing = cli("run", "--dataset", str(tmp_path / "none"), "--", "true")
    assert (missing.code, "--dataset: there is no" in missing.err) == (2, True), missing
    # On a machine that has another name by now: as where the name was another one when it was submitted.
    second.down()
    words = ("--json", "--dataset", str(data / "b.txt"), "--on", "n2", "--", "sh", "-c", 'cat "$STOKER_DATA"')
    waits = cli("run", *words).json()["job"]["id"]
    with open_store(cli.env["STOKER_STORE_URL"]) as store, store.write() as transaction:
        row = transaction.job(waits)
        assert row is not None
        spec = {**row.spec, "dataset": {**row.spec["dataset"], "host": "renamed-since"}}
        transaction.change(update(schema.jobs).where(schema.jobs.c.id == waits).values(spec=spec))
    second.start()
    assert cli("wait", waits).code == 0
    assert cli("logs", waits).out == "other\n"


@pytest.mark.accepts("V35")
def test_two_jobs_at_once_bring_it_once(stoker: Stoker, node: PlainNode, tmp_path: Path) -> None:
    cli = stoker(node)
    data = tmp_path / "images"
    data.mkdir()
    (data / "a.txt").write_bytes(b"x" * 30_000_000 + b"\n")
    words = ("run", "--follow", "--on", "n1", "--dataset", str(data), "--", "sh", "-c", 'wc -c < "$STOKER_DATA/a.txt"')
    both = [cli.start(*words) for _ in range(2)]
    said = [process.communicate(timeout=180) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert [out.split() for out, _ in said] == [[b"30000001"], [b"30000001"]]
    told = b"".join(err for _, err in said)
    assert (told.count(b"images brought to n1"), told.count(b"images is on n1 already")) == (1, 1), said
    assert len([name for name in (node.state_dir / "snapshots").iterdir() if name.is_dir()]) == 1


@pytest.mark.accepts("V35")
def test_a_disk_that_does_not_keep_what_it_is_given_is_not_taken_for_damage_here(
    stoker: Stoker, node: PlainNode, tmp_path: Path
) -> None:
    cli = stoker(node)
    data, tools = tmp_path / "images", tmp_path / "tools"
    for folder in (data, tools):
        folder.mkdir()
    (data / "a.txt").write_text("a\n")
    (tools / "rsync").write_text(
        f'#!/bin/sh\n{shutil.which("rsync")} "$@"\nfor file in {node.state_dir}/snapshots/.new-*/images/a.txt; do\n'
        'echo other > "$file"\ndone\n'
    )
    (tools / "rsync").chmod(0o755)
    env = {"PATH": f"{tools}:{os.environ['PATH']}", "STOKER_LAUNCHER": "off"}
    said = cli("run", "--on", "n1", "--dataset", str(data), "--", "true", env=env)
    assert (said.code, "does not keep the names" in said.err, "changed here" in said.err) == (1, True, False), said
    assert [path for path in (node.state_dir / "snapshots").rglob("*") if path.is_file()] == []


@pytest.mark.root
@pytest.mark.accepts("V35")
def test_what_the_nodes_disk_cannot_hold_is_not_sent_and_no_half_of_it_stays(
    stoker: Stoker, isolated_nodes: Callable[..., list[IsolatedNode]], tmp_path: Path
) -> None:
    (node,) = isolated_nodes(1, host_vars={"stoker_state_dir": "/var/small"})
    assert node.ssh("mkdir -p /var/small && mount -t tmpfs -o size=110m,mode=0700 tmpfs /var/small").returncode == 0
    cli = stoker(node)
    data = tmp_path / "images"
    data.mkdir()
    (data / "a.bin").write_bytes(bytes(60_000_000))

    def bring(*, code: int, tools: Path | None = None) -> str:
        env = {"PATH": f"{tools}:{os.environ['PATH']}", "STOKER_LAUNCHER": "off"} if tools else None
        said = cli("run", "--follow", "--on", "i1", "--dataset", str(data), "--", "sh", "-c", LISTS, env=env)
        assert said.code == code, said
        return said.err + said.out

    told = bring(code=1)
    assert re.search(r"60,000,000 bytes of it are not there, and [\d,]+ are free at /var/small/snapshots; ", told), told
    assert node.ssh("du -sk /var/small/snapshots | cut -f1").stdout.strip() in ("0", "4")
    (data / "a.bin").write_bytes(bytes(26_000_000))
    assert bring(code=0).endswith("a.bin\n")
    # As a whole it would not fit beside the first, and most of it is there.
    (data / "b.bin").write_bytes(bytes(1000))
    assert bring(code=0).endswith("a.bin\nb.bin\n")
    # Somebody else fills the disk while it comes.
    (data / "c.bin").write_bytes(bytes(1000))
    full = tmp_path / "tools"
    full.mkdir()
    (full / "rsync").write_text(
        f'#!/bin/sh\n{shutil.which("rsync")} "$@"\ncase " $* " in *" --dry-run "*) exit;; esac\n'
        "echo 'rsync: write failed: No space left on device (28)' >&2\nexit 11\n"
    )
    (full / "rsync").chmod(0o755)
    assert "No space left on device" in bring(code=1, tools=full)
    assert node.ssh("find /var/small/snapshots/.new-* -type f").stdout == ""
