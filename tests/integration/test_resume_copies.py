# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An attempt's own copy of the checkpoint that it goes on from is there while the attempt is, and no longer."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from testbed import IsolatedNode, wait_until
from testbed.node_side import NodeSide

from ansible_collections.stoker.fleet.plugins.module_utils import tree

SMALL = "/var/small"


@pytest.fixture
def side(isolated_nodes: Any) -> NodeSide:
    """A node whose state folder is a file system of its own, 8 MB."""
    (node,) = isolated_nodes(1)
    made = node.ssh(f"mkdir -p {SMALL} && mount -t tmpfs -o size=8m,mode=0700 tmpfs {SMALL}")
    assert made.returncode == 0, made.stderr
    return NodeSide(node, state_dir=SMALL)


def checkpoint(node: IsolatedNode, count: int) -> dict[str, Any]:
    """One of so many bytes on the node, and what a spec says of it."""
    total = tree.Digest()
    total.add(b"model.pt", "644", hashlib.sha256(bytes(count)).hexdigest())
    folder = f"{SMALL}/snapshots/{total.hex()}"
    made = node.ssh(f"umask 022; mkdir -p {folder} && head -c {count} /dev/zero > {folder}/model.pt")
    assert made.returncode == 0, made.stderr
    return {"digest": total.hex(), "name": "model.pt", "step": 1, "job": "before", "attempt": 1}


def copies(node: IsolatedNode) -> list[str]:
    return node.ssh(f"find {SMALL}/jobs -path '*/resume/*' -o -path '*/tree/*'").stdout.split()


def gone(node: IsolatedNode) -> bool:
    return copies(node) == []


@pytest.mark.root
@pytest.mark.accepts("V18")
def test_the_copy_goes_when_its_attempt_ends_is_lost_or_has_no_room(side: NodeSide) -> None:
    node = side.node
    resume = checkpoint(node, 2_000_000)
    script = f"test -s $STOKER_RESUME_FROM; echo $? > {SMALL}/read; while ! test -e {SMALL}/go; do sleep 0.1; done"
    side.start("ends", script=script, resume=resume)
    side.wait("ends", lambda seen: seen["state"] == "running")
    assert copies(node) == [f"{SMALL}/jobs/ends/1/resume/model.pt"]
    node.ssh(f"touch {SMALL}/go")
    assert side.wait("ends")["state"] == "succeeded"
    assert node.ssh(f"cat {SMALL}/read").stdout.strip() == "0"
    wait_until(lambda: gone(node), "its copy goes", 60)
    side.start("lost", "sleep", "661.3", resume=resume)
    side.wait("lost", lambda seen: seen["state"] == "running")
    assert copies(node) == [f"{SMALL}/jobs/lost/1/resume/model.pt"]
    side.kill("lost", "supervisor", "recorder", "command")
    assert side.wait("lost")["state"] == "lost"
    assert gone(node)
    large = checkpoint(node, 3_500_000)
    files = {"digest": large["digest"], "files": 1, "bytes": 3_500_000, "folder": "/proj", "host": "here"}
    for job, given in (("resumes", {"resume": large}), ("runs", {"snapshot": files})):
        side.start(job, "true", **given)
        seen = side.wait(job)
        assert (seen["state"], seen["reason"]) == ("failed", "start"), seen
        assert "No space left" in seen["error"], seen
        wait_until(lambda: gone(node), "a half is not to keep the disk full", 60)
