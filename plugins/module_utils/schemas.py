# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The versioned documents that cross a boundary, and the check of one.

Every document names its schema, "stoker.spec/1". Another major version is refused; a newer minor version
("stoker.spec/1.3") is read, and its unknown fields are left out. `require` is the door: it checks the version, the
form, and the rules that a schema cannot say. `validate(document, schema)` checks the form alone.
"""

from __future__ import annotations

import json
import math
import os
import re
from typing import Any

from .json_form import in_words, shown, step, validate

__all__ = [
    "EVENT", "OBSERVATION", "REPLY", "REQUEST", "RESULT", "SCHEMAS", "SPEC",
    "SchemaError", "check_version", "dump", "regex_fault", "require", "validate",
]  # fmt: skip

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
ARGV = _nullable(_list(ARGUMENT, minItems=1))

_COMMAND: dict[str, Any] = {
    "argv": ARGV,
    "script": _nullable(ARGUMENT),
    "interpreter": _nullable(dict(ARGUMENT, minLength=1)),
    "workdir": _nullable(ARGUMENT),
    "env": ENV,
    "timeout_s": _nullable(POSITIVE),
}

_BODIES: dict[str, dict[str, Any]] = {}

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
        labels=_map(LABEL, TEXT),
    ),
)

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
        op={"type": "string", "enum": ["reconcile", "log", "exec", "clean", "info", "sync_look", "sync_done"]},
        state_dir=dict(ARGUMENT, minLength=1),
        lock_dir=_nullable(dict(ARGUMENT, minLength=1)),
        rungs=_nullable(_list(TEXT)),
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
            _object([], {"position": COUNT, "needs": COUNT, "free": _nullable(COUNT), "held_by": _list(TEXT)})
        ),
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


class SchemaError(ValueError):
    """A document that cannot be used. `code` is `unknown_schema` or `bad_request`; `message` is for a person."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


# ---- the version ----


def check_version(document: Any, name: str, reader: str = "this node", sender: str = "the controller") -> int:
    """Check that `document` is a `name` ("stoker.spec") of a major version that is understood; return the minor one.

    Raises SchemaError: `unknown_schema` for another major version, `bad_request` for anything else that is not `name`.
    """
    if not isinstance(document, dict):
        raise SchemaError("bad_request", f"{name}/{MAJOR} expected, got {in_words(document)}")
    found = document.get("schema")
    if not isinstance(found, str):
        state = "missing" if found is None else in_words(found)
        raise SchemaError("bad_request", f"the field 'schema' has to say {name}/{MAJOR}, it is {state}")
    match = re.match(rf"{re.escape(name)}/([0-9]{{1,9}})(?:\.([0-9]{{1,9}}))?\Z", found, re.ASCII)
    if match is None:
        raise SchemaError("bad_request", f"{name}/{MAJOR} expected, got {shown(found)}")
    major = int(match.group(1))
    if major != MAJOR:
        behind = reader if major > MAJOR else sender
        cure = f"upgrade the collection stoker.fleet on {behind}"
        raise SchemaError("unknown_schema", f"{reader} understands {name}/{MAJOR}, {sender} sent {found}: {cure}")
    return int(match.group(2) or 0)


def require(document: Any, name: str, reader: str = "this node", sender: str = "the controller") -> dict[str, Any]:
    """Check version, form and rules of a document, and return what can be relied on.

    That is a copy with whole numbers as int and, of a newer minor version, without unknown fields.
    Raises SchemaError with up to three faults.
    """
    minor = check_version(document, name, reader, sender)
    schema = SCHEMAS[name]
    understood: dict[str, Any] = _understood(document, schema, drop=minor > 0)
    faults = validate(understood, schema)
    if not faults:
        faults = _not_finite(understood, schema["title"]) + _RULES.get(name, _no_rules)(understood)
    if faults:
        more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        raise SchemaError("bad_request", "; ".join(faults[:3]) + more)
    return understood


def _understood(value: Any, schema: dict[str, Any], drop: bool) -> Any:
    if isinstance(value, dict):
        # A reply of this version may carry an observation of a newer one.
        drop = drop or bool(re.match(r"stoker\.[a-z]+/1\.[1-9]", str(value.get("schema", ""))))
        known = schema.get("properties", {})
        others = schema.get("additionalProperties", {})
        return {
            name: _understood(item, known.get(name, others or {}), drop)
            for name, item in value.items()
            if name in known or others is not False or not drop
        }
    if isinstance(value, list):
        return [_understood(item, schema.get("items", {}), drop) for item in value]
    if isinstance(value, float) and value.is_integer() and "integer" in schema.get("type", ()):
        return int(value)
    return value


