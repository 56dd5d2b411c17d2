"""As many pods of a Deployment or StatefulSet as are wanted, waited for until they are ready, or with the reason."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from stoker.errors import UsageError
from stoker.operations import quantities
from stoker.operations.kube import kubeconfig_of
from stoker.operations.registry import operation
from stoker.operations.session import Session

if TYPE_CHECKING:
    from stoker.kube.cluster import Cluster
    from stoker.kube.errors import KubeError
    from stoker.kube.rollout import Kind, Progress

Outcome = Literal["ready", "timed_out", "changed_by_others"]
PATIENCE = "5m"
PAUSE_S = 1.0
# The reasons cost three questions: they are looked for first and then this often, in seconds, and at the end.
_WHY_FIRST_S = 2.0
_WHY_EVERY_S = 5.0
# What one question gets beyond the time to wait: a limit of 0 still says how it is.
_LAST_S = 15.0
_TRIES = 10
_KINDS: dict[str, str] = {
    **dict.fromkeys(("deployment", "deployments", "deploy", "deployment.apps"), "deployment"),
    **dict.fromkeys(("statefulset", "statefulsets", "sts", "statefulset.apps"), "statefulset"),
}


@dataclass(frozen=True)
class KubeScaled:
    """What became of a Deployment or StatefulSet. `before` is what it was set to, `wanted` what it is set to now.

    `ready` and `there` are its pods as its controller counts them. `why`: what keeps it from being ready, what matters
    most first. `changed_by_others`: somebody else has set another number meanwhile, an autoscaler perhaps.
    """

    context: str
    namespace: str
    kind: str
    name: str
    before: int
    wanted: int
    ready: int
    there: int
    changed: bool
    outcome: Outcome
    why: tuple[str, ...]
    waited_s: float

    @property
    def exit_code(self) -> int:
        """0: all are ready."""
        return int(self.outcome != "ready")


@dataclass(frozen=True)
class _Target:
    kind: Kind
    namespace: str
    name: str

    @property
    def path(self) -> str:
        return f"/apis/apps/v1/namespaces/{{namespace}}/{self.kind}s/{{name}}"

    @property
    def names(self) -> dict[str, str]:
        return {"namespace": self.namespace, "name": self.name}

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@operation("kubernetes", "kube scale", "operate", destroys=True)
def scale(
    session: Session, what: str, *, replicas: int, namespace: str | None = None, context: str | None = None,
    kubeconfig: str | None = None, timeout: float | str = PATIENCE,
) -> KubeScaled:  # fmt: skip
    """Scale a Deployment or StatefulSet, and wait until all its pods are ready. Fewer: pods end.

    Args:
        what: deployment/NAME or statefulset/NAME.
        replicas: How many pods there are to be.
        namespace: Where it is; by default the context's.
        context: The context of the kubeconfig; by default the current one.
        kubeconfig: The file to read; by default those of KUBECONFIG, else ~/.kube/config.
        timeout: How long to wait until they are ready (5m).
    """
    from stoker.kube.cluster import Cluster
    from stoker.kube.errors import KubeError

    kind, name = _named(what)
    quantities.count(replicas, "--replicas")
    within = quantities.seconds(timeout, "--timeout")
    found = kubeconfig_of(kubeconfig).context(context)
    target = _Target(kind, _checked(namespace or found.namespace, "namespace"), name)
    began = time.monotonic()
    with Cluster(found, began + within + _LAST_S) as cluster:
        before = _set(cluster, target, replicas)
        try:
            progress, why = _wait(session, cluster, target, replicas, began + within)
        except KubeError as problem:
            if before == replicas:
                raise
            raise _after(problem, target, f"is set from {before} to {replicas}") from None
        finally:
            if session.progress is not None:
                session.progress("")
    outcome: Outcome = "ready" if progress.done else "timed_out"
    if progress.wanted != replicas:
        outcome, why = "changed_by_others", (f"somebody else has set it to {progress.wanted} meanwhile", *why)
    return KubeScaled(
        found.name, target.namespace, kind, name, before, progress.wanted, progress.ready, progress.there,
        before != replicas, outcome, why, time.monotonic() - began,
    )  # fmt: skip


def _named(what: str) -> tuple[Kind, str]:
    kind, stroke, name = what.partition("/")
    known = _KINDS.get(kind.lower())
    if not stroke or not name or "/" in name or known is None:
        raise UsageError(
            f"{what!r} is nothing that can be scaled here", next_step="deployment/NAME or statefulset/NAME"
        )
    return cast("Kind", known), _checked(name, "name")


def _checked(name: str, what: str) -> str:
    """A name that an object or a namespace can have. Others could lead elsewhere: it becomes part of a path."""
    if re.fullmatch(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?", name) is None:
        raise UsageError(f"{name!r} is no {what} of Kubernetes", next_step="small letters, digits, - and .")
    return name


def _set(cluster: Cluster, target: _Target, replicas: int) -> int:
    """Have it set to so many; what it was set to. Nothing is written where it is so already.

    The number is written only onto the state that was read, so that what it was is true. Where the answer to that is
    lost, it is read again; an error then says that it may be set.
    """
    from stoker.kube.errors import Conflict, KubeError

    written_over: int | None = None
    for left in reversed(range(_TRIES)):
        before: int | None = None
        try:
            held = cluster.get(f"{target.path}/scale", target.names)
            before = int((held.get("spec") or {}).get("replicas") or 0)
            if before == replicas:
                return before if written_over is None else written_over
            version = (held.get("metadata") or {}).get("resourceVersion")
            body = {"metadata": {"resourceVersion": version}, "spec": {"replicas": replicas}}
            cluster.patch(f"{target.path}/scale", target.names, body)
            return before
        except KubeError as problem:
            if before is not None and problem.passing:
                written_over = before
            again = problem.passing and written_over is not None
            if not left or not (again or (before is not None and isinstance(problem, Conflict))):
                if written_over is None:
                    raise
                raise _after(problem, target, f"is perhaps set from {written_over} to {replicas}") from None
            if again:
                time.sleep(PAUSE_S)
    raise AssertionError


def _after(problem: KubeError, target: _Target, what: str) -> KubeError:
    """The error of a question that came after the number was written: it says that, too."""
    return type(problem)(
        problem.context, f"{target} in {target.namespace} {what}; {problem.why}", next_step=problem.next_step
    )


def _wait(
    session: Session, cluster: Cluster, target: _Target, replicas: int, end: float
) -> tuple[Progress, tuple[str, ...]]:
    """Until all are ready, somebody else wants another number, or the time is over; then why they are not."""
    from stoker.kube.errors import KubeError
    from stoker.kube.rollout import progress

    last: Progress | None = None
    why: tuple[str, ...] = ()
    problem: KubeError | None = None
    look_at = time.monotonic() + _WHY_FIRST_S
    while True:
        try:
            said = cluster.get(target.path, target.names)
            last, problem = progress(target.kind, said), None
            over = time.monotonic() >= end
            if last.done or last.wanted != replicas:
                return last, ()
            if over or time.monotonic() >= look_at:
                why, look_at = _why(cluster, target, said), time.monotonic() + _WHY_EVERY_S
            if over:
                return last, why or (() if last.seen else ("its controller has not begun yet",))
        except KubeError as trouble:
            # What passes is no reason to wait no more.
            if not trouble.passing or (last is None and time.monotonic() >= end):
                raise
            problem = trouble
            if time.monotonic() >= end and last is not None:
                return last, (*why, f"asked last, {problem.why}")
        _tell(session, target, replicas, last, (problem.why,) if problem is not None else why)
        time.sleep(max(0.0, min(PAUSE_S, end - time.monotonic())))


def _tell(session: Session, target: _Target, replicas: int, last: Progress | None, why: tuple[str, ...]) -> None:
    if session.progress is not None:
        ready = "?" if last is None else f"{last.ready}"
        session.progress(f"{target}: {ready} of {replicas} ready{f' · {why[0]}' if why else ''}")


def _why(cluster: Cluster, target: _Target, said: dict[str, Any]) -> tuple[str, ...]:
    """The reasons, as far as they can be read; what cannot be is said, too: they are an aid, and end no wait."""
    from stoker.kube.errors import Forbidden, KubeError
    from stoker.kube.rollout import owned_by, reasons, selector

    base = "/api/v1/namespaces/{namespace}"
    names = {"namespace": target.namespace}
    chosen = (("labelSelector", selector(said)),)
    hidden: list[str] = []
    lost: list[str] = []

    def listed(path: str, query: tuple[tuple[str, str], ...], what: str) -> list[dict[str, Any]]:
        try:
            return cluster.listed(path, names, query)
        except Forbidden:
            hidden.append(what)
        except KubeError as problem:
            lost.append(f"{what} of {target.namespace} are not known: {problem.why}")
        return []

    owners: list[Mapping[str, Any]] = [said]
    if target.kind == "deployment":
        sets = listed("/apis/apps/v1/namespaces/{namespace}/replicasets", chosen, "ReplicaSets")
        owners = owned_by(sets, [said])
    pods = owned_by(listed(f"{base}/pods", chosen, "pods"), owners)
    about = {str((one.get("metadata") or {}).get("uid")) for one in (said, *owners, *pods)}
    warnings = listed(f"{base}/events", (("fieldSelector", "type=Warning"),), "events")
    events = [one for one in warnings if (one.get("involvedObject") or {}).get("uid") in about]
    found = reasons(target.kind, said, pods, sorted(events, key=_when))
    if hidden:
        lost.append(f"{', '.join(hidden)} of {target.namespace} may not be read: there may be more reasons")
    return (*found, *lost)


def _when(event: Mapping[str, Any]) -> str:
    """When it was last seen; times of one form and zone sort as text."""
    series = (event.get("series") or {}).get("lastObservedTime")
    return str(series or event.get("lastTimestamp") or event.get("eventTime") or "")
