"""Tokens and calls on a terminal."""

from __future__ import annotations

import json
import time

from stoker.cli import format as fmt
from stoker.cli.out import Out
from stoker.operations.access import Audit, Called, Token, TokenAdded, TokenList, TokenRemoved


def token_added(value: TokenAdded, out: Out) -> None:
    """`stoker token add`: the secret alone on standard output, for a file or a pipe."""
    out.note(f"{value.token.name}: role {value.token.role}, {_until(value.token)}. It is shown this once:")
    out.line(value.secret)


def token_list(value: TokenList, out: Out) -> None:
    """`stoker token list`."""
    if not value.tokens:
        out.note("no tokens: stoker token add makes one")
        return
    out.table(
        ("NAME", "ROLE", "MADE BY", "GOOD"),
        [(token.name, token.role, fmt.one_line(token.created_by or "-"), _until(token)) for token in value.tokens],
    )


def token_removed(value: TokenRemoved, out: Out) -> None:
    """`stoker token remove`."""
    out.line(f"{fmt.one_line(value.name)} is refused from now on")


def audit(value: Audit, out: Out) -> None:
    """`stoker audit`."""
    if not value.calls:
        out.note("no calls")
        return
    out.table(("CALL", "AT", "WHO", "OPERATION", "OUTCOME", "WITH"), [_call(call) for call in value.calls])


def _call(call: Called) -> tuple[str, ...]:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(call.at))
    given = {name: value for name, value in call.arguments.items() if name != "schema"}
    who = f"{call.who} ({call.via}, {call.role})"
    return str(call.seq), at, fmt.one_line(who), call.operation, call.outcome, fmt.one_line(json.dumps(given))


def _until(token: Token) -> str:
    if token.expires_at is None:
        return "for ever"
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(token.expires_at))
    return f"expired {day}" if token.expired else f"until {day}"
