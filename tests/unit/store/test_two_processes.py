# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two processes and one store: nobody is told that it is locked, and nothing is lost."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from stoker.store import open_store

ADD_50 = """
import sys
from stoker.store import open_store
with open_store(sys.argv[1]) as store:
    for _ in range(50):
        job = store.add_job("job", {"argv": ["true"]})
        store.request_stop(job.id)
"""


@pytest.mark.accepts("C06")
def test_two_processes_open_a_new_store_and_write_at_once(store_url: str) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", ADD_50, store_url], stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    said = [writer.communicate(timeout=120)[1] for writer in writers]
    assert said == [""] * 3
    with open_store(store_url) as store:
        assert len(store.jobs(states=("cancelled",))) == 150
        events = store.events()
        assert len(events) == 300
        assert len({job.number for job in store.jobs()}) == 150


READ = """
import sys, time
from stoker.store import open_store
with open_store(sys.argv[1]) as store:
    seen, newest = [], 0
    until = time.monotonic() + 150
    while len(seen) < 100 and time.monotonic() < until:
        for event in store.events(since=newest):
            seen.append(event.seq)
            newest = event.seq
print(len(seen), seen == sorted(seen))
"""


def test_a_reader_that_goes_on_from_the_last_number_misses_no_event(store_url: str) -> None:
    open_store(store_url).close()
    reader = subprocess.Popen([sys.executable, "-c", READ, store_url], stdout=subprocess.PIPE, text=True)
    script = ADD_50.replace("range(50)", "range(25)")
    writers = [subprocess.Popen([sys.executable, "-c", script, store_url]) for _ in range(2)]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    assert reader.communicate(timeout=120)[0].split() == ["100", "True"]


STOPPED = """
import os, signal, sys
from stoker.store import open_store
with open_store(sys.argv[1]) as store, store.write() as transaction:
    transaction.event("half", 1.0)
    print("in the middle", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.mark.accepts("B16")
def test_one_that_was_stopped_in_the_middle_does_not_hold_up_the_others(postgres_url: str) -> None:
    open_store(postgres_url).close()
    script = STOPPED.replace("import os", "import stoker.store.engine as engine; engine.IDLE_S = 3.0\nimport os", 1)
    argv = [sys.executable, "-c", script, postgres_url]
    stopped = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert stopped.stdout is not None
    assert stopped.stdout.readline() == b"in the middle\n"
    with open_store(postgres_url) as store:
        job = store.add_job("a", {"argv": ["true"]})
        stopped.send_signal(signal.SIGCONT)
        _, err = stopped.communicate(timeout=120)
        assert stopped.returncode == 1
        assert b"StokerError" in err
        assert [event.type for event in store.events()] == ["job.queued"]
        assert store.job(job.id) is not None
