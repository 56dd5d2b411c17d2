# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A folder on a node as rsync is told of it, over the connection that Ansible has."""

from __future__ import annotations

import os

from ansible.errors import AnsibleActionFail

from ansible_collections.stoker.fleet.plugins.plugin_utils import rsync, ssh_words

NOT_THERE = "rsync is not installed on the node (next: install its package rsync there)"


def check(connection):
    """Refuse a connection that rsync cannot use, and a machine without rsync."""
    if connection.transport not in ("ssh", "local"):
        raise AnsibleActionFail(
            "sync works over ssh and on this machine; the connection of this host is {0}".format(connection.transport)
        )
    if connection.become is not None:
        raise AnsibleActionFail("sync logs in as the user of the connection: set become to false for it")
    if not rsync.installed():
        raise AnsibleActionFail("rsync is not installed on this machine (next: install its package rsync)")


def reach(connection, folder):
    """``host:/folder`` (bytes) and the shell to get there; the folder alone, and None, on this machine."""
    if connection.transport == "local":
        return os.fsencode(folder), None
    option = connection.get_option
    words = ssh_words.ssh_words(option, getattr(connection, "control_path", None))
    if option("password") and not ssh_words.shared(words):
        raise AnsibleActionFail(
            "rsync cannot type a password: use a key, or let ssh share its connection (ControlPersist in ssh_args)"
        )
    host = option("host")
    host = "[{0}]".format(host) if ":" in host else host
    return os.fsencode(host) + b":" + os.fsencode(folder), ssh_words.as_rsync_takes_it(words)
