# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a command says: kept byte by byte, and read by offset."""

from __future__ import annotations

import threading
import time

import pytest
from conformance.backend import Backend

ALTERNATING = "import os\nfor n in range(5000):\n os.write(1, b'out %d\\n' % n); os.write(2, b'err %d\\n' % n)"


def lines(prefix: str) -> list[str]:
    return [f"{prefix} {number}" for number in range(5000)]


@pytest.mark.accepts("V15")
def test_both_streams_in_exact_order(backend: Backend, job: str) -> None:
    backend.run(job, backend.node.python, "-c", ALTERNATING)
    expected = [line for pair in zip(lines("out"), lines("err"), strict=True) for line in pair]
    assert backend.log(job).decode().splitlines() == expected


@pytest.mark.accepts("V15")
def test_streams_apart(backend: Backend, job: str) -> None:
    """Each file is exact, and the merged one has both, each in its own order."""
    backend.run(job, backend.node.python, "-c", ALTERNATING, split_output=True)
    assert backend.log(job, stream="stdout").decode().splitlines() == lines("out")
    assert backend.log(job, stream="stderr").decode().splitlines() == lines("err")
    merged = backend.log(job).decode().splitlines()
    assert [line for line in merged if line.startswith("out")] == lines("out")
    assert [line for line in merged if line.startswith("err")] == lines("err")
    assert len(merged) == 10_000


@pytest.mark.accepts("V15")
def test_streams_apart_while_it_runs(backend: Backend, job: str) -> None:
    """Written one after the other, they are merged in that order."""
    script = "for n in 1 2 3; do echo o$n; sleep 0.05; echo e$n >&2; sleep 0.05; done; sleep 30"
    backend.start(job, script=script, split_output=True)
    backend.wait_for_line(job, "e3")
    assert backend.log(job) == b"o1\ne1\no2\ne2\no3\ne3\n"
    assert backend.log(job, stream="stderr") == b"e1\ne2\ne3\n"
    backend.cancel(job, grace_s=0)


def test_streams_apart_of_a_command_that_closes_them(backend: Backend, job: str) -> None:
    """Nothing is left to copy then; nobody is kept busy with it."""
    backend.needs("job folder")
    backend.start(job, script="echo last; exec >/dev/null 2>&1; sleep 3; exit 5", split_output=True)
    backend.wait_for_line(job, "last")
    before = backend.side.file(job, "state.json")["pump"]
    time.sleep(1)
    assert backend.side.file(job, "state.json")["pump"] == before
    seen = backend.wait(job)
    assert (seen["exit_code"], backend.log(job, stream="stdout")) == (5, b"last\n")


def test_streams_apart_go_on_when_their_copier_is_killed(backend: Backend, job: str) -> None:
    backend.needs("job folder", "processes")
    script = f"echo one; while [ ! -e $HOME/go-{job} ]; do sleep 0.1; done; echo two; echo three >&2"
    backend.start(job, script=script, split_output=True)
    backend.wait_for_line(job, "one")
    backend.side.kill(job, "pump")
    backend.node.ssh(f"touch $HOME/go-{job}")
    assert backend.wait(job)["state"] == "succeeded"
    assert backend.log(job, stream="stdout") == b"one\ntwo\n"
    assert backend.log(job, stream="stderr") == b"three\n"


def test_streams_that_were_not_kept_apart(backend: Backend, job: str) -> None:
    backend.run(job, "echo", "both")
    reply = backend.side.ask("log", job=job, stream="stderr")
    assert reply["error"]["code"] == "not_supported", reply
    assert "did not keep its streams apart" in reply["error"]["message"]


def test_streams_before_the_command_began(backend: Backend, job: str) -> None:
    """A job that waits for its GPU has said nothing yet; that is not the same as one stream only."""
    backend.start(f"{job}-h", "sleep", "73.5", gpus=1)
    assert backend.start(job, "true", gpus=1, split_output=True)["state"] == "queued"
    assert backend.log(job, stream="stderr") == b""
    backend.cancel(job)
    backend.cancel(f"{job}-h", grace_s=0)


def test_log_from_an_offset(backend: Backend, job: str) -> None:
    backend.run(job, "printf", "0123456789")
    data, chunk, seen = backend.read_log(job, offset=3, limit=4)
    assert (data, chunk["offset"], chunk["next"], chunk["size"], chunk["eof"]) == (b"3456", 3, 7, 10, False)
    data, chunk, seen = backend.read_log(job, offset=7)
    assert (data, chunk["next"], chunk["eof"]) == (b"789", 10, True)
    assert seen["state"] == "succeeded"
    data, chunk, _seen = backend.read_log(job, offset=1000)
    assert (data, chunk["next"], chunk["size"]) == (b"", 1000, 10)


@pytest.mark.parametrize(
    ("text", "tail", "expected"),
    [
        ("a\\nb\\nc\\n", 2, b"b\nc\n"),
        ("a\\nb\\nc", 2, b"b\nc"),
        ("a\\nb\\n", 9, b"a\nb\n"),
        ("a\\nb\\n", 0, b""),
        ("", 3, b""),
        ("\\n\\n\\n", 2, b"\n\n"),
    ],
)
def test_tail(backend: Backend, job: str, text: str, tail: int, expected: bytes) -> None:
    backend.run(job, "printf", text)
    assert backend.read_log(job, tail=tail)[0] == expected


