"""Templates: saving a command with its parameters, and running it with other values."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from stoker.errors import NotFound, UsageError
from stoker.operations import quantities
from stoker.operations.find import job_row, near
from stoker.operations.isolation import isolation_spec
from stoker.operations.registry import Command, FileText, Short, operation
from stoker.operations.session import Session
from stoker.operations.submit import named_spec, submit
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
_NOT_KEPT = frozenset({"schema", "job", "uid", "name", "gpu_uuids", "log_patterns"})


@operation("templates", "template save", "operate")
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
    on: str | None = None,
    gpus: int | None = None,
    name: Annotated[str | None, Short("-n")] = None,
    env: Annotated[Mapping[str, str] | None, Short("-e")] = None,
    secret: Sequence[str] = (),
    workdir: str | None = None,
    timeout: float | str | None = None,
    memory: int | str | None = None,
    cpus: float | None = None,
    retries: int | None = None,
    grace: float | str | None = None,
    checkpoint_signal: str | None = None,
    metric: Mapping[str, str] | None = None,
    script: FileText = None,
    split_output: bool = False,
    container: str | None = None,
    mount: Sequence[str] = (),
    shm: int | str | None = None,
    engine: str | None = None,
    pull: str | None = None,
    network: str | None = None,
    user: str | None = None,
    sandbox: str | None = None,
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
        on: Node or group to run on.
        gpus: How many GPUs a job gets for itself.
        name: A name for its jobs; by default that of the template.
        env: An environment variable, KEY=VALUE. Repeatable.
        secret: Name of a variable whose value a job gets from the environment of whoever runs it. Repeatable.
        workdir: Folder to run in.
        timeout: Stop a job after this long (90s, 2h).
        memory: Most memory a job may use (8G), where the node can limit it.
        cpus: Most CPUs a job may use, where the node can limit it.
        retries: How often to start a job again when it fails.
        grace: How long a job may take to end after the signal to stop, before it is killed (10s).
        checkpoint_signal: Signal to send before a stop so that a job writes a checkpoint (USR1).
        metric: A number to take from the log, NAME=REGEX; the first group is the value. Repeatable.
        script: Run this text instead of a command. On the command line: a file, or -.
        split_output: Keep stdout and stderr in files of their own, too.
        container: Image of a container to run in, on the node's Podman or Docker. The folder to run in is mounted.
        mount: A folder or file of the node to mount in the container, SOURCE:TARGET or SOURCE:TARGET:ro. Repeatable.
        shm: Size of the container's shared memory (8G).
        engine: The container engine, podman or docker; by default what the node has.
        pull: When to fetch the image: missing (the default), never or always.
        network: Network of the container, such as host or none; the engine's own default otherwise.
        user: User of the node to run as, where its own one is root; in a container: user of the container.
        sandbox: bwrap or container: a job can write to its folder and to a /tmp of its own only.
    """
    check_name(template)
    if script is not None and argv:
        raise UsageError("give either a command or a script, not both")
    if retries is not None and retries < 0:
        raise UsageError(f"--retries: {retries} is not a number of 0 or more")
    named = named_spec(
        argv, script=script, env=env, secret=secret, workdir=workdir, gpus=gpus, timeout=timeout, memory=memory,
        cpus=cpus, grace=grace, checkpoint_signal=checkpoint_signal, metric=metric, split_output=split_output,
        isolation=isolation_spec(
            container=container, mount=mount, shm=shm, engine=engine, pull=pull, network=network, user=user,
            sandbox=sandbox,
        ),
    )  # fmt: skip
    body: dict[str, Any] = {"spec": named, "on": on, "retries": retries, "job_name": name or template}
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
    session: Session,
    template: str,
    *,
    param: Annotated[Mapping[str, str] | None, Short("-p")] = None,
    on: str | None = None,
    gpus: int | None = None,
    name: Annotated[str | None, Short("-n")] = None,
    env: Annotated[Mapping[str, str] | None, Short("-e")] = None,
    workdir: str | None = None,
    timeout: float | str | None = None,
    retries: int | None = None,
) -> Submitted:
    """Run a template as a job, with other values for its parameters where they are given.

    Args:
        template: Its name.
        param: A value for a parameter, NAME=VALUE. Repeatable.
        on: Node or group to run on, instead of the template's.
        gpus: How many GPUs the job gets for itself, instead of the template's.
        name: A name for the job, instead of the template's.
        env: An environment variable, KEY=VALUE, more or other than the template's. Repeatable.
        workdir: Folder to run in, instead of the template's.
        timeout: Stop the job after this long (90s, 2h), instead of the template's.
        retries: How often to start it again when it fails, instead of the template's.
    """
    began = time.monotonic()
    known = _known(session, template)
    spec = filled(known.spec, given(known, param or {}))
    other = {
        "env": {**(spec.get("env") or {}), **env} if env else None,
        "gpus": gpus,
        "workdir": workdir,
        "timeout_s": quantities.seconds(timeout, "--timeout") if timeout is not None else None,
    }
    spec.update({key: value for key, value in other.items() if value is not None})
    return submit(
        session, spec, on if on is not None else known.on, known.retries if retries is None else retries,
        name if name is not None else known.job_name, template=known.name, began=began,
    )  # fmt: skip


@operation("templates", "template delete", "operate")
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
