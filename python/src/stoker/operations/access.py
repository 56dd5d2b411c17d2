"""Bearer tokens of those who ask over the network, and the calls that were made."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stoker.errors import NotFound, UsageError
from stoker.operations import policy, quantities
from stoker.operations.find import near
from stoker.operations.registry import operation
from stoker.operations.session import Session
from stoker.store import TokenRow

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_PREFIX = "stoker_"
OUTCOMES = ("running", "ok", "error", "cancelled", "asked", "denied")


@dataclass(frozen=True)
class Token:
    """A token without its secret. Times are seconds of the epoch; `expires_at` None: never."""

    name: str
    role: str
    created_at: float
    created_by: str | None
    expires_at: float | None
    expired: bool


@dataclass(frozen=True)
class TokenAdded:
    """A new token, and the secret, which is shown this once."""

    token: Token
    secret: str


@dataclass(frozen=True)
class TokenList:
    """All tokens, by name."""

    tokens: tuple[Token, ...]


@dataclass(frozen=True)
class TokenRemoved:
    """The token that is gone: whoever has it is refused from now on."""

    name: str


@dataclass(frozen=True)
class Called:
    """One call. `arguments` are as they are kept: of mappings the names alone, of commands their lengths."""

    seq: int
    at: float
    ended_at: float | None
    via: str
    who: str
    role: str
    operation: str
    arguments: Mapping[str, Any]
    outcome: str
    detail: str | None


@dataclass(frozen=True)
class Audit:
    """Calls, newest first."""

    calls: tuple[Called, ...]


def digest_of(secret: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(secret.encode()).hexdigest()


def shown_token(row: TokenRow, now: float) -> Token:
    """The token without its digest."""
    expired = row.expires_at is not None and row.expires_at <= now
    return Token(row.name, row.role, row.created_at, row.created_by, row.expires_at, expired)


@operation("access", "token add", "administer", method="add_token")
def add_token(session: Session, name: str, *, role: str = "read", expires: float | str = "90d") -> TokenAdded:
    """Make a bearer token for stoker mcp --http. Its secret is shown once, and only a digest of it is kept.

    Args:
        name: Whose it is: letters, digits, dots and dashes. The calls made with it are noted under this name.
        role: What it may: read, operate, spend or administer.
        expires: How long it is good for (12h, 90d).
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name for a token", next_step="small letters, digits, dots and dashes")
    if role not in policy.ROLES:
        raise UsageError(f"--role: there is no role {role!r}", next_step=f"one of {', '.join(policy.ROLES)}")
    lasts = quantities.seconds(expires, "--expires")
    if lasts <= 0:
        raise UsageError("--expires: a token has to be good for some time", next_step="--expires 90d")
    secret, now = _PREFIX + secrets.token_urlsafe(32), time.time()
    row = TokenRow(name, digest_of(secret), role, now, policy.user(), now + lasts)
    session.store.tokens.add(row)
    return TokenAdded(shown_token(row, now), secret)


@operation("access", "token list", "administer", method="list_tokens")
def list_tokens(session: Session) -> TokenList:
    """List the bearer tokens, those that expired among them; never their secrets."""
    now = time.time()
    return TokenList(tuple(shown_token(row, now) for row in session.store.tokens.list()))


@operation("access", "token remove", "administer", method="remove_token", destroys=True)
def remove_token(session: Session, name: str) -> TokenRemoved:
    """Take a token back: from now on it is refused.

    Args:
        name: Its name, as stoker token list shows it.
    """
    if not session.store.tokens.remove(name):
        known = {row.name for row in session.store.tokens.list()}
        raise NotFound(f"there is no token {name!r}.{near(name, known)}", next_step="stoker token list")
    return TokenRemoved(name)


@operation("access", "audit", "administer", method="audit")
def audit(session: Session, *, outcome: Sequence[str] = (), who: str | None = None, limit: int = 50) -> Audit:
    """Show what assistants asked, and what was denied to anybody; newest first.

    Args:
        outcome: Only calls that ended so: running, ok, error, cancelled, asked or denied. Repeatable.
        who: Only calls of this token or user.
        limit: At most this many.
    """
    if unknown := [name for name in outcome if name not in OUTCOMES]:
        raise UsageError(f"--outcome: there is no outcome {unknown[0]!r}", next_step=f"one of {', '.join(OUTCOMES)}")
    if limit < 1:
        raise UsageError(f"--limit: {limit} is not a number of 1 or more")
    session.store.calls.settle()
    rows = session.store.calls.newest(limit, outcomes=outcome, who=who)
    fields = Called.__dataclass_fields__
    return Audit(tuple(Called(**{name: getattr(row, name) for name in fields}) for row in rows))
