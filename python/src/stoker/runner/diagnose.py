"""What a node said, in one line, and what to try next. Pure: text and variables in, text out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PREFIXES = (
    re.compile(r"^\[?ERROR\]?:\s*", re.I),
    re.compile(r"^Task failed:\s*(Action failed:\s*)?", re.I),
    re.compile(r"^Failed to connect to the host via \w+:\s*", re.I),
    re.compile(r"^Data could not be sent to remote host \"[^\"]*\"\. Make sure this host can be reached over ssh:\s*"),
    re.compile(r"^(ssh|mux_client\w*):\s+"),
    re.compile(r"^connect to host \S+ port \d+:\s*"),
    re.compile(r"^\S+@\S+:\s+(?=Permission denied)"),
)
# Lines of ssh that tell of the way, not of the failure.
_NOISE = re.compile(
    r"^(warning: permanently added|debug\d:|openssh_|control socket connect|controlsocket .* already exists"
    r"|\*\* |\s*@{5,}|authorized uses only|.*post-quantum|.*store now, decrypt later|.*pq\.html"
    r"|.*may need to be upgraded|pseudo-terminal|connection to \S+ closed\.?$|shared connection to \S+ closed\.?$)",
    re.I,
)


@dataclass(frozen=True)
class Diagnosis:
    """``kind`` names the cause (``other``: not known), ``message`` is the node's own words, ``next_step`` a way on."""

    kind: str
    message: str
    next_step: str | None = None


@dataclass(frozen=True)
class _Kind:
    name: str
    pattern: re.Pattern[str]
    next_step: Callable[[str, Mapping[str, Any]], str | None]


def _address(node: str, variables: Mapping[str, Any]) -> tuple[str, str]:
    return str(variables.get("ansible_host") or node), str(variables.get("ansible_port") or 22)


def _login(node: str, variables: Mapping[str, Any]) -> str:
    host, port = _address(node, variables)
    user = variables.get("ansible_user") or variables.get("ansible_ssh_user")
    target = shlex.quote(f"{user}@{host}" if user else host)
    return f"-p {port} {target}" if port != "22" else target


def _publickey(node: str, variables: Mapping[str, Any]) -> str:
    key = variables.get("ansible_ssh_private_key_file") or variables.get("ansible_private_key_file")
    if key:
        return f"it was offered {key}: ssh-copy-id -i {shlex.quote(str(key))} {_login(node, variables)}"
    return f"ssh-copy-id {_login(node, variables)}, or set ansible_ssh_private_key_file for {node} in the inventory"


def _unknown_key(node: str, variables: Mapping[str, Any]) -> str:
    host, port = _address(node, variables)
    at = f"-p {port} {shlex.quote(host)}" if port != "22" else shlex.quote(host)
    return (
        f"ssh-keyscan {at} | ssh-keygen -lf - shows its fingerprints; when one is right: "
        f"ssh-keyscan {at} >> ~/.ssh/known_hosts"
    )


def _changed_key(node: str, variables: Mapping[str, Any]) -> str:
    host, port = _address(node, variables)
    name = f"[{host}]:{port}" if port != "22" else host
    return (
        "its key is not the one known before: find out why. If the machine was installed anew: "
        f"ssh-keygen -R {shlex.quote(name)}, then ssh {_login(node, variables)}"
    )


def _refused(node: str, variables: Mapping[str, Any]) -> str:
    host, port = _address(node, variables)
    return f"is sshd running on {host}, and does it listen on port {port} (ansible_port)?"


def _no_way(node: str, variables: Mapping[str, Any]) -> str:
    host, port = _address(node, variables)
    return f"is {host} up, and can this machine reach its port {port}? Try: ssh {_login(node, variables)}"


def _no_name(node: str, variables: Mapping[str, Any]) -> str:
    host, _port = _address(node, variables)
    return f"check the name {host}, or set ansible_host for {node} in the inventory"


def _python(node: str, variables: Mapping[str, Any]) -> str:
    return f"install Python 3.8 or later on {node}, or set ansible_python_interpreter for it in the inventory"


def _retry(node: str, variables: Mapping[str, Any]) -> str:
    return f"try again; if it stays: ssh -v {_login(node, variables)}"


