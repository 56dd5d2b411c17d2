# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packages of apt and pip in a container that runs. What changed is read from their databases, before and after."""

from __future__ import annotations

import re

from . import container_engine as engines
from .statedir import NodeError

TIMEOUT_S = 3600.0
LIMIT = 8192
_APT = re.compile(r"^[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?(=[A-Za-z0-9.+:~-]+)?$")
_PIP = ["python3", "-m", "pip", "--disable-pip-version-check", "--no-input"]


class Failed(Exception):
    """A tool in the container failed: ``code`` and what it wrote."""

    def __init__(self, tool, code, output):
        super().__init__(tool)
        self.tool, self.code, self.output = tool, code, output[-LIMIT:]


def install(request):
    """{changed, packages, failed, code, output}: ``packages`` are {manager, name, before, after} that changed."""
    name, timeout_s = request["container"], request.get("timeout_s") or TIMEOUT_S
    apt, pip = request.get("apt") or [], request.get("pip") or []
    _check(apt, pip)
    engine, told = engines.existing(name, request.get("engine"))
    if told["State"]["Status"] != "running":
        raise NodeError(
            "not_supported", "{0} is {1}: nothing can be installed in it".format(name, told["State"]["Status"]),
            "stoker container start"
        )  # fmt: skip
    changes, failure = [], None
    for manager, wanted, step, database in (("apt", apt, _apt, _dpkg), ("pip", pip, _pip, _pip_list)):
        if not wanted or failure:
            continue
        inside = _Inside(engine, name, timeout_s)
        before = {}
        try:
            before = database(inside)
            step(inside, wanted, before)
        except Failed as exc:
            failure = exc
        # A tool that failed may have installed half of it.
        changes += _differences(manager, before, _after(database, inside, before, failure))
    return {
        "changed": bool(changes),
        "packages": changes,
        "failed": failure.tool if failure else None,
        "code": failure.code if failure else 0,
        "output": failure.output if failure else "",
    }


def _check(apt, pip):
    if not apt and not pip:
        raise NodeError("bad_request", "there is nothing to install", "name packages: --apt NAME, --pip NAME")
    bad = [item for item in apt if not _APT.match(item)] + [item for item in pip if not item or item[0] in "- "]
    if bad:
        raise NodeError("bad_request", "{0!r} is not the name of a package".format(bad[0]))


class _Inside:
    """Commands in the container, as its root; together they have one time limit each."""

    def __init__(self, engine, name, timeout_s):
        self.engine, self.name, self.timeout_s = engine, name, timeout_s

    def run(self, *argv):
        """What it printed on standard output. Raises Failed."""
        words = ["exec", "--user", "0", "--env", "DEBIAN_FRONTEND=noninteractive", self.name, *argv]
        code, out, err = self.engine.run(words, self.timeout_s)
        if code != 0:
            raise Failed(" ".join(argv[:4]), code, out + err)
        return out


def _dpkg(inside):
    told = inside.run("dpkg-query", "-W", "-f", "${db:Status-Status} ${binary:Package} ${Version}\\n")
    rows = [line.split() for line in told.splitlines()]
    return {row[1]: row[2] for row in rows if len(row) == 3 and row[0] == "installed"}


def _apt(inside, wanted, have):
    if all(_satisfied(item, have) for item in wanted):
        return
    inside.run("apt-get", "update", "-q")
    inside.run("apt-get", "install", "-q", "-y", "--no-install-recommends", *wanted)


def _satisfied(item, have):
    name, _equals, version = item.partition("=")
    # dpkg names the architecture only where there may be several.
    found = next((have[key] for key in have if name in (key, key.partition(":")[0])), None)
    return found is not None and version in ("", found)


def _pip_list(inside):
    told = inside.run(*_PIP, "list", "--format=freeze")
    return dict(line.split("==", 1) for line in told.splitlines() if "==" in line)


def _pip(inside, wanted, _have):
    # What is there already is pip's to say: it knows all forms of a requirement, and asks no index for it.
    inside.run(*_PIP, "install", "--", *wanted)


def _after(database, inside, before, failure):
    try:
        return database(inside)
    except Failed:
        if failure is None:
            raise
        return before


def _differences(manager, before, after):
    names = sorted(name for name in set(before) | set(after) if before.get(name) != after.get(name))
    return [{"manager": manager, "name": n, "before": before.get(n), "after": after.get(n)} for n in names]
