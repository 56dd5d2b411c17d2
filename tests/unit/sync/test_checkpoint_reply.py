# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node says of a checkpoint is checked before anything of it reaches this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.stoker.fleet.plugins.action import checkpoint
from ansible_collections.stoker.fleet.plugins.module_utils import checkpoints
from ansible_collections.stoker.fleet.plugins.plugin_utils import rsync

SOUND = "a" * 64


def seen(folder: Path) -> dict[str, Any]:
    (folder / "out" / "sub").mkdir(parents=True)
    (folder / "out" / "model.pt").write_text("weights")
    (folder / "out" / "sub" / "state.pt").write_text("state")
    (folder / "out" / "last").symlink_to("model.pt")
    return dict(checkpoints.newest(str(folder / "out"), 0.0, over=True))


@pytest.mark.accepts("V17")
def test_what_a_node_says_of_a_checkpoint_is_taken(tmp_path: Path) -> None:
    found = seen(tmp_path)
    checkpoint._refuse_odd(found, found["entries"])


@pytest.mark.accepts("V17")
@pytest.mark.parametrize(
    "entries",
    [
        [["/etc/passwd", "644", SOUND, 1]], [["out/../../x", "644", SOUND, 1]], [["out//x", "644", SOUND, 1]],
        [["out", "link", SOUND, 0], ["out/x", "644", SOUND, 1]], [["out/x", "4755", SOUND, 1]],
        [["out/x", "644", "../../x", 1]],
    ],
)  # fmt: skip
def test_a_name_that_leads_out_of_its_folder_is_refused(tmp_path: Path, entries: list[list[Any]]) -> None:
    found = seen(tmp_path)
    told = checkpoints._told(found["folder"] + "/out", "mark", checkpoints._entries(str(tmp_path / "out")), entries)
    with pytest.raises(AnsibleActionFail, match=r"the node (names|says)"):
        checkpoint._refuse_odd(told, entries)


@pytest.mark.accepts("V17")
@pytest.mark.parametrize("digest", ["../../../x", SOUND, "", "A" * 64])
def test_the_digest_has_to_be_that_of_the_files(tmp_path: Path, digest: str) -> None:
    found = seen(tmp_path)
    with pytest.raises(AnsibleActionFail, match="digest that is not that of the files"):
        checkpoint._refuse_odd({**found, "digest": digest}, found["entries"])
    with pytest.raises(AnsibleActionFail, match="no file of a checkpoint"):
        checkpoint._refuse_odd({**found, "name": "../x"}, found["entries"])


def test_a_file_that_is_larger_than_what_was_said_stays_there(tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    for folder in (there, here):
        folder.mkdir()
    (there / "small").write_bytes(bytes(10))
    (there / "large").write_bytes(bytes(11))
    rsync.move(os.fsencode(there) + b"/", os.fsencode(here) + b"/", [b"small", b"large"], most=10)
    assert [path.name for path in here.iterdir()] == ["small"]
