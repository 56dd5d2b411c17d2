# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the key of the provider's API comes from. Its value is shown nowhere, and no file is written."""

from __future__ import annotations

import os
from collections import namedtuple

from .errors import VastError

# value: the key. source: where it was found, for messages.
_FIELDS = namedtuple("_FIELDS", "value source")
FILES = ("vast_tfa_key", "vast_api_key")


class Key(_FIELDS):
    """A key that does not show itself."""

    def __repr__(self):
        return "Key(source={0!r})".format(self.source)

    __str__ = __repr__


def find_key(given=None, environ=None, home=None):
    """``given``, else VAST_API_KEY, else the files of the official client, in its own order.

    Raises VastError (kind auth) where there is none, or it is none that could be sent.
    """
    environ = os.environ if environ is None else environ
    home = os.path.expanduser("~") if home is None else home
    if given:
        return _checked(given, "the option api_key")
    if environ.get("VAST_API_KEY"):
        return _checked(environ["VAST_API_KEY"], "VAST_API_KEY")
    config = os.path.join(environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "vastai")
    for path in [os.path.join(config, name) for name in FILES] + [os.path.join(home, ".vast_api_key")]:
        text = _read(path)
        if text:
            return _checked(text, path)
    raise VastError("there is no key for vast.ai: set VAST_API_KEY, or run vastai set api-key", "auth", sent=False)


def _read(path):
    try:
        with open(path, encoding="utf-8") as handle:
            return handle.read(4096).strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, UnicodeDecodeError) as problem:
        words = getattr(problem, "strerror", None) or "it is no text"
        raise VastError("the key file {0} cannot be read: {1}".format(path, words), "auth", sent=False) from None


def _checked(text, source):
    value = text.strip()
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise VastError("what {0} holds is no key for vast.ai".format(source), "auth", sent=False)
    return Key(value, source)
