#!/usr/bin/env python3
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A `docker` that takes only what Docker's own command line takes, and has Podman do it.

It stands in for what differs between the two: their options, and what inspect says. It is no Docker: a server that
starts containers on its own is not played.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys

# Options of `docker create` (Docker 28); true where one takes a value.
CREATE = {
    "name": True, "init": False, "pull": True, "security-opt": True, "label": True, "workdir": True, "entrypoint": True,
    "env": True, "user": True, "network": True, "shm-size": True, "memory": True, "memory-swap": True, "cpus": True,
    "read-only": False, "tmpfs": True, "gpus": True, "mount": True, "volume": True,
}  # fmt: skip


def refuse(words: str, code: int = 125) -> None:
    sys.stderr.write(f"{words}\nSee 'docker --help'.\n")
    sys.exit(code)


def create(words: list[str]) -> list[str]:
    """The words for Podman. Docker's options end at the image."""
    found = []
    while words and words[0].startswith("-"):
        name, equals, value = words.pop(0).removeprefix("--").partition("=")
        if name not in CREATE:
            refuse(f"unknown flag: --{name}")
        if CREATE[name] and not equals:
            refuse(f"flag needs an argument: --{name}")
        if name == "gpus":
            found += gpus(value)
        elif name == "mount" and not all(
            part.split("=")[0] in ("type", "source", "target", "readonly") for part in next(csv.reader([value]))
        ):
            refuse(f"invalid argument {value!r} for --mount")
        else:
            found.append(f"--{name}{equals}{value}")
    return ["create", *found, *words]


def gpus(value: str) -> list[str]:
    """`"device=UUID,UUID"`, one field of CSV: without the quotes the second one would be an option of its own."""
    fields = next(csv.reader([value]))
    if len(fields) != 1 or not fields[0].startswith("device="):
        refuse(f"invalid argument {value!r} for --gpus: unexpected key")
    return [f"--device=nvidia.com/gpu={uuid}" for uuid in fields[0].removeprefix("device=").split(",")]


def main(words: list[str]) -> int:
    known = (["create"], ["start"], ["kill", "--signal"], ["rm", "--force"], ["logs"], ["pull", "--quiet"])
    known += (["container", "inspect"], ["image", "inspect"], ["ps"])
    if not any(words[: len(start)] == start for start in known):
        refuse(f"docker: {' '.join(words[:2])!r} is not a docker command")
    if words[0] == "create":
        words = create(words[1:])
    done = subprocess.run(["podman", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False, text=True)
    if words[:2] == ["container", "inspect"] and done.returncode == 0:
        told = json.loads(done.stdout)
        for item in told:
            item["State"].pop("ConmonPid", None)
            item["State"].pop("CgroupPath", None)
        done.stdout = json.dumps(told)
    sys.stdout.write(done.stdout)
    return done.returncode


sys.exit(main(sys.argv[1:]))
