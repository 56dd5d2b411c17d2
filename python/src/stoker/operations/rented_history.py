"""What earlier runs tell of offers: how machines did, and how long jobs of a pool take on which GPU."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from stoker.pools import PREFIX
from stoker.rented.offers import History

if TYPE_CHECKING:
    from stoker.operations.session import Session
    from stoker.store.instances import Instances

# So many of a pool's newest jobs are looked through.
_LOOKED_AT = 500


def history(session: Session, instances: Instances, pool: str, job_name: str | None = None) -> History:
    """What is known for a pool; with a job's name, by the jobs of that name where there are any."""
    gpus = {row.node: str(row.offer.get("gpu_name")) for row in instances.all(live=False) if row.node is not None}
    jobs = session.store.jobs(states=("succeeded",), target=f"{PREFIX}{pool}", limit=_LOOKED_AT) if gpus else []
    # What went on from a checkpoint says nothing of how long a whole run takes.
    ran = [job for job in jobs if job.attempt == 1 and job.elapsed_s is not None and job.node in gpus]
    ran = [job for job in ran if job.name == job_name] or ran
    times: dict[str, list[float]] = {}
    for job in ran:
        times.setdefault(gpus[str(job.node)], []).append(float(job.elapsed_s or 0.0))
    return History(instances.marks(), {gpu: median(found) for gpu, found in times.items() if median(found) > 0})