def _space(node: str, variables: Mapping[str, Any]) -> str:
    return f"free some space on {node}: df -h there"


def _sudo(node: str, variables: Mapping[str, Any]) -> str:
    return f"set ansible_become_password for {node} (a vault keeps it), or allow sudo without one there"


# The first that matches wins, so the special ones come before the general ones.
_KINDS: tuple[_Kind, ...] = tuple(
    _Kind(name, re.compile(pattern, re.I), step)
    for name, pattern, step in (
        ("host_key_changed", r"remote host identification has changed|host key for .* has changed", _changed_key),
        ("host_key", r"host key verification failed|no \S+ host key is known", _unknown_key),
        ("publickey", r"permission denied \(.*publickey|too many authentication failures", _publickey),
        ("password", r"permission denied \(.*password|invalid/incorrect password", _publickey),
        ("refused", r"connection refused", _refused),
        ("no_route", r"no route to host|network is unreachable|host is down", _no_way),
        ("timeout", r"timed out|timeout exceeded|connection timeout", _no_way),
        ("name", r"could not resolve hostname|name or service not known", _no_name),
        (
            "python",
            r"interpreter .*was not found|python\S*: (not found|no such file|command not found)"
            r"|no such file or directory.*python|failed to find .*python",
            _python,
        ),
        ("space", r"no space left on device|disk quota exceeded", _space),
        ("sudo", r"missing sudo password|incorrect sudo password|sudo: a (password|terminal) is required", _sudo),
        ("closed", r"connection (closed|reset)|broken pipe|kex_exchange_identification", _retry),
    )
)


def plain(text: str) -> str:
    """`text` without colour codes, carriage returns and trailing blanks."""
    return _ANSI.sub("", text).replace("\r", "").rstrip()


def one_line(text: str) -> str:
    """The one line of `text` that says what went wrong, without Ansible's and ssh's introductions."""
    lines = [line.strip() for line in plain(text).splitlines()]
    # A host's banner comes before the failure, so the line that is of a known kind is the one meant, the last of them.
    stripped = [_without_prefixes(line) for line in lines if line and not _NOISE.match(line)]
    stripped = [line for line in stripped if line]
    if not stripped:
        return ""
    known = [line for line in stripped if _kind_of(line) is not None]
    return known[-1] if known else stripped[0]


def diagnose(text: str, node: str, variables: Mapping[str, Any] | None = None) -> Diagnosis:
    """Name the cause in `text` (what Ansible reported for `node`) and say what to try. Never raises.

    `variables` are the node's from the inventory; None: they are not known, and no step is proposed.
    """
    whole = plain(text)
    message = one_line(whole) or "no reason was given"
    kind = _kind_of(whole) if _special(whole) else _kind_of(message)
    if kind is None:
        return Diagnosis("other", message)
    return Diagnosis(kind.name, message.rstrip("."), None if variables is None else kind.next_step(node, variables))


def _special(text: str) -> bool:
    kind = _kind_of(text)
    return kind is not None and kind.name == "host_key_changed"


def _kind_of(text: str) -> _Kind | None:
    return next((kind for kind in _KINDS if kind.pattern.search(text)), None)


def _without_prefixes(line: str) -> str:
    before = None
    while before != line:
        before = line
        for prefix in _PREFIXES:
            line = prefix.sub("", line).strip()
    return line


def result_text(res: Mapping[str, Any]) -> str:
    """What a failed result says: ``msg``, else the failed items' ``msg``, else standard error, else standard output."""
    if res.get("censored"):
        return str(res["censored"])
    items = res.get("results")
    if isinstance(items, list):
        for item in items:
            if isinstance(item, dict) and (item.get("failed") or item.get("unreachable")) and item.get("msg"):
                return str(item["msg"])
    for name in ("msg", "module_stderr", "stderr", "module_stdout", "stdout"):
        value = res.get(name)
        if isinstance(value, str) and value.strip():
            if name == "msg" and value.startswith("non-zero return code"):
                said = str(res.get("stderr") or res.get("stdout") or "").strip().splitlines()
                return f"exit code {res.get('rc')}: {said[-1]}" if said else f"exit code {res.get('rc')}"
            return value
    return ""
