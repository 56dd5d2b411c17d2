# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether ssh answers at an instance, and its host keys: pinned by the name of the instance, not by its address.

Addresses and ports change at each start and are given to others later; numbers of instances are not.
"""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import subprocess

from ..terminal_text import safe_text
from .errors import VastError

KNOWN_HOSTS = "~/.ssh/known_hosts.vast"
_KEY_TYPES = "ed25519,ecdsa,rsa"
_KEY = re.compile(r"[a-z0-9@.-]+ [A-Za-z0-9+/=]+")


def options(name, known_hosts):
    """Words for ssh: the host key of this instance is pinned at first contact, and checked ever after."""
    path = os.path.abspath(os.path.expanduser(known_hosts))
    if '"' in path or "\\" in path:
        raise VastError(
            "ssh takes no such path of a known_hosts file: {0}".format(safe_text(path)), "refused", sent=False
        )
    return [
        "-o", "StrictHostKeyChecking=accept-new",
        "-o", 'UserKnownHostsFile="{0}"'.format(path.replace("%", "%%")),
        "-o", "GlobalKnownHostsFile=/dev/null",
        "-o", "HostKeyAlias=" + name,
        "-o", "CheckHostIP=no",
        "-o", "UpdateHostKeys=no",
    ]  # fmt: skip


def options_text(name, known_hosts):
    """The same as one text, as Ansible wants them."""
    return " ".join(shlex.quote(word) for word in options(name, known_hosts))


def host_keys(host, port, timeout_s=10):
    """The host keys that a handshake with this sshd showed, as ``type base64``. Raises VastError (unanswered)."""
    command = ["ssh-keyscan", "-T", str(timeout_s), "-t", _KEY_TYPES, "-p", str(port), "--", host]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=4 * timeout_s,
            check=False,
        )
    except FileNotFoundError:
        raise VastError("there is no ssh-keyscan on this machine", "refused", sent=False) from None
    except subprocess.TimeoutExpired:
        raise VastError("ssh does not answer at {0}:{1}".format(host, port), "unanswered") from None
    keys = []
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        _host, _space, key = line.partition(" ")
        if not line.startswith("#") and _KEY.fullmatch(key.strip()):
            keys.append(key.strip())
    if not keys:
        raise VastError("ssh does not answer at {0}:{1}".format(host, port), "unanswered")
    return sorted(set(keys))


def pin(known_hosts, name, keys):
    """Remember these keys as those of ``name``, or hold them against those that are remembered.

    True where they were new. Raises VastError (refused) where none of them is the one that is pinned: it is another
    machine, or its container was made anew.
    """
    path = os.path.expanduser(known_hosts)
    os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
    with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+", encoding="utf-8") as handle:
        # ssh adds lines to it, too, and takes no lock: a line is written at once, never the file anew.
        fcntl.flock(handle, fcntl.LOCK_EX)
        pinned = pinned_keys(handle.read(), name)
        if pinned and not pinned.intersection(keys):
            words = "{0} shows another host key than the one in {1}; where it was recycled: ssh-keygen -R {0} -f {1}"
            raise VastError(words.format(name, shlex.quote(path)), "refused", sent=False)
        if pinned:
            return False
        handle.write("".join("{0} {1}\n".format(name, key) for key in keys))
        handle.flush()
        os.fsync(handle.fileno())
    return True


def pinned_keys(text, name):
    """The keys of ``name`` in the text of a known_hosts file."""
    lines = [line.split(None, 1) for line in text.splitlines()]
    return {" ".join(words[1].split()[:2]) for words in lines if len(words) == 2 and name in words[0].split(",")}


def login(host, port, name, known_hosts, private_key=None, timeout_s=10):
    """Log in as root and do nothing. Raises VastError: unanswered, or refused where the key or the host key is."""
    command = ["ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "ConnectTimeout={0}".format(timeout_s)]
    command += [*options(name, known_hosts), "-p", str(port)]
    if private_key:
        command += ["-i", os.path.expanduser(private_key), "-o", "IdentitiesOnly=yes"]
    command += ["--", "root@" + host, "true"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=4 * timeout_s,
            check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise VastError("there is no ssh on this machine", "refused", sent=False) from None
    except subprocess.TimeoutExpired:
        raise VastError("a login at {0}:{1} does not end".format(host, port), "unanswered") from None
    if done.returncode == 0:
        return
    said = safe_text(done.stderr).strip().splitlines() or ["exit {0}".format(done.returncode)]
    changed = "Host key verification failed" in said[-1]
    words = "no login at {0}:{1}: {2}".format(host, port, said[-1][:300])
    raise VastError(words, "refused" if changed else "unanswered")
