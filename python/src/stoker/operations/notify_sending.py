"""Messages to people, made from events and sent: a bounded piece of it after each round of a dispatcher.

Each target is sent to by a process of its own (`stoker.sender`), which gets the address on its standard input and is
ended when it takes too long. What was taken is noted message by message; what was in flight when this process was
killed is sent once more.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from stoker.dispatch.notices import Wanted, ended, is_quiet, pause_s, wanted
from stoker.errors import StokerError
from stoker.notify_settings import INBOX, Notify, Target
from stoker.operations.session import Session
from stoker.operations.values import Problem
from stoker.redaction import redact
from stoker.store import NoticeRow

# How long a round may wait for messages to be taken, and how many a target is sent in that time at most.
PASS_S = 15.0
MOST_AT_ONCE = 20
_PAGE = 1000
# Services whose address names a host; of all others the first part is a secret, too.
_WITH_HOST = re.compile(r"https?|jsons?|forms?|xmls?|mailtos?", re.IGNORECASE)


@dataclass(frozen=True)
class Outcome:
    """How one message went. `why` None: it was taken."""

    seq: int
    sent: bool
    why: str | None


def tell(session: Session) -> tuple[Problem, ...]:
    """After a round: make messages of what is new and send what is due, for `PASS_S` seconds at most.

    Nothing that goes wrong with a target stops the others, or the round.
    """
    if not session.config.notify.rules:
        return ()
    collect(session)
    return send(session, PASS_S)


def collect(session: Session) -> int:
    """Make messages of the events that came since the last time; how many are due now because of them."""
    settings, store = session.config.notify, session.store
    names = sorted({target for rule in settings.rules for target in rule.to})
    last, known = store.last_event(), store.notices.targets()
    if new := [name for name in names if name not in known]:
        store.notices.begin(new, last)
    job_of, due, now = cache(store.job), 0, time.time()
    for name in names:
        seen = known[name].seen if name in known else last
        while seen < last:
            events = store.events(since=seen, limit=_PAGE)
            if not events:
                break
            seen = events[-1].seq
            jobs = {event.job_id: job for event in events if event.job_id and (job := job_of(event.job_id))}
            fresh = [event for event in events if event.at > now - settings.max_age_s]
            made = [_fields(one) for one in wanted(fresh, jobs, settings, name)]
            due += store.notices.add(name, seen, made, [vars(one) for one in ended(events)])
    return due


def send(session: Session, within_s: float) -> tuple[Problem, ...]:
    """Send what is due, within so many seconds; what is wrong with targets."""
    settings, notices, now = session.config.notify, session.store.notices, time.time()
    notices.give_up(now - settings.max_age_s, now=now)
    due = notices.due()
    if INBOX in due:
        notices.keep(INBOX, now=now)
    known = notices.targets()
    ready: dict[str, str] = {}
    problems = []
    for name in due:
        target = settings.targets.get(name)
        if target is None or (known[name].next_try or 0.0) > now:
            continue  # one that is no longer in stoker.yml keeps its messages until they are too old
        try:
            ready[name] = address(name, target)
        except StokerError as problem:
            # Another machine may have the address: here it is told, and the target is not marked for all.
            problems.append(Problem(None, f"no message from here to {problem.message}", problem.next_step))
    minute = time.localtime(now).tm_hour * 60 + time.localtime(now).tm_min
    quiet = [name for name in ready if is_quiet(settings.targets[name].quiet, minute)]
    rows = notices.claim(list(ready), MOST_AT_ONCE, now + 2 * within_s + 30, now=now, urgent_only=quiet)
    of_target = {name: [row for row in rows if row.target == name] for name in ready}
    busy = {name: its for name, its in of_target.items() if its}
    if not busy:
        return tuple(problems)
    with ThreadPoolExecutor(len(busy)) as several:
        told = several.map(lambda name: deliver(ready[name], busy[name], within_s), busy)
    for name, outcomes in zip(busy, told, strict=True):
        problems += _note(session, name, busy[name], outcomes)
    return tuple(problems)


def deliver(url: str, rows: Sequence[NoticeRow], within_s: float) -> list[Outcome]:
    """Hand the messages over, in order; the outcome of each that was tried. After a failure no other is tried."""
    messages = [{"id": row.seq, "title": row.title, "body": row.body, "mood": row.mood} for row in rows]
    asked = json.dumps({"url": url, "messages": messages}).encode()
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "stoker.sender"], input=asked, capture_output=True, timeout=within_s, check=False,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
        )  # fmt: skip
        printed, end = ran.stdout, f"the sender ended with code {ran.returncode}: {_last_line(ran.stderr)}"
    except subprocess.TimeoutExpired as late:
        printed, end = late.stdout or b"", f"gave no answer within {within_s:.0f} s"
    except OSError as problem:
        printed, end = b"", f"the sender cannot be started: {problem.strerror or problem}"
    told = [json.loads(line) for line in printed.splitlines(keepends=True) if line.endswith(b"\n")]
    secrets = secrets_of(url)
    outcomes = [
        Outcome(one["id"], one["sent"], redact(one["why"], secrets).rstrip(".") if one["why"] else None) for one in told
    ]
    if len(outcomes) < len(rows) and all(outcome.sent for outcome in outcomes):
        outcomes.append(Outcome(rows[len(outcomes)].seq, False, redact(end, secrets)))
    return outcomes


def address(name: str, target: Target) -> str:
    """The address of a target. Raises StokerError that says what is missing."""
    if target.url_env is not None:
        found = os.environ.get(target.url_env, "").strip()
        where = f"the variable {target.url_env}"
        if not found:
            raise StokerError(
                f"{name}: {where} is not set here", next_step=f"export {target.url_env}=... and try again"
            )
        return found
    path = Path(str(target.url_file)).expanduser()
    try:
        found = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as problem:
        why = getattr(problem, "strerror", None) or problem
        raise StokerError(f"{name}: the file {path} cannot be read: {why}") from problem
    if not found:
        raise StokerError(f"{name}: the file {path} is empty", next_step="write the address into it")
    return found


def _note(session: Session, name: str, rows: Sequence[NoticeRow], outcomes: Sequence[Outcome]) -> list[Problem]:
    notices, tries, now = session.store.notices, session.config.notify.tries, time.time()
    by_number = {outcome.seq: outcome for outcome in outcomes}
    problems = []
    for row in rows:
        outcome = by_number.get(row.seq)
        if outcome is None:
            notices.release(row.seq, name, tried=False)
        elif outcome.sent:
            notices.end(row.seq, name, "sent", now=now)
            notices.went(name, now=now, failed=None)
        else:
            why = outcome.why or "it was not taken"
            if row.tries + 1 >= tries:
                notices.end(row.seq, name, "failed", now=now, detail=why)
            else:
                notices.release(row.seq, name, tried=True, detail=why)
            problems.append(_failed(session, name, f"{name}: {why}"))
    return problems


def _failed(session: Session, name: str, sentence: str) -> Problem:
    notices, now = session.store.notices, time.time()
    pause = pause_s(notices.targets()[name].failures + 1)
    notices.went(name, now=now, failed=sentence.removeprefix(f"{name}: "), next_try=now + pause)
    return Problem(None, f"no message to {sentence}; next try in {pause:.0f} s", f"stoker notify test {name}")


def _fields(one: Wanted) -> Mapping[str, Any]:
    message = asdict(one.message)
    told = {name: value for name, value in vars(one).items() if name not in ("target", "message")}
    return {**told, **message}


def _last_line(text: bytes) -> str:
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def secrets_of(url: str) -> list[str]:
    """The parts of an address that nobody has to read: what is long enough to be a token, but for a host's name."""
    parts = urlsplit(url)
    words = [*re.split(r"[/:@?&=,]", url.partition("://")[2]), unquote(parts.password or "")]
    host = parts.hostname if _WITH_HOST.fullmatch(parts.scheme) else None
    return [word for word in words if word and word.lower() != host]


def used(settings: Notify) -> list[str]:
    """The targets, in the order of the file, the inbox last."""
    return [*settings.targets, INBOX]
