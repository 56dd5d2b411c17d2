"""Templates on a terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping

from stoker.cli import format as fmt
from stoker.cli.out import Out
from stoker.operations.template import Template, TemplateDeleted, TemplateDetail, TemplateList, TemplateSaved

# What has a line of its own, and how the other fields of a spec are said.
_OWN_LINE = frozenset({"argv", "script", "workdir", "env", "metrics"})
_SAID = {"timeout_s": "timeout", "memory_bytes": "memory", "grace_s": "grace", "secret_env": "secret"}


def saved(value: TemplateSaved, out: Out) -> None:
    """`stoker template save`."""
    template = value.template
    out.line((template.name, "bold"), "  ", "saved in the place of the old one" if value.replaced else "saved")
    asked = "".join(f" -p {name}=..." for name, default in template.parameters.items() if default is None)
    out.line(f"  next: stoker template run {template.name}{asked}    ·    stoker template show {template.name}")


def template_list(value: TemplateList, out: Out) -> None:
    """`stoker template list`."""
    if not value.templates:
        which = f" of the project {fmt.one_line(value.project)}" if value.project is not None else ""
        out.line(f"no templates{which} yet · stoker template save NAME -- COMMAND saves one")
        return
    rows = [
        (t.name, fmt.one_line(t.project or "-"), _parameters(t.parameters), fmt.one_line(t.description or "-"))
        for t in value.templates
    ]
    out.table(("TEMPLATE", "PROJECT", "PARAMETERS", "DESCRIPTION"), rows)


def _parameters(parameters: Mapping[str, str | None]) -> str:
    """`lr=1e-3 seed`: with their defaults, without one where a value has to be given."""
    words = [name if default is None else f"{name}={fmt.quoted(default)}" for name, default in parameters.items()]
    return fmt.one_line(" ".join(words)) or "-"


def template_detail(value: TemplateDetail, out: Out) -> None:
    """`stoker template show`."""
    template = value.template
    spec = template.spec
    out.line((template.name, "bold"), "  ", fmt.one_line(template.description or ""))
    rows = [("command", fmt.command_text(spec.get("argv"), spec.get("script")))]
    for name, default in template.parameters.items():
        said = "has to be given" if default is None else f"default {fmt.one_line(fmt.quoted(default))}"
        rows.append(("parameter", f"{name}: {said}"))
    rows += [("folder", fmt.one_line(spec["workdir"]))] if spec.get("workdir") else []
    rows += [("env", fmt.one_line(f"{k}={fmt.quoted(v)}")) for k, v in (spec.get("env") or {}).items()]
    rows += [("metric", fmt.one_line(f"{m['name']}={m['regex']}")) for m in spec.get("metrics") or ()]
    rows += [("resources", said)] if (said := _resources(template)) else []
    rows += [("project", fmt.one_line(template.project))] if template.project else []
    rows.append(("saved", f"{fmt.age(time.time() - template.updated_at)} ago"))
    for name, text in rows:
        out.line("  ", (f"{name:<9}", "dim"), " ", text)
    asked = "".join(f" -p {name}=..." for name in template.parameters)
    out.line("  ", (f"{'next':<9}", "dim"), " ", f"stoker template run {template.name}{asked}")


def _resources(template: Template) -> str:
    fields = {"on": template.on, "retries": template.retries}
    fields.update({_SAID.get(k, k): v for k, v in template.spec.items() if k not in _OWN_LINE})
    return fmt.one_line(
        ", ".join(f"{name} {_figure(name, value)}" for name, value in fields.items() if value is not None)
    )


def _figure(name: str, value: object) -> str:
    if name in ("timeout", "grace") and isinstance(value, int | float):
        return fmt.duration(value)
    if name == "memory" and isinstance(value, int | float):
        return fmt.memory(value)
    if isinstance(value, list | tuple):
        return " ".join(str(item) for item in value)
    return str(value)


def deleted(value: TemplateDeleted, out: Out) -> None:
    """`stoker template delete`."""
    out.line(f"{value.name} deleted; jobs made from it stay as they are")
