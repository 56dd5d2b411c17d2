# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `stoker update nodes` says at its end."""

from __future__ import annotations

import io

import pytest

from stoker.cli import render_updates
from stoker.cli.out import Out
from stoker.operations.updates import NodeUpdate, Outcome, UpdateReport


@pytest.mark.parametrize(("last", "warned"), [("untouched", True), ("updated", False)])
def test_the_next_command_brings_the_version_to_what_is_untouched(last: Outcome, warned: bool) -> None:
    first = NodeUpdate("n1", "put_back", "b" * 16, "a" * 16, "it failed")
    report = UpdateReport((first, NodeUpdate("n2", last, "b" * 16)), 1, dry_run=False, refused=False)
    stderr = io.StringIO()
    render_updates.report(report, Out(stdout=io.StringIO(), stderr=stderr))
    assert ("until the next command, which brings them this version, untested" in stderr.getvalue()) is warned
    assert ("pip install stoker==VERSION" in stderr.getvalue()) is warned
