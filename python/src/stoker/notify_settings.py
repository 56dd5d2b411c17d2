"""The settings of messages to people (`notify` in stoker.yml): where to, and which events."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from stoker.setting import FORBID, Is, Name, OnOff, Positive, Role, Seconds

# The target that is always there: the messages in the store, which `stoker inbox` shows.
INBOX = "inbox"
# The first words of all events; a rule for anything else would wait for ever.
SUBJECTS = (
    "alert", "attempt", "budget", "checkpoint", "context", "dispatcher", "instance", "job", "message", "node", "queue",
    "results", "run", "session", "step", "template", "thread", "workflow",
)  # fmt: skip
# Names for what has several, or another one in the store.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "job.ended": ("job.succeeded", "job.failed", "job.cancelled", "job.lost", "job.dead"),
    "node.recovered": ("node.online",),
}
_TARGET = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_EVENT = re.compile(r"[a-z_*]+(\.[a-z_*]+)?")
_SPAN = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_IS_PATTERNS = Is("a list of patterns such as train-*")


@dataclass(frozen=True)
class Target:
    """Where messages go: an address as apprise has them, taken from the variable `url_env` or the file `url_file`.

    In `quiet`, spans of the day such as 22:00-07:00 by the clock of the machine that sends, only what a rule calls
    urgent is sent; the rest follows afterwards.
    """

    __pydantic_config__ = FORBID

    url_env: Name | None = None
    url_file: Name | None = None
    quiet: Annotated[tuple[Name, ...], Is("a list of times such as 22:00-07:00")] = ()


@dataclass(frozen=True)
class Rule:
    """Which events go to which targets. An event that several rules name is sent once to each target.

    `events` are patterns of types (`job.ended`, `node.*`); `jobs`, `nodes` and `projects` (the names of their folders)
    narrow them. The same of the same job or node is left out for `cooldown_s` seconds; by default 300 where it tells of
    the state of a node, else 0.
    """

    __pydantic_config__ = FORBID

    events: Annotated[tuple[Name, ...], Is("a list of events such as job.ended, node.offline")]
    to: Annotated[tuple[Name, ...], Is("a list of targets")]
    jobs: Annotated[tuple[Name, ...], _IS_PATTERNS] = ()
    nodes: Annotated[tuple[Name, ...], _IS_PATTERNS] = ()
    projects: Annotated[tuple[Name, ...], _IS_PATTERNS] = ()
    cooldown_s: Seconds | None = None
    urgent: OnOff = False


@dataclass(frozen=True)
class Telegram:
    """A bot that takes commands: its token is in the variable `token_env` or the file `token_file`.

    `allow` has the number of each user who may ask, with a role. Everybody else gets no answer.
    """

    __pydantic_config__ = FORBID

    token_env: Name | None = None
    token_file: Name | None = None
    allow: Annotated[Mapping[str, Role], Is("a mapping of users' numbers to roles (read, operate, ...)")] = field(
        default_factory=dict
    )


@dataclass(frozen=True)
class Notify:
    """Messages to people. One that could not be sent within `max_age_s` seconds, or `tries` tries, is given up.

    `findings_s`: how often, in seconds, the runs of jobs are looked at where a rule names `run.finding`.
    """

    __pydantic_config__ = FORBID

    targets: Annotated[Mapping[str, Target], Is("a mapping of names to {url_env, url_file, quiet}")] = field(
        default_factory=dict
    )
    rules: Annotated[tuple[Rule, ...], Is("a list of {events, to, jobs, nodes, projects, cooldown_s, urgent}")] = ()
    telegram: Annotated[Telegram, Is("a mapping with token_env, token_file, allow")] = field(default_factory=Telegram)
    max_age_s: Positive = 86400.0
    tries: Annotated[int, Is("a whole number, 1 or more", least=1)] = 10
    findings_s: Positive = 300.0


def faults(settings: Notify) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """What is wrong with them beyond their types: where (within `notify`), and the end of a sentence about it."""
    for name, target in settings.targets.items():
        at = ("targets", name)
        if not _TARGET.fullmatch(name) or name == INBOX:
            yield at, "is no name for a target: small letters, digits, dots and dashes, and not inbox"
        if (target.url_env is None) == (target.url_file is None):
            yield at, "needs url_env or url_file (one of the two): the address is not written into this file"
        for index, span in enumerate(target.quiet):
            if not _SPAN.fullmatch(span):
                yield (*at, "quiet", index), f"{span!r} is not a time such as 22:00-07:00"
    bot = settings.telegram
    if bot.token_env is not None and bot.token_file is not None:
        yield ("telegram",), "has token_env and token_file: one of the two"
    for user in bot.allow:
        if not user.isascii() or not user.isdecimal():
            yield ("telegram", "allow"), f"{user!r} is not the number of a user: names can be taken over by others"
    for number, rule in enumerate(settings.rules):
        yield from (((("rules", number, *where)), words) for where, words in _of_rule(rule, settings))


def _of_rule(rule: Rule, settings: Notify) -> Iterator[tuple[tuple[int | str, ...], str]]:
    for index, kind in enumerate(rule.events):
        subject = kind.partition(".")[0]
        if not _EVENT.fullmatch(kind) or ("*" not in subject and subject not in SUBJECTS):
            yield ("events", index), f"{kind!r} is no kind of event: they begin with {', '.join(SUBJECTS)}"
    for index, target in enumerate(rule.to):
        if target != INBOX and target not in settings.targets:
            known = ", ".join([*settings.targets, INBOX])
            yield ("to", index), f"there is no target {target!r}; known here: {known}"


def span_of(text: str) -> tuple[int, int]:
    """`22:00-07:00` as minutes of the day."""
    found: Any = _SPAN.fullmatch(text)
    hour, minute, end_hour, end_minute = (int(part) for part in found.groups())
    return hour * 60 + minute, end_hour * 60 + end_minute