def _not_finite(value: Any, path: str) -> list[str]:
    if isinstance(value, float) and not math.isfinite(value):
        return [f"{path}: must be a finite number, is {value}"]
    if isinstance(value, dict):
        return [fault for name, item in value.items() for fault in _not_finite(item, step(path, name))]
    if isinstance(value, list):
        return [fault for index, item in enumerate(value) for fault in _not_finite(item, f"{path}[{index}]")]
    return []


# ---- the rules that a schema cannot say ----


def _no_rules(document: dict[str, Any]) -> list[str]:
    return []


def _one_command(document: dict[str, Any], path: str) -> list[str]:
    argv, script = document.get("argv"), document.get("script")
    if (argv is None) == (script is None):
        return [f"{path}: needs exactly one of argv and script, has {'none' if argv is None else 'both'}"]
    if argv is not None and not argv[0]:
        return [f"{path}.argv[0]: must not be empty"]
    return []


def regex_fault(regex: str, metric: bool) -> str | None:
    """Say why a regular expression cannot be used for a log pattern or for a metric; None: it can."""
    try:
        compiled = re.compile(regex)
    except (re.error, RecursionError, OverflowError) as error:
        return f"not a regular expression: {error}"
    if metric and compiled.groups != 1 and "value" not in compiled.groupindex:
        return f"needs exactly one group, or one named value, around the number; has {compiled.groups}"
    return None


def _spec_rules(spec: dict[str, Any]) -> list[str]:
    faults = _one_command(spec, "spec")
    both = sorted(set(spec.get("env", {})) & set(spec.get("secret_env", [])))
    if both:
        faults.append(f"spec.secret_env: {', '.join(both)} is in env too")
    for field in ("log_patterns", "metrics"):
        seen = set()
        for index, entry in enumerate(spec.get(field, [])):
            path, name = f"spec.{field}[{index}]", entry["name"]
            fault = regex_fault(entry["regex"], metric=field == "metrics")
            if fault:
                faults.append(f"{path}.regex of {name}: {fault}")
            if name in seen:
                faults.append(f"{path}.name: {name} is there twice")
            seen.add(name)
    uuids = spec.get("gpu_uuids")
    if uuids is not None and spec.get("gpus", len(uuids)) not in (0, len(uuids)):
        faults.append(f"spec.gpus: is {spec['gpus']}, but gpu_uuids names {len(uuids)}")
    lease = spec.get("lease")
    if lease and lease["policy"] == "move" and lease.get("seconds") is None:
        faults.append("spec.lease.seconds: missing, and policy move needs it")
    return faults


_ORDER_NEEDS: dict[str, tuple[str, ...]] = {
    "start": ("spec", "attempt"),
    "stop": ("job", "attempt"),
    "signal": ("job", "attempt", "signal"),
    "lease": ("job", "attempt", "seconds", "policy"),
    "remove": ("job",),
}


def _request_rules(request: dict[str, Any]) -> list[str]:
    if request["op"] == "exec":
        return _one_command(request, "request")
    if request["op"] == "log":
        faults = [] if "job" in request else ["request.job: missing"]
        if request.get("offset") is not None and request.get("tail") is not None:
            faults.append("request: needs at most one of offset and tail, has both")
        return faults
    return [
        f"request.orders[{index}].{field}: missing"
        for index, order in enumerate(request.get("orders", []))
        for field in _ORDER_NEEDS[order["order"]]
        if field not in order
    ]


def _reply_rules(reply: dict[str, Any]) -> list[str]:
    return [] if reply["ok"] or reply.get("error") else ["reply.error: missing, and ok is false"]


_RULES = {"stoker.spec": _spec_rules, "stoker.request": _request_rules, "stoker.reply": _reply_rules}


def dump(folder: str) -> list[str]:
    """Write each schema to `folder`/<name>-1.json and return the paths. Raises OSError."""
    paths = []
    for name, schema in sorted(SCHEMAS.items()):
        path = os.path.join(folder, f"{name.split('.')[1]}-{MAJOR}.json")
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(json.dumps(schema, indent=2) + "\n")
        paths.append(path)
    return paths
