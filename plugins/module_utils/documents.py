# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The versioned documents that cross a boundary, as JSON Schema. `schemas` checks a document against them."""

from __future__ import annotations

from typing import Any

MAJOR = 1

# "(?!\n)": in Python "$" also matches before a last newline, elsewhere it does not.
JOB_ID = r"^[a-z0-9][a-z0-9._-]{0,62}$(?!\n)"


def _version(name: str) -> dict[str, Any]:
    return {"type": "string", "pattern": rf"^stoker\.{name}/1(\.[0-9]+)?$(?!\n)", "description": f"stoker.{name}/1"}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    changed = dict(schema, type=[*kinds, "null"])
    if "enum" in schema:
        changed["enum"] = [*schema["enum"], None]
    return changed


def _object(required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


def _list(items: dict[str, Any], **limits: int) -> dict[str, Any]:
    return dict({"type": "array", "items": items}, **limits)


def _map(names: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
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
LOG_PATTERN = _object(["name", "regex"], {"name": LABEL, "regex": REGEX, "severity": SEVERITY})
METRIC = _object(
    ["name", "regex"], {"name": LABEL, "regex": REGEX, "keep": {"type": "string", "enum": ["first", "last", "series"]}}
)
ENV = _map(ENV_NAME, ARGUMENT)
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
ARGV = _nullable(_list(ARGUMENT, minItems=1))

DIGEST = {
    "type": "string",
    "pattern": r"^[0-9a-f]{64}$(?!\n)",
    "maxLength": 64,
    "description": "64 hexadecimal digits",
}
# The files that a job runs with. All but the digest is told to people: where they come from, and how old they are.
SNAPSHOT = _object(
    ["digest"],
    {
        "digest": DIGEST,
        "files": COUNT,
        "bytes": COUNT,
        "ignored": _nullable(COUNT),
        "commit": _nullable(TEXT),
        "changes": _nullable(COUNT),
        "folder": TEXT,
        "host": TEXT,
    },
)
# What is asked of GPUs when a job takes them. A busy process is a pattern of a name, as a shell matches files.
BUSY_PROCESSES = _list(dict(ARGUMENT, minLength=1, maxLength=255), maxItems=200)
PREFLIGHT = _object(
    [],
    {
        "strict": FLAG,
        "gpu_memory_bytes": _nullable({"type": "integer", "minimum": 1}),
        "busy_load_pct": SECONDS,
        "busy_processes": BUSY_PROCESSES,
        "cooldown_s": SECONDS,
        "quarantine_s": POSITIVE,
    },
)
PREFLIGHT_FINDING = _object(
    ["gpu", "kind", "text"],
    {
        "gpu": TEXT,
        "index": _nullable(COUNT),
        "kind": {"type": "string", "enum": ["load", "memory", "process", "unknown"]},
        "blocks": FLAG,
        "text": TEXT,
    },
)

_COMMAND: dict[str, Any] = {
    "argv": ARGV,
    "script": _nullable(ARGUMENT),
    "interpreter": _nullable(dict(ARGUMENT, minLength=1)),
    "workdir": _nullable(ARGUMENT),
    "env": ENV,
    "timeout_s": _nullable(POSITIVE),
}

_BODIES: dict[str, dict[str, Any]] = {}

MOUNT = _object(
    ["source", "target"],
    {"source": dict(ARGUMENT, minLength=1), "target": dict(ARGUMENT, minLength=1), "read_only": FLAG},
)
CONTAINER = _object(
    [],
    {
        "image": _nullable(IMAGE),
        "engine": _nullable(ENGINE),
        "pull": {"type": "string", "enum": ["missing", "never", "always"]},
        "mounts": _list(MOUNT, maxItems=100),
        "shm_bytes": _nullable({"type": "integer", "minimum": 65536}),
        "user": _nullable(USER),
        "network": _nullable(NETWORK),
        "workdir": _nullable(dict(ARGUMENT, minLength=1)),
        "read_only": FLAG,
    },
)

_BODIES["spec"] = _object(
    ["schema", "job", "uid"],
    dict(
        _COMMAND,
        schema=_version("spec"),
        job=JOB,
        uid=UID,
        name=_nullable(TEXT),
        secret_env=_list(ENV_NAME),
        gpus={"type": "integer", "minimum": 0, "maximum": 1024},
        gpu_uuids=_nullable(_list(GPU_UUID, maxItems=1024)),
        memory_bytes=_nullable({"type": "integer", "minimum": 1048576}),
        cpus=_nullable(POSITIVE),
        grace_s=SECONDS,
        checkpoint_signal=_nullable(SIGNAL),
        checkpoint_grace_s=SECONDS,
        split_output=FLAG,
        sample_interval_s=POSITIVE,
        log_patterns=_list(LOG_PATTERN, maxItems=100),
        metrics=_list(METRIC, maxItems=100),
        lease=_nullable(_object(["policy"], {"policy": LEASE_POLICY, "seconds": _nullable(POSITIVE)})),
        container=_nullable(CONTAINER),
        user=_nullable(USER),
        sandbox=_nullable({"type": "string", "enum": ["bwrap", "container"]}),
        labels=_map(LABEL, TEXT),
        snapshot=_nullable(SNAPSHOT),
        preflight=_nullable(PREFLIGHT),
    ),
)

CONTAINER_NAME = {
    "type": "string",
    "pattern": r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$(?!\n)",
    "maxLength": 128,
    "description": "a container's name: letters, digits and _ . -, a letter or digit first",
}
# An option would begin with a dash.
IMAGE = {
    "type": "string",
    "pattern": r"^[a-zA-Z0-9][^\s\x00]*$(?!\n)",
    "maxLength": 512,
    "description": "an image, as nvcr.io/nvidia/pytorch:25.03-py3",
}
ENGINE = {"type": "string", "enum": ["podman", "docker"]}
URL = {"type": "string", "pattern": r"^https?://[^\s/]+[^\s]*$(?!\n)", "maxLength": 2000, "description": "an http URL"}
DEFINITION = _object(
    [],
    {
        "image": _nullable(IMAGE),
        "command": _nullable(_list(ARGUMENT)),
        "entrypoint": _nullable(_list(ARGUMENT)),
        "env": _nullable(ENV),
        "workdir": _nullable(ARGUMENT),
        "user": _nullable(ARGUMENT),
        "gpus": _nullable(ARGUMENT),
        "mounts": _nullable(_list(ARGUMENT)),
        "ports": _nullable(_list(ARGUMENT)),
        "restart": _nullable(ARGUMENT),
        "network": _nullable(ARGUMENT),
        "ipc": _nullable({"type": "string", "enum": ["host", "private"]}),
        "shm_bytes": _nullable({"type": "integer", "minimum": 1}),
        "ulimits": _nullable(_list(ARGUMENT)),
        "labels": _nullable(_map(ARGUMENT, ARGUMENT)),
    },
)
HEALTH = _object([], {"url": _nullable(URL), "command": _nullable(_list(ARGUMENT, minItems=1)), "timeout_s": POSITIVE})

# The spec inside an order is checked when the order is carried out: one bad order does not stop the others.
ORDER = _object(
    ["order"],
    {
        "order": {"type": "string", "enum": ["start", "stop", "signal", "lease", "remove"]},
        "spec": OPEN,
        "secrets": ENV,
        "job": JOB,
        "attempt": ATTEMPT,
        "grace_s": _nullable(SECONDS),
        "reason": {"type": "string", "enum": ["cancelled", "expired", "timeout"]},
        "wait_s": SECONDS,
        "seconds": POSITIVE,
        "policy": LEASE_POLICY,
        "signal": SIGNAL,
    },
)

_BODIES["request"] = _object(
    ["schema", "op"],
    dict(
        _COMMAND,
        schema=_version("request"),
        op={
            "type": "string",
            "enum": [
                "reconcile",
                "log",
                "exec",
                "clean",
                "info",
                "sync_look",
                "sync_done",
                "environment",
                "environments",
                "benchmark",
                "snapshot_look",
                "snapshot_done",
                "containers",
                "container",
                "services",
                "gpu_release",
            ],
        },
        state_dir=dict(ARGUMENT, minLength=1),
        lock_dir=_nullable(dict(ARGUMENT, minLength=1)),
        rungs=_nullable(_list(TEXT)),
        backend=_nullable(TEXT),
        container_image=_nullable(IMAGE),
        container_engine=_nullable(ENGINE),
        orders=_list(ORDER),
        observe=_nullable(
            _object(
                [],
                {
                    "jobs": {
                        "type": ["string", "array"],
                        "pattern": r"^(all|live)$(?!\n)",
                        "items": JOB,
                        "description": "'all', 'live' or a list of job ids",
                    },
                    "log_from": _map(ATTEMPT_KEY, COUNT),
                    "log_limit": COUNT,
                    "specs": FLAG,
                },
            )
        ),
        gpus=FLAG,
        parts=_nullable(_list({"type": "string", "enum": ["cpu", "memory", "disks", "network", "gpus", "containers"]})),
        proc_dir=_nullable(dict(ARGUMENT, minLength=1)),
        busy_processes=_nullable(BUSY_PROCESSES),
        quarantine_s=_nullable(POSITIVE),
        gpu=dict(ARGUMENT, minLength=1),
        wait=SECONDS,
        job=JOB,
        attempt=_nullable(ATTEMPT),
        offset=_nullable(COUNT),
        tail=_nullable(COUNT),
        limit=COUNT,
        stream={"type": "string", "enum": ["out", "stdout", "stderr"]},
        older_than_s=_nullable(SECONDS),
        keep_last=_nullable(COUNT),
        dry_run=FLAG,
        jobs=_nullable(_list(JOB)),
        folder=dict(ARGUMENT, minLength=1),
        paths=_list(ARGUMENT),
        make=FLAG,
        names=TEXT,
        delete=FLAG,
        source=_nullable(TEXT),
        file=_nullable(dict(ARGUMENT, minLength=1)),
        python=_nullable(
            {"type": "string", "pattern": r"^3\.[0-9]+(\.[0-9]+)?$(?!\n)", "description": "a version such as 3.11"}
        ),
        tool=_nullable({"type": "string", "enum": ["uv", "pip", "conda"]}),
        build=_nullable({"type": "string", "pattern": r"^[0-9a-f]{8}$(?!\n)", "description": "the name of a build"}),
        digest=DIGEST,
        snapshots_unused_s=_nullable(SECONDS),
        engine=_nullable(ENGINE),
        container=CONTAINER_NAME,
        which=_nullable(_list(TEXT)),
        action={
            "type": "string",
            "enum": ["present", "started", "stopped", "absent", "logs", "upgrade", "install"],
        },
        definition=_nullable(DEFINITION),
        secrets=ENV,
        recreate=FLAG,
        grace_s=_nullable(SECONDS),
        image=IMAGE,
        pull=FLAG,
        health=_nullable(HEALTH),
        apt=_list(ARGUMENT),
        pip=_list(ARGUMENT),
    ),
)

FINDING = _object(
    ["line", "offset", "name", "severity", "text"],
    {
        "line": ATTEMPT,
        "offset": COUNT,
        "name": TEXT,
        "severity": SEVERITY,
        "text": {"type": "string", "maxLength": 300},
    },
)

METRIC_SEEN = _object(
    ["count"],
    {
        "count": COUNT,
        "first": _nullable(METRIC_VALUE),
        "last": _nullable(METRIC_VALUE),
        "min": _nullable(METRIC_VALUE),
        "max": _nullable(METRIC_VALUE),
        "series": _nullable(_list(_list(METRIC_VALUE, minItems=2, maxItems=2), maxItems=2000)),
    },
)

_BODIES["observation"] = _object(
    ["schema", "job", "attempt", "state"],
    {
        "schema": _version("observation"),
        "job": JOB,
        "uid": _nullable(UID),
        "name": _nullable(TEXT),
        "attempt": ATTEMPT,
        "state": {
            "type": "string",
            "enum": ["queued", "starting", "running", "succeeded", "failed", "cancelled", "lost"],
        },
        "reason": _nullable(
            {"type": "string", "enum": ["code", "signal", "oom", "timeout", "start", "reboot", "killed", "expired"]}
        ),
        "detail": _nullable(TEXT),
        "evidence": _nullable(TEXT),
        "exit_code": _nullable({"type": "integer"}),
        "signal": _nullable({"type": "integer", "minimum": 1}),
        "oom": _nullable(FLAG),
        "error": _nullable(TEXT),
        "queued_at": _nullable({"type": "number"}),
        "started_at": _nullable({"type": "number"}),
        "ended_at": _nullable({"type": "number"}),
        "elapsed_s": _nullable(SECONDS),
        "pid": _nullable(ATTEMPT),
        "rung": _nullable(TEXT),
        "supervised": _nullable(FLAG),
        "stopping": _nullable(FLAG),
        "gpus": _nullable(_list(TEXT)),
        "waiting": _nullable(
            _object(
                [],
                {
                    "position": COUNT,
                    "needs": COUNT,
                    "free": _nullable(COUNT),
                    "held_by": _list(TEXT),
                    "closed": _list(TEXT),
                },
            )
        ),
        "preflight": _nullable(_list(PREFLIGHT_FINDING)),
        "boot_id": _nullable(TEXT),
        "log_size": _nullable(COUNT),
        "last_line": _nullable(TEXT),
        "findings": _list(FINDING),
        "finding_counts": _map(TEXT, COUNT),
        "metrics": _map(TEXT, METRIC_SEEN),
        "sample": _nullable(OPEN),
        "left_behind": _nullable(COUNT),
        "spec": _nullable(OPEN),
    },
)

CHUNK = _object(
    ["offset", "next", "size", "data", "eof"],
    {"offset": COUNT, "next": COUNT, "size": COUNT, "data": TEXT, "eof": FLAG},
)

ERROR_CODES = [
    "bad_request",
    "unknown_schema",
    "conflict",
    "stale_attempt",
    "unknown_job",
    "no_space",
    "read_only",
    "no_permission",
    "not_supported",
    "internal",
]
ERROR = _object(
    ["code", "message"], {"code": {"type": "string", "enum": ERROR_CODES}, "message": TEXT, "next": _nullable(TEXT)}
)

_BODIES["reply"] = _object(
    ["schema", "ok"],
    {
        "schema": _version("reply"),
        "ok": FLAG,
        "error": _nullable(ERROR),
        "node": OPEN,
        "orders": _list(
            _object(
                ["order", "ok"],
                {
                    "order": TEXT,
                    "job": _nullable(TEXT),
                    "attempt": _nullable(ATTEMPT),
                    "ok": FLAG,
                    "changed": FLAG,
                    "error": _nullable(ERROR),
                },
            )
        ),
        "attempts": _list(_BODIES["observation"]),
        "logs": _map(ATTEMPT_KEY, CHUNK),
        "chunk": CHUNK,
        "observation": _nullable(_BODIES["observation"]),
        "code": _nullable({"type": "integer"}),
        "signal": _nullable({"type": "integer", "minimum": 1}),
        "stdout": TEXT,
        "stderr": TEXT,
        "truncated": FLAG,
        "timed_out": FLAG,
        "elapsed_s": SECONDS,
        "removed": _list(_object(["job", "attempt", "bytes"], {"job": JOB, "attempt": ATTEMPT, "bytes": COUNT})),
        "kept": COUNT,
        "snapshots": _list(_object(["digest", "bytes"], {"digest": DIGEST, "bytes": COUNT})),
    },
)

# A row of the store's history, as `stoker events --json` prints it and an event source reads it.
_BODIES["event"] = _object(
    ["schema", "seq", "at", "type"],
    {
        "schema": _version("event"),
        "seq": COUNT,
        "at": {"type": "number"},
        "type": {
            "type": "string",
            "pattern": r"^[a-z][a-z0-9_.]*$(?!\n)",
            "maxLength": 63,
            "description": "a name in lower case",
        },
        "job": _nullable(JOB),
        "attempt": _nullable(ATTEMPT),
        "node": _nullable(TEXT),
        "data": _nullable(OPEN),
    },
)

# What any operation says with --json.
_BODIES["result"] = _object(
    ["schema", "operation", "ok"],
    {
        "schema": _version("result"),
        "operation": TEXT,
        "ok": FLAG,
        "value": ANY,
        "error": _nullable(
            _object(
                ["message"],
                {"message": TEXT, "next_step": _nullable(TEXT), "exit_code": COUNT, "node": _nullable(TEXT)},
            )
        ),
    },
)

SCHEMAS: dict[str, dict[str, Any]] = {
    "stoker." + name: dict(
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:stoker:{name}:1", "title": name},
        **body,
    )
    for name, body in _BODIES.items()
}
SPEC = SCHEMAS["stoker.spec"]
REQUEST = SCHEMAS["stoker.request"]
REPLY = SCHEMAS["stoker.reply"]
OBSERVATION = SCHEMAS["stoker.observation"]
EVENT = SCHEMAS["stoker.event"]
RESULT = SCHEMAS["stoker.result"]
