"""A saved command: its parameters, and the one form in which they stand in it.

A parameter `lr` stands as `{{lr}}`, exactly so, in the command, the script, a value of the environment or the folder.
Only declared names are looked for: every other brace, dollar or per cent sign of shell, JSON or format text, `{{ lr }}`
with blanks included, is text. A value is put in as it is and never looked through again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stoker.errors import UsageError
from stoker.operations.find import near

if TYPE_CHECKING:
    from stoker.store import TemplateRow

_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TEMPLATE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True)
class Template:
    """A saved command. `parameters` has their defaults, None where a value has to be given.

    `spec` is what was named of a stoker.spec/1 (secrets as names only), with the placeholders; `on`, `retries` and what
    `spec` lacks are None: the settings of whoever runs it. `job_name` is what its jobs are called. Times are Unix
    seconds.
    """

    name: str
    description: str | None
    project: str | None
    parameters: Mapping[str, str | None]
    spec: Mapping[str, Any]
    on: str | None
    retries: int | None
    retry_on: str | None
    wants: Mapping[str, Any] | None
    job_name: str
    created_at: float
    updated_at: float


@dataclass(frozen=True)
class TemplateSaved:
    """A template that was just written. `replaced`: there was one of its name before."""

    template: Template
    replaced: bool


@dataclass(frozen=True)
class TemplateList:
    """Templates, by name; only those of `project` where that is not None."""

    templates: tuple[Template, ...]
    project: str | None


@dataclass(frozen=True)
class TemplateDetail:
    """One template."""

    template: Template


@dataclass(frozen=True)
class TemplateDeleted:
    """The name of a template that is gone."""

    name: str


def template_of(row: TemplateRow) -> Template:
    """The template of a row."""
    body = row.body
    return Template(
        name=row.name,
        description=row.description,
        project=row.project,
        parameters=dict(body["parameters"]),
        spec=dict(body["spec"]),
        on=body.get("on"),
        retries=body.get("retries"),
        retry_on=body.get("retry_on"),
        wants=body.get("wants"),
        job_name=body["job_name"],
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def check_name(name: str) -> None:
    """Refuse a name that could not be typed or shown. Raises UsageError."""
    if not _TEMPLATE.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a template",
            next_step="take up to 63 letters, digits, dots, dashes and underscores, a letter or digit first",
        )


def declared(defaults: Mapping[str, str], required: tuple[str, ...], spec: Mapping[str, Any]) -> dict[str, str | None]:
    """The parameters of a template with this `spec`.

    Raises UsageError for a name that is none, one that is declared twice, and one for which the spec has no place.
    """
    both = sorted(set(defaults) & set(required))
    if both:
        raise UsageError(f"--require {both[0]}: it has a default: --param {both[0]}={defaults[both[0]]}")
    parameters: dict[str, str | None] = {**defaults, **dict.fromkeys(required)}
    whole = "\0".join(_texts(spec))
    for name, value in parameters.items():
        if not _PARAMETER.fullmatch(name):
            raise UsageError(
                f"{name!r} cannot be the name of a parameter",
                next_step="take letters, digits and underscores, no digit first",
            )
        _check_text(name, value)
        if placeholder(name) not in whole:
            raise UsageError(
                f"parameter {name}: {placeholder(name)} stands nowhere in the command, the environment or the folder",
                next_step=f"write {placeholder(name)} where its value belongs, or leave the parameter out",
            )
    return parameters


def given(template: Template, values: Mapping[str, str]) -> dict[str, str]:
    """A value for each parameter: that of `values`, else its default. Raises UsageError for one too many or missing."""
    for name, value in values.items():
        if name not in template.parameters:
            hint = near(name, template.parameters)
            has = ", ".join(template.parameters) or "none"
            raise UsageError(
                f"template {template.name} has no parameter {name!r}.{hint}", next_step=f"its parameters: {has}"
            )
        _check_text(name, value)
    full = {**template.parameters, **values}
    missing = [name for name, value in full.items() if value is None]
    if missing:
        asked = " ".join(f"-p {name}=..." for name in missing)
        raise UsageError(
            f"template {template.name} needs a value for {', '.join(missing)}",
            next_step=f"stoker template run {template.name} {asked}",
        )
    return {name: value for name, value in full.items() if value is not None}


def filled(spec: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    """The spec with the values in place of their placeholders; everything else as it was."""
    if not values:
        return dict(spec)
    form = re.compile(r"\{\{(" + "|".join(re.escape(name) for name in values) + r")\}\}")

    def put(text: str) -> str:
        return form.sub(lambda found: values[found[1]], text)

    return _mapped(spec, put)


def placeholder(name: str) -> str:
    """How the parameter stands in a template."""
    return "{{" + name + "}}"


def _mapped(spec: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """The spec with every text changed that may hold a placeholder."""
    new = dict(spec)
    if spec.get("argv") is not None:
        new["argv"] = [change(argument) for argument in spec["argv"]]
    if spec.get("env") is not None:
        new["env"] = {name: change(value) for name, value in spec["env"].items()}
    for field in ("script", "workdir"):
        if spec.get(field) is not None:
            new[field] = change(spec[field])
    return new


def _texts(spec: Mapping[str, Any]) -> Iterator[str]:
    found: list[str] = []

    def take(text: str) -> str:
        found.append(text)
        return text

    _mapped(spec, take)
    return iter(found)


def _check_text(name: str, value: object) -> None:
    if value is not None and not isinstance(value, str):
        raise UsageError(f"parameter {name}: {value!r} is not a text", next_step=f"write it as {str(value)!r}")
