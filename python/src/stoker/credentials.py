"""Credentials in what is to be kept: found by their form, named by kind and place, never repeated.

The one place that knows how they look. It is there against accidents: what somebody wants to hide, it does not find.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stoker.errors import UsageError
from stoker.redaction import URL_PASSWORD

# Deeper than anything a person or a program writes; Python's own reader of JSON ends not far beyond.
DEEPEST = 100
_MARK = "[redacted: {}]"
_MARKED = re.compile(r"\[redacted: [^\[\]]+\]")
# What stands where a password would: a variable, a reference, stars, a word in angle brackets, a mark of our own.
_PLACEHOLDER = re.compile(
    r"\W*|[xX]+|\$\w+|\$\{[^}]*\}|\$\([^)]*\)|\{\{.*\}\}|\{\w*\}|%\(?\w+\)?s?|<[^>]*>|\[redacted: .*"
    r"|env[:.].*|vault[:.].*|true|false|none|null|required|optional|unset|empty|example|changeme|password|redacted",
    re.IGNORECASE | re.DOTALL,
)
_START = r"(?<![A-Za-z0-9_])"
_AWS_ID = re.compile(_START + r"(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])")
_NAME = (
    r"[\w.-]{0,40}?(?:password|passwd|api[_-]?key|secret[_-]?(?:access[_-]?)?key|secret|db[_-]?pass|auth[_-]?token"
    r"|access[_-]?token|private[_-]?key)"
)


@dataclass(frozen=True)
class Credential:
    """What was found: its kind, in words, and where: `value.db.url`, `value[2]`, `value.(a key)`."""

    kind: str
    place: str


@dataclass(frozen=True)
class _Form:
    """How one kind looks. `secret` is the group to be hidden; `sure` says of a match whether it is one."""

    kind: str
    pattern: re.Pattern[str]
    secret: int = 0
    sure: Callable[[str], bool] = lambda _found: True


def _mixed(found: str) -> bool:
    """Random characters have a digit among them; words seldom do."""
    return any(c.isdigit() for c in found) and any(c.isalpha() for c in found)


def _mixed_case(found: str) -> bool:
    """A token of three dozen characters has both; a digest, a number and a time have not."""
    return _mixed(found) and found.lower() != found != found.upper()


def _not_a_placeholder(found: str) -> bool:
    return len(found) >= 3 and _PLACEHOLDER.fullmatch(found) is None


def _assigned(found: str) -> bool:
    return len(found) >= 6 and _not_a_placeholder(found) and _mixed(found)


# Looked at once from the beginning of each word, and whole: a text that only begins like tokens is read no second time.
_WEB_TOKEN = re.compile(
    r"(?<![A-Za-z0-9_-])(?=[A-Za-z0-9_-]++\.eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8})"
    r"[A-Za-z0-9_-]*?(?<![A-Za-z0-9_])(eyJ[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]++){2,}+)"
)
_FORMS = (
    _Form(
        "private key",
        re.compile(
            r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]*-----|\Z)", re.DOTALL
        ),
    ),
    _Form("GitHub token", re.compile(_START + r"gh[pousr]_[A-Za-z0-9]{20,}")),
    _Form("GitHub token", re.compile(_START + r"github_pat_[A-Za-z0-9_]{20,}")),
    _Form("GitLab token", re.compile(_START + r"glpat-[A-Za-z0-9_-]{20,}")),
    _Form("Anthropic key", re.compile(_START + r"sk-ant-[A-Za-z0-9_-]{16,}")),
    _Form("API key (sk-)", re.compile(_START + r"sk-(?:proj|svcacct|admin|or-v1|lf)-[A-Za-z0-9_-]{16,}"), sure=_mixed),
    _Form("API key (sk-)", re.compile(_START + r"sk-[A-Za-z0-9]{20,}"), sure=_mixed),
    _Form("payment key", re.compile(_START + r"[sr]k_live_[A-Za-z0-9]{16,}")),
    _Form(
        "AWS secret key",
        re.compile(_AWS_ID.pattern + r"[\s\S]{1,60}?(?<![A-Za-z0-9/+])([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"), 1,
        lambda found: _mixed(found) and not found.islower(),
    ),
    _Form("AWS access key", _AWS_ID),
    _Form(
        "AWS secret key",
        re.compile(r"(?i:secret)[\w .-]{0,24}[\"']?\s*[=:]\s*[\"']?([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"), 1, _mixed,
    ),
    _Form("Google key", re.compile(_START + r"AIza[A-Za-z0-9_-]{35}")),
    _Form("Hugging Face token", re.compile(_START + r"hf_[A-Za-z0-9]{20,}")),
    _Form("W&B key", re.compile(_START + r"wandb_v1_[A-Za-z0-9_]{20,}")),
    # As bare as a commit's digest: a key by what stands before it.
    _Form(
        "W&B key",
        re.compile(
            r"(?i:wandb)[\w .-]{0,24}(?i:key|login|token)\W{1,6}(?:(?i:is)\s+)?([0-9a-f]{40})(?![0-9a-f])"
        ), 1,
    ),
    _Form("Slack token", re.compile(_START + r"(?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{10,}"), sure=_mixed),
    _Form("Slack webhook", re.compile(r"https://hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/]{20,}")),
    _Form("PyPI token", re.compile(_START + r"pypi-[A-Za-z0-9_-]{40,}")),
    _Form("npm token", re.compile(_START + r"npm_[A-Za-z0-9]{30,}")),
    _Form("Stoker token", re.compile(_START + r"stoker_[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])")),
    _Form("JSON web token", _WEB_TOKEN, 1),
    _Form("bearer token", re.compile(r"(?i:\bbearer)\s+([A-Za-z0-9._~+/-]{12,}=*)"), 1, _mixed),
    _Form(
        "Telegram token", re.compile(r"(?<![A-Za-z0-9])(?:bot)?([0-9]{8,10}:[A-Za-z0-9_-]{35})(?![A-Za-z0-9_-])"), 1,
        _mixed_case,
    ),
    _Form("password in a URL", URL_PASSWORD, 2, _not_a_placeholder),
    _Form("password", re.compile(r"(?i:\b(?:password|passwd|pwd))=[\"']?([^\s'\",;&]+)"), 1, _not_a_placeholder),
    _Form("named secret", re.compile(rf"(?i:\b{_NAME})[\"']?\s*[=:]\s*[\"']?([^\s'\",;]+)"), 1, _assigned),
)  # fmt: skip
# Of a mapping: the name says what the value is, whatever that looks like.
_SECRET_NAME = re.compile(rf"{_NAME}", re.IGNORECASE)
_WANDB_KEY = re.compile(r"[0-9a-f]{40}")
_AWS_SECRET = re.compile(r"[A-Za-z0-9/+]{40}")
_BESIDE_AWS_ID = "(beside-an-AWS-key)"


def found_in(value: Any, place: str, *, name: str = "") -> list[Credential]:
    """The credentials in a text, in JSON that a text holds, or in nested values, keys among them.

    `place` is what the caller calls the value, `name` what its owner calls it, where that may say what it is. Raises
    UsageError for what is nested deeper than can be looked through.
    """
    found: list[Credential] = []
    _walked(value, place, found, 0, name)
    return list(dict.fromkeys(found))


def redacted(value: Any, place: str = "value", *, name: str = "") -> Any:
    """The same value with a mark in place of each credential. Raises UsageError as `found_in` does."""
    return _walked(value, place, [], 0, name)


def _walked(value: Any, place: str, found: list[Credential], depth: int, name: str = "") -> Any:
    """The value without its credentials, which are added to `found`."""
    if depth > DEEPEST:
        raise UsageError(
            f"{place[:80]}... is nested more than {DEEPEST} deep: it cannot be looked through for credentials"
        )
    if isinstance(value, str):
        return _text(value, place, found, depth, name)
    if isinstance(value, int) and not isinstance(value, bool) and (kind := _by_name(str(value), name)):
        found.append(Credential(kind, place))
        return _MARK.format(kind)
    if isinstance(value, Mapping):
        new: dict[Any, Any] = {}
        pair = _has_access_key(value.values())
        for key, inner in value.items():
            kept = _text(str(key), f"{place}.(a key)", found, depth + 1, "")
            said = kept if len(kept) <= 60 else f"{kept[:60]}..."
            walked = _walked(inner, f"{place}.{said}", found, depth + 1, f"{name} {key}{pair}")
            new[_free(kept, new) if kept != str(key) else key] = walked
        return new
    if isinstance(value, list | tuple):
        name += _has_access_key(value)
        return [_walked(inner, f"{place}[{at}]", found, depth + 1, name) for at, inner in enumerate(value)]
    return value


def _has_access_key(values: Iterable[Any]) -> str:
    """What is beside the id of an AWS key may be its secret, whatever it is called: a part of the name that says so."""
    beside = any(isinstance(value, str) and _AWS_ID.search(value) for value in values)
    return " " + _BESIDE_AWS_ID if beside else ""


def _free(key: str, taken: Mapping[Any, Any]) -> str:
    """Two keys that were hidden must not become one."""
    number, free = 2, key
    while free in taken:
        free, number = f"{key} {number}", number + 1
    return free


def _text(text: str, place: str, found: list[Credential], depth: int, name: str) -> str:
    kind = _by_name(text, name)
    if kind is not None:
        found.append(Credential(kind, place))
        return _MARK.format(kind)
    inner = _json(text, place)
    if inner is not None:
        before = len(found)
        cleaned = _walked(inner, place, found, depth + 1, name)
        if len(found) > before:
            text = json.dumps(cleaned, ensure_ascii=False)
    found.extend(Credential(hidden.kind, place) for hidden in _matches(text))
    return _hidden(text)


def _by_name(text: str, name: str) -> str | None:
    """What a value is because of the names of the keys that lead to it."""
    words = name.split(" ")
    if words[-1] == _BESIDE_AWS_ID:
        words.pop()
        if _AWS_SECRET.fullmatch(text) and _mixed(text) and not text.islower():
            return "AWS secret key"
    last = words[-1] if words else ""
    if "wandb" in name.lower() and _WANDB_KEY.fullmatch(text) and re.search(r"key|token", last, re.IGNORECASE):
        return "W&B key"
    if last.lower() == "value" and len(words) > 1:  # {"password": {"value": ...}}
        last = words[-2]
    # A password may be several words; under another name these are a remark.
    whole = not re.search(r"\s", text) or re.search(r"passw(?:or)?d$", last, re.IGNORECASE)
    if _SECRET_NAME.fullmatch(last) and len(text) >= 4 and whole and _not_a_placeholder(text):
        return "named secret"
    return None


def _json(text: str, place: str) -> Any:
    """What a text holds as JSON, where that is a list or a mapping; None for any other text."""
    stripped = text.strip()
    if stripped[:1] + stripped[-1:] not in ("{}", "[]", '""'):
        return None
    try:
        return json.loads(stripped)
    except ValueError:
        return None
    except RecursionError:
        raise UsageError(f"{place[:80]} is nested too deep to be looked through for credentials") from None


@dataclass(frozen=True)
class _Match:
    kind: str
    start: int
    end: int


def _matches(text: str) -> Iterator[_Match]:
    """Each credential in a text, without those that overlap one that was found by an earlier, more telling form."""
    taken: list[tuple[int, int]] = [found.span() for found in _MARKED.finditer(text)]
    for form in _FORMS:
        for match in form.pattern.finditer(text):
            start, end = match.span(form.secret)
            if form.sure(match[form.secret]) and not any(start < last and first < end for first, last in taken):
                taken.append((start, end))
                yield _Match(form.kind, start, end)


def _hidden(text: str) -> str:
    for match in sorted(_matches(text), key=lambda match: -match.start):
        text = text[: match.start] + _MARK.format(match.kind) + text[match.end :]
    return text
