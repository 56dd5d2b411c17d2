# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An agent task: a command that is given a prompt, and limits to what it may use, which are held against its own words.

Its standard output is its transcript: lines of JSON, of which those that report a use are counted as they come. The
prompt goes to the command as a file and as its standard input, never as an argument.
"""

from __future__ import annotations

import json
import os
import sys

from . import sandbox
from .statedir import NodeError, from_os_error

PROMPT_FILE = "prompt"
USAGE_FILE = "usage.json"
TRANSCRIPT = "stdout.log"
# What stands for the path of the prompt in the command of an agent.
PROMPT_MARK = "{prompt_file}"
_LIMITS = (("max_turns", "turns"), ("max_tokens", "tokens"), ("max_cost_usd", "cost_usd"))
# Of a line that is longer than this nothing is counted.
_CHUNK_BYTES = 4 * 1024 * 1024
# No count, and no sum of dollars, is larger.
_MOST = 10**15


def open_prompt(attempt, spec, apart):
    """(file descriptor to read the prompt from, name of its file). ``apart``: who does not see the attempt's folder."""
    if apart:
        fd, path = sandbox.script_file(spec["agent"]["prompt"])
        os.lseek(fd, 0, os.SEEK_SET)
        return fd, path
    path = attempt.file(PROMPT_FILE)
    with open(
        path, "w", encoding="utf-8", errors="surrogateescape", opener=lambda name, flags: os.open(name, flags, 0o600)
    ) as out:
        out.write(spec["agent"]["prompt"])
    return os.open(path, os.O_RDONLY), path


def check(spec):
    """Raise NodeError for an agent task that could not be held to its limits here."""
    if spec.get("agent") and (spec.get("container") or not spec.get("split_output")):
        raise NodeError(
            "not_supported",
            "an agent task cannot run in a container, and needs split_output",
            "let the command of the agent start its own container",
        )


def environment(spec, path):
    """What the command finds in its environment of its prompt and its limits."""
    agent = spec["agent"]
    told = {"STOKER_PROMPT_FILE": path}
    for name, _used in _LIMITS:
        if agent.get(name) is not None:
            told["STOKER_" + name.upper()] = "{0:g}".format(agent[name]) if name == "max_cost_usd" else str(agent[name])
    return told


def usage(attempt, finish=False):
    """What the transcript reports up to now: turns, tokens, cost_usd (each None where it says nothing of that).

    ``finish``: the transcript has ended, and its last line counts also without an end. What was counted is kept, where
    the disk takes it; whoever looks next goes on from there.
    """
    known = attempt.read(USAGE_FILE) or {"offset": 0, "turns": None, "tokens": None, "cost_usd": None, "last": None}
    before = known["offset"]
    try:
        with open(attempt.file(TRANSCRIPT), "rb") as handle:
            while True:
                handle.seek(known["offset"])
                data = handle.read(_CHUNK_BYTES)
                end = data.rfind(b"\n") + 1
                if len(data) == _CHUNK_BYTES:
                    end = end or len(data)
                elif finish:
                    end = len(data)
                if not end:
                    break
                for line in data[:end].splitlines():
                    _count(known, line)
                known["offset"] += end
    except FileNotFoundError:
        return known
    if known["offset"] != before:
        try:
            attempt.write(USAGE_FILE, known)
        except OSError as exc:
            sys.stderr.write("usage: {0}\n".format(from_os_error(exc).message))  # counted again the next time
    return known


def beyond(spec, used):
    """Which limit the use is beyond, in words; None: none."""
    for name, what in _LIMITS:
        limit = spec["agent"].get(name)
        if limit is not None and used[what] is not None and used[what] > limit:
            return "its agent used {0}, more than {1}".format(_words(what, used[what]), _words(what, limit).split()[0])
    return None


def _words(what, number):
    return "${0:.4g}".format(number) if what == "cost_usd" else "{0:,} {1}".format(number, what)


def _count(known, line):
    """Count one line of the transcript; one that reports no use changes nothing."""
    try:
        said = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return  # any other output
    if not isinstance(said, dict):
        return
    message = said.get("message") if isinstance(said.get("message"), dict) else {}
    used = said.get("usage") if isinstance(said.get("usage"), dict) else message.get("usage")
    tokens = _tokens(used) if isinstance(used, dict) else None
    if said.get("type") == "result":
        for what, number in (("turns", _number(said.get("num_turns"))), ("tokens", tokens)):
            if number is not None:
                known[what] = max(known[what] or 0, int(number))
    elif tokens is not None:
        _count_turn(known, said.get("id") or message.get("id"), tokens)
    cost, total = _number(said.get("cost_usd")), _number(said.get("total_cost_usd"))
    if cost is not None:
        known["cost_usd"] = (known["cost_usd"] or 0.0) + cost
    if total is not None:
        known["cost_usd"] = max(known["cost_usd"] or 0.0, total)


def _count_turn(known, name, tokens):
    """A turn and its tokens. Lines that follow each other with one id are one turn, told of anew."""
    last = known["last"] or {}
    if name is not None and last.get("id") == str(name):
        known["tokens"] = (known["tokens"] or 0) + max(0, tokens - last["tokens"])
        tokens = max(tokens, last["tokens"])
    else:
        known["turns"] = (known["turns"] or 0) + 1
        known["tokens"] = (known["tokens"] or 0) + tokens
    known["last"] = {"id": None if name is None else str(name)[:200], "tokens": tokens}


def _tokens(used):
    return sum(int(_number(used.get(name)) or 0) for name in ("input_tokens", "output_tokens"))


def _number(value):
    """A number of 0 or more; None for anything else that a program may write, and for what nobody can have used."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if 0 <= value <= _MOST else None
