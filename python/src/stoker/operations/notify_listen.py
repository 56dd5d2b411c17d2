"""Commands that come as messages: from users who are allowed to, in a role, and no others."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stoker.errors import StokerError, UsageError
from stoker.notify_settings import Target
from stoker.operations import policy
from stoker.operations.notify_sending import address
from stoker.operations.registry import Operation, operation, operations
from stoker.operations.session import Session
from stoker.operations.telegram import Bot, Written
from stoker.redaction import redact

WAIT_S = 50.0
COMMAND_S = 120.0
# A command that was written before is not carried out: whoever wrote it may have done something else meanwhile.
TOO_OLD_S = 300.0
_PAUSE_S = 10.0
# After a week without a message Telegram may go on with any number, and it keeps what nobody took for a day.
QUIET_S = 6 * 86400.0
# In the store's list of who was told how far, with the bot's number: each counts its own. No target can be called so.
_PLACE = "@telegram:"
# What may be asked, each with options that go along.
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "jobs": (), "job": (), "logs": ("--tail", "30"), "status": (), "nodes": (), "gpus": (), "events": (), "stop": (),
    "retry": (), "dead list": (), "queue list": (), "queue pause": (), "queue resume": (), "workflow list": (),
    "node drain": (), "node resume": (), "inbox list": (), "notify list": (),
}  # fmt: skip
YES = "yes"
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/*-]{0,127}")


@dataclass(frozen=True)
class Heard:
    """A message, and what came of it.

    `outcome`: done, failed, denied (the role may not), refused (not understood), asked (to be confirmed), kept (in the
    inbox), late, or ignored (a user who is not allowed). `command` None: it is none.
    """

    at: float
    user: str
    name: str
    command: str | None
    outcome: str
    problem: str | None = None


class ListenStream:
    """Messages as they come, until the caller stops; with `once` those that wait."""

    exit_code = 0

    def __init__(self, session: Session, bot: Bot, once: bool) -> None:
        self._session, self._bot, self._once = session, bot, once
        self._strangers: set[str] = set()
        self._place = _PLACE + bot.number
        session.store.notices.begin([self._place], 0)

    def __iter__(self) -> Iterator[Heard]:
        while True:
            try:
                seen, anew = self._reached()
                found = self._bot.written(-1 if anew else seen, 0.0 if self._once else WAIT_S)
            except StokerError as problem:
                if self._once:
                    raise
                yield Heard(time.time(), "", "", None, "failed", problem.message)
                time.sleep(_PAUSE_S)
                continue
            taken = False
            for written in found:
                # Noted first: who is killed after this does not carry a command out twice.
                if self._take(written.number, seen, anew):
                    yield self._heard(written)
                    anew, taken = False, True
            if anew and found and not taken:
                # All of it is known: Telegram is told so by the next question.
                self._session.store.notices.reached(self._place, seen, anew=seen)
            if self._once and not found:
                return

    def _reached(self) -> tuple[int, bool]:
        """The number of the newest message that was taken, and whether the next one may have a lower one."""
        place = self._session.store.notices.targets()[self._place]
        return place.seen, place.seen > 0 and time.time() - (place.sent_at or 0.0) > QUIET_S

    def _take(self, number: int, seen: int, anew: bool) -> bool:
        """Note that this one is taken. False: another listener did, or this one before."""
        notices = self._session.store.notices
        return notices.reached(self._place, number, anew=seen if anew and number < seen else None)

    def _heard(self, written: Written) -> Heard:
        role = self._session.config.notify.telegram.allow.get(written.user)
        if role is None or not written.private:
            self._deny(written)
            return Heard(written.at, written.user, written.name, None, "ignored")
        command, outcome, said = self._done(written, role)
        try:
            self._bot.answer(written.chat, said)
        except StokerError as problem:
            return Heard(written.at, written.user, written.name, command, outcome, problem.message)
        return Heard(written.at, written.user, written.name, command, outcome)

    def _done(self, written: Written, role: str) -> tuple[str | None, str, str]:
        """The command, what came of it, and the answer."""
        if not written.text.startswith("/"):
            self._session.store.notices.receive(f"telegram:{written.user} {written.name}", redact(written.text))
            return None, "kept", "It is in the inbox. Commands begin with /; /help lists them."
        try:
            found, words, sure = understood(written.text)
        except UsageError as problem:
            return None, "refused", f"{problem.message}\n{problem.next_step or ''}".strip()
        if time.time() - written.at > TOO_OLD_S:
            return found.command, "late", "That was written too long ago, and was not done. Write it again."
        caller = policy.Caller(f"telegram:{written.user}", role, "telegram")
        try:
            policy.admit(self._session, caller, found, {"words": words})
        except StokerError as denied:  # also where its plugin is off
            return found.command, "denied", denied.message
        if found.destroys is True and not sure:
            return found.command, "asked", f"To do that, write: {written.text.strip()} {YES}"
        return found.command, *self._run(caller, found, words)

    def _run(self, caller: policy.Caller, found: Operation, words: list[str]) -> tuple[str, str]:
        """Carry it out as the command line does, and note it as a call."""
        session, calls = self._session, self._session.store.calls
        seq, _ = calls.begin(
            via=caller.via, who=caller.who, role=caller.role, operation=found.name, arguments={"words": words},
            outcome="running",
        )  # fmt: skip
        argv = [sys.executable, "-m", "stoker", *found.command.split(), *words, *COMMANDS[found.command]]
        argv += ["--inventory", str(session.inventory_path)] if session.inventory_path else []
        argv += ["--config", str(session.config.file)] if session.config.file else []
        env = {**os.environ, **({"STOKER_STORE_URL": session.store_url} if session.store_url else {})}
        try:
            ran = subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=COMMAND_S,
                check=False, env=env,
            )  # fmt: skip
            said, good = ran.stdout.decode(errors="replace").strip(), ran.returncode == 0
        except subprocess.TimeoutExpired:
            said, good = f"It was not over within {COMMAND_S:.0f} s. /jobs shows what became of it.", False
        calls.end(seq, "ok" if good else "error", detail=None if good else said[-200:])
        return "done" if good else "failed", redact(said) or "done"

    def _deny(self, written: Written) -> None:
        """Note a stranger, once: who writes a lot must not fill the store."""
        if written.user in self._strangers:
            return
        self._strangers.add(written.user)
        self._session.store.calls.begin(
            via="telegram", who=f"telegram:{written.user}", role="none", operation="notify.listen", arguments={},
            outcome="denied", detail="the user is not in notify.telegram.allow, or wrote in a group",
        )  # fmt: skip


@operation("notify", "notify listen", "administer")
def listen(session: Session, *, once: bool = False) -> ListenStream:
    """Take commands from Telegram, from the users that stoker.yml allows, until Ctrl-C.

    /jobs, /logs JOB, /stop JOB and others are carried out in the user's role; any other text goes into the inbox.
    Everybody else gets no answer. One listener at a time: Telegram refuses a second one.

    Args:
        once: Only what waits now.
    """
    settings = session.config.notify.telegram
    if settings.token_env is None and settings.token_file is None:
        raise UsageError("stoker.yml names no bot", next_step="set notify.telegram: token_env and allow")
    if not settings.allow:
        raise UsageError("stoker.yml allows nobody to ask", next_step="set notify.telegram.allow: {USER: read}")
    token = address("telegram", Target(settings.token_env, settings.token_file))
    return ListenStream(session, Bot(token), once)


def understood(text: str) -> tuple[Operation, list[str], bool]:
    """The operation of a message, its words, and whether it was confirmed. Raises UsageError for anything else.

    Only names can be given, no options: a message is short, and what it may do is to be seen at a glance.
    """
    first, *rest = text.strip().lstrip("/").split() or [""]
    words = [first.partition("@")[0].lower(), *rest]
    command = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in COMMANDS), None)
    if command is None:
        raise UsageError(f"I know these: {', '.join(f'/{name}' for name in COMMANDS)}")
    given = words[len(command.split()) :]
    sure = bool(given) and given[-1] == YES
    given = given[:-1] if sure else given
    if bad := [word for word in given if not _WORD.fullmatch(word)]:
        raise UsageError(f"{bad[0][:40]!r} is not a name", next_step="after the command come names only, no options")
    found = next(one for one in operations(command) if one.command == command)
    return found, given, sure
