# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files of a folder belong to a project. git decides; names are bytes, relative to the folder."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass

IGNORE_FILE = b".stokerignore"
# What an interrupted rsync keeps of a file, beside it.
PARTIAL_DIR = b".stoker-partial"
_SECRET_FILES = (
    ".env", ".env.*", "*.env", ".envrc", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", ".netrc",
    "_netrc", ".pgpass", ".pypirc", ".git-credentials", ".htpasswd", ".vault_pass*", "id_rsa*", "id_dsa*", "id_ecdsa*",
    "id_ed25519*", "credentials", "credentials.json", ".credentials*",
)  # fmt: skip
# One expression: a project has thousands of names.
_SECRET_FILE = re.compile("|".join(fnmatch.translate(pattern) for pattern in _SECRET_FILES))
_SECRET_FOLDERS = (".ssh", ".aws", ".gnupg")


class ProjectError(Exception):
    """The files cannot be told. The text is one sentence, with the next step."""


@dataclass(frozen=True)
class Chosen:
    """``names`` belong to the project; ``secrets`` would, but look like secrets. ``git``: whether git was asked."""

    names: list[bytes]
    secrets: list[bytes]
    git: bool


def choose(folder: bytes, with_secrets: bool = False) -> Chosen:
    """The files and links of the project in ``folder``. Raises ProjectError."""
    if not os.path.isdir(folder):
        raise ProjectError("there is no folder {0}".format(shown(folder)))
    git = _in_repository(folder)
    # A name that is deleted but not yet committed is listed, too.
    beyond = _BeyondLink(folder)
    there = (name for name in set(_listed(folder)) if os.path.lexists(os.path.join(folder, name)))
    listed = sorted(name for name in there if not beyond(os.path.dirname(name)))
    names, secrets = wanted(listed, folder, with_secrets)
    return Chosen(names, secrets, git)


def wanted(names: list[bytes], folder: bytes, with_secrets: bool) -> tuple[list[bytes], list[bytes]]:
    """What .stokerignore of ``folder`` leaves of ``names``, and what was left out as a secret. Raises ProjectError."""
    ignored = _ignored(names, folder)
    left = [name for name in names if name not in ignored and PARTIAL_DIR not in name.split(b"/")]
    secrets = [] if with_secrets else [name for name in left if is_secret(name)]
    out = set(secrets)
    return [name for name in left if name not in out], secrets


def is_secret(name: bytes) -> bool:
    """Whether a file of this name is likely to hold keys or passwords."""
    *folders, last = name.decode("utf-8", "surrogateescape").lower().split("/")
    if any(folder in _SECRET_FOLDERS for folder in folders):
        return True
    # id_work is how a second key is called; a public key is for everybody.
    if last.startswith("id_") and "." not in last:
        return True
    return not last.endswith(".pub") and _SECRET_FILE.match(last) is not None


def looks_secret(path: str) -> bool:
    """Whether a path is likely to be that of keys or passwords."""
    return is_secret(os.fsencode(path).lstrip(b"/"))


def shown(name: bytes) -> str:
    """A name as text for people and JSON; bytes that are no UTF-8 are spelled."""
    return name.decode("utf-8", "backslashreplace")


class _BeyondLink:
    """Whether a folder of the project is a link, or lies beyond one: git still lists what was there before the link.

    What lies there is not the project's. The link itself is.
    """

    def __init__(self, folder: bytes) -> None:
        self._folder = folder
        self._known = {b"": False}

    def __call__(self, place: bytes) -> bool:
        if place not in self._known:
            self._known[place] = os.path.islink(os.path.join(self._folder, place)) or self(os.path.dirname(place))
        return self._known[place]


def _in_repository(folder: bytes) -> bool:
    place = os.path.realpath(folder)
    while not os.path.lexists(os.path.join(place, b".git")):
        above = os.path.dirname(place)
        if above == place:
            return False
        place = above
    return True


def _listed(folder: bytes) -> list[bytes]:
    if not _in_repository(folder):
        return _everything(folder)
    found = []
    for name in _git(["ls-files", "-co", "--exclude-standard", "-z"], folder).split(b"\0"):
        inner = os.path.join(folder, name)
        if not name:
            continue
        if os.path.isdir(inner) and not os.path.islink(inner):
            # A repository within the repository, as a submodule or just lying there: it has rules of its own.
            inside = name.rstrip(b"/")
            if os.path.lexists(os.path.join(inner, b".git")):
                found += [inside + b"/" + deeper for deeper in _listed(inner)]
        else:
            found.append(name)
    return found


def _everything(folder: bytes) -> list[bytes]:
    def stop(problem: OSError) -> None:
        raise ProjectError("{0} cannot be read: {1}".format(problem.filename, problem.strerror)) from problem

    found = []
    for place, folders, files in os.walk(folder, onerror=stop):
        # A link to a folder is sent as the link that it is.
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        folders[:] = [name for name in folders if name not in links and name != b".git"]
        # A worktree and a submodule have a file of that name, which points to a place on this machine.
        names = [name for name in files + links if name != b".git"]
        found += [os.path.relpath(os.path.join(place, name), folder) for name in names]
    return found


def _ignored(names: list[bytes], folder: bytes) -> set[bytes]:
    """Those that .stokerignore names, in git's own understanding of such a file: a repository made for this alone."""
    rules = os.path.join(folder, IGNORE_FILE)
    if not names or not os.path.exists(rules):
        return set()
    with tempfile.TemporaryDirectory(prefix="stoker-") as place:
        base = os.fsencode(place)
        _git(["init", "--quiet", "--template="], base)
        os.makedirs(os.path.join(base, b".git", b"info"), exist_ok=True)
        try:
            shutil.copyfile(rules, os.path.join(base, b".git", b"info", b"exclude"))
        except OSError as problem:
            raise ProjectError("{0} cannot be read: {1}".format(shown(rules), problem.strerror)) from problem
        asked = ["-c", "core.excludesFile=/dev/null", "check-ignore", "--no-index", "-z", "--stdin"]
        return set(_git(asked, base, b"\0".join(names), (0, 1)).split(b"\0"))


def _git(words: list[str], folder: bytes, stdin: bytes = b"", well: tuple[int, ...] = (0,)) -> bytes:
    # Within a hook of git these point to that repository.
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        ended = subprocess.run(["git", *words], cwd=folder, input=stdin, capture_output=True, env=env, check=False)
    except FileNotFoundError:
        raise ProjectError("git is not installed on this machine, and it decides what is sent: install it") from None
    if ended.returncode not in well:
        said = ended.stderr.decode("utf-8", "replace").strip() or "exit code {0}".format(ended.returncode)
        raise ProjectError("git cannot say what belongs to {0}: {1}".format(shown(folder), said))
    return ended.stdout
