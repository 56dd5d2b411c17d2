"""Messages to people: where they go, whether they arrive, and a try."""

from __future__ import annotations

import time
from dataclasses import dataclass

from stoker.dispatch.notices import is_quiet
from stoker.errors import NotFound, StokerError
from stoker.operations import notify_sending as sending
from stoker.operations.find import near
from stoker.operations.registry import operation
from stoker.operations.session import Session
from stoker.operations.values import Problem
from stoker.store import NoticeRow, NoticeTargetRow

SEND_S = 60.0
TEST_S = 30.0


@dataclass(frozen=True)
class TargetView:
    """A target. `source` is where its address is (never the address), `missing` why there is none.

    `due`, `sent`, `failed` (given up) and `left_out` (the same was told a moment before) count messages. `detail` is
    why the last one was not taken, since `failing_since`.
    """

    name: str
    source: str
    missing: str | None
    rules: int
    quiet: bool
    due: int
    sent: int
    failed: int
    left_out: int
    sent_at: float | None
    failing_since: float | None
    next_try: float | None
    detail: str | None


@dataclass(frozen=True)
class TargetList:
    """The targets of messages, in the order of stoker.yml, the inbox last."""

    targets: tuple[TargetView, ...]


@dataclass(frozen=True)
class NoticesSent:
    """What is new became `made` messages; `sent` were taken, `due` wait (quiet times, a target that fails)."""

    made: int
    sent: int
    due: int
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class TargetTested:
    """Whether a target took a message; `why` not."""

    target: str
    sent: bool
    why: str | None
    elapsed_s: float

    @property
    def exit_code(self) -> int:
        """1: it was not taken."""
        return int(not self.sent)


@operation("notify", "notify list", "read", method="list")
def list_targets(session: Session) -> TargetList:
    """Show where messages go: each target, what it was sent, and why it fails."""
    known, counts = session.store.notices.targets(), session.store.notices.counts()
    names = sending.used(session.config.notify)
    return TargetList(tuple(_view(session, name, known.get(name), counts.get(name, {})) for name in names))


@operation("notify", "notify send", "operate")
def send(session: Session) -> NoticesSent:
    """Make messages of what is new, and send what is due. `stoker dispatch` does it after each round."""
    before = _count(session, "sent")
    made = sending.collect(session)
    problems = sending.send(session, SEND_S)
    return NoticesSent(made, _count(session, "sent") - before, _count(session, "due"), problems)


@operation("notify", "notify test", "operate")
def test(session: Session, target: str) -> TargetTested:
    """Send a message now, to see whether it arrives.

    Args:
        target: Its name in stoker.yml.
    """
    found = session.config.notify.targets.get(target)
    if found is None:
        known = list(session.config.notify.targets)
        raise NotFound(
            f"there is no target {target!r}.{near(target, known)}", next_step="notify.targets in stoker.yml names them"
        )
    url, began = sending.address(target, found), time.time()
    body = "This is a test: messages of Stoker arrive here."
    row = NoticeRow(0, target, began, "", "Stoker", body, "info", True, "due", 0, None, None, None, None, None)
    (outcome,) = sending.deliver(url, [row], TEST_S)
    return TargetTested(target, outcome.sent, outcome.why, time.time() - began)


def _count(session: Session, state: str) -> int:
    return sum(counts.get(state, 0) for counts in session.store.notices.counts().values())


def _view(session: Session, name: str, known: NoticeTargetRow | None, counts: dict[str, int]) -> TargetView:
    settings, now = session.config.notify, time.localtime()
    target = settings.targets.get(name)
    missing = None
    if target is not None:
        try:
            sending.address(name, target)
        except StokerError as problem:
            missing = problem.message.removeprefix(f"{name}: ")
    source = "the store" if target is None else f"variable {target.url_env}" if target.url_env else str(target.url_file)
    return TargetView(
        name, source, missing, sum(name in rule.to for rule in settings.rules),
        target is not None and is_quiet(target.quiet, now.tm_hour * 60 + now.tm_min),
        counts.get("due", 0), counts.get("sent", 0), counts.get("failed", 0), counts.get("left_out", 0),
        known.sent_at if known else None, known.failing_since if known else None, known.next_try if known else None,
        known.detail if known else None,
    )  # fmt: skip
