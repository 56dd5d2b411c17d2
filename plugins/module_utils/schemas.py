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

from .documents import EVENT, OBSERVATION, REPLY, REQUEST, RESULT, SCHEMAS, SPEC
from .forms import MAJOR
from .json_form import in_words, shown, step, validate

__all__ = [
    "EVENT", "OBSERVATION", "REPLY", "REQUEST", "RESULT", "SCHEMAS", "SPEC",
    "SchemaError", "check_version", "dump", "regex_fault", "require", "validate",
]  # fmt: skip


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
    """Say why a regular expression cannot be used for a log pattern, a metric or an output; None: it can."""
    try:
        compiled = re.compile(regex)
    except (re.error, RecursionError, OverflowError) as error:
        return f"not a regular expression: {error}"
    if metric and compiled.groups != 1 and "value" not in compiled.groupindex:
        return f"needs exactly one group, or one named value, around the value; has {compiled.groups}"
    return None


def _spec_rules(spec: dict[str, Any]) -> list[str]:
    faults = _one_command(spec, "spec")
    both = sorted(set(spec.get("env", {})) & set(spec.get("secret_env", [])))
    if both:
        faults.append(f"spec.secret_env: {', '.join(both)} is in env too")
    for field in ("log_patterns", "metrics", "outputs"):
        seen = set()
        for index, entry in enumerate(spec.get(field) or []):
            path, name = f"spec.{field}[{index}]", entry["name"]
            fault = regex_fault(entry["regex"], metric=field != "log_patterns")
            if fault:
                faults.append(f"{path}.regex of {name}: {fault}")
            if name in seen:
                faults.append(f"{path}.name: {name} is there twice")
            seen.add(name)
    if spec.get("user") and spec.get("snapshot"):
        faults.append("spec.user: another user cannot read the copy of a snapshot, which lies in the state folder")
    if spec.get("user") and not spec.get("container") and spec.get("dataset"):
        faults.append("spec.user: another user cannot read a dataset, which lies in the state folder")
    if spec.get("user") and not spec.get("container") and spec.get("checkpoints"):
        faults.append("spec.user: another user cannot read the copy of a checkpoint, which lies in the state folder")
    if spec.get("environment"):
        faults += _environment_rules(spec)
    uuids = spec.get("gpu_uuids")
    if uuids is not None and spec.get("gpus", len(uuids)) not in (0, len(uuids)):
        faults.append(f"spec.gpus: is {spec['gpus']}, but gpu_uuids names {len(uuids)}")
    lease = spec.get("lease")
    if lease and lease["policy"] == "move" and lease.get("seconds") is None:
        faults.append("spec.lease.seconds: missing, and policy move needs it")
    return faults


def _environment_rules(spec: dict[str, Any]) -> list[str]:
    faults = []
    if spec.get("container"):
        faults.append("spec.environment: a container has what its image has")
    elif spec.get("user"):
        faults.append("spec.environment: another user cannot read it, as it lies in the state folder")
    if not spec.get("snapshot") and not spec.get("workdir"):
        faults.append("spec.environment: needs the project, by snapshot or workdir")
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
    if request["op"] == "gpu_release":
        return [] if "gpu" in request else ["request.gpu: missing"]
    if request["op"] in ("run_info", "checkpoint_look"):
        return [] if "job" in request else ["request.job: missing"]
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
