# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The forms that the versioned documents are put together from: how a job id, a duration or a container looks."""

from __future__ import annotations

from typing import Any

MAJOR = 1

# "(?!\n)": in Python "$" also matches before a last newline, elsewhere it does not.
JOB_ID = r"^[a-z0-9][a-z0-9._-]{0,62}$(?!\n)"


def version(name: str) -> dict[str, Any]:
    return {"type": "string", "pattern": rf"^stoker\.{name}/1(\.[0-9]+)?$(?!\n)", "description": f"stoker.{name}/1"}


def nullable(schema: dict[str, Any]) -> dict[str, Any]:
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    changed = dict(schema, type=[*kinds, "null"])
    if "enum" in schema:
        changed["enum"] = [*schema["enum"], None]
    return changed


def record(required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


def listing(items: dict[str, Any], **limits: int) -> dict[str, Any]:
    return dict({"type": "array", "items": items}, **limits)


def mapping(names: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "propertyNames": names, "additionalProperties": values}


ANY: dict[str, Any] = {}
OPEN = {"type": "object"}
TEXT = {"type": "string"}
FLAG = {"type": "boolean"}
COUNT = {"type": "integer", "minimum": 0}
SECONDS = {"type": "number", "minimum": 0}
POSITIVE = {"type": "number", "exclusiveMinimum": 0}
# What goes to execve: a NUL would end it early.
ARGUMENT = {"type": "string", "pattern": "^[^\\x00]*$", "description": "text without a NUL character"}
JOB = {
    "type": "string",
    "pattern": JOB_ID,
    "maxLength": 63,
    "description": "a job id: up to 63 of a-z 0-9 . _ -, a letter or digit first",
}
UID = {"type": "string", "pattern": r"^[A-Za-z0-9-]{1,64}$(?!\n)", "maxLength": 64, "description": "a uuid"}
LABEL = {
    "type": "string",
    "pattern": r"^[A-Za-z0-9_][A-Za-z0-9_ ./%:@+-]{0,62}$(?!\n)",
    "maxLength": 63,
    "description": "a name: up to 63 letters, digits, spaces and _ . / % : @ + -",
}
ENV_NAME = {
    "type": "string",
    "pattern": r"^[A-Za-z_][A-Za-z0-9_]*$(?!\n)",
    "maxLength": 255,
    "description": "a name of letters, digits and _ that does not start with a digit",
}
GPU_UUID = {
    "type": "string",
    "pattern": r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$(?!\n)",
    "maxLength": 128,
    "description": "a GPU UUID as nvidia-smi shows it",
}
ATTEMPT = {"type": "integer", "minimum": 1}
ATTEMPT_KEY = {
    "type": "string",
    "pattern": r"^[a-z0-9][a-z0-9._-]{0,62}/[1-9][0-9]*$(?!\n)",
    "maxLength": 80,
    "description": "job/attempt",
}
SEVERITY = {"type": "string", "enum": ["critical", "error", "warning"]}
LEASE_POLICY = {"type": "string", "enum": ["keep", "move"]}
REGEX = {"type": "string", "minLength": 1, "maxLength": 2000}
# JSON has no NaN and no infinity, and PostgreSQL refuses them: they travel as text.
METRIC_VALUE = {
    "type": ["number", "string"],
    "pattern": r"^(nan|inf|-inf)$(?!\n)",
    "description": "a number, 'nan', 'inf' or '-inf'",
}
# Those that a program may handle.
SIGNAL = {"type": "string", "enum": ["HUP", "INT", "QUIT", "USR1", "USR2", "TERM", "ALRM", "WINCH", "CONT"]}
LOG_PATTERN = record(["name", "regex"], {"name": LABEL, "regex": REGEX, "severity": SEVERITY})
METRIC = record(
    ["name", "regex"], {"name": LABEL, "regex": REGEX, "keep": {"type": "string", "enum": ["first", "last", "series"]}}
)
OUTPUT = record(["name", "regex"], {"name": LABEL, "regex": REGEX})
ENV = mapping(ENV_NAME, ARGUMENT)
# They become words of the engine's command line: none may look like an option.
IMAGE = {
    "type": "string",
    "pattern": r"^[A-Za-z0-9][A-Za-z0-9._/:@+-]*$(?!\n)",
    "maxLength": 512,
    "description": "the name of a container image, such as docker.io/library/python:3.12",
}
ENGINE = {"type": "string", "enum": ["podman", "docker"]}
USER = {
    "type": "string",
    "pattern": r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?$(?!\n)",
    "maxLength": 128,
    "description": "a user name or number, and perhaps ':' and a group",
}
NETWORK = {
    "type": "string",
    "pattern": r"^[A-Za-z0-9][A-Za-z0-9_.:/=,-]*$(?!\n)",
    "maxLength": 255,
    "description": "a network of the engine, such as host, none or bridge",
}
ARGV = nullable(listing(ARGUMENT, minItems=1))

DIGEST = {
    "type": "string",
    "pattern": r"^[0-9a-f]{64}$(?!\n)",
    "maxLength": 64,
    "description": "64 hexadecimal digits",
}
# The files that a job runs with. All but the digest is told to people: where they come from, and how old they are.
SNAPSHOT = record(
    ["digest"],
    {
        "digest": DIGEST,
        "files": COUNT,
        "bytes": COUNT,
        "ignored": nullable(COUNT),
        "commit": nullable(TEXT),
        "changes": nullable(COUNT),
        "folder": TEXT,
        "host": TEXT,
    },
)
# Where a job writes its checkpoints, how often they are fetched, and whether it is asked for one before that.
CHECKPOINTS = record(["path", "every_s"], {"path": dict(ARGUMENT, minLength=1), "every_s": POSITIVE, "ask": FLAG})
# Data that a job reads: brought once to a node, under its digest. All but that is told to people.
DATASET = record(
    ["digest", "name"],
    {
        "digest": DIGEST,
        "name": dict(ARGUMENT, minLength=1),
        "files": COUNT,
        "bytes": COUNT,
        "folder": TEXT,
        "host": TEXT,
    },
)
# The checkpoint that an attempt goes on from: which file or folder of that digest, and where it came from.
RESUME = record(
    ["digest", "name"],
    {"digest": DIGEST, "name": dict(ARGUMENT, minLength=1), "step": nullable(COUNT), "job": JOB, "attempt": ATTEMPT},
)
# What is asked of GPUs when a job takes them. A busy process is a pattern of a name, as a shell matches files.
BUSY_PROCESSES = listing(dict(ARGUMENT, minLength=1, maxLength=255), maxItems=200)
PREFLIGHT = record(
    [],
    {
        "strict": FLAG,
        "gpu_memory_bytes": nullable({"type": "integer", "minimum": 1}),
        "busy_load_pct": SECONDS,
        "busy_processes": BUSY_PROCESSES,
        "cooldown_s": SECONDS,
        "quarantine_s": POSITIVE,
    },
)
PREFLIGHT_FINDING = record(
    ["gpu", "kind", "text"],
    {
        "gpu": TEXT,
        "index": nullable(COUNT),
        "kind": {"type": "string", "enum": ["load", "memory", "process", "unknown"]},
        "blocks": FLAG,
        "text": TEXT,
    },
)
