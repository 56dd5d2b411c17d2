"""One call: whether it may be made, whether it was made before, what it answers; and the note of it in the store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stoker import credentials
from stoker.errors import StokerError, UsageError
from stoker.mcp import answers, arguments
from stoker.operations import policy
from stoker.operations.registry import Operation, operations
from stoker.operations.session import Session
from stoker.store import CallRow

_LONGEST_KEY = 128


def perform(request: Mapping[str, Any], say: Callable[[str], None]) -> dict[str, Any]:
    """The answer to a request: `structured`, `text`, `error`.

    A request has `operation`, `arguments`, `who`, `role`, `via`, and may have `key`, `cursor`, `plan` (say only what
    would be done), `inventory`, `config`, and `session`, the id of the client's session.
    """
    named = {name: Path(request[name]) if request.get(name) else None for name in ("inventory", "config")}

    def progress(text: str) -> None:
        if text:
            say(text)

    client = request.get("session")
    session = Session(named["inventory"], config_file=named["config"], say=say, progress=progress, client=client)
    operation = next(found for found in operations() if found.command == request["operation"])
    try:
        answer = _Call(session, operation, request).answer()
        return answer if operation.area == "sessions" else _with_unread(session, answer)
    except StokerError as problem:
        return answers.of_failure(problem, operation.name)
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
    return str(credentials.redacted(text))


class _Call:
    """A request, and who makes it."""

    def __init__(self, session: Session, operation: Operation, request: Mapping[str, Any]) -> None:
        self.session, self.operation, self.request = session, operation, request
        self.caller = policy.Caller(request["who"], request["role"], request["via"])
        self.given: Mapping[str, Any] = request["arguments"]

    def answer(self) -> dict[str, Any]:
        policy.admit(self.session, self.caller, self.operation, self.given)
        args, kwargs = self._bound()
        if self.request.get("plan"):
            return self._plan(args, kwargs)
        seq, before = self._note("running", key=self.request.get("key"))
        if before is not None:
            return self._again(before)
        try:
            found = answers.of_operation(self.session, self.operation, args, kwargs, self.request.get("cursor"))
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
        """The arguments as the operation takes them; a call that it cannot take is written down, too."""
        try:
            return arguments.bind(self.operation, self.given)
        except UsageError as problem:
            self._note("error", detail=_kept(problem.message))
            raise

    def _failed(self, seq: int, problem: StokerError) -> None:
        said = _kept(json.dumps(answers.of_failure(problem, self.operation.name)))
        self.session.store.calls.end(seq, "error", detail=_kept(problem.message), answer=said)
        if isinstance(problem, UsageError):
            # Nothing was done: the corrected call may use the key.
            self.session.store.calls.forget_key(seq)

    def _note(self, outcome: str, *, detail: str | None = None, key: str | None = None) -> tuple[int, CallRow | None]:
        if key is not None and not 0 < len(key) <= _LONGEST_KEY:
            raise UsageError(f"idempotency_key: it has to have 1 to {_LONGEST_KEY} characters")
        return self.session.store.calls.begin(
            via=self.caller.via, who=self.caller.who, role=self.caller.role, operation=self.operation.name,
            arguments=policy.shown(self.given), outcome=outcome, detail=detail, key=key, digest=self._digest(),
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
