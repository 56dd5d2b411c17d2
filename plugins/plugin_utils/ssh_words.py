# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ssh command with which Ansible itself reaches a host, for another program that connects there.

Same address, port, user and control path give the same control socket, so that program shares Ansible's connection.
Host keys are always checked, also where Ansible was told not to.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from typing import Any

_NO_PASSWORD = (
    "KbdInteractiveAuthentication=no",
    "PreferredAuthentications=gssapi-with-mic,gssapi-keyex,hostbased,publickey",
    "PasswordAuthentication=no",
)


def ssh_words(option: Callable[[str], Any], control_path: str | None = None) -> list[str]:
    """The command without the host. ``option`` is the connection plugin's ``get_option``.

    ``control_path`` is the socket that Ansible made up, for where no option names one (``%(directory)s`` in it stands
    for the option ``control_path_dir``).
    """
    words = [option("ssh_executable") or "ssh", *shlex.split(option("ssh_args") or "")]
    options = []
    if option("port") is not None:
        options.append("Port={0}".format(option("port")))
    if option("private_key_file"):
        options.append('IdentityFile="{0}"'.format(os.path.expanduser(option("private_key_file"))))
    if not option("password"):
        options += _NO_PASSWORD
    if option("remote_user"):
        options.append('User="{0}"'.format(option("remote_user")))
    options.append("ConnectTimeout={0}".format(option("timeout")))
    words += [word for text in options for word in ("-o", text)]
    for name in ("ssh_common_args", "ssh_extra_args"):
        words += shlex.split(option(name) or "")
    given = " ".join(words).lower()
    template = option("control_path") or control_path
    if "controlpersist" in given and "controlpath" not in given and template:
        folder = os.path.expanduser(os.path.expandvars(option("control_path_dir")))
        words += ["-o", 'ControlPath="{0}"'.format(template % {"directory": folder})]
    return words


def shared(words: list[str]) -> bool:
    """Whether such a command can use a connection that is there already."""
    given = " ".join(words).lower()
    return "controlpath" in given and "controlpath=none" not in given


def as_rsync_takes_it(words: list[str]) -> str:
    """The command as one text for rsync's ``-e``, which splits at blanks; a quote within quotes is doubled."""
    return " ".join("'{0}'".format(word.replace("'", "''")) for word in words)