def test_tail_of_long_lines(backend: Backend, job: str) -> None:
    code = "for c in 'abc': print(c * 200_000)"
    backend.run(job, backend.node.python, "-c", code)
    assert backend.read_log(job, tail=2)[0] == b"b" * 200_000 + b"\n" + b"c" * 200_000 + b"\n"


def test_long_poll(backend: Backend, job: str) -> None:
    """The answer comes when there is something new, when the job ends, or when the time is over."""
    backend.node.ssh(f"rm -f $HOME/go-{job}")
    backend.start(job, script=f"while [ ! -e $HOME/go-{job} ]; do sleep 0.05; done; echo new; sleep 1")
    began = time.monotonic()
    data, chunk, _seen = backend.read_log(job, offset=0, wait=0.5)
    assert (data, chunk["eof"]) == (b"", False)
    assert time.monotonic() - began >= 0.5
    threading.Timer(0.5, lambda: backend.node.ssh(f"touch $HOME/go-{job}")).start()
    began = time.monotonic()
    data, chunk, _seen = backend.read_log(job, offset=0, wait=20)
    assert data == b"new\n"
    assert time.monotonic() - began > 0.4
    data, chunk, seen = backend.read_log(job, offset=4, wait=20)
    assert (data, chunk["eof"], seen["state"]) == (b"", True, "succeeded")


def test_every_byte_is_kept(backend: Backend, job: str) -> None:
    code = "import os; os.write(1, bytes(range(256)) * 300 + b'\\xff\\xfe\\r\\x00\\x1b]0;title\\x07')"
    backend.run(job, backend.node.python, "-c", code)
    assert backend.log(job) == bytes(range(256)) * 300 + b"\xff\xfe\r\x00\x1b]0;title\x07"


def test_line_of_10_mb(backend: Backend, job: str) -> None:
    code = "import os; print('ä' * 5_000_000 + 'end'); print('after')"
    seen = backend.run(job, backend.node.python, "-c", code)
    assert seen["last_line"] == "after", seen
    found = backend.log(job)
    assert len(found) == 10_000_000 + len("end\nafter\n")
    assert found.endswith("ääend\nafter\n".encode())
    assert len(str(seen)) < 10_000, "the observation carries the long line"


@pytest.mark.accepts("D14")
@pytest.mark.parametrize("how", ["argv", "cd"])
def test_python_lines_are_there_within_2_s(backend: Backend, job: str, how: str) -> None:
    """No flush in the program, and still no wait for its buffer."""
    python = backend.node.python
    program = "import time; print(time.time()); time.sleep(30)"
    command = [python, "-c", program]
    if how == "cd":
        backend.node.ssh("mkdir -p $HOME/x; cat > $HOME/x/y.py", stdin=program)
        command = ["sh", "-c", f"cd x && {python} y.py"]
    backend.start(job, *command)
    said = backend.read_log(job, offset=0, wait=10)[0]
    assert time.time() - float(said) < 2
    backend.cancel(job, grace_s=0)


def test_findings_and_metrics(backend: Backend, job: str) -> None:
    """The log is read on the node; only what was found goes to the controller."""
    script = (
        "echo 'loss 4.5'; echo 'loss 2.25'; echo 'the model BLOOM can zoom, skilled'; "
        "echo 'RuntimeError: CUDA error: an illegal memory access was encountered'; echo 'OH NO 7'; echo 'loss 3'"
    )
    patterns = [{"name": "mine", "regex": "OH NO [0-9]+", "severity": "warning"}]
    metrics = [{"name": "loss", "regex": "loss ([0-9.]+)", "keep": "series"}]
    seen = backend.run(job, script=script, log_patterns=patterns, metrics=metrics)
    found = {item["name"]: item for item in seen["findings"]}
    assert found["mine"]["line"] == 5, seen["findings"]
    assert found["mine"]["severity"] == "warning"
    assert len(seen["findings"]) == len({item["line"] for item in seen["findings"]} - {1, 2, 3, 6})
    loss = seen["metrics"]["loss"]
    assert (loss["first"], loss["last"], loss["min"], loss["max"], loss["count"]) == (4.5, 3, 2.25, 4.5, 3)
    assert [value for _line, value in loss["series"]] == [4.5, 2.25, 3]


def test_what_is_handed_on_to_the_jobs_that_follow(backend: Backend, job: str) -> None:
    """The text that each output found last, and the end of what was said; only when the job is over."""
    outputs = [{"name": "path", "regex": "path=(.*)"}, {"name": "none", "regex": "never (x)"}]
    script = 'echo path=old; echo "path=it\'s {{ new }}"; seq 2000; touch over; while [ -e over ]; do sleep 0.05; done'
    backend.start(job, script=script, outputs=outputs)
    backend.wait_for_line(job, "2000")
    running = backend.observe(job)
    assert (running["outputs"], running["tail"]) == (None, None)
    backend.cancel(job, grace_s=0)
    seen = backend.wait(job)
    assert seen["outputs"] == {"path": "it's {{ new }}"}
    assert seen["tail"].endswith("\n1999\n2000\n")
    assert len(seen["tail"]) <= 4096
    assert seen["tail"].partition("\n")[0].isdigit(), "it begins with a whole line"


def test_who_names_no_outputs_hands_on_nothing(backend: Backend, job: str) -> None:
    seen = backend.run(job, "echo", "x")
    assert (seen["outputs"], seen["tail"]) == (None, None)
