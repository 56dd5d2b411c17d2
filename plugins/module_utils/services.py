# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services of this node: jobs with a health endpoint. Their state is what the endpoint answers now, not what it did.

A service is a job whose spec has these labels; everything else (locks, exit record, log, stop) is the job's.
"""

from __future__ import annotations

import os
import time

from . import identity, probe

SERVICE, HEALTH, START_S = "stoker.service", "stoker.health", "stoker.start_s"
DEFAULT_START_S = 60.0
LOOK_S = 0.5


def look(backend, state, request):
    """The services called ``which`` (null: all), the newest job of each. Waits while one starts, ``wait`` s at most."""
    deadline = time.monotonic() + (request.get("wait") or 0.0)
    while True:
        found = [_service(backend, *item) for item in _newest(state, request.get("which")).values()]
        waiting = [item for item in found if item["state"] == "starting"]
        if not waiting or time.monotonic() >= deadline:
            return {"services": sorted(found, key=lambda item: item["name"]), "now": identity.now()}
        time.sleep(LOOK_S)


def _newest(state, names):
    """name -> (attempt, spec, others): the job that was accepted last under that name, and older ones not over."""
    found = {}
    for job in state.jobs():
        attempts = state.attempts(job)
        spec = (attempts[-1].read("spec.json") or {}) if attempts else {}
        name = (spec.get("labels") or {}).get(SERVICE)
        if not name or (names is not None and name not in names):
            continue
        found.setdefault(name, []).append((_accepted(attempts[-1]), attempts[-1], spec))
    newest = {}
    for name, jobs in found.items():
        jobs.sort(key=lambda item: item[0])
        # Two controllers that started one service at once made two jobs of it.
        others = [attempt.job for _at, attempt, _spec in jobs[:-1] if not attempt.finished()]
        newest[name] = (*jobs[-1][1:], others)
    return newest


def _accepted(attempt):
    return os.stat(attempt.file("spec.json")).st_mtime_ns


def _service(backend, attempt, spec, others):
    seen = next(item for item in backend.observe([attempt.job]) if item["attempt"] == attempt.number)
    labels = spec["labels"]
    health = None
    if seen["state"] == "running":
        health = dict(probe.http(labels[HEALTH]), at=identity.now())
        other = probe.answering_job(labels[HEALTH]) if health["ok"] else None
        if other not in (None, attempt.job):
            # Two services on one port: the one that came too late must not live on the other's answers.
            health.update(ok=False, evidence="{0}, but it is {1} that listens there".format(health["evidence"], other))
        if health["ok"]:
            attempt.write("healthy.json", {"schema": "stoker.healthy/1", "at": health["at"]})
    since = (attempt.read("healthy.json") or {}).get("at")
    word, evidence = judge(seen, health, since, float(labels.get(START_S) or DEFAULT_START_S))
    return {
        "name": labels[SERVICE],
        "state": word,
        "evidence": evidence,
        "url": labels[HEALTH],
        "health": health,
        "healthy_at": since,
        "job": attempt.job,
        "others": others,
        "argv": spec.get("argv"),
        "observation": seen,
    }


def judge(seen, health, healthy_at, start_s):
    """(state, evidence) of a service, from its job's observation and a look at its endpoint made just now."""
    if seen["state"] in ("queued", "starting"):
        return "starting", seen["evidence"] or "it waits on the node"
    if seen["state"] == "running":
        if health["ok"]:
            return "running", health["evidence"]
        if healthy_at is None and (seen["elapsed_s"] or 0.0) < start_s:
            return "starting", "{0}; it has up to {1:g} s to start".format(health["evidence"], start_s)
        return "unhealthy", health["evidence"] + ("" if healthy_at else "; it never was healthy")
    if seen["state"] in ("succeeded", "cancelled"):
        return "stopped", seen["evidence"]
    return "failed", "{0}{1}".format(seen["evidence"], "; last line: " + seen["last_line"] if seen["last_line"] else "")
