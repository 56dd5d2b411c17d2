"""Templates: saving a command with its parameters, and running it with other values."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Unpack

from stoker.errors import NotFound, UsageError
from stoker.operations.find import job_row, near
from stoker.operations.options import JobOptions, Named, RunOptions, named_job
from stoker.operations.registry import Command, Short, operation
from stoker.operations.session import Session
from stoker.operations.submit import place_wishes, prepared, submit
from stoker.operations.template import (
    Template,
    TemplateDeleted,
    TemplateDetail,
    TemplateList,
    TemplateSaved,
    check_name,
    declared,
    filled,
    given,
    template_of,
)
from stoker.operations.values import Submitted

# What belongs to one job, one machine, or the settings of whoever submits.
_NOT_KEPT = frozenset({"schema", "job", "uid", "name", "gpu_uuids", "log_patterns", "snapshot"})
# Labels that say which service or which step of a workflow a job is: another job must not pass for it.
_OF_SERVICE, _OF_WORKFLOW = "stoker.", ("workflow", "step")


@operation("templates", "template save", "operate", destroys=("replace",))
def save(
    session: Session,
    template: str,
    argv: Command = (),
    *,
    param: Annotated[Mapping[str, str] | None, Short("-p")] = None,
    require: Sequence[str] = (),
    description: str | None = None,
    project: str | None = None,
    replace: bool = False,
    from_: str | None = None,
    **options: Unpack[JobOptions],
) -> TemplateSaved:
    """Save a command as a template, for everybody who uses the same store. Nothing is run.

    `{{lr}}` in the command, a script, an environment value or the folder is the place of the parameter lr when that is
    declared; every other text stays as it is.

    Args:
        template: The name of the template.
        argv: The command and its arguments.
        param: A parameter with its default, NAME=VALUE. Repeatable.
        require: A parameter without a default: whoever runs the template has to give a value. Repeatable.
        description: What it does, for the list.
        project: A word to find it by: stoker template list --project.
        replace: Put it in the place of a template of the same name.
        from_: Take command, environment, resources and node or group from this job; what is named here goes before.
    """
    check_name(template)
    if options.get("script") is not None and argv:
        raise UsageError("give either a command or a script, not both")
    if options.get("agent") is not None:
        raise UsageError("--agent: a template keeps a command or a script", next_step="stoker run --agent")
    named = named_job(argv, options, options.get("name") or template)
    body: dict[str, Any] = {
        "spec": named.spec, "on": named.on, "retries": named.retries, "retry_on": named.retry_on,
        "wants": named.wants, "job_name": named.title,
    }  # fmt: skip
    if from_ is not None:
        body = _with_job(session, from_, body)
    spec = body["spec"]
    if "argv" not in spec and "script" not in spec:
        raise UsageError("there is nothing to save", next_step="stoker template save NAME -- python train.py")
    body["parameters"] = declared(param or {}, tuple(require), spec)
    _check(template, spec, body["parameters"])
    had = session.store.templates.get(template) is not None
    row = session.store.templates.save(template, body, description=description, project=project, replace=replace)
    return TemplateSaved(template_of(row), replaced=had)


@operation("templates", "template list", "read", method="list")
def list_templates(session: Session, *, project: str | None = None) -> TemplateList:
    """List the templates of the store, by name.

    Args:
        project: Only those of this project.
    """
    found = [template_of(row) for row in session.store.templates.list()]
    return TemplateList(tuple(t for t in found if project is None or t.project == project), project)


@operation("templates", "template show", "read", method="get")
def get(session: Session, template: str) -> TemplateDetail:
    """Show one template: command, parameters and defaults, resources.

    Args:
        template: Its name.
    """
    return TemplateDetail(_known(session, template))


@operation("templates", "template run", "operate", follow=True)
def run(
    session: Session, template: str, *, param: Annotated[Mapping[str, str] | None, Short("-p")] = None,
    **options: Unpack[RunOptions],
) -> Submitted:  # fmt: skip
    """Run a template as a job, with other values for its parameters where they are given.

    What else is named here goes before what the template says; environment variables are added to its own. With --sync,
    what differs in the project's folder there is fetched when the job is over.

    Args:
        template: Its name.
        param: A value for a parameter, NAME=VALUE. Repeatable.
    """
    began = time.monotonic()
    named = named_of(session, template, param or {}, options)
    # What was pushed for it comes back by itself.
    options["auto_pull"] = options.get("auto_pull", False) or options.get("sync", False)
    return submit(session, prepared(session, named, options), template=template, began=began)


def named_of(session: Session, template: str, param: Mapping[str, str], options: JobOptions) -> Named:
    """The job that a template makes. Raises NotFound, UsageError for a parameter or a quantity that does not fit."""
    if options.get("agent") is not None:
        raise UsageError("--agent: a template has its own command", next_step="stoker run --agent")
    if options.get("script") is not None:
        raise UsageError("--script: a template has its own", next_step="stoker run --script FILE")
    known = _known(session, template)
    spec = filled(known.spec, given(known, param))
    own = named_job((), options, options.get("name") or known.job_name)
    extra = dict(own.spec)
    if "env" in extra:
        extra["env"] = {**(spec.get("env") or {}), **extra["env"]}
    return Named(
        {**spec, **extra}, known.on if own.on is None else own.on,
        known.retries if own.retries is None else own.retries,
        known.retry_on if own.retry_on is None else own.retry_on, own.title,
        wants={**(known.wants or {}), **(own.wants or {})} or None,
    )  # fmt: skip


@operation("templates", "template delete", "operate", destroys=True)
def delete(session: Session, template: str) -> TemplateDeleted:
    """Delete a template. Jobs made from it, also those that run, stay as they are.

    Args:
        template: Its name.
    """
    if not session.store.templates.delete(template):
        raise _unknown(session, template)
    return TemplateDeleted(template)


def _with_job(session: Session, job: str, body: dict[str, Any]) -> dict[str, Any]:
    """The body with what the job has where it says nothing itself."""
    row = job_row(session, job)
    spec = {key: value for key, value in row.spec.items() if key not in _NOT_KEPT and value is not None}
    if "labels" in spec:
        labels = spec.pop("labels").items()
        kept = {key: text for key, text in labels if key not in _OF_WORKFLOW and not key.startswith(_OF_SERVICE)}
        spec |= {"labels": kept} if kept else {}
    named = body["spec"]
    if "argv" in named or "script" in named:
        spec = {key: value for key, value in spec.items() if key not in ("argv", "script", "interpreter")}
    if "env" in named:
        named = {**named, "env": {**(spec.get("env") or {}), **named["env"]}}
    return {
        **body,
        "spec": {**spec, **named},
        "on": row.target if body["on"] is None else body["on"],
        "retries": row.max_retries if body["retries"] is None else body["retries"],
        "retry_on": row.retry_on if body["retry_on"] is None else body["retry_on"],
        "wants": {**place_wishes(row), **(body["wants"] or {})} or None,
    }


def _check(template: str, spec: Mapping[str, Any], parameters: Mapping[str, str | None]) -> None:
    """Refuse now what no job could be made from. Raises UsageError that names the field."""
    from stoker.store.store import checked_spec, refuse_secrets

    values = {name: value for name, value in parameters.items() if value is not None}
    refuse_secrets(spec)
    checked_spec({
        "schema": "stoker.spec/1", "job": "template", "uid": "template", "name": template, **filled(spec, values)
    })  # fmt: skip


def _known(session: Session, name: str) -> Template:
    row = session.store.templates.get(name)
    if row is None:
        raise _unknown(session, name)
    return template_of(row)


def _unknown(session: Session, name: str) -> NotFound:
    hint = near(name, [row.name for row in session.store.templates.list()])
    return NotFound(f"there is no template {name!r}.{hint}", next_step="stoker template list shows them")
