# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plain ``ansible-playbook``, as somebody runs it who has nothing but the collection."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import textwrap
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = Path(sys.executable).parent / "ansible-playbook"


@dataclass(frozen=True)
class Played:
    """What a run printed, and what its tasks registered: ``results["n1"]["name"]``."""

    code: int
    output: str
    results: dict[str, dict[str, Any]]


class Plays:
    """Writes tasks into a playbook and runs it. A failed or unreachable host goes on, so that its results are told."""

    def __init__(self, folder: Path, inventory: Path) -> None:
        self.folder = folder
        self.inventory = inventory

    def run(self, tasks: str, *options: str, hosts: str = "fleet", head: str = "", timeout_s: float = 180.0) -> Played:
        """Run tasks (YAML); ``head`` holds more keywords of the play, such as vars."""
        names = sorted(set(re.findall(r"register: (\w+)", tasks)))
        play = f"- hosts: {hosts}\n  gather_facts: false\n  ignore_errors: true\n  ignore_unreachable: true\n"
        play += indented(head, "  ") + "  tasks:\n" + indented(tasks, "    ")
        for name in names:
            told = f"TOLD {{{{ inventory_hostname }}}} {name} {{{{ {name} | to_json | b64encode }}}}"
            play += f"    - name: Tell\n      ansible.builtin.debug:\n        msg: {json.dumps(told)}\n"
        book = self.folder / "play.yml"
        book.write_text(play)
        done = subprocess.run(
            [PROGRAM, "-i", self.inventory, book, *options],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            cwd=self.folder,
        )
        results: dict[str, dict[str, Any]] = {}
        for host, name, data in re.findall(r"TOLD (\S+) (\w+) ([A-Za-z0-9+/=]+)", done.stdout):
            results.setdefault(host, {})[name] = json.loads(base64.b64decode(data))
        output = done.stdout + done.stderr
        assert results or not names, output
        return Played(done.returncode, output, results)


def indented(text: str, by: str) -> str:
    return textwrap.indent(textwrap.dedent(text).rstrip() + "\n", by)


def unpacked(data: str) -> bytes:
    """Bytes of a log chunk or of a stream."""
    return zlib.decompress(base64.b64decode(data))
