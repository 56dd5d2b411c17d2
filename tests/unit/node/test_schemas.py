"""The documents that cross a boundary: what is accepted, and what is said of the rest."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from ansible_collections.stoker.fleet.plugins.module_utils import schemas
from ansible_collections.stoker.fleet.plugins.module_utils.schemas import SchemaError, check_version, require, validate

ROOT = Path(__file__).resolve().parents[3]
KEYWORDS = {
    "$schema", "$id", "title", "description", "type", "enum", "pattern", "minLength", "maxLength", "minimum",
    "exclusiveMinimum", "maximum", "items", "minItems", "maxItems", "properties", "required", "additionalProperties",
    "propertyNames",
}  # fmt: skip

SPEC: dict[str, Any] = {
    "schema": "stoker.spec/1", "job": "train-9x4c", "uid": "6f2c1c5e-6d5e-4c8e-9d0e-3f1f0a4f8f11", "name": "train",
    "argv": ["python", "train.py", "", "-x", "$HOME `id`\n"], "script": None, "interpreter": None, "workdir": None,
    "env": {"BATCH": "64", "_x": ""}, "secret_env": ["TOKEN"], "gpus": 2, "gpu_uuids": ["GPU-1", "GPU-2"],
    "timeout_s": 3600.5, "memory_bytes": 1 << 20, "cpus": 0.5, "grace_s": 10, "checkpoint_signal": "USR1",
    "checkpoint_grace_s": 30, "split_output": False, "sample_interval_s": 10,
    "log_patterns": [{"name": "gone", "regex": r"shard \d+ gone", "severity": "warning"}],
    "metrics": [{"name": "loss", "regex": "loss=(.+)", "keep": "series"}],
    "lease": {"policy": "move", "seconds": 60}, "labels": {"team": "vision"},
}  # fmt: skip
OBSERVATION: dict[str, Any] = {
    "schema": "stoker.observation/1", "job": "train-9x4c", "uid": "u", "name": "train", "attempt": 1, "state": "failed",
    "reason": "oom", "detail": None, "evidence": "exit 1", "exit_code": 1, "signal": None, "oom": True, "error": None,
    "queued_at": 1.0, "started_at": 2, "ended_at": 3.5, "elapsed_s": 1.5, "pid": 12, "rung": "subreaper",
    "supervised": True, "stopping": False, "gpus": ["GPU-1"], "boot_id": "b", "log_size": 10, "last_line": "x",
    "waiting": {"position": 1, "needs": 2, "free": 1, "held_by": ["other-1"]},
    "findings": [{"line": 1, "offset": 0, "name": "cuda-oom", "severity": "critical", "text": "x"}],
    "finding_counts": {"cuda-oom": 1},
    "metrics": {"loss": {"first": 1, "last": "nan", "min": 0.5, "max": "inf", "count": 3,
                         "series": [[1, 1], [2, "nan"]]},
                "step": {"first": 1, "last": 2, "min": 1, "max": 2, "count": 2, "series": None}},
    "sample": {"gpu": 1}, "left_behind": 0,
}  # fmt: skip
REQUEST: dict[str, Any] = {
    "schema": "stoker.request/1", "op": "reconcile", "state_dir": "~/.stoker", "lock_dir": None, "rungs": None,
    "orders": [
        {"order": "start", "spec": SPEC, "attempt": 2},
        {"order": "stop", "job": "a", "attempt": 1, "grace_s": 5, "reason": "expired", "wait_s": 0},
        {"order": "lease", "job": "a", "attempt": 1, "seconds": 60, "policy": "keep"},
        {"order": "remove", "job": "a"},
    ],
    "observe": {"jobs": ["a"], "log_from": {"a/1": 0}, "log_limit": 65536, "specs": True}, "gpus": True, "wait": 0,
}  # fmt: skip
CHUNK = {"offset": 0, "next": 1, "size": 1, "data": "", "eof": True}
DOCUMENTS: dict[str, dict[str, Any]] = {
    "stoker.spec": SPEC,
    "stoker.request": REQUEST,
    "stoker.observation": OBSERVATION,
    "stoker.reply": {
        "schema": "stoker.reply/1", "ok": True, "node": {}, "attempts": [OBSERVATION], "logs": {"a/1": CHUNK},
        "orders": [{"job": "a", "attempt": 1, "order": "stop", "ok": False, "changed": False,
                    "error": {"code": "stale_attempt", "message": "attempt 2 is newer", "next": None}}],
    },
    "stoker.event": {"schema": "stoker.event/1", "seq": 1, "at": 1.5, "type": "attempt.ended", "job": "a", "attempt": 1,
                     "node": "spark", "data": {"exit_code": 0}},
    "stoker.result": {"schema": "stoker.result/1", "operation": "jobs.run", "ok": False, "value": None,
                      "error": {"message": "no node", "next_step": None, "exit_code": 2}},
}  # fmt: skip


def spec(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(SPEC), **changes}


def refusal(document: Any, name: str = "stoker.spec") -> SchemaError:
    with pytest.raises(SchemaError) as caught:
        require(document, name)
    return caught.value


@pytest.mark.accepts("C02")
@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_a_full_document_of_each_kind_is_accepted(name: str) -> None:
    assert require(DOCUMENTS[name], name) == DOCUMENTS[name]
    assert set(DOCUMENTS) == set(schemas.SCHEMAS)


@pytest.mark.accepts("C02")
def test_the_published_schemas_are_those_in_use(tmp_path: Path) -> None:
    for path in schemas.dump(str(tmp_path)):
        published = ROOT / "docs/schemas" / Path(path).name
        assert published.read_text() == Path(path).read_text(), "run schemas.dump('docs/schemas')"
    assert {path.name for path in (ROOT / "docs/schemas").glob("*.json")} == {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("name", sorted(schemas.SCHEMAS))
def test_the_schemas_are_valid_and_use_only_what_validate_knows(name: str) -> None:
    Draft202012Validator.check_schema(schemas.SCHEMAS[name])

    def keywords(schema: Any) -> set[str]:
        found = set(schema)
        for key in ("items", "additionalProperties", "propertyNames"):
            if isinstance(schema.get(key), dict):
                found |= keywords(schema[key])
        return found.union(*(keywords(part) for part in schema.get("properties", {}).values()))

    assert keywords(schemas.SCHEMAS[name]) <= KEYWORDS


@pytest.mark.accepts("C02")
def test_an_unknown_major_version_is_refused_with_the_cure() -> None:
    error = refusal(spec(schema="stoker.spec/2"))
    assert error.code == "unknown_schema"
    assert error.message == (
        "this node understands stoker.spec/1, the controller sent stoker.spec/2: "
        "upgrade the collection stoker.fleet on this node"
    )
    with pytest.raises(SchemaError, match=r"this machine understands stoker\.reply/1, spark sent .* on spark"):
        check_version({"schema": "stoker.reply/0"}, "stoker.reply", "this machine", "spark")


@pytest.mark.accepts("C02")
def test_fields_of_a_newer_minor_version_are_left_out_at_every_depth() -> None:
    newer = spec(schema="stoker.spec/1.3", colour="red")
    newer["lease"]["colour"] = "red"
    assert require(newer, "stoker.spec") == spec(schema="stoker.spec/1.3")
    reply = {"schema": "stoker.reply/1", "ok": True,
             "observation": {**OBSERVATION, "schema": "stoker.observation/1.1", "colour": 1}}  # fmt: skip
    assert "colour" not in require(reply, "stoker.reply")["observation"]
    assert "spec.colour: unknown field" in refusal(spec(colour="red")).message


@pytest.mark.accepts("C02")
@pytest.mark.parametrize(
    "document",
    [None, [], "x", {}, {"schema": None}, {"schema": 1}, {"schema": "stoker.event/1"}, {"schema": "stoker.spec"},
     {"schema": "stoker.spec/1.x"}, {"schema": "stoker.spec/1\n"}, {"schema": "stoker.spec/"}],
)  # fmt: skip
def test_what_is_no_spec_at_all_is_a_bad_request(document: Any) -> None:
    error = refusal(document)
    assert error.code == "bad_request"
    assert "stoker.spec/1" in error.message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"argv": ["a", "b", 3]}, "spec.argv[2]: must be text, is a number"),
        ({"argv": []}, "spec.argv: must have at least 1, has 0"),
        ({"argv": [""]}, "spec.argv[0]: must not be empty"),
        ({"argv": None}, "spec: needs exactly one of argv and script, has none"),
        ({"script": "true"}, "spec: needs exactly one of argv and script, has both"),
        ({"gpu": 1}, "spec.gpu: unknown field; did you mean gpus?"),
        ({"gpus": 1025}, "spec.gpus: must be at most 1024, is 1025"),
        ({"gpus": True}, "spec.gpus: must be a whole number, is true"),
        ({"gpus": 1.5}, "spec.gpus: must be a whole number, is 1.5"),
        ({"gpus": 1}, "spec.gpus: is 1, but gpu_uuids names 2"),
        ({"gpu_uuids": ["../x", "y"]}, "spec.gpu_uuids[0]: must be a GPU UUID as nvidia-smi shows it, is '../x'"),
        ({"job": "Train"}, "spec.job: must be a job id"),
        ({"job": "../x"}, "spec.job: must be a job id"),
        ({"job": "a\n"}, "spec.job: must be a job id"),
        ({"job": "a" * 64}, "spec.job: must have at most 63 characters, has 64"),
        ({"env": {"1X": "a"}}, "spec.env: the name '1X': must be a name of letters, digits and _"),
        ({"env": {"A=B": "a"}}, "spec.env: the name 'A=B'"),
        ({"env": {"A": "hush\0"}}, "spec.env.A: must be text without a NUL character"),
        ({"env": {"TOKEN": "a"}}, "spec.secret_env: TOKEN is in env too"),
        ({"argv": ["a\0"]}, "spec.argv[0]: must be text without a NUL"),
        ({"argv": None, "script": "\0"}, "spec.script: must be text without a NUL"),
        ({"workdir": "\0"}, "spec.workdir: must be text without a NUL"),
        ({"memory_bytes": (1 << 20) - 1}, "spec.memory_bytes: must be at least 1048576"),
        ({"timeout_s": 0}, "spec.timeout_s: must be more than 0, is 0"),
        ({"timeout_s": float("nan")}, "spec.timeout_s: must be a finite number, is nan"),
        ({"checkpoint_signal": "KILL"}, "spec.checkpoint_signal: must be one of HUP"),
        ({"lease": {"policy": "move"}}, "spec.lease.seconds: missing, and policy move needs it"),
        ({"log_patterns": [{"name": "a", "regex": "("}]}, "spec.log_patterns[0].regex of a: not a regular expression"),
        ({"metrics": [{"name": "m", "regex": "x"}]}, "spec.metrics[0].regex of m: needs exactly one group"),
        ({"metrics": [{"name": "m", "regex": "(x)(y)"}]}, "or one named value, around the value; has 2"),
        ({"metrics": [{"name": "m", "regex": "(x)"}] * 2}, "spec.metrics[1].name: m is there twice"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_field(changes: dict[str, Any], message: str) -> None:
    error = refusal(spec(**changes))
    assert error.code == "bad_request"
    assert message in error.message
    assert "hush" not in error.message


def test_only_the_first_three_faults_are_told() -> None:
    error = refusal({"schema": "stoker.spec/1", "argv": 1, "env": 1, "gpus": "2"})
    assert error.message.count(";") == 2
    assert error.message.endswith("(and 2 more)")


def test_a_group_named_value_may_be_one_of_several() -> None:
    require(spec(metrics=[{"name": "m", "regex": "(a|b)=(?P<value>.+)"}]), "stoker.spec")


def test_a_whole_number_written_as_a_float_becomes_an_int() -> None:
    gpus = require(spec(gpus=2.0), "stoker.spec")["gpus"]
    assert (gpus, type(gpus)) == (2, int)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"orders": [{"order": "stop", "job": "a"}]}, "request.orders[0].attempt: missing"),
        ({"orders": [{"order": "burn"}]}, "request.orders[0].order: must be one of start, stop, signal, lease, remove"),
        ({"op": "exec"}, "request: needs exactly one of argv and script, has none"),
        ({"op": "log"}, "request.job: missing"),
        ({"op": "log", "job": "a", "offset": 0, "tail": 1}, "needs at most one of offset and tail"),
        ({"observe": {"jobs": "some"}}, "request.observe.jobs: must be 'all', 'live' or a list of job ids"),
    ],
)
def test_a_request_needs_the_fields_of_its_operation(changes: dict[str, Any], message: str) -> None:
    assert message in refusal({**REQUEST, **changes}, "stoker.request").message


def test_one_bad_spec_does_not_spoil_the_other_orders() -> None:
    require(
        {**REQUEST, "orders": [{"order": "start", "spec": {"schema": "stoker.spec/9"}, "attempt": 1}]}, "stoker.request"
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2000) | st.floats(allow_nan=False) | st.text(max_size=5)
    | st.sampled_from(["a-1", "a/1", "nan", "all", "USR1", "stoker.spec/1", "a\n", "GPU-1", "\0", "running", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["schema", "job", "1", "a/1"]), inner),
    max_leaves=5,
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, document: Any) -> Any:
    """The document with one to three values replaced, removed or added, somewhere."""
    document = copy.deepcopy(document)
    for _change in range(draw(st.integers(1, 3))):
        place = document
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], (dict, list)) and draw(st.booleans()):
                place = place[key]
                continue
            if draw(st.booleans()):
                place[key] = draw(JSON)
            else:
                del place[key]
            break
        if isinstance(place, dict) and draw(st.booleans()):
            place[draw(st.text(max_size=3))] = draw(JSON)
    return document


@pytest.mark.accepts("C02")
@pytest.mark.parametrize("name", sorted(DOCUMENTS))
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_validate_agrees_with_the_reference_implementation(name: str, data: st.DataObject) -> None:
    document = data.draw(mutated(DOCUMENTS[name]) | JSON)
    theirs = Draft202012Validator(schemas.SCHEMAS[name]).is_valid(document)
    assert (validate(document, schemas.SCHEMAS[name]) == []) == theirs


@settings(max_examples=100, deadline=None)
@given(document=mutated(SPEC))
def test_a_message_is_always_one_safe_line(document: Any) -> None:
    message = ""
    try:
        json.dumps(require(document, "stoker.spec"), allow_nan=False)
    except SchemaError as error:
        message = error.message
    assert message == "" or message.isprintable()
