"""Secrets taken out of text and of values, before these are shown or handed on.

A guess by form: tokens of known services, passwords in URLs, private keys, and the values of what is called a password,
token, key or secret. It takes out a little too much rather than too little.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

GONE = "[redacted]"
# A port is no password: http://host:80/a@b. Its groups: what stands before the password, and that.
URL_PASSWORD = re.compile(
    r"(\b[a-z][a-z0-9+.-]{0,30}://[^\s:/@'\"]{0,200}):(?!\d{1,5}(?:[/?#]|$))([^\s'\"]{1,400})@", re.IGNORECASE
)
# The shortest value that is looked for as it is: a shorter one stands in other words by chance.
_SHORTEST = 8
_NAMED = (
    r"(?:passw(?:or)?d|passphrase|(?:\b|_)pass(?![a-z_])|secret|token(?!s)|api[_-]?key|access[_-]?key|private[_-]?key|credential|"
    r"authorization|cookie|sshpass(?![a-z_])|[a-z0-9]_pwd(?![a-z_])|[a-z0-9][_-]key(?![\w-]))"
)
_VALUE = r"(\"[^\"\n]*\"|'[^'\n]*'|[^\s,;&\"'}\]]+)"
_SECRET_NAME = re.compile(_NAMED, re.IGNORECASE)
# Names that say where a secret is, not what it is, and keys that open nothing.
_NO_SECRET = re.compile(
    r"(?:_env|_file|_path|^secrets"
    r"|(?:public|primary|foreign|sort|group|cache|partition|idempotency|step|metric|host)[_-]key)$",
    re.IGNORECASE,
)
# Stoker's own option: what follows is the name of a secret.
_NAMES_ONE = "--secret"
# Each begins where a word does: at every letter of a long word, the time would grow with its square.
_FORMS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), GONE),
    (URL_PASSWORD, rf"\1:{GONE}@"),
    # A folder is what the shell has in PWD.
    (re.compile(r"((?<![\w-])pwd\s*=\s*)(?![\"']?[/~.$])[^\s,;&\"']+", re.IGNORECASE), rf"\1{GONE}"),
    (re.compile(r"(\bsshpass\s+-p\s*)[^\s]+"), rf"\1{GONE}"),
    (
        re.compile(r"(hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers))/[^\s'\"]+", re.IGNORECASE),
        rf"\1/{GONE}",
    ),
    (re.compile(r"(discord(?:app)?\.com/api/webhooks)/[^\s'\"]+", re.IGNORECASE), rf"\1/{GONE}"),
    (re.compile(r"\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,}|\bhf_[A-Za-z0-9]{16,}|\bglpat-[A-Za-z0-9_-]{16,}"), GONE),
    (re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}|\bxox[abeoprs]-[A-Za-z0-9-]{10,}"), GONE),
    (re.compile(r"\bA(?:KIA|SIA)[0-9A-Z]{16}\b|\bAIza[A-Za-z0-9_-]{30,}|\bstoker_[A-Za-z0-9_-]{40,}"), GONE),
    (re.compile(r"(?<![A-Za-z0-9])(bot)?\d{8,10}:[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"), rf"\1{GONE}"),
    (re.compile(r"(?<![\w-])(?:xapp-[\w-]{10,}|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{40,}|wandb_v1_\w{20,})"), GONE),
    (re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), GONE),
    (re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9+/._~=-]{8,}", re.IGNORECASE), rf"\1 {GONE}"),
)
# `name = value`, `"name": "value"`, `--name value`, `"--name", "value"`.
_ASSIGNED = re.compile(rf"((?<![\w-])(?=[\w-]*{_NAMED})[\w-]++)([\"']?\s*[=:]\s*){_VALUE}", re.IGNORECASE)
_OPTION = re.compile(rf"((?<![\w-])(?=--[\w-]*{_NAMED})[\w-]++)([\"']?[\s,]+){_VALUE}", re.IGNORECASE)


def redact(text: str, values: Iterable[str] = ()) -> str:
    """`text` with `[redacted]` for what looks like a secret, and for each of `values` (of 8 characters or more)."""
    for value in sorted({value for value in values if len(value) >= _SHORTEST}, key=len, reverse=True):
        text = text.replace(value, GONE)
    for form, kept in _FORMS:
        text = form.sub(kept, text)
    for form in (_ASSIGNED, _OPTION):
        text = form.sub(_without_value, text)
    return text


def redacted(value: Any, values: Iterable[str] = (), *, name: str = "") -> Any:
    """The same for what JSON can hold, at any depth; under a name that is one of a secret everything goes."""
    known = tuple(values)
    if isinstance(value, Mapping):
        below = {str(key): name if names_secret(name) else str(key) for key in value}
        return {redact(str(key), known): redacted(item, known, name=below[str(key)]) for key, item in value.items()}
    if isinstance(value, list | tuple):
        # The value of an option stands behind it: `--api-key`, `abc`.
        said = ("" if item == _NAMES_ONE else str(item) for item in value)
        before = ["", *(word.lstrip("-") if word.startswith("--") else "" for word in said)]
        return [
            redacted(item, known, name=option if names_secret(option) and "=" not in option else name)
            for item, option in zip(value, before, strict=False)
        ]
    if not isinstance(value, str):
        return value
    return GONE if value and names_secret(name) else redact(value, known)


def names_secret(name: str) -> bool:
    """Whether a variable or field of this name holds a secret."""
    return _SECRET_NAME.search(name) is not None and _NO_SECRET.search(name) is None


def _without_value(found: re.Match[str]) -> str:
    if found[1] == _NAMES_ONE or not names_secret(found[1].lstrip("-")) or GONE in found[3]:
        return found[0]
    quote = found[3][0] if found[3][0] in "\"'" else ""
    return f"{found[1]}{found[2]}{quote}{GONE}{quote}"
