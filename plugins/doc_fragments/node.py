# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What all actions of this collection that ask a node have in common."""

    DOCUMENTATION = r"""
options: {}
requirements:
  - Python 3.8 or later on the node, nothing else
notes:
  - The node side is put into C(~/.stoker/bin) of the remote user the first time, then asked through Ansible's own
    connection
    without AnsiballZ.
  - The host variable C(stoker_state_dir) moves the state folder (default C(~/.stoker)), C(stoker_lock_dir) the folder
    of
    the GPU locks (for machines that several users share), C(stoker_launch) sets the launch rungs that may be used (a
    list
    of V(systemd-system), V(systemd-user), V(cgroup), V(subreaper); default all, in this order).
  - The host variable C(stoker_busy_processes) is a list of patterns of process names, such as V(*.exe) or V(Xorg). A
    GPU with one of them, unless it is of a job of Stoker's, is given to no job until 30 seconds after it was last seen
    there.
  - The host variable C(stoker_backend) set to V(container) runs every job of the node in a container,
    C(stoker_container_image) names the image for jobs that name none, C(stoker_container_engine) the engine
    (V(podman) or V(docker); default what the node has). Any other value names a backend of a Python package that is
    installed on the controller (entry point group C(stoker.backends)); it is pushed along.
  - The host variable C(stoker_connect_retries) (0 to 5, default 0) is how often an action is repeated that failed
    because there was no connection, after 2, 4, 8, 16 and 32 seconds. A command of M(stoker.fleet.node_exec) runs once.
  - Values of C(secret_env) come from the variable C(stoker_secrets) (a mapping, best vaulted) or from the environment
    of
    the controller. They reach the node on the connection's stdin and are kept there, readable by the owner only,
    until the
    command starts.
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the node.
  diff_mode:
    description: Returns details on what has changed (or would in C(check_mode)) with C(--diff).
  action:
    description: Has a corresponding action plugin, which does the work.
    support: full
  action_group:
    description: Is part of the action group C(stoker.fleet.stoker), for C(module_defaults).
    support: full
    membership: [stoker.fleet.stoker]
  idempotent:
    description: When run twice in a row outside check mode with the same arguments, the second run changes nothing.
"""
