# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs that were given up, and run again."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import pytest
from played import PlayedNodes

from stoker.errors import StokerError, UsageError
from stoker.operations import dead, submit
from stoker.operations.session import Session

pytestmark = pytest.mark.accepts("C50")


def test_two_that_answer_the_same_dead_jobs_at_once_answer_each_once(
    session: Session, nodes_played: PlayedNodes
) -> None:
    rows = [session.store.add_job(f"a{number}", {"argv": ["true"]}) for number in range(5)]
    for row in rows:
        nodes_played.show(row.id, "dead", elapsed_s=1.0)
    together, problems = threading.Barrier(4), list[StokerError]()

    def answer() -> None:
        together.wait()
        try:
            dead.revive(session, all=True)
        except StokerError as problem:
            problems.append(problem)

    threads = [threading.Thread(target=answer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert Counter(job.retry_of for job in session.store.jobs()) == {None: 5, **{row.id: 1 for row in rows}}
    with pytest.raises(UsageError, match="was run again already"):
        dead.revive(session, rows[0].id)


def test_it_stands_in_its_queue_again_and_with_its_priority(session: Session, nodes_played: PlayedNodes) -> None:
    row = session.store.add_job("a", {"argv": ["true"]}, queue="night", priority=7)
    nodes_played.show(row.id, "dead", elapsed_s=1.0)
    (again,) = dead.revive(session, row.id).jobs
    new = session.store.job(again.id)
    assert new is not None
    assert (new.queue, new.priority) == ("night", 7)


def later(session: Session, nodes_played: PlayedNodes) -> Session:
    """Another call, which reads the settings of its moment."""
    other = Session(store_url=session.store.url)
    other.store, other.runner = session.store, nodes_played  # type: ignore[assignment]
    return other


def test_an_agent_runs_again_only_as_the_settings_of_now_let_it(session: Session, nodes_played: PlayedNodes) -> None:
    Path("stoker.yml").write_text("agents: {poet: {argv: [poet], max_turns: 10}}\n")
    row = submit.run(session, agent="poet", prompt="Write.", max_turns=8, on="n1").job
    nodes_played.show(row.id, "failed", elapsed_s=1.0)
    for settings, said in (
        ("agents: {poet: {argv: [poet], max_turns: 5}}\n", "at most 5"), ("{}\n", "no agent may run here"),
    ):  # fmt: skip
        Path("stoker.yml").write_text(settings)
        with pytest.raises(UsageError, match=said):
            submit.retry(later(session, nodes_played), row.id)
    Path("stoker.yml").write_text("agents: {poet: {argv: [poet, --calm], max_turns: 9}}\n")
    again = submit.retry(later(session, nodes_played), row.id).job
    new = session.store.job(again.id)
    assert new is not None
    assert (new.spec["argv"], new.spec["agent"]["max_turns"]) == (["poet", "--calm"], 8)
