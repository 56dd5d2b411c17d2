# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Containers of this node, as Podman and Docker list them for this user."""

from __future__ import annotations

import json
import shutil

from .gpus import run_bounded
from .statedir import NodeError

ENGINES = ("podman", "docker")
TIMEOUT_S = 5.0


def read():
    """(containers, why not all). Raises NodeError where no engine answers: that is not the same as no container.

    ``why not all`` is None, or one sentence about the engine that is there and did not answer.
    """
    tools = [(engine, shutil.which(engine)) for engine in ENGINES]
    present = [(engine, tool) for engine, tool in tools if tool]
    if not present:
        raise NodeError("not_supported", "there is no podman and no docker on this node")
    found, faults = {}, []
    for engine, tool in present:
        try:
            for item in _ask(engine, tool):
                # Where docker is a link to podman, each would be listed twice.
                found.setdefault(item["id"], item)
        except NodeError as exc:
            faults.append(exc.message)
    if len(faults) == len(present):
        raise NodeError("not_supported", "; ".join(faults))
    return list(found.values()), "; ".join(faults) or None


def _ask(engine, tool):
    form = "json" if engine == "podman" else "{{json .}}"
    try:
        code, out, err = run_bounded([tool, "ps", "--all", "--no-trunc", "--format", form], TIMEOUT_S)
    except OSError as exc:
        raise NodeError("not_supported", "{0} cannot be run: {1}".format(tool, exc.strerror)) from None
    if code != 0:
        words = " ".join((err or out).split())[:300]
        raise NodeError("not_supported", "{0} ps ended with {1}: {2}".format(engine, code, words))
    try:
        return parse(engine, out)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise NodeError("not_supported", "{0} ps said what is not understood: {1!r}".format(engine, exc)) from None


def parse(engine, text):
    """Read the JSON of ``podman ps`` (a list) or of ``docker ps`` (an object a line; a list where it is podman)."""
    if text.lstrip().startswith("["):
        told = json.loads(text)
    else:
        told = [json.loads(line) for line in text.splitlines() if line.strip()]
    return [_container(engine, item) for item in told or ()]


def _container(engine, item):
    names = item["Names"]
    return {
        "engine": engine,
        "id": item.get("Id") or item["ID"],
        "name": ",".join(names) if isinstance(names, list) else names,
        "image": item["Image"],
        "state": item["State"],
        "status": item.get("Status") or None,
    }
