# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A queue that is too long to be shown at once."""

from __future__ import annotations

import pytest

from stoker.cli.out import Out
from stoker.cli.render_queue import queue_list
from stoker.errors import UsageError
from stoker.operations import queue
from stoker.operations.session import Session


def test_a_long_queue_is_shown_in_pages_with_the_turn_of_each_job(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [session.store.add_job("a", {"argv": ["true"]}, queue="night").id for _ in range(7)]
    seen: list[str] = []
    for skip in (0, 3, 6, 9):
        (page,) = queue.list_queues(session, "night", limit=3, skip=skip).queues
        assert page.skipped == min(skip, 7)
        assert page.skipped + len(page.waiting) + page.left_out == 7
        seen += [job.id for job in page.waiting]
    assert seen == jobs
    queue_list(queue.list_queues(session, limit=3, skip=3), Out())
    shown = capsys.readouterr().out
    assert "and 1 behind them · stoker queue list night --skip 6" in shown
    assert [line.split()[:2] for line in shown.splitlines()[2:5]] == [[str(n), jobs[n - 1]] for n in (4, 5, 6)]
    assert len(queue.list_queues(session, limit=0).queues[0].waiting) == 7
    for wrong in ({"limit": -1}, {"skip": -1}):
        with pytest.raises(UsageError, match="-1"):
            queue.list_queues(session, **wrong)
