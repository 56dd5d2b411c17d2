"""Reaching a rented machine before it is a node: the key to log in with, the first contact, short commands.

A machine of the provider says that it runs before its sshd does. Only a login that worked proves that it can be used;
the host key shown then is pinned, and every later connection has to show the same one.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from stoker.errors import StokerError
from stoker.paths import private_folder
from stoker.runner.rented_nodes import RentedPlace
from stoker.written import alone_in

CONNECT_S = 10
# What ssh itself ends with, whatever became of the command.
TRANSPORT = 255
_KEYGEN_S = 30
_WORDS = 300


@dataclass(frozen=True)
class Contact:
    """What came of a login: the machine's `host_key` (`ssh-ed25519 AAAA...`), or None and in `problem` why not."""

    host_key: str | None
    problem: str | None = None


@dataclass(frozen=True)
class Ran:
    """How a command on a machine ended. `problem`: it could not be asked, or did not answer in time; None: it was."""

    code: int | None
    output: str
    problem: str | None = None


def public_key(place: RentedPlace) -> str:
    """The public key that machines are told, made with its private one when there is none. Raises StokerError."""
    private_folder(private_folder(place.folder.parent) / place.folder.name)
    file = place.key.with_name(f"{place.key.name}.pub")
    try:
        with alone_in(place.folder):
            if not file.exists():
                _make_key(place.key)
            kind, key = file.read_text(encoding="ascii").split()[:2]
    except (OSError, ValueError, subprocess.SubprocessError) as problem:
        raise StokerError(f"no key for rented machines can be made in {place.folder}: {problem}") from problem
    return f"{kind} {key} stoker"


def _make_key(file: Path) -> None:
    """Both files or none: the public one, which says that they are there, gets its name last."""
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        new = Path(folder) / "key"
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "stoker", "-f", str(new)], check=True,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=_KEYGEN_S,
        )  # fmt: skip
        os.replace(new, file)
        os.replace(f"{new}.pub", f"{file}.pub")


def first_contact(place: RentedPlace, host: str, port: int) -> Contact:
    """Log in to a machine whose key is not known yet, run nothing, and say which key it showed."""
    with tempfile.TemporaryDirectory(prefix="stoker-contact-") as folder:
        known = RentedPlace(Path(folder))
        # The first value of an option counts.
        ran = _ssh(place, ["-o", "StrictHostKeyChecking=accept-new", *known.ssh_words()], host, port, "true", "")
        if ran.problem is not None or ran.code != 0:
            return Contact(None, ran.problem or f"it ran `true`, and that ended with {ran.code}")
        lines = [line.split() for line in known.known_hosts.read_text().splitlines() if not line.startswith("#")]
    shown = next((f"{words[1]} {words[2]}" for words in lines if len(words) >= 3), None)
    return Contact(shown, None if shown is not None else "it showed no host key")


def ask(place: RentedPlace, host: str, port: int, host_key: str, script: str, timeout_s: float) -> Ran:
    """Let the machine's shell run a script that is sent to it, if it shows the pinned key."""
    with tempfile.TemporaryDirectory(prefix="stoker-contact-") as folder:
        known = RentedPlace(Path(folder))
        known.known_hosts.write_text(f"[{host}]:{port} {host_key}\n{host} {host_key}\n")
        return _ssh(place, known.ssh_words(), host, port, "sh -s", script, timeout_s)


def _ssh(
    place: RentedPlace, options: list[str], host: str, port: int, command: str, stdin: str, timeout_s: float = CONNECT_S
) -> Ran:
    words = ["ssh", *options, "-o", f"ConnectTimeout={CONNECT_S}", "-o", "ControlPath=none", "-o", "LogLevel=ERROR"]
    words += ["-i", str(place.key), "-p", str(port), "-l", "root", "--", host, command]
    try:
        ran = subprocess.run(
            words, input=stdin.encode(), capture_output=True, timeout=timeout_s + CONNECT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Ran(None, "", f"it did not answer within {timeout_s + CONNECT_S:.0f} s")
    except OSError as problem:
        return Ran(None, "", f"ssh cannot be started: {problem.strerror or problem}")
    output = ran.stdout.decode(errors="replace")
    if ran.returncode == TRANSPORT:
        return Ran(None, output, _words(ran.stderr.decode(errors="replace")))
    return Ran(ran.returncode, output)


def _words(stderr: str) -> str:
    """ssh's own last line, which names what failed."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return (lines[-1] if lines else "ssh ended without a word")[:_WORDS]
