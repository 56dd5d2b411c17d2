# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``ctl``: one request in, one reply out; and the entry point of the supervisor."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
import traceback

from . import deadman, leases, schemas
from .statedir import NodeError, StateDir, from_os_error

MARK = "STOKER-REPLY "
START_WAIT_S = 15.0
WAIT_POLL_S = 0.1


class Node:
    """The node that this call runs on."""

    def __init__(self, request, entry):
        from . import backends

        self.request = request
        self.entry = entry
        self.state = StateDir(request.get("state_dir") or "~/.stoker", request.get("lock_dir"))
        self.state.prepare()
        deadman.renew(self.state.path)
        self.backend = backends.get(request, self.state, entry)
        self.backend.busy_processes = request.get("busy_processes")

    # -- reconcile ---------------------------------------------------------------------------------------------

    def reconcile(self):
        """Carry out the orders, then say what is true."""
        launches = []
        results = [self._carry_out(order, launches) for order in self.request.get("orders") or ()]
        self._settle(launches)
        self._wait_for_ends()
        wanted = self.request.get("observe") or {"jobs": "live"}
        jobs = wanted.get("jobs", "live")
        self._wait_for_change(jobs, results)
        reply = {"orders": results, "node": self._facts()}
        named = sorted({result["job"] for result in results if result.get("job")})
        reply["attempts"] = self.backend.observe(jobs, bool(wanted.get("specs")))
        seen = {(item["job"], item["attempt"]) for item in reply["attempts"]}
        reply["attempts"] += [
            item for item in self.backend.observe(named) if (item["job"], item["attempt"]) not in seen
        ]
        reply["logs"] = self._log_chunks(wanted, reply["attempts"])
        return reply

    def _carry_out(self, order, launches):
        kind = order.get("order")
        spec = order.get("spec") or {}
        result = {
            "order": kind,
            "job": order.get("job") or spec.get("job"),
            "attempt": order.get("attempt"),
            "ok": True,
            "changed": False,
            "error": None,
        }
        try:
            if kind == "start":
                result["changed"], started = self.backend.start(
                    spec, order["attempt"], order.get("secrets"), leases.promised(order)
                )
                if started:
                    launches.append((result, started))
            elif kind == "stop":
                result["changed"] = self.backend.cancel(
                    order["job"],
                    order["attempt"],
                    order.get("grace_s"),
                    order.get("reason", "cancelled"),
                    order.get("uid"),
                )
            elif kind == "signal":
                result["changed"] = self.backend.signal(order["job"], order["attempt"], order["signal"])
            elif kind == "lease":
                result["changed"] = self.backend.renew_lease(
                    order["job"],
                    order["attempt"],
                    {"policy": order.get("policy", "keep"), "seconds": order.get("seconds")},
                    leases.promised(order),
                )
            else:
                result["changed"] = bool(self.backend.remove(order["job"]))
        except schemas.SchemaError as exc:
            result.update(ok=False, error={"code": exc.code, "message": exc.message, "next": None})
        except NodeError as exc:
            result.update(ok=False, error=exc.as_dict())
        except OSError as exc:
            result.update(ok=False, error=from_os_error(exc).as_dict())
        return result

    def _settle(self, launches):
        """Wait until every supervisor that was started has said what it does."""
        for attempt in list(self._abandoned(launches)):
            again = self.backend.relaunch(attempt)
            if again:
                launches.append((None, again))
        deadline = time.monotonic() + START_WAIT_S
        while launches and time.monotonic() < deadline:
            open_ones = []
            for result, started in launches:
                try:
                    if not started.settled():
                        open_ones.append((result, started))
                except NodeError as exc:
                    if result is not None:
                        result.update(ok=False, error=exc.as_dict())
            launches = open_ones
            if launches:
                time.sleep(0.01)

    def _abandoned(self, launches):
        busy = {started.attempt.path for _result, started in launches}
        for job in self.state.jobs():
            for attempt in self.state.attempts(job):
                if not attempt.finished() and attempt.path not in busy:
                    yield attempt

    def _wait_for_ends(self):
        """Stop orders may wait for the end: the usual stop then needs one round trip."""
        for order in self.request.get("orders") or ():
            if order.get("order") == "stop" and order.get("wait_s"):
                deadline = time.monotonic() + order["wait_s"]
                attempts = [item for item in self.state.attempts(order["job"]) if item.number == order["attempt"]]
                while attempts and not attempts[0].finished() and time.monotonic() < deadline:
                    time.sleep(0.05)

    def _wait_for_change(self, jobs, results):
        """Long poll: hold the answer until the state of an attempt changes, at most ``wait`` seconds."""
        deadline = time.monotonic() + (self.request.get("wait") or 0.0)
        if any(result["changed"] for result in results) or time.monotonic() >= deadline:
            return
        before = self._states(jobs)
        while before and time.monotonic() < deadline and self._states(jobs) == before:
            time.sleep(WAIT_POLL_S)

    def _states(self, jobs):
        names = self.state.jobs() if jobs in ("all", "live") else jobs
        open_ones = [item for job in names for item in self.state.attempts(job) if not item.finished()]
        return {item.path: self.backend.state_of(item) for item in open_ones}

    def _log_chunks(self, wanted, attempts):
        from . import logs

        limit = wanted.get("log_limit", 65536)
        chunks = {}
        for key, offset in (wanted.get("log_from") or {}).items():
            job, number = key.split("/")
            for item in attempts:
                if (item["job"], item["attempt"]) == (job, int(number)):
                    attempt = self.state.attempt(job, int(number))
                    # Far behind: the newest bytes are worth more than the next ones.
                    start = max(offset, logs.size(attempt) - limit)
                    ended = item["state"] not in ("queued", "starting", "running")
                    chunks[key] = logs.read(attempt, "out", start, limit, ended)
        return chunks

    def _facts(self):
        from . import identity

        usage = os.statvfs(self.state.path)
        facts = {
            "hostname": platform.node(),
            "user_id": os.geteuid(),
            "python": platform.python_version(),
            "now": identity.now(),
            "clock_s": identity.boottime(),
            "boot": identity.boot_identity(),
            "cpus": len(os.sched_getaffinity(0)),
            "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            "disk_free_bytes": usage.f_bavail * usage.f_frsize,
            "state_dir": self.state.path,
        }
        parts = self.request.get("parts")
        if parts:
            facts.update(self._read(parts))
        if self.request.get("gpus") and "gpus" not in facts:
            facts.update(_gpu_facts(self.state))
        return facts

    def _read(self, parts):
        from . import facts

        found = facts.read(self.state, parts, self.request.get("proc_dir"))
        if found.get("gpus"):
            self._judge(found["gpus"])
        return found

    def _judge(self, gpus):
        """Which of the GPUs are in use by others, and which cannot be trusted."""
        from . import gpu_gate, gpu_health

        patterns = self.request.get("busy_processes")
        gpu_health.check(self.state, gpus, self.request.get("quarantine_s"))
        gpu_gate.note_busy(
            self.state, gpus, gpu_gate.BUSY_PROCESSES if patterns is None else patterns, gpu_gate.COOLDOWN_S
        )

    def info(self):
        """Everything about the node itself; ``parts`` null is all of it."""
        from . import facts

        if self.request.get("parts") is None:
            self.request["parts"] = list(facts.PARTS)
        return {"node": self._facts()}

    # -- the others --------------------------------------------------------------------------------------------

    def log(self):
        ask = self.request
        from . import logs

        chunk, seen = self.backend.read_log(
            ask["job"],
            ask.get("attempt"),
            ask.get("stream") or "out",
            ask.get("offset"),
            ask.get("tail"),
            ask.get("limit") or logs.CHUNK_LIMIT_BYTES,
            ask.get("wait") or 0.0,
        )
        return {"chunk": chunk, "observation": seen}

    def exec(self):
        from .execute import execute

        return execute(self.request, self.state)

    def clean(self):
        from .clean import clean

        return clean(self.backend, self.state, self.request)

    def gpu_release(self):
        """End the quarantine of one GPU, named by index or UUID. What speaks against it now counts no more."""
        from . import facts, gpu_health, gpu_info, gpu_record

        found = gpu_info.read(self.state, facts.meminfo)
        gpu_health.check(self.state, found, self.request.get("quarantine_s"))
        asked = self.request["gpu"]
        chosen = [gpu for gpu in found if gpu["uuid"] and asked in (gpu["uuid"], str(gpu["index"]))]
        if not chosen:
            known = ", ".join(str(gpu["index"]) for gpu in found) or "none"
            raise NodeError("bad_request", "there is no GPU {0} here (known: {1})".format(asked, known))
        evidence = gpu_health.evidence_of(chosen[0])
        was = gpu_record.release(self.state, chosen[0]["uuid"], evidence)
        return {"gpu": {"index": chosen[0]["index"], "uuid": chosen[0]["uuid"], "was": was}}

    def sync_look(self):
        from . import sync_folder

        return sync_folder.look(self.state, self.request)

    def sync_done(self):
        from . import sync_folder

        return sync_folder.done(self.state, self.request)

    def benchmark(self):
        from .benchmark import benchmark

        return benchmark(self.state, self.request)

    def environment(self):
        from . import environments

        return environments.ensure(self.state, self.entry, self.request)

    def run_info(self):
        from . import run_info

        return run_info.look(self.state, self.request)

    def environments(self):
        from . import environments

        return environments.listed(self.state, self.request)

    def snapshot_look(self):
        from . import snapshots

        return snapshots.look(self.state, self.request)

    def checkpoint_look(self):
        from . import checkpoints

        return checkpoints.look(self.backend, self.state, self.request)

    def snapshot_done(self):
        from . import snapshots

        return snapshots.done(self.state, self.request)

    # -- containers and services -------------------------------------------------------------------------------

    def containers(self):
        from . import container_state

        found, faults = container_state.listed(self.request.get("which"), self.request.get("engine"))
        return {"containers": found, "containers_unknown": "; ".join(faults) or None, "user_id": os.geteuid()}

    def container(self):
        """One container, by ``action``: a state to bring it to, or logs, upgrade, install."""
        from . import container_packages, container_state, logs

        ask, action = self.request, self.request["action"]
        if action == "install":
            return container_packages.install(ask)
        if action == "logs":
            data, cut = container_state.log(ask["container"], ask.get("tail"), ask.get("limit"), ask.get("engine"))
            return {"log": logs.pack(data), "truncated": cut}
        container = container_state.Container(self.state, ask)
        if action == "upgrade":
            live = ("queued", "starting", "running")
            jobs = sorted({item["job"] for item in self.backend.observe("live") if item["state"] in live})
            return container.upgrade(ask["image"], ask.get("health"), ask.get("pull", True), jobs)
        return container.apply(action)

    def services(self):
        from . import services

        return services.look(self.backend, self.state, self.request)


