# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The versioned documents that cross a boundary, as JSON Schema. `schemas` checks a document against them."""

from __future__ import annotations

from typing import Any

from .forms import (
    ANY,
    ARGUMENT,
    ARGV,
    ATTEMPT,
    ATTEMPT_KEY,
    BUSY_PROCESSES,
    CHECKPOINTS,
    COUNT,
    DATASET,
    DIGEST,
    ENGINE,
    ENV,
    ENV_NAME,
    FLAG,
    GPU_UUID,
    IMAGE,
    JOB,
    LABEL,
    LEASE_POLICY,
    LOG_PATTERN,
    METRIC,
    METRIC_VALUE,
    NETWORK,
    OPEN,
    OUTPUT,
    POSITIVE,
    PREFLIGHT,
    PREFLIGHT_FINDING,
    RESUME,
    SECONDS,
    SEVERITY,
    SIGNAL,
    SNAPSHOT,
    TEXT,
    UID,
    USER,
    listing,
    mapping,
    nullable,
    record,
    version,
)

_COMMAND: dict[str, Any] = {
    "argv": ARGV,
    "script": nullable(ARGUMENT),
    "interpreter": nullable(dict(ARGUMENT, minLength=1)),
    "workdir": nullable(ARGUMENT),
    "env": ENV,
    "timeout_s": nullable(POSITIVE),
}

_BODIES: dict[str, dict[str, Any]] = {}

MOUNT = record(
    ["source", "target"],
    {"source": dict(ARGUMENT, minLength=1), "target": dict(ARGUMENT, minLength=1), "read_only": FLAG},
)
CONTAINER = record(
    [],
    {
        "image": nullable(IMAGE),
        "engine": nullable(ENGINE),
        "pull": {"type": "string", "enum": ["missing", "never", "always"]},
        "mounts": listing(MOUNT, maxItems=100),
        "shm_bytes": nullable({"type": "integer", "minimum": 65536}),
        "user": nullable(USER),
        "network": nullable(NETWORK),
        "workdir": nullable(dict(ARGUMENT, minLength=1)),
        "read_only": FLAG,
    },
)

# A command that gets a prompt, and limits that what it reports of itself is held against.
AGENT = record(
    ["name", "prompt"],
    {
        "name": TEXT,
        "prompt": dict(ARGUMENT, minLength=1),
        "max_turns": nullable(ATTEMPT),
        "max_tokens": nullable(ATTEMPT),
        "max_cost_usd": nullable(POSITIVE),
    },
)

