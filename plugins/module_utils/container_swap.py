# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A container in the place of another: the old one stays, stopped and under another name, until the new one works.

Each step is written down before it is taken. Killed between any two steps, the next call finds the journal and puts
the old container back, unless the new one was found to work.
"""

from __future__ import annotations

import contextlib
import os
import time

from . import container_definition as definitions
from . import container_engine as engines
from . import probe
from .statedir import Lock, NodeError, make_private, read_json, write_json

# How long a new container without a health check must live to count as working, in seconds.
LIVES_S = 3.0
LOOK_S = 0.5


class Swap:
    """The journal of one container's replacement; only made by ``locked``."""

    OLD = ".before-swap"

    def __init__(self, state, name):
        self.name = name
        self.old_name = name + self.OLD
        self.folder = os.path.join(state.path, "containers")
        self.path = os.path.join(self.folder, name + ".json")

    @classmethod
    @contextlib.contextmanager
    def locked(cls, state, name):
        """The swap of this container, for one caller at a time. Raises NodeError while another holds it."""
        if not engines.NAME.match(name):
            raise NodeError("bad_request", "{0!r} is not a name of a container".format(name))
        swap = cls(state, name)
        make_private(swap.folder)
        lock = Lock(os.path.join(swap.folder, name + ".lock"))
        if not lock.acquire():
            raise NodeError("conflict", "somebody else is changing {0} right now".format(name), "try again in a while")
        try:
            yield swap
        finally:
            lock.release()

    # -- the journal ---------------------------------------------------------------------------------------------

    def _note(self, **more):
        journal = dict(read_json(self.path) or {"schema": "stoker.swap/1", "name": self.name}, **more)
        write_json(self.path, journal)
        return journal

    def _forget(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def interrupted(self):
        """Whether a swap of this container was begun and not ended."""
        return read_json(self.path) is not None

    def repair(self):
        """End what a killed call began. Returns what was done, as sentences."""
        journal = read_json(self.path)
        if journal is None:
            return []
        engine = next((item for item in engines.engines()[0] if item.name == journal["engine"]), None)
        if engine is None:
            raise NodeError("not_supported", "{0} does not answer".format(journal["engine"]))
        if journal.get("works"):
            return [self._finish(engine, journal)]
        self._put_back(engine, journal)
        return ["an interrupted replacement was taken back: the old {0} is in its place".format(self.name)]

    # -- the steps -----------------------------------------------------------------------------------------------

    def replace(self, container, want, run, health=None):
        """Put a container of definition ``want`` in the place of the present one; ``run``: and start it.

        What ``want`` does not name is as the old one has it. Raises NodeError when the new one does not work; the old
        one is back then, and was seen to work as it did.
        """
        engine = container.engine
        told = engine.container(self.name)
        lost = definitions.not_carried(engine.name, told)
        if lost:
            raise NodeError(
                "not_supported",
                "{0} has settings that a new container would lack: {1}".format(self.name, ", ".join(lost)),
                "make it anew by hand",
            )
        new = self._definition(engine, told, want)
        ran = told["State"]["Status"] in ("running", "starting", "restarting")
        journal = self._note(engine=engine.name, old_id=told["Id"], ran=ran, health=health, works=False)
        try:
            if ran:
                container.stop(told["Id"])
            engine.call(["rename", told["Id"], self.old_name])
            container.create(new)
            if run:
                engine.call(["start", self.name], timeout_s=120.0)
                self._await(engine, self.name, health)
        except NodeError as exc:
            raise self._taken_back(engine, journal, exc) from None
        self._finish(engine, self._note(works=True))

    def _definition(self, engine, told, want):
        image = engine.image(told["Image"])
        if image is None:
            raise NodeError("not_supported", "the image of {0} is not on the node any more".format(self.name))
        have = definitions.actual(engine.name, told, image)
        have["labels"].pop(definitions.ENV_LABEL, None)
        anonymous = {item["target"] for item in have["mounts"] if definitions.is_anonymous(item)}
        declared = set((image.get("Config") or {}).get("Volumes") or {})
        # A nameless volume that the image asks for is made anew; its name would tie two containers to one.
        have["mounts"] = [item for item in have["mounts"] if item["target"] not in anonymous & declared]
        return dict(have, **want)

    def _await(self, engine, name, health):
        """Until it is healthy. Raises NodeError when it ends, is started again, or is not healthy in time."""
        limit = (health or {}).get("timeout_s") or LIVES_S
        end = time.monotonic() + limit
        restarts = None
        while True:
            told = engine.container(name)
            state, restarts = told["State"], restarts if restarts is not None else told.get("RestartCount") or 0
            again = (told.get("RestartCount") or 0) > restarts
            if state["Status"] not in ("running", "starting") or again:
                said = state.get("Error") or engines.last_words(engine, name)
                raise NodeError("not_supported", "it ended with {0}: {1}".format(state.get("ExitCode"), said))
            seen = _health(engine, name, health)
            if seen is not None and seen["ok"]:
                return
            if time.monotonic() >= end:
                if seen is None:
                    return
                late = "it was not healthy within {0:g} s: {1}".format(limit, seen["evidence"])
                raise NodeError("not_supported", late)
            time.sleep(LOOK_S)

    def _taken_back(self, engine, journal, failure):
        """The error to raise after a rollback: what was wrong with the new one, and how the old one is now."""
        try:
            self._put_back(engine, journal)
        except NodeError as exc:
            return NodeError(
                failure.code,
                "the new {0} does not work: {1}; and putting the old one back failed: {2}".format(
                    self.name, failure.message, exc.message
                ),
                "look at the container on the node: stoker container list, stoker container logs",
            )
        how = "runs" if journal["ran"] else "is stopped, as it was"
        return NodeError(
            failure.code,
            "the new {0} does not work: {1}; the old one is back and {2}".format(self.name, failure.message, how),
            failure.next_step,
        )

    def _put_back(self, engine, journal):
        old = engine.container(journal["old_id"])
        if old is None:
            raise NodeError(
                "not_supported",
                "the old container {0} is gone".format(journal["old_id"][:12]),
                "remove {0} on the node when that is as it should be".format(self.path),
            )
        present = engine.container(self.name)
        if present is not None and present["Id"] != journal["old_id"]:
            engine.remove(present["Id"])
        if old["Name"].lstrip("/") != self.name:
            engine.call(["rename", journal["old_id"], self.name])
        if journal["ran"] and old["State"]["Status"] not in ("running", "starting"):
            engine.call(["start", journal["old_id"]], timeout_s=120.0)
        try:
            if journal["ran"]:
                self._await(engine, self.name, journal.get("health"))
        finally:
            # It is in its place again: a second try would change nothing, also where it does not work.
            self._forget()

    def _finish(self, engine, journal):
        """The new one works: the old one goes."""
        if engine.container(journal["old_id"]) is not None:
            engine.remove(journal["old_id"])
        self._forget()
        return "an interrupted replacement was ended: the new {0} works, the old one is removed".format(self.name)


def _health(engine, name, health):
    """{ok, evidence} of one look; None where no check was named."""
    if not health:
        return None
    if health.get("url"):
        return probe.http(health["url"])
    code, out, err = engine.run(["exec", name, *health["command"]], 30.0)
    return {
        "ok": code == 0,
        "evidence": "the health command ended with {0}: {1}".format(code, engines.words(err or out, code)),
    }
