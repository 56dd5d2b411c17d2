# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a version of the node side does what it has to: asked from outside, as a controller asks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid

# Seconds for one answer of a version, and for the end of the self-test's job.
ANSWER_S = 60.0
JOB_S = 60.0
MARK = "STOKER-REPLY "
_OVER = ("succeeded", "failed", "cancelled", "lost")
# The self-test's job ends with this: that it was recorded, not presumed.
_TEST_CODE = 7
_TEST_WORDS = "the self-test of a version of Stoker"
# What comes of an answer that has another form than it should.
_UNSOUND = (LookupError, TypeError, ValueError, AttributeError)
_NOT_UNDERSTOOD = "its answer cannot be understood: {0}: {1}"


class FailedError(Exception):
    """A version does not do what it has to."""


def ask(place, folder, op, **fields):
    """One request to a version, as a controller would make it. Raises FailedError."""
    request = dict(place.settings, schema="stoker.request/1", op=op, state_dir=place.state)
    request.update(fields)
    words = [sys.executable, "-I", "-S", folder, "ctl"]
    try:
        done = subprocess.run(
            words, input=json.dumps(request).encode("ascii"), capture_output=True,
            cwd="/", timeout=ANSWER_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise FailedError("it gave no answer within {0:g} s".format(ANSWER_S)) from None
    lines = [line for line in done.stdout.decode("utf-8", "replace").splitlines() if line.startswith(MARK)]
    if not lines:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines() or ["it said nothing"]
        raise FailedError("it ended with {0} and gave no answer: {1}".format(done.returncode, said[-1].strip()[:300]))
    try:
        reply = json.loads(lines[-1][len(MARK) :])
        problem = None if reply.get("ok") else _last_line((reply.get("error") or {}).get("message"))
    except _UNSOUND as unsound:
        raise FailedError(_NOT_UNDERSTOOD.format(type(unsound).__name__, unsound)) from unsound
    if problem is not None:
        raise FailedError(problem)
    return reply


def self_test(place, folder):
    """A version answers a look, and a job of its own begins, ends and is recorded, in a state folder of its own.

    Raises FailedError, OSError.
    """
    try:
        _test(place, folder)
    except _UNSOUND as problem:
        raise FailedError(_NOT_UNDERSTOOD.format(type(problem).__name__, problem)) from problem


def _test(place, folder):
    scratch = os.path.join(place.bin, ".test-{0}".format(os.getpid()))
    os.mkdir(scratch, 0o700)
    try:
        ask(place, folder, "info", state_dir=scratch, lock_dir=None, parts=[])
        spec = {
            "schema": "stoker.spec/1", "job": "selftest", "uid": str(uuid.uuid4()), "name": "selftest",
            "workdir": scratch, "argv": ["/bin/sh", "-c", "echo {0}; exit {1}".format(_TEST_WORDS, _TEST_CODE)],
        }  # fmt: skip
        order = {"order": "start", "attempt": 1, "spec": spec}
        # Its job is a plain process: an engine of containers, or a backend of somebody else, is not what is tested.
        there = {"state_dir": scratch, "lock_dir": None, "backend": None, "observe": {"jobs": ["selftest"]}}
        reply = ask(place, folder, "reconcile", orders=[order], **there)
        problem = reply["orders"][0].get("error")
        if problem:
            raise FailedError("its test job could not be started: {0}".format(_last_line(problem.get("message"))))
        deadline = time.monotonic() + JOB_S
        while _state(reply) not in _OVER and time.monotonic() < deadline:
            reply = ask(place, folder, "reconcile", wait=2.0, **there)
        _judge(reply)
    finally:
        end(scratch)
        shutil.rmtree(scratch, ignore_errors=True)


def _judge(reply):
    seen = (reply.get("attempts") or [{}])[-1]
    told = (seen.get("state"), seen.get("exit_code"), seen.get("last_line"))
    if told != ("failed", _TEST_CODE, _TEST_WORDS):
        words = "its test job was to end with {0}, and is told as {1} (exit code {2}, last line {3!r})"
        raise FailedError(words.format(_TEST_CODE, *told))


def _state(reply):
    return (reply.get("attempts") or [{}])[-1].get("state")


def health(place, folder, jobs):
    """A version answers for this node itself, and to it every one of ``jobs`` runs or has ended. Raises FailedError."""
    try:
        reply = ask(place, folder, "reconcile", observe={"jobs": list(jobs)})
        states = {item["job"]: item["state"] for item in sorted(reply["attempts"], key=lambda item: item["attempt"])}
    except _UNSOUND as problem:
        raise FailedError(_NOT_UNDERSTOOD.format(type(problem).__name__, problem)) from problem
    for job in jobs:
        state = states.get(job)
        if state in (None, "lost"):
            what = "is lost" if state else "is unknown to it"
            raise FailedError("the job {0}, which ran before, {1}".format(job, what))


def end(scratch):
    """End what still runs from a folder of a test, or for it."""
    for pid in os.listdir("/proc"):
        try:
            if not pid.isdigit() or int(pid) == os.getpid():
                continue
            with open("/proc/{0}/cmdline".format(pid), "rb") as handle:
                words = os.fsdecode(handle.read()).split("\0")
            if scratch in [*words, os.readlink("/proc/{0}/cwd".format(pid))]:
                os.kill(int(pid), signal.SIGKILL)
        except OSError:
            continue  # it has ended, or is another user's


def _last_line(text):
    lines = [line.strip() for line in str(text or "").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"
