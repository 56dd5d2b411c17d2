# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One container in the state that was asked for: look, decide, act, look again."""

from __future__ import annotations

import time

from . import container_definition as definitions
from . import container_engine as engines
from .container_swap import Swap
from .statedir import NodeError

LOG_LIMIT_BYTES = 1024 * 1024
# An engine writes all of a log at once.
MOST_LINES = 20000
STOP_GRACE_S = 10.0
# How long a container that was just started is watched, in seconds: many end at once, and were not started then.
SETTLE_S = 1.0


def listed(names, wanted=None):
    """(details of the containers, faults of engines): all of them, or those called ``names``."""
    alive, faults = engines.engines(wanted)
    found, seen = [], set()
    for engine in alive:
        out = engine.call(["ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Names}}"])
        for line in out.splitlines():
            identity, _space, name = line.partition(" ")
            told = engine.container(identity) if identity not in seen and (not names or name in names) else None
            seen.add(identity)
            if told is not None:
                found.append(details(engine, told))
    return sorted(found, key=lambda item: item["name"]), faults


def details(engine, told):
    """A container as Stoker tells of it. Of its environment only the names: values may be secrets."""
    image = engine.image(told["Image"]) if told.get("Image") else None
    have = definitions.actual(engine.name, told, image)
    state = told["State"]
    return {
        "engine": engine.name,
        "id": told["Id"],
        "name": told["Name"].lstrip("/"),
        "image": have["image"],
        "image_id": told.get("Image") or None,
        "state": state.get("Status") or "unknown",
        "exit_code": state.get("ExitCode") if state.get("Status") in ("exited", "stopped", "dead") else None,
        "started_at": _time(state.get("StartedAt")),
        "error": state.get("Error") or None,
        "command": have["command"] or have["of_image"]["command"],
        "workdir": have["workdir"] or have["of_image"]["workdir"],
        "env": sorted(have["env"]),
        "ports": have["ports"],
        "mounts": [definitions.shown(item) for item in have["mounts"]],
        "gpus": have["gpus"],
        "restart": have["restart"],
        "network": have["network"] or "default",
        "before_swap": told["Name"].lstrip("/").endswith(Swap.OLD),
    }


def _time(text):
    """RFC 3339 as an engine writes it; None for never."""
    return None if not text or text.startswith("0001-") else text