_BODIES["spec"] = record(
    ["schema", "job", "uid"],
    dict(
        _COMMAND,
        schema=version("spec"),
        job=JOB,
        uid=UID,
        name=nullable(TEXT),
        secret_env=listing(ENV_NAME),
        gpus={"type": "integer", "minimum": 0, "maximum": 1024},
        gpu_uuids=nullable(listing(GPU_UUID, maxItems=1024)),
        memory_bytes=nullable({"type": "integer", "minimum": 1048576}),
        cpus=nullable(POSITIVE),
        grace_s=SECONDS,
        checkpoint_signal=nullable(SIGNAL),
        checkpoint_grace_s=SECONDS,
        split_output=FLAG,
        sample_interval_s=POSITIVE,
        log_patterns=listing(LOG_PATTERN, maxItems=100),
        metrics=listing(METRIC, maxItems=100),
        outputs=nullable(listing(OUTPUT, maxItems=100)),
        lease=nullable(record(["policy"], {"policy": LEASE_POLICY, "seconds": nullable(POSITIVE)})),
        container=nullable(CONTAINER),
        user=nullable(USER),
        sandbox=nullable({"type": "string", "enum": ["bwrap", "container"]}),
        labels=mapping(LABEL, TEXT),
        snapshot=nullable(SNAPSHOT),
        checkpoints=nullable(CHECKPOINTS),
        dataset=nullable(DATASET),
        environment=nullable(FLAG),
        resume=nullable(RESUME),
        preflight=nullable(PREFLIGHT),
        agent=nullable(AGENT),
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
DEFINITION = record(
    [],
    {
        "image": nullable(IMAGE),
        "command": nullable(listing(ARGUMENT)),
        "entrypoint": nullable(listing(ARGUMENT)),
        "env": nullable(ENV),
        "workdir": nullable(ARGUMENT),
        "user": nullable(ARGUMENT),
        "gpus": nullable(ARGUMENT),
        "mounts": nullable(listing(ARGUMENT)),
        "ports": nullable(listing(ARGUMENT)),
        "restart": nullable(ARGUMENT),
        "network": nullable(ARGUMENT),
        "ipc": nullable({"type": "string", "enum": ["host", "private"]}),
        "shm_bytes": nullable({"type": "integer", "minimum": 1}),
        "ulimits": nullable(listing(ARGUMENT)),
        "labels": nullable(mapping(ARGUMENT, ARGUMENT)),
    },
)
HEALTH = record([], {"url": nullable(URL), "command": nullable(listing(ARGUMENT, minItems=1)), "timeout_s": POSITIVE})

# The spec inside an order is checked when the order is carried out: one bad order does not stop the others.
ORDER = record(
    ["order"],
    {
        "order": {"type": "string", "enum": ["start", "stop", "signal", "lease", "remove"]},
        "spec": OPEN,
        "secrets": ENV,
        "job": JOB,
        "uid": UID,
        "attempt": ATTEMPT,
        "grace_s": nullable(SECONDS),
        "reason": {"type": "string", "enum": ["cancelled", "expired", "timeout"]},
        "wait_s": SECONDS,
        "seconds": POSITIVE,
        "policy": LEASE_POLICY,
        "until_boot_s": POSITIVE,
        "boot_id": TEXT,
        "signal": SIGNAL,
    },
)

PARTS = ["cpu", "memory", "disks", "network", "gpus", "containers"]
_BODIES["request"] = record(
    ["schema", "op"],
    dict(
        _COMMAND,
        schema=version("request"),
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
                "checkpoint_look",
                "containers",
                "container",
                "services",
                "gpu_release",
                "run_info",
            ],
        },
        state_dir=dict(ARGUMENT, minLength=1),
        lock_dir=nullable(dict(ARGUMENT, minLength=1)),
        rungs=nullable(listing(TEXT)),
        backend=nullable(TEXT),
        container_image=nullable(IMAGE),
        container_engine=nullable(ENGINE),
        orders=listing(ORDER),
        observe=nullable(
            record(
                [],
                {
                    "jobs": {
                        "type": ["string", "array"],
                        "pattern": r"^(all|live)$(?!\n)",
                        "items": JOB,
                        "description": "'all', 'live' or a list of job ids",
                    },
                    "log_from": mapping(ATTEMPT_KEY, COUNT),
                    "log_limit": COUNT,
                    "specs": FLAG,
                },
            )
        ),
        gpus=FLAG,
        parts=nullable(
            listing({"type": "string", "enum": ["cpu", "memory", "disks", "network", "gpus", "containers"]})
        ),
        proc_dir=nullable(dict(ARGUMENT, minLength=1)),
        busy_processes=nullable(BUSY_PROCESSES),
        quarantine_s=nullable(POSITIVE),
        gpu=dict(ARGUMENT, minLength=1),
        wait=SECONDS,
        job=JOB,
        attempt=nullable(ATTEMPT),
        offset=nullable(COUNT),
        tail=nullable(COUNT),
        limit=COUNT,
        stream={"type": "string", "enum": ["out", "stdout", "stderr"]},
        older_than_s=nullable(SECONDS),
        keep_last=nullable(COUNT),
        keep=mapping(dict(ARGUMENT, minLength=1), listing(JOB)),
        dry_run=FLAG,
        jobs=nullable(listing(JOB)),
        folder=dict(ARGUMENT, minLength=1),
        paths=listing(ARGUMENT),
        make=FLAG,
        names=TEXT,
        moved=TEXT,
        delete=FLAG,
        source=nullable(TEXT),
        file=nullable(dict(ARGUMENT, minLength=1)),
        python=nullable(
            {"type": "string", "pattern": r"^3\.[0-9]+(\.[0-9]+)?$(?!\n)", "description": "a version such as 3.11"}
        ),
        tool=nullable({"type": "string", "enum": ["uv", "pip", "conda"]}),
        build=nullable({"type": "string", "pattern": r"^[0-9a-f]{8}$(?!\n)", "description": "the name of a build"}),
        digest=DIGEST,
        verify=FLAG,
        quick=FLAG,
        mark=nullable(DIGEST),
        after=nullable(SECONDS),
        room=COUNT,
        ask=nullable(SIGNAL),
        snapshots_unused_s=nullable(SECONDS),
        engine=nullable(ENGINE),
        container=CONTAINER_NAME,
        which=nullable(listing(TEXT)),
        action={
            "type": "string",
            "enum": ["present", "started", "stopped", "absent", "logs", "upgrade", "install"],
        },
        definition=nullable(DEFINITION),
        secrets=ENV,
        recreate=FLAG,
        grace_s=nullable(SECONDS),
        image=IMAGE,
        pull=FLAG,
        health=nullable(HEALTH),
        apt=listing(ARGUMENT),
        pip=listing(ARGUMENT),
        path=nullable(dict(ARGUMENT, minLength=1)),
        since=nullable(TEXT),
        full=FLAG,
        machine=FLAG,
    ),
)

