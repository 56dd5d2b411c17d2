"""Services on a terminal."""

from __future__ import annotations

from stoker.cli import format as fmt
from stoker.cli.out import Out
from stoker.operations.services import Service, ServiceChange, ServiceList

_STYLES = {"running": "green", "unhealthy": "red", "failed": "red", "starting": "yellow"}


def service_list(value: ServiceList, out: Out) -> None:
    """`stoker service status`: a line for each, and below it what proves the state."""
    if not value.services and not value.problems:
        out.line("no services yet · stoker service start NODE NAME --health URL -- COMMAND starts one")
        return
    for service in value.services:
        _service(service, out)


def service_change(value: ServiceChange, out: Out) -> None:
    """`stoker service start`, `stop`, `restart`."""
    _service(value.service, out)
    service = value.service
    if not value.changed:
        so = "it was so already" if not value.exit_code else "it is there already"
        out.line(f"  {so}: nothing was {'stopped' if value.wanted == 'stopped' else 'started'}")
    words = f"{service.node} {service.name}"
    if value.exit_code:
        out.line(f"  next: stoker service logs {words}    ·    stoker service restart {words}")
    elif value.wanted == "running":
        out.line(f"  next: stoker service status {words}    ·    stoker service stop {words}")


def _service(service: Service, out: Out) -> None:
    since = f" since {fmt.duration(service.elapsed_s)}" if service.state in ("running", "starting") else ""
    out.line(
        (service.name, "bold"), "  ", (service.state, _STYLES.get(service.state, "")), f"{since} on {service.node}  ",
        service.job,
    )  # fmt: skip
    out.line(fmt.one_line(f"  {service.evidence}"))
    if service.others:
        out.line(fmt.one_line(f"  also runs as {', '.join(service.others)}: stoker service stop ends all of them"))
    if service.state != "running":
        seen = "never" if service.healthy_age_s is None else f"{fmt.age(service.healthy_age_s)} ago"
        out.line(f"  seen healthy: {seen}")
        if service.last_line and service.last_line not in service.evidence:
            out.line(fmt.one_line(f"  last line: {service.last_line}"))
