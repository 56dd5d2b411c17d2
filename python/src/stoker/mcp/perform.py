"""One call: whether it may be made, whether it was made before, what it answers; and the note of it in the store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from stoker import credentials
from stoker.config import Config
from stoker.errors import StokerError, UsageError
from stoker.mcp import answers, arguments, tools
from stoker.mcp.fence import Fence
from stoker.operations import policy
from stoker.operations.registry import Operation, operations
from stoker.operations.session import Session
from stoker.store import CallRow, callers
from stoker.store.access import ENDED_UNSEEN

_LONGEST_KEY = 128


def perform(request: Mapping[str, Any], say: Callable[[str], None], settings: Config | None = None) -> dict[str, Any]:
    """The answer to a request: `structured`, `text`, `error`.

    `settings` say who may do what, in the place of what stoker.yml says now.
    A request has `operation`, `arguments`, `who`, `role`, `via`, and may have `key`, `cursor`, `plan` (say only what
    would be done), `unconfirmed` (why it may not happen, unless it did before), `whole` (leave nothing out),
    `inventory`, `config`, and `session`, the id of the client's session.
    """
    named = {name: Path(request[name]) if request.get(name) else None for name in ("inventory", "config")}

    def progress(text: str) -> None:
        if text:
            say(text)

    client = request.get("session")
    session = Session(named["inventory"], config_file=named["config"], say=say, progress=progress, client=client)
    operation = next(found for found in operations() if found.command == request["operation"])
    try:
        if settings is not None:
            session.config = replace(session.config, access=settings.access, mcp=settings.mcp, plugins=settings.plugins)
        answer = _Call(session, operation, request).answer()
        return answer if operation.area == "sessions" else _with_unread(session, answer)
    except StokerError as problem:
        return answers.of_failure(problem, operation.name, operation.signature().parameters)
    finally:
        session.close()


def _with_unread(session: Session, answer: dict[str, Any]) -> dict[str, Any]:
    """The answer, and how many messages wait for the client: it is told of them when it asks for something else."""
    if session.client is None:
        return answer
    try:
        waiting = len(session.store.sessions.inbox(session.client))
    except StokerError as problem:
        # What was asked is done all the same.
        answer["text"] += f"\nunread: not known ({problem.message})"
        return answer
    if waiting:
        answer["structured"]["unread"] = waiting
        answer["text"] += f"\nunread: {waiting} message{'' if waiting == 1 else 's'} (memory do='session inbox')"
    return answer


def _kept(text: str) -> str:
    """What went wrong, as it may be kept: it may repeat what the caller said."""
    return policy.without_passwords(str(credentials.redacted(text)))


class _Call:
    """A request, and who makes it."""

    def __init__(self, session: Session, operation: Operation, request: Mapping[str, Any]) -> None:
        self.session, self.operation, self.request = session, operation, request
        self.caller = policy.Caller(request["who"], request["role"], request["via"])
        self.given: Mapping[str, Any] = request["arguments"]
        self.kept: Mapping[str, Any] = {}

    def answer(self) -> dict[str, Any]:
        args, kwargs = self._bound()
        fence = Fence(self.session, self.session.config.access.paths)
        self.session.may_name, self.session.may_hand = fence.check, fence.check_secrets
        self._checked(fence)
        if (before := self._made_before()) is not None:
            return self._again(before)
        if self.request.get("unconfirmed"):
            raise UsageError(self.request["unconfirmed"], next_step=tools.NEW_PLAN)
        if self.request.get("plan"):
            return self._plan(args, kwargs)
        seq, before = self._note("running", key=self.request.get("key"))
        if before is not None:
            return self._again(before)
        try:
            found = answers.of_operation(
                self.session,
                self.operation,
                args,
                kwargs,
                self.request.get("cursor"),
                whole=bool(self.request.get("whole")),
            )
        except KeyboardInterrupt:
            self.session.store.calls.end(seq, "cancelled")
            raise
        except StokerError as problem:
            self._failed(seq, problem)
            raise
        except BaseException as problem:
            self.session.store.calls.end(seq, "error", detail=_kept(f"{type(problem).__name__}: {problem}"))
            raise
        self.session.store.calls.end(seq, "ok", answer=json.dumps(found))
        return found

    def _bound(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments as the operation takes them; a call that it cannot take is written down, too.

        Raises DeniedError first: what the caller may not do is not explained to it.
        """
        try:
            bound = arguments.bind(self.operation, self.given)
        except UsageError as problem:
            self.kept = policy.unchecked(self.given)
            policy.admit(self.session, self.caller, self.operation, self.given, kept=self.kept)
            told = "it takes no argument of such a name" if "?" in self.kept else _kept(answers.safe(problem.message))
            self._note("error", detail=told)
            raise
        self.kept = policy.shown(self.given)
        policy.admit(self.session, self.caller, self.operation, self.given, kept=self.kept)
        return bound

    def _checked(self, fence: Fence) -> None:
        """Refuse paths that lead elsewhere; that is written down, too."""
        try:
            fence.check_call(self.operation, self.given)
        except UsageError as problem:
            self._note("error", detail=_kept(problem.message))
            raise

    def _made_before(self) -> CallRow | None:
        """The call with this key; one that only looked, and whose process is gone, gives its key back."""
        key, calls = self._key(), self.session.store.calls
        if key is None:
            return None
        calls.settle()
        before = calls.of_key(self.caller.via, self.caller.who, key)
        if before is None or before.digest != self._digest():
            return before
        if before.detail == ENDED_UNSEEN and self.operation.policy == "read":
            calls.forget_key(before.seq)
            return None
        return before

    def _failed(self, seq: int, problem: StokerError) -> None:
        told = answers.of_failure(problem, self.operation.name, self.operation.signature().parameters)
        self.session.store.calls.end(seq, "error", detail=_kept(problem.message), answer=_kept(json.dumps(told)))
        if isinstance(problem, UsageError):
            # Nothing was done: the corrected call may use the key.
            self.session.store.calls.forget_key(seq)

    def _key(self) -> str | None:
        """The idempotency key. Raises UsageError for one that cannot be."""
        key: str | None = self.request.get("key")
        if key is not None and (not 0 < len(key) <= _LONGEST_KEY or arguments.is_no_text(key)):
            raise UsageError(
                f"idempotency_key: it has to have 1 to {_LONGEST_KEY} characters", next_step="a random word, say"
            )
        if key is not None and "secret" in arguments.fields_of_answer(self.operation):
            # An answer to a key is kept, and a secret never is.
            raise UsageError(
                f"idempotency_key: {self.operation.command} takes none, since its answer holds a secret",
                next_step="the same call without it",
            )
        return key

    def _note(self, outcome: str, *, detail: str | None = None, key: str | None = None) -> tuple[int, CallRow | None]:
        return self.session.store.calls.begin(
            via=self.caller.via, who=self.caller.who, role=self.caller.role, operation=self.operation.name,
            arguments=self.kept, outcome=outcome, detail=detail, key=key, digest=self._digest(),
            process=callers.this_process() if outcome == "running" else None,
        )  # fmt: skip

    def _digest(self) -> str:
        return hashlib.sha256(json.dumps([self.operation.name, self.given], sort_keys=True).encode()).hexdigest()

    def _again(self, before: CallRow) -> dict[str, Any]:
        """The answer to a call that was made before with the same key."""
        if before.digest != self._digest():
            raise UsageError(
                f"idempotency_key: it was used for another call ({before.operation})", next_step="take a new one"
            )
        if before.answer is None:
            state = "is under way" if before.outcome == "running" else f"ended without an answer ({before.outcome})"
            raise StokerError(
                f"the call with this idempotency_key {state}; what it did is not known here",
                next_step="jobs with do='jobs' shows what there is; a new key makes a new call",
            )
        found: dict[str, Any] = json.loads(before.answer)
        found["structured"]["repeated"] = True
        found["text"] += "\nrepeated: this is what the call with this idempotency_key said before"
        return found

    def _plan(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """What the call would do: by its own `dry_run` where it has one."""
        self._note("asked")
        plan: dict[str, Any] = {
            "operation": self.operation.command, "arguments": dict(self.given),
            "does": self.operation.doc().partition("\n\nArgs:")[0].partition("\n\n")[0].replace("\n", " "),
        }  # fmt: skip
        text = f"Not done yet. {self.operation.command} {json.dumps(self.given)} would: {plan['does']}"
        if "dry_run" in self.operation.signature().parameters:
            dry = {**kwargs, "dry_run": True}
            found = answers.of_operation(self.session, self.operation, args, dry, None)
            plan["dry_run"] = found["structured"]["value"]
            text += f"\n{found['text']}"
        answer = {"schema": "stoker.result/1", "operation": self.operation.name, "ok": True, "plan": plan}
        return {"structured": answers.safe(answer), "text": text, "error": False}
