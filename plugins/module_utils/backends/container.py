# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The backend ``container``: a job runs in a container of this node's engine, under the same supervisor."""

from __future__ import annotations

from .. import container_job, container_words, engines, launch, schemas
from ..observe import Evidence
from ..statedir import is_locked
from .process import ProcessBackend


class ContainerBackend(ProcessBackend):
    """See the package docstring for the interface.

    A job whose spec asks for a container runs in one, with ``always`` every job; the others are plain processes.
    ``image`` and ``engine`` stand in where a spec names none.
    """

    def __init__(self, state, entry, rungs=None, image=None, engine=None, always=False):
        super().__init__(state, entry, rungs)
        self.image = image
        self.engine = engine
        self.always = always

    def start(self, spec, attempt_number, secrets=None, promise=None):
        """Begin one attempt. Raises NodeError where the node has no engine for it, before anything is written."""
        spec = schemas.require(spec, "stoker.spec")
        spec = container_words.complete(spec, self.image, self.engine, "container" if self.always else None)
        if spec.get("container"):
            engines.find(spec["container"].get("engine"))
        return super().start(spec, attempt_number, secrets, promise)

    def relaunch(self, attempt):
        """Give a container that lost supervisor and recorder a new supervisor: the container tells how it ends."""
        state = attempt.read("state.json") or {}
        if not (state.get("container") and state.get("recorder")):
            return super().relaunch(attempt)
        if is_locked(attempt.file("supervisor.lock")) or is_locked(attempt.file("alive.lock")):
            return None
        if Evidence(attempt).judge()[0] == "running":
            launch.start_supervisor(self.entry, attempt, "subreaper", adopt=True)
        return None

    def remove(self, job):
        """Remove a job's folder, and containers that could not be removed when it ended."""
        self.removable(job)
        for attempt in self.state.attempts(job):
            container_job.remove(attempt)
        return super().remove(job)
