"""Who one is to an API server: what a user of a kubeconfig says, and what the program it names says (exec).

Such a program is run as the standard has it (client.authentication.k8s.io), but never longer than there is time: the
official client waits for it without end, and goes on without credentials where it fails.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stoker.kube.errors import Unusable
from stoker.kube.kubeconfig import Context, Entry
from stoker.kube.said import listed
from stoker.redaction import redact

EXEC_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_EXTENSION = "client.authentication.k8s.io/exec"
_CLUSTER_FIELDS = ("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url", "disable-compression")
# How often a program that runs is looked at, in seconds, and how much of what it says is read.
_LOOK_S = 0.02
_MOST_BYTES = 1 << 20
_MOST_WORDS = 300
# Of what acts as somebody else; the official client sends only headers that stand once.
_IMPERSONATES = {"as": "Impersonate-User", "as-uid": "Impersonate-Uid"}
_NOT_DONE = ("as-groups", "as-user-extra")


@dataclass(frozen=True)
class Credentials:
    """What goes along with a request. Certificates: files, or their contents. `renewable`: asked for again."""

    token: str | None = field(default=None, repr=False)
    basic: tuple[str, str] | None = field(default=None, repr=False)
    certificate: Path | bytes | None = field(default=None, repr=False)
    key: Path | bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    renewable: bool = False

    @property
    def secret(self) -> bool:
        """Whether something of it must not travel in the clear."""
        return self.token is not None or self.basic is not None


def credentials(context: Context, deadline: float, stop: threading.Event | None = None) -> Credentials:
    """The credentials of a context's user, by `deadline` (monotonic seconds), or until `stop` is set.

    Raises Unusable.
    """
    if context.user is None:
        return Credentials()
    said = context.user.said
    for name in _NOT_DONE:
        if said.get(name):
            raise Unusable(context.name, f"its user says {name}, which stoker does not do", next_step="another context")
    headers = {header: str(said[name]) for name, header in _IMPERSONATES.items() if said.get(name)}
    token = _token(context, context.user)
    certificate, key = (_part(context, context.user, name) for name in ("client-certificate", "client-key"))
    basic = (str(said["username"]), str(said["password"])) if said.get("username") and said.get("password") else None
    plugin = said.get("exec")
    if token is None and basic is None and certificate is None and isinstance(plugin, Mapping):
        status = _run_plugin(context, context.user, plugin, deadline, stop)
        return _from_status(context, status, headers)
    if token is None and basic is None and certificate is None and said.get("auth-provider"):
        raise Unusable(
            context.name, "its user has an auth-provider, which stoker does not use",
            next_step="an exec plugin (kubelogin, gke-gcloud-auth-plugin): kubectl's own way since 1.26",
        )  # fmt: skip
    return Credentials(token, basic, certificate, key, headers)


def _token(context: Context, user: Entry) -> str | None:
    """The token; that of a file is the newer one, and read each time."""
    said = user.said
    if not (named := said.get("tokenFile")):
        return _clean(context, said["token"]) if said.get("token") else None
    path = user.folder / Path(str(named)).expanduser()
    try:
        return _clean(context, path.read_text())
    except (OSError, ValueError) as problem:
        why = getattr(problem, "strerror", None) or "it is no text"
        raise Unusable(context.name, f"the token file {path} cannot be read: {why}") from None


def _clean(context: Context, token: Any) -> str:
    """A token as it can stand in a header. Raises Unusable: what the HTTP library says of it would show it."""
    text = str(token).strip()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise Unusable(context.name, "its token has characters that no token has")
    return text


def _part(context: Context, entry: Entry, name: str) -> Path | bytes | None:
    """A certificate or key: its contents, or where they are."""
    if data := entry.said.get(f"{name}-data"):
        try:
            return base64.b64decode(str(data), validate=True)
        except (binascii.Error, ValueError):
            raise Unusable(context.name, f"its {name}-data is no base64") from None
    if not (named := entry.said.get(name)):
        return None
    try:
        path = entry.folder / Path(str(named)).expanduser()
        if path.is_file():
            return path
    except (RuntimeError, ValueError):  # ~nobody, and what no file is called
        path = Path(str(named))
    raise Unusable(context.name, f"its {name} {path} is not there")


def authority(context: Context) -> Path | bytes | None:
    """Who vouches for the server: a file or PEM; None: whom this machine trusts. Raises Unusable."""
    return _part(context, context.cluster, "certificate-authority") if context.cluster is not None else None


def _run_plugin(
    context: Context, user: Entry, plugin: Mapping[str, Any], deadline: float, stop: threading.Event | None
) -> Mapping[str, Any]:
    """What the program says, in the field `status`."""
    version, command = plugin.get("apiVersion"), plugin.get("command")
    if not isinstance(command, str) or not command or version not in EXEC_VERSIONS:
        raise Unusable(context.name, f"its exec plugin has no command, or no version that there is ({version!r})")
    if plugin.get("interactiveMode") == "Always":
        raise Unusable(
            context.name, f"its exec plugin {command} wants to ask a person", next_step="log in with it once yourself"
        )
    # A bare name is looked for on the PATH, a relative path beside the kubeconfig.
    program = str(user.folder / command) if "/" in command else command
    env = {**os.environ, "KUBERNETES_EXEC_INFO": json.dumps(_asked(context, plugin, str(version)), default=str)}
    args, more = plugin.get("args") or [], plugin.get("env") or []
    if not isinstance(args, list) or not isinstance(more, list) or len(listed(more)) != len(more):
        raise Unusable(
            context.name, f"its exec plugin {command} has args that are no list, or env of no name and value"
        )
    env |= {str(one["name"]): str(one.get("value", "")) for one in listed(more) if one.get("name")}
    argv = [program, *map(str, args)]
    output = _ran(context, command, argv, env, plugin.get("installHint"), deadline, stop)
    try:
        answer = json.loads(output)
    except (ValueError, RecursionError):
        raise Unusable(context.name, f"its exec plugin {command} said what is no JSON") from None
    status = answer.get("status") if isinstance(answer, dict) else None
    if not isinstance(status, dict) or answer.get("kind") != "ExecCredential" or answer.get("apiVersion") != version:
        raise Unusable(context.name, f"its exec plugin {command} gave no ExecCredential of {version}")
    return status


def _asked(context: Context, plugin: Mapping[str, Any], version: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"interactive": False}
    if plugin.get("provideClusterInfo") and context.cluster is not None:
        said = context.cluster.said
        cluster = {name: said[name] for name in _CLUSTER_FIELDS if said.get(name) is not None}
        trusted = authority(context)
        if trusted is not None:
            data = trusted.read_bytes() if isinstance(trusted, Path) else trusted
            cluster["certificate-authority-data"] = base64.b64encode(data).decode()
        for one in listed(said.get("extensions")):
            if one.get("name") == _EXTENSION:
                cluster["config"] = one.get("extension")
        spec["cluster"] = cluster
    return {"apiVersion": version, "kind": "ExecCredential", "spec": spec}


def _ran(
    context: Context, command: str, argv: list[str], env: Mapping[str, str], hint: Any, deadline: float,
    stop: threading.Event | None,
) -> str:  # fmt: skip
    """What it printed. What it started is ended with it; itself, when the time is over or nobody waits any more."""
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, bufsize=0,
            start_new_session=True,
        )  # fmt: skip
    except (OSError, ValueError) as problem:
        why = getattr(problem, "strerror", None) or "its args or env have characters that no program can be given"
        raise Unusable(
            context.name, f"its exec plugin {command} cannot be run: {why}",
            next_step=redact(str(hint))[:_MOST_WORDS] if hint else None,
        ) from None  # fmt: skip
    try:
        output, errors = _heard(context, command, process, deadline, stop)
    finally:
        _end(process)
    if process.returncode != 0:
        # Its last line says what went wrong; those before may be how it is used.
        last = redact(errors.strip().rpartition("\n")[2])[-_MOST_WORDS:]
        raise Unusable(context.name, f"its exec plugin {command} ended with {process.returncode}: {last or 'no word'}")
    return output


def _heard(
    context: Context, command: str, process: subprocess.Popen[bytes], deadline: float, stop: threading.Event | None
) -> tuple[str, str]:
    """What it said until it ended. What it started may hold its output open: that is not waited for."""
    assert process.stdout is not None
    assert process.stderr is not None
    said = ((process.stdout, bytearray()), (process.stderr, bytearray()))
    for stream, _ in said:
        os.set_blocking(stream.fileno(), False)
    while True:
        # It stays a zombie, so that its group is still its own when that is ended.
        ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        for stream, so_far in said:
            while chunk := stream.read(_MOST_BYTES):
                so_far += chunk
                if len(so_far) > _MOST_BYTES:
                    raise Unusable(context.name, f"its exec plugin {command} says more than {_MOST_BYTES >> 20} MiB")
        if ended:
            output, errors = (so_far.decode(errors="replace") for _, so_far in said)
            return output, errors
        if time.monotonic() > deadline or (stop is not None and stop.is_set()):
            raise Unusable(context.name, f"its exec plugin {command} gave nothing in time")
        time.sleep(_LOOK_S)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it with all that it started; those of its group may be there still when it has ended."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def _from_status(context: Context, status: Mapping[str, Any], headers: Mapping[str, str]) -> Credentials:
    token, certificate, key = (status.get(name) for name in ("token", "clientCertificateData", "clientKeyData"))
    if not token and not certificate:
        raise Unusable(context.name, "its exec plugin gave neither a token nor a certificate")
    if bool(certificate) != bool(key):
        raise Unusable(context.name, "its exec plugin gave a certificate without its key, or the key alone")
    return Credentials(
        _clean(context, token) if token else None,
        None,
        str(certificate).encode() if certificate else None,
        str(key).encode() if key else None,
        headers,
        renewable=True,
    )
