# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes into a create, checked before it leaves: the provider's own limits, and no key by mistake."""

from __future__ import annotations

import re
from collections import namedtuple

from .errors import VastError

RUNTYPES = (
    "ssh", "ssh_proxy", "ssh_direc ssh_proxy", "jupyter_proxy ssh_proxy", "jupyter_direc ssh_direc ssh_proxy", "args",
)  # fmt: skip
SSH = "ssh_direc ssh_proxy"
_KEY = re.compile(r"(?:ssh-(?:ed25519|rsa)|ecdsa-sha2-nistp\d+|sk-[a-z0-9@.-]+) [A-Za-z0-9+/=]{40,}(?: .*)?\Z")


class Created(namedtuple("_Created", "id api_key")):
    """An instance that was rented. ``api_key``: the key that it has inside, for itself only; it is not shown."""

    __slots__ = ()

    def __repr__(self):
        return "Created(id={0!r})".format(self.id)

    __str__ = __repr__


def body_of(image, disk_gb, label, price, env, onstart, image_login, args, runtype, cancel_unavail):
    """The body of a create. Raises VastError (refused, never sent)."""
    env = {str(name): str(value) for name, value in (env or {}).items()}
    args = [str(word) for word in args or ()]
    _need(isinstance(label, str) and 0 < len(label) <= 256, "the label needs 1 to 256 characters")
    _need(isinstance(image, str) and image.strip(), "there is no image")
    _need(disk_gb >= 8, "the disk has to have 8 GB or more, not {0:g}".format(disk_gb))
    _need(price is None or 0.001 <= price <= 128, "a bid is 0.001 to 128 dollars per hour")
    _need(runtype in RUNTYPES, "runtype is one of: {0}".format(", ".join(RUNTYPES)))
    _need(not args or runtype == "args", "args need the runtype args")
    commands = len(onstart or "") + sum(len(word) for word in args)
    _need(commands <= 4096, "onstart and args together have {0} characters, 4096 at most".format(commands))
    long = sorted(name for name, value in env.items() if len(value) > 256)
    _need(not long, "a value of the environment has 256 characters at most: {0}".format(", ".join(long)))
    total = sum(len(name) + len(value) for name, value in env.items())
    _need(total <= 32768, "the environment has {0} characters, 32768 at most".format(total))
    _need("VAST_API_KEY" not in env, "VAST_API_KEY is not given to a rented machine")
    body = {
        "client_id": "me",
        "image": image,
        "env": env,
        "price": price,
        "disk": float(disk_gb),
        "label": label,
        "extra": None,
        "onstart": onstart,
        "image_login": image_login,
        "python_utf8": False,
        "lang_utf8": False,
        "use_jupyter_lab": False,
        "jupyter_dir": None,
        "force": False,
        # Without it an offer that is gone leaves a stopped instance whose disk is billed.
        "cancel_unavail": True if cancel_unavail is None else cancel_unavail,
        "template_hash_id": None,
        "user": None,
        "runtype": runtype,
    }
    if args:
        body["args"] = args
    return body


def public_key(text):
    """The line of a public key. Raises VastError for anything else, such as a path or a private key."""
    line = text.strip() if isinstance(text, str) else ""
    _need("\n" not in line and _KEY.match(line), "that is no line of an OpenSSH public key")
    return line


def _need(condition, words):
    if not condition:
        raise VastError(words, "refused", sent=False)