def _gpu_facts(state):
    from . import gpu_queue, gpus

    try:
        found = gpus.query()
    except NodeError as exc:
        return {"gpus": None, "gpus_unknown": exc.message}
    survivors = gpu_queue.survivors_by_gpu(state)
    for gpu in found:
        gpu["held_by"] = gpu_queue.holders(state, [gpu["uuid"]], survivors)
    return {"gpus": found}


def handle(request, entry):
    """Answer one request: the reply as a dict. Never raises for what can go wrong on a node."""
    reply = {"schema": "stoker.reply/1", "ok": True}
    try:
        request = schemas.require(request, "stoker.request")
        node = Node(request, entry)
        reply.update(getattr(node, request["op"])())
    except schemas.SchemaError as exc:
        reply.update(ok=False, error={"code": exc.code, "message": exc.message, "next": None})
    except NodeError as exc:
        reply.update(ok=False, error=exc.as_dict())
    except OSError as exc:
        reply.update(ok=False, error=from_os_error(exc).as_dict())
    except Exception:  # noqa: BLE001 - whatever it is, the controller gets to read it
        reply.update(ok=False, error={"code": "internal", "message": traceback.format_exc(limit=6), "next": None})
    return reply


def main(entry, argv):
    """Entry point of the pushed package. ``entry`` is the folder that Python was started with."""
    if argv[1:2] == ["supervise"]:
        from . import supervisor

        state_path, lock_dir, job, number, rung = argv[2:7]
        return supervisor.run(entry, state_path, lock_dir, job, number, rung, argv[7:8] == ["adopt"])
    if argv[1:2] == ["install"]:
        from . import environment_build

        return environment_build.run(argv[2], int(argv[3]))
    try:
        request = json.loads(sys.stdin.buffer.read())
    except ValueError as exc:
        reply = {
            "schema": "stoker.reply/1",
            "ok": False,
            "error": {"code": "bad_request", "message": "the request is not JSON: {0}".format(exc), "next": None},
        }
    else:
        reply = handle(request, entry)
    sys.stdout.write("\n" + MARK + json.dumps(reply) + "\n")
    sys.stdout.flush()
    return 0
