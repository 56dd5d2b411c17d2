"""What a job waits for, in words: for those who wait with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stoker.operations.values import Job

if TYPE_CHECKING:
    from stoker.operations.session import Session


def waits_for(job: Job) -> str:
    """Why a queued or starting job does not run yet; empty where that is not known. May hold words of a node."""
    if not job.waiting:
        return job.detail or job.reason or ""
    free, needs, held = job.waiting.get("free"), job.waiting.get("needs"), job.waiting.get("held_by") or []
    place = job.waiting.get("position")
    sentence = f"needs {needs} of the GPUs, {'an unknown number' if free is None else free} free"
    sentence += f", held by {', '.join(held)}" if held else ""
    sentence += "".join(f"; {why}" for why in job.waiting.get("closed") or ())
    sentence += f", place {place} in the queue" if isinstance(place, int) and place > 1 else ""
    return sentence + "; starts there by itself, also with this machine shut"


class Told:
    """Says what a job waits for: once, and again when that changes."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._said: str | None = None

    def __call__(self, job: Job) -> None:
        """Say it, where there is something new to say."""
        from ansible_collections.stoker.fleet.plugins.module_utils.terminal_text import safe_text

        why = waits_for(job)
        # A job that is on its way, or of which a round is about to know more, waits for nothing yet.
        if (
            job.state not in ("queued", "starting")
            or (job.state == "starting" and not why)
            or why.startswith("asking ")
        ):
            return
        where = f" on {job.node}" if job.node else ""
        said = safe_text(f"{job.id} is {job.state}{where}" + (f": {why}" if why else "")).replace("\n", " ")
        if said != self._said:
            self._session.say(said)
        self._said = said