class Container:
    """One container by its name, and what is to become of it."""

    def __init__(self, state, request):
        self.state = state
        self.name = request["container"]
        self.dry_run = bool(request.get("dry_run"))
        self.grace_s = STOP_GRACE_S if request.get("grace_s") is None else request["grace_s"]
        self.secrets = request.get("secrets") or {}
        asked = dict(request.get("definition") or {})
        if self.secrets:
            asked["env"] = dict(asked.get("env") or {}, **self.secrets)
        self.want = definitions.wanted(asked)
        self.engine_name = request.get("engine")
        self.recreate = bool(request.get("recreate"))
        self.actions = []
        self.silent = []

    def apply(self, target):
        """Bring it to ``present``, ``started``, ``stopped`` or ``absent``. Returns the fields of the reply."""
        with Swap.locked(self.state, self.name) as swap:
            if self.dry_run and swap.interrupted():
                self.actions.append("an interrupted replacement ended or taken back")
            elif not self.dry_run:
                self.actions += swap.repair()
            self.engine, told, faults = engines.find(self.name, self.engine_name)
            drift = self._drift(told) if told is not None and target != "absent" else []
            before = told["State"]["Status"] if told is not None else "absent"
            # Another engine that does not answer matters where this one does not have the container.
            self.silent = faults if told is None else []
            if self.silent and target == "absent":
                raise engines.missing(self.name, self.silent)
            after = getattr(self, "_" + target)(told, drift, swap)
        if not self.dry_run:
            told = self.engine.container(self.name)
            drift = self._drift(told) if told is not None and target != "absent" else []
        return {
            "container": None if told is None else details(self.engine, told),
            "before": before,
            "after": after if self.dry_run else (told["State"]["Status"] if told is not None else "absent"),
            "changed": bool(self.actions),
            "actions": self.actions,
            "drift": drift,
            "notes": self.silent,
        }

    def upgrade(self, image, health, pull, jobs):
        """Put a container of another image in its place; everything else stays. Refused while ``jobs`` run here.

        Returns the fields of the reply. Raises NodeError where the new one does not work: the old one is back then.
        """
        if jobs:
            raise NodeError(
                "conflict",
                "{0} is not replaced while jobs run on the node: {1}".format(self.name, ", ".join(jobs)),
                "wait for them, or stop them",
            )
        with Swap.locked(self.state, self.name) as swap:
            self.actions += swap.repair()
            self.engine, told = engines.existing(self.name, self.engine_name)
            self.want = {"image": image}
            if pull or self.engine.image(image) is None:
                self.engine.pull(image)
            if not self._same_image(told):
                run = _runs(told)
                unseen = "" if run else "; it was not running, and was not started to see whether it works"
                self._act(
                    "made anew of " + image + unseen, lambda: swap.replace(self, self.want, run=run, health=health)
                )
        told = self.engine.container(self.name)
        return {"container": details(self.engine, told), "changed": bool(self.actions), "actions": self.actions}

    # -- the four states: each returns the state that the container will have ------------------------------------

    def _absent(self, told, _drift, _swap):
        if told is not None:
            if _runs(told):
                self._act("stopped", lambda: self.stop(self.name))
            self._act("removed", lambda: self.engine.remove(self.name))
        return "absent"

    def _stopped(self, told, drift, swap):
        if told is None:
            self._need_image()
            self._create()
            return "created"
        if drift and self.recreate:
            self._replace(swap, run=False)
        elif _runs(told):
            self._act("stopped", lambda: self.stop(self.name))
        return "exited"

    def _present(self, told, drift, swap):
        if told is None:
            self._need_image()
            self._create()
            return "created"
        if drift and self.recreate:
            self._replace(swap, run=_runs(told))
        return told["State"]["Status"]

    def _started(self, told, drift, swap):
        if told is None:
            self._need_image()
            self._create()
            self._act("started", self._start)
        elif drift and self.recreate:
            self._replace(swap, run=True)
        elif told["State"]["Status"] == "paused":
            self._act("unpaused", lambda: self.engine.call(["unpause", self.name]))
        elif not _runs(told):
            self._act("started", self._start)
        return "running"

    # -- steps ---------------------------------------------------------------------------------------------------

    def _act(self, what, do):
        self.actions.append(what)
        if not self.dry_run:
            do()

    def _need_image(self):
        if not self.want.get("image"):
            raise engines.missing(self.name, self.silent, "stoker container list; or give an image to make it from")

    def _pull(self):
        if self.engine.image(self.want["image"]) is None:
            self._act("pulled " + self.want["image"], lambda: self.engine.pull(self.want["image"]))

    def _create(self):
        self._pull()
        self._act("created", lambda: self.create(self.want))

    def create(self, want):
        with engines.EnvFile(self.state.path, want.get("env") or {}) as env_words:
            words = definitions.create_words(self.engine.name, self.name, want, env_words)
            self.engine.call(words, timeout_s=120.0)

    def _start(self):
        """Start it, and look whether it stays: one that ends at once has not been started."""
        self.engine.call(["start", self.name], timeout_s=120.0)
        end = time.monotonic() + SETTLE_S
        while time.monotonic() < end:
            state = self.engine.container(self.name)["State"]
            # A container may be made to do one thing and end well.
            if state["Status"] not in ("running", "starting") and state.get("ExitCode"):
                said = state.get("Error") or engines.last_words(self.engine, self.name)
                text = "{0} ended at once with {1}: {2}".format(self.name, state["ExitCode"], said)
                raise NodeError("not_supported", text, "stoker container logs")
            time.sleep(0.2)

    def stop(self, name):
        self.engine.call(["stop", "--time", str(round(self.grace_s)), name], timeout_s=self.grace_s + 60.0)

    def _replace(self, swap, run):
        """Make it anew as wanted; what was not named stays as it was."""
        self._pull()
        self._act("made anew", lambda: swap.replace(self, self.want, run=run))

    def _drift(self, told):
        image = self.engine.image(told["Image"]) if told.get("Image") else None
        have = definitions.actual(self.engine.name, told, image)
        return definitions.drift(self.want, have, self._same_image(told), set(self.secrets))

    def _same_image(self, told):
        """By what the name means on the node now; one that is not there yet is told apart by its name."""
        if not self.want.get("image"):
            return True
        here = self.engine.image(self.want["image"])
        if here is not None:
            return here["Id"].split(":")[-1] == (told.get("Image") or "").split(":")[-1]
        return self.want["image"] == (told.get("ImageName") or told["Config"].get("Image"))


def _runs(told):
    return told["State"]["Status"] in ("running", "starting", "restarting", "paused")


def log(name, tail, limit=None, wanted=None):
    """(the last lines that a container wrote, both streams in order; whether some were left out)."""
    engine, _told = engines.existing(name, wanted)
    argv = ["logs", "--tail", str(min(tail or MOST_LINES, MOST_LINES)), name]
    code, out, _none = engine.run(argv, 60.0, joined=True)
    if code != 0:
        raise NodeError("not_supported", "{0} logs failed: {1}".format(engine.name, engines.words(out, code)))
    data = out.encode("utf-8", "replace")
    most = limit or LOG_LIMIT_BYTES
    return data[-most:], len(data) > most
