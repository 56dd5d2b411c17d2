"""Which events become messages to whom, and what these say: pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from stoker.notify_settings import ALIASES, Notify, Rule, span_of
from stoker.store import EventRow, JobRow

# A message that is longer is refused by some (Discord: 2,000 characters).
MOST_TITLE, MOST_BODY = 200, 1500
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 10.0, 900.0
_GOOD = frozenset({"succeeded", "online", "reachable", "resumed", "cleared", "approved", "completed", "recovered"})
_BAD = frozenset({"failed", "lost", "dead", "offline", "raised", "unreachable", "problem"})
# Events of the state of a node, and what ends it: the newest of each two is what a person has to know.
OPPOSITES: Mapping[str, str] = {
    "node.offline": "node.online", "node.online": "node.offline",
    "alert.raised": "alert.cleared", "alert.cleared": "alert.raised",
}  # fmt: skip
COOLDOWN_S = 300.0
# Alerts of figures after which processes are killed; a node that is offline is one, too.
CRITICAL = frozenset({"memory_full"})
# What of an event's data a person wants to read, in this order; the rest is in the store.
_TOLD = (
    "problem", "evidence", "message", "text", "reason", "why", "detail", "name", "key", "exit_code", "state", "by",
    "offline_s", "pool", "provider_id", "dollars",
)  # fmt: skip
# What an event that is of no job and no node may be of.
_ABOUT = (
    "key", "workflow", "step", "part", "queue", "template", "dispatcher", "project", "thread", "session", "from", "to",
    "instance",
)  # fmt: skip


@dataclass(frozen=True)
class Message:
    """What is told of an event. `topic` is the same for the same of the same job, node, workflow; `mood`: its look."""

    title: str
    body: str
    topic: str
    mood: str


@dataclass(frozen=True)
class Wanted:
    """A message that a rule wants of an event. `cooldown_s` is how long the same topic is not to be told again.

    `node` is that whose state it tells, None for all else; `critical`: a silence of the node does not keep it from the
    inbox.
    """

    seq: int
    at: float
    target: str
    message: Message
    urgent: bool
    cooldown_s: float
    node: str | None = None
    critical: bool = False


@dataclass(frozen=True)
class Ended:
    """With the event `seq`, what a message of that topic says is no longer so."""

    seq: int
    at: float
    topic: str


def wanted(events: Iterable[EventRow], jobs: Mapping[str, JobRow], settings: Notify, target: str) -> Iterator[Wanted]:
    """The messages for one target, in the order of their events; at most one for each event."""
    rules = [rule for rule in settings.rules if target in rule.to]
    for event in events:
        job = jobs.get(event.job_id or "")
        fit = [rule for rule in rules if fits(rule, event, job)]
        if fit:
            urgent = any(rule.urgent for rule in fit)
            usual_s = COOLDOWN_S if event.type in OPPOSITES else 0.0
            cooldown_s = min(usual_s if rule.cooldown_s is None else rule.cooldown_s for rule in fit)
            node = event.node if event.type.startswith(("node.", "alert.")) else None
            critical = is_critical(event.type, event.data)
            yield Wanted(event.seq, event.at, target, told(event, job), urgent, cooldown_s, node, critical)


def ended(events: Iterable[EventRow]) -> Iterator[Ended]:
    """What each event of the state of a node ends, whether or not a rule names that event."""
    for event in events:
        if event.type in OPPOSITES:
            yield Ended(event.seq, event.at, OPPOSITES[event.type] + topic_of(event)[len(event.type) :])


def is_critical(kind: str, data: Mapping[str, Any]) -> bool:
    """Whether an event is an alert that nobody may silence altogether."""
    return kind == "node.offline" or (kind == "alert.raised" and data.get("key") in CRITICAL)


def fits(rule: Rule, event: EventRow, job: JobRow | None) -> bool:
    """Whether the rule names this event."""
    kinds = [kind for pattern in rule.events for kind in ALIASES.get(pattern, (pattern,))]
    return (
        any(fnmatchcase(event.type, kind) for kind in kinds)
        and (not rule.jobs or _any(event.job_id, rule.jobs))
        and (not rule.nodes or _any(event.node, rule.nodes))
        and (not rule.projects or _any(project_of(job), rule.projects))
    )


def project_of(job: JobRow | None) -> str | None:
    """The name of the folder that a job's files came from; None: it has none, or is not known any more."""
    if job is None:
        return None
    snapshot = job.spec.get("snapshot") or {}
    folder = (job.results or {}).get("local") or snapshot.get("folder") or job.spec.get("workdir")
    return PurePosixPath(str(folder)).name if folder else None


def told(event: EventRow, job: JobRow | None = None) -> Message:
    """The words of a message. Text of jobs and nodes is shortened, and cannot ping anybody."""
    subject, _, what = event.type.partition(".")
    # Of an instance its own name is told: the job that it is held for is told by events of its own.
    own = str(event.data.get("instance") or "") if subject == "instance" else ""
    name = own or event.job_id or _of_data(event.data) or event.node or ""
    on = f" on {event.node}" if event.node and event.node != name else ""
    reason = event.data.get("reason") or (job.reason if job is not None and what in _BAD else None)
    title = f"{subject} {name} {what.replace('_', ' ')}{f' ({reason})' if reason else ''}{on}"
    lines = [] if job is None else [f"command: {' '.join(_command(job))}"]
    lines += [f"{key.replace('_', ' ')}: {event.data[key]}" for key in _TOLD if event.data.get(key) not in (None, "")]
    lines.append(f"event {event.seq}" + (f", attempt {event.attempt}" if event.attempt else ""))
    bad = what in _BAD or event.data.get("severity") == "error"
    mood = "success" if what in _GOOD else "failure" if bad else "info"
    return Message(
        _calm(title.replace("\n", " "), MOST_TITLE), _calm("\n".join(lines), MOST_BODY), topic_of(event), mood
    )


def topic_of(event: EventRow) -> str:
    """What an event tells of: the same for the same kind of event of the same thing."""
    about = (str(event.data.get(part) or "") for part in _ABOUT)
    return ":".join((event.type, event.job_id or "", event.node or "", *about))


def pause_s(tries: int) -> float:
    """How long to wait after so many tries in a row that failed."""
    return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** max(0, tries - 1))


def is_quiet(spans: Sequence[str], minute: int) -> bool:
    """Whether that minute of the day (0 to 1439) is in one of the spans, which may go over midnight."""
    for start, end in map(span_of, spans):
        if start <= minute < end or (end <= start and (minute >= start or minute < end)):
            return True
    return False


def _any(name: str | None, patterns: Sequence[str]) -> bool:
    return name is not None and any(fnmatchcase(name, pattern) for pattern in patterns)


def _of_data(data: Mapping[str, Any]) -> str:
    names = ("workflow", "queue", "template", "dispatcher", "thread", "session", "instance")
    return next((str(data[name]) for name in names if data.get(name)), "")


def _command(job: JobRow) -> list[str]:
    argv = job.spec.get("argv")
    return [str(word) for word in argv] if argv else ["(a script)"]


def _calm(text: str, most: int) -> str:
    """Text without secrets and commands to a terminal, in which an @ or a < means nothing to a chat."""
    from ansible_collections.stoker.fleet.plugins.module_utils.terminal_text import safe_text
    from stoker.redaction import redact

    plain = safe_text(redact(text)).replace("@", "@\u200b").replace("<!", "<\u200b!").replace("<#", "<\u200b#")
    return plain if len(plain) <= most else plain[: most - 1] + "…"