FINDING = record(
    ["line", "offset", "name", "severity", "text"],
    {
        "line": ATTEMPT,
        "offset": COUNT,
        "name": TEXT,
        "severity": SEVERITY,
        "text": {"type": "string", "maxLength": 300},
    },
)

TRACKER = record(["tracker"], {"tracker": TEXT, "url": nullable(TEXT), "folder": nullable(TEXT)})

METRIC_SEEN = record(
    ["count"],
    {
        "count": COUNT,
        "first": nullable(METRIC_VALUE),
        "last": nullable(METRIC_VALUE),
        "min": nullable(METRIC_VALUE),
        "max": nullable(METRIC_VALUE),
        "series": nullable(listing(listing(METRIC_VALUE, minItems=2, maxItems=2), maxItems=2000)),
    },
)

_BODIES["observation"] = record(
    ["schema", "job", "attempt", "state"],
    {
        "schema": version("observation"),
        "job": JOB,
        "uid": nullable(UID),
        "name": nullable(TEXT),
        "attempt": ATTEMPT,
        "state": {
            "type": "string",
            "enum": ["queued", "starting", "running", "succeeded", "failed", "cancelled", "lost"],
        },
        "reason": nullable(
            {
                "type": "string",
                "enum": ["code", "signal", "oom", "timeout", "limit", "start", "reboot", "killed", "expired"],
            }
        ),
        "detail": nullable(TEXT),
        "evidence": nullable(TEXT),
        "exit_code": nullable({"type": "integer"}),
        "signal": nullable({"type": "integer", "minimum": 1}),
        "oom": nullable(FLAG),
        "error": nullable(TEXT),
        "queued_at": nullable({"type": "number"}),
        "started_at": nullable({"type": "number"}),
        "ended_at": nullable({"type": "number"}),
        "elapsed_s": nullable(SECONDS),
        "pid": nullable(ATTEMPT),
        "rung": nullable(TEXT),
        "supervised": nullable(FLAG),
        "stopping": nullable(FLAG),
        "gpus": nullable(listing(TEXT)),
        "waiting": nullable(
            record(
                [],
                {
                    "position": COUNT,
                    "needs": COUNT,
                    "free": nullable(COUNT),
                    "held_by": listing(TEXT),
                    "closed": listing(TEXT),
                },
            )
        ),
        "preflight": nullable(listing(PREFLIGHT_FINDING)),
        "boot_id": nullable(TEXT),
        "log_size": nullable(COUNT),
        "last_line": nullable(TEXT),
        "findings": listing(FINDING),
        "finding_counts": mapping(TEXT, COUNT),
        "metrics": mapping(TEXT, METRIC_SEEN),
        "outputs": nullable(mapping(TEXT, TEXT)),
        "trackers": listing(TRACKER),
        "tail": nullable(TEXT),
        "sample": nullable(OPEN),
        "usage": nullable(
            record([], {"turns": nullable(COUNT), "tokens": nullable(COUNT), "cost_usd": nullable(SECONDS)})
        ),
        "left_behind": nullable(COUNT),
        "spec": nullable(OPEN),
    },
)

