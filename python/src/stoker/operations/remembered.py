"""What all that is remembered goes through: its project, what must not be kept, and the snapshot after a change."""

from __future__ import annotations

import socket

from stoker import credentials
from stoker.config import working_folder
from stoker.credentials import Credential
from stoker.errors import UsageError
from stoker.operations.policy import user
from stoker.operations.project import own_root
from stoker.operations.session import Session

LONGEST_TEXT = 64 * 1024
LONGEST_NAME = 128


def project_word(named: str | None) -> str:
    """The project: `named`, else the name of the folder that is a project around the current one, else of that.

    Raises UsageError.
    """
    if named is not None:
        return checked_name(named, "--project")
    here = working_folder().resolve()
    return ((own_root(here) or here).name or "root")[:LONGEST_NAME]


def checked_name(text: str, what: str) -> str:
    """A name of one line. Raises UsageError that names `what`."""
    if not text.strip() or len(text) > LONGEST_NAME or "\n" in text:
        raise UsageError(f"{what} has to be one line of 1 to {LONGEST_NAME} characters")
    return text


def keepable(
    session: Session, redact: bool, *, called: str = "", **texts: str | None
) -> tuple[dict[str, str], tuple[Credential, ...]]:
    """The texts as they may be kept, and what was redacted in them; those that are None are left out.

    `called` is a name that their owner gave them. Raises UsageError, with kind and place, for a credential in one of
    them, unless it is to `redact`; and for a text that is empty or too long.
    """
    given = {name: text for name, text in texts.items() if text is not None}
    for name, text in given.items():
        if not text.strip() or len(text) > LONGEST_TEXT:
            raise UsageError(f"{name} has to have 1 to {LONGEST_TEXT:,} characters")
    found = tuple(one for name, text in given.items() for one in credentials.found_in(text, name, name=called))
    if not found:
        return given, ()
    if not redact:
        raise UsageError(
            f"{said_of(found)}: nothing was stored", next_step="leave it out, or put a mark in its place by --redact"
        )
    session.say(f"warning: {said_of(found)}: stored with a mark in place of it")
    return {name: credentials.redacted(text, name, name=called) for name, text in given.items()}, found


def said_of(found: tuple[Credential, ...]) -> str:
    """`value.db.url has a password in a URL`; never what it is."""
    return ", ".join(f"{one.place} has what looks like a credential ({one.kind})" for one in found[:5])


def writer(session: Session) -> str:
    """Who writes: the assistant's session that asks, else the user of this machine."""
    return session.client or f"{user()}@{socket.gethostname()}"
