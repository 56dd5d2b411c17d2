# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A command as another user of the node, or where it can write to its own folder only. Never less than was asked."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import subprocess

from . import launch
from .statedir import NodeError

CHECK_S = 10.0
# What a GPU needs beside the few devices that every sandbox has.
_DEVICES = ("/dev/nvidia*", "/dev/dri", "/dev/kfd", "/dev/infiniband")
# Whoever can speak to these writes where he likes, whatever is mounted.
_DOORS = (
    "/run/docker.sock",
    "/run/podman",
    "/run/containerd",
    "/run/crio",
    "/run/user",
    "/run/dbus",
    "/run/systemd/private",
)


class Person:
    """A user of this node, as a login has it."""

    def __init__(self, entry, gid):
        self.name = entry.pw_name
        self.uid = entry.pw_uid
        self.gid = gid
        self.home = entry.pw_dir
        self.shell = entry.pw_shell

    def become(self):
        """Turn this process into one of that user's. Raises OSError."""
        os.initgroups(self.name, self.gid)
        os.setgid(self.gid)
        os.setuid(self.uid)

    def environment(self):
        return {"HOME": self.home, "USER": self.name, "LOGNAME": self.name, "SHELL": self.shell or "/bin/sh"}


def person(spec):
    """Who runs the command; None where that is the node's own user. Raises NodeError where that cannot be."""
    if not spec.get("user"):
        return None
    name, _colon, group = spec["user"].partition(":")
    try:
        entry = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
        gid = _group(group) if group else entry.pw_gid
    except KeyError:
        raise NodeError("bad_request", "there is no user {0} on this node".format(spec["user"])) from None
    if os.geteuid() != 0 and (entry.pw_uid, gid) != (os.geteuid(), os.getegid()):
        raise NodeError(
            "no_permission",
            "this node's user {0} is not root and cannot run a job as {1}".format(
                pwd.getpwuid(os.geteuid()).pw_name, entry.pw_name
            ),
            "set ansible_become: true for this node, where its user may use sudo, or leave --user out",
        )
    return Person(entry, gid) if os.geteuid() == 0 else None


def _group(name):
    import grp

    return grp.getgrgid(int(name)).gr_gid if name.isdigit() else grp.getgrnam(name).gr_gid


def workdir(spec, who):
    """The folder of the command: below the home folder of whoever runs it."""
    if who is None:
        return launch.working_directory(spec.get("workdir"))
    wanted = spec.get("workdir") or "~"
    return os.path.join(who.home, who.home + wanted[1:] if wanted == "~" or wanted.startswith("~/") else wanted)


def bwrap_words(folder):
    """What stands before the command: everything is there, and nothing but ``folder`` and /tmp can be written to."""
    words = [shutil.which("bwrap") or "bwrap", "--ro-bind", "/", "/", "--dev", "/dev"]
    for path in sorted(path for pattern in _DEVICES for path in glob.glob(pattern)):
        words += ["--dev-bind", path, path]
    for door in _DOORS:
        if os.path.isdir(door):
            words += ["--tmpfs", door]
        elif os.path.exists(door):
            words += ["--ro-bind", "/dev/null", door]
    return [*words, "--tmpfs", "/tmp", "--bind", folder, folder, "--chdir", folder, "--cap-drop", "ALL", "--"]


def check(spec):
    """Raise NodeError where this node cannot run the command as the spec asks."""
    who = person(spec)
    if spec.get("sandbox") != "bwrap":
        return
    if shutil.which("bwrap") is None:
        raise NodeError(
            "not_supported",
            "there is no bwrap on this node, and the job is to run in a sandbox",
            "install it there (apt install bubblewrap), or --sandbox container",
        )
    folder = workdir(spec, who)
    if not os.path.isdir(folder):
        return  # the command's own start says so
    try:
        done = subprocess.run(
            [*bwrap_words(folder), "true"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=CHECK_S,
            check=False,
            preexec_fn=who.become if who else None,
        )
    except subprocess.TimeoutExpired:
        raise NodeError("not_supported", "bwrap gave no answer within {0:g} s".format(CHECK_S)) from None
    if done.returncode != 0:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())[:300]
        raise NodeError(
            "not_supported",
            "the sandbox cannot be made on this node: {0}".format(said or "exit {0}".format(done.returncode)),
            "allow user namespaces there (sysctl kernel.unprivileged_userns_clone=1), or --sandbox container",
        )


def script_file(text):
    """(file descriptor, name) of a script that any user can read, in any sandbox, and that is on no disk."""
    fd = os.memfd_create("script", 0)
    with os.fdopen(os.dup(fd), "w", encoding="utf-8", errors="surrogateescape") as handle:
        handle.write(text)
    return fd, "/proc/self/fd/{0}".format(fd)


def find_program(name, path):
    """Raise the error that exec would: in a sandbox it would be the sandbox's own, with a code of its own."""
    if shutil.which(name, path=path) is not None:
        return
    if os.sep in name and os.path.exists(name):
        raise PermissionError(13, "Permission denied", name)
    raise FileNotFoundError(2, "No such file or directory", name)