CHUNK = record(
    ["offset", "next", "size", "data", "eof"],
    {"offset": COUNT, "next": COUNT, "size": COUNT, "data": TEXT, "eof": FLAG},
)

ERROR_CODES = [
    "bad_request",
    "unknown_schema",
    "conflict",
    "stale_attempt",
    "late_order",
    "bad_checkpoint",
    "unknown_job",
    "no_space",
    "read_only",
    "no_permission",
    "not_supported",
    "internal",
]
ERROR = record(
    ["code", "message"], {"code": {"type": "string", "enum": ERROR_CODES}, "message": TEXT, "next": nullable(TEXT)}
)

_BODIES["reply"] = record(
    ["schema", "ok"],
    {
        "schema": version("reply"),
        "ok": FLAG,
        "error": nullable(ERROR),
        "node": OPEN,
        "orders": listing(
            record(
                ["order", "ok"],
                {
                    "order": TEXT,
                    "job": nullable(TEXT),
                    "attempt": nullable(ATTEMPT),
                    "ok": FLAG,
                    "changed": FLAG,
                    "error": nullable(ERROR),
                },
            )
        ),
        "attempts": listing(_BODIES["observation"]),
        "logs": mapping(ATTEMPT_KEY, CHUNK),
        "chunk": CHUNK,
        "observation": nullable(_BODIES["observation"]),
        "code": nullable({"type": "integer"}),
        "signal": nullable({"type": "integer", "minimum": 1}),
        "stdout": TEXT,
        "stderr": TEXT,
        "truncated": FLAG,
        "timed_out": FLAG,
        "elapsed_s": SECONDS,
        "removed": listing(record(["job", "attempt", "bytes"], {"job": JOB, "attempt": ATTEMPT, "bytes": COUNT})),
        "kept": COUNT,
        "snapshots": listing(record(["digest", "bytes"], {"digest": DIGEST, "bytes": COUNT})),
    },
)

# A row of the store's history, as `stoker events --json` prints it and an event source reads it.
_BODIES["event"] = record(
    ["schema", "seq", "at", "type"],
    {
        "schema": version("event"),
        "seq": COUNT,
        "at": {"type": "number"},
        "type": {
            "type": "string",
            "pattern": r"^[a-z][a-z0-9_.]*$(?!\n)",
            "maxLength": 63,
            "description": "a name in lower case",
        },
        "job": nullable(JOB),
        "attempt": nullable(ATTEMPT),
        "node": nullable(TEXT),
        "data": nullable(OPEN),
    },
)

# What any operation says with --json.
_BODIES["result"] = record(
    ["schema", "operation", "ok"],
    {
        "schema": version("result"),
        "operation": TEXT,
        "ok": FLAG,
        "value": ANY,
        "error": nullable(
            record(
                ["message"],
                {"message": TEXT, "next_step": nullable(TEXT), "exit_code": COUNT, "node": nullable(TEXT)},
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
