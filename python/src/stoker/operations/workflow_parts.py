"""From the file of a workflow to what the store holds of it: each job complete, but for values of its parents."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from stoker.dispatch.expressions import ExpressionError, as_text, has_inserts, inserted
from stoker.errors import StokerError
from stoker.marked import ConfigError
from stoker.operations import datasets, files, selection
from stoker.operations.options import Named, RunOptions, named_job
from stoker.operations.session import Session
from stoker.operations.submit import completed, ranks_of, wants_of
from stoker.operations.templates import named_of
from stoker.operations.workflow_file import OPTIONS, Loc, StepFile, WorkflowFile, later, scalar

_PREPARED = ("snapshot", "pull", "auto_pull", "project")


def body_of(session: Session, file: WorkflowFile, *, dry: bool = False) -> dict[str, Any]:
    """The body of the workflow (see `stoker.dispatch.workflow`). `dry`: no snapshot is taken.

    Raises ConfigError, with file, line and field, for what no job could be made from.
    """
    builder = _Builder(session, file, dry)
    return {
        "file": file.shown,
        "description": file.description,
        "context": dict(file.context),
        "steps": {key: builder.step(step) for key, step in file.steps.items()},
    }


class _Builder:
    """Builds the steps of one workflow; what several of its jobs share is made once."""

    def __init__(self, session: Session, file: WorkflowFile, dry: bool) -> None:
        self._session, self._file, self._dry = session, file, dry
        self._snapshots: dict[str | None, Mapping[str, Any]] = {}
        self._datasets: dict[str, Mapping[str, Any]] = {}

    def step(self, step: StepFile) -> dict[str, Any]:
        return {
            "needs": list(step.needs), "when": step.when, "judged": list(step.judged),
            "allow_failure": step.allow_failure, "max_parallel": step.max_parallel, "many": bool(step.matrix),
            "outputs": list(step.outputs), "parts": [self._part(step, values) for values in step.combinations()],
        }  # fmt: skip

    def _part(self, step: StepFile, matrix: Mapping[str, Any]) -> dict[str, Any]:
        waiting = later(step.fields)
        fields = {
            name: self._filled(value, (name,), step, matrix, waiting) if name != "script" else value
            for name, value in step.fields.items()
        }
        options = self._options(step, fields)
        try:
            named = self._prepared(self._named(step, fields, options), options)
            named = replace(self._with_data(named, options), ranks=ranks_of(options))
            spec, target, retries = completed(self._session, named)
            selection.refuse_impossible(self._session, target, wants_of(named) or {})
        except StokerError as problem:
            raise self._fault(step, problem) from None
        spec["outputs"] = [{"name": name, "regex": regex} for name, regex in step.outputs.items()]
        self._checked(step, spec)
        return {
            "matrix": dict(matrix), "spec": spec, "later": [list(place) for place in waiting], "name": named.title,
            "target": target, "retries": retries, "retry_on": named.retry_on, "template": fields.get("template"),
            "results": named.results, "wants": wants_of(named), "queue": step.queue, "priority": step.priority,
        }  # fmt: skip

    def _filled(
        self,
        value: Any,
        place: Loc,
        step: StepFile,
        matrix: Mapping[str, Any],
        waiting: Sequence[tuple[str, int | str]],
    ) -> Any:
        """The value with what is known now in the place of its expressions."""
        if isinstance(value, list):
            return [self._filled(item, (*place, at), step, matrix, waiting) for at, item in enumerate(value)]
        if isinstance(value, dict):
            return {key: self._filled(item, (*place, key), step, matrix, waiting) for key, item in value.items()}
        if not isinstance(value, str) or not has_inserts(value) or place in waiting:
            return value
        try:
            return inserted(value, {"parent": {}, "context": self._file.context, "matrix": matrix})
        except ExpressionError as problem:
            raise self._file.fault(("jobs", step.key, *place), f"{value!r} {problem}") from None

    def _options(self, step: StepFile, fields: Mapping[str, Any]) -> RunOptions:
        return cast(
            RunOptions,
            {
                name: _converted(self._file, ("jobs", step.key, name), value, OPTIONS[name])
                for name, value in fields.items()
                if name in OPTIONS and value is not None
            },
        )

    def _named(self, step: StepFile, fields: Mapping[str, Any], options: RunOptions) -> Named:
        title = f"{self._file.name}.{step.key}"
        loc: Loc = ("jobs", step.key)
        if fields.get("template") is not None:
            param = _converted(self._file, (*loc, "param"), fields.get("param") or {}, Mapping[str, str])
            named = named_of(self._session, str(fields["template"]), param, options)
            return replace(named, title=title)
        if fields.get("param"):
            raise self._file.fault((*loc, "param"), "is for a template, and none is named")
        argv = fields.get("argv")
        argv = _converted(self._file, (*loc, "argv"), argv, Sequence[str]) if argv is not None else ()
        return named_job(argv, options, title)

    def _prepared(self, named: Named, options: RunOptions) -> Named:
        """The job with its files, where it has any. Jobs of one project run with the same snapshot."""
        if self._dry or not any(options.get(name) for name in _PREPARED):
            return named
        project = options.get("project")
        taken = self._snapshots.get(project) if options.get("snapshot") else None
        spec, results = files.for_job(
            self._session, named.spec, named.on, snapshot=bool(options.get("snapshot")) and taken is None, sync=False,
            pull=options.get("pull", ()), auto_pull=options.get("auto_pull", False), project=project,
        )  # fmt: skip
        if taken is not None:
            spec = {**named.spec, "snapshot": taken}
        elif options.get("snapshot"):
            self._snapshots[project] = spec["snapshot"]
        return replace(named, spec=spec, results=results)

    def _with_data(self, named: Named, options: RunOptions) -> Named:
        """The job with the data that it reads; the round that starts it brings that."""
        path = options.get("dataset")
        if not path:
            return named
        if path not in self._datasets:
            self._datasets[path] = datasets.described(self._session, path)
        found = self._datasets[path]
        wants = named.wants or {}
        data = {**(wants.get("data") or {}), datasets.label(found): 1}
        return replace(named, spec={**named.spec, "dataset": found}, wants={**wants, "data": data})

    def _checked(self, step: StepFile, spec: Mapping[str, Any]) -> None:
        from stoker.store.store import checked_spec, refuse_secrets

        try:
            refuse_secrets(spec)
            checked_spec({**spec, "job": "workflow", "uid": "workflow", "name": step.key})
        except StokerError as problem:
            raise self._fault(step, problem) from None

    def _fault(self, step: StepFile, problem: StokerError) -> StokerError:
        """The same, told of the field of the file that it is about."""
        if isinstance(problem, ConfigError):
            return problem  # it has a place already
        loc: Loc = ("jobs", step.key)
        option = re.match(r"--([a-z][a-z-]*):? ", problem.message)
        name = option[1].replace("-", "_") if option else ""
        if option is not None and name in step.fields:
            return self._file.fault((*loc, name), problem.message[option.end() :], problem.next_step)
        if step.fields.get("on") and problem.message.startswith("no node"):
            return self._file.fault((*loc, "on"), problem.message, problem.next_step)
        return self._file.fault(loc, problem.message, problem.next_step)


def _converted(file: WorkflowFile, loc: Loc, value: Any, hint: Any) -> Any:
    """A value of the file as an option takes it: numbers are texts where a text is asked."""
    from pydantic import TypeAdapter, ValidationError

    told = str(hint)
    if "Mapping" in told and isinstance(value, dict):
        value = {key: as_text(item) if scalar(item) else item for key, item in value.items()}
    elif "Sequence" in told:
        listed = value if isinstance(value, list) else [value]
        value = (
            [as_text(item) if scalar(item) else item for item in listed]
            if loc[-1] != "argv"
            else ([as_text(item) if scalar(item) else item for item in value] if isinstance(value, list) else value)
        )
    elif "str" in told and isinstance(value, int | float) and not ("int" in told or "float" in told):
        value = as_text(value)
    if isinstance(value, bool) and "bool" not in told:
        raise file.fault(loc, f"{value!r} is not {_words(told)}")
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError:
        raise file.fault(loc, f"{value!r} is not {_words(told)}") from None


def _words(hint: str) -> str:
    """What a hint asks for, in words."""
    for part, words in (
        ("Mapping", "a mapping of names to texts"), ("Sequence", "a list of texts"), ("bool", "true or false"),
        ("float | str", "a duration, such as 90s or 2h"), ("int | str", "a size, such as 8G"),
        ("float", "a number"), ("int", "a whole number"),
    ):  # fmt: skip
        if part in hint:
            return words
    return "a text"
