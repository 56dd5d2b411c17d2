# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a container is made of: as wanted, as an engine tells it, and the difference. Pure functions.

A definition is a dict: image, command, entrypoint, env, workdir, user, hostname, gpus, mounts, ports, restart,
network, ipc, shm_bytes, privileged, ulimits, cap_add, devices, memory_bytes, cpus, runtime, labels. A field that is
missing or None is left to the image or the engine.
"""

from __future__ import annotations

import os
import re

from .statedir import NodeError

ENV_LABEL = "stoker.env"
GPU_DEVICE = "nvidia.com/gpu="
_PORT = re.compile(
    r"^(?:(?P<ip>\[[0-9a-fA-F:.]+\]|[0-9.]+):)?(?P<host>\d+):(?P<inside>\d+)(?:/(?P<kind>tcp|udp|sctp))?$"
)
_EVERYWHERE = ("", "0.0.0.0", "::")
_RESTARTS = re.compile(r"^(no|always|unless-stopped|on-failure(:\d+)?)$")
_DEFAULT_SHM = (65536000, 67108864)
_DEFAULT_NETWORKS = ("podman", "bridge", "default", "slirp4netns", "pasta", "private", "")
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ANONYMOUS = re.compile(r"^[0-9a-f]{64}$")
_PODMAN_DROPS = {"CAP_AUDIT_WRITE", "CAP_MKNOD", "CAP_NET_RAW"}
# Settings that are carried over by nobody here: a container that has one is not replaced.
_NOT_CARRIED = (
    "VolumesFrom", "Dns", "DnsOptions", "DnsSearch", "ExtraHosts", "GroupAdd", "Links", "Tmpfs",
    "UsernsMode", "CpusetCpus", "ReadonlyRootfs", "AutoRemove",
)  # fmt: skip


# -- as wanted -------------------------------------------------------------------------------------------------


def wanted(asked):
    """A definition in one form, from what a user wrote. Raises NodeError for what cannot be read."""
    made = {key: value for key, value in asked.items() if value is not None}
    if "mounts" in made:
        made["mounts"] = sorted((_mount(item) for item in made["mounts"]), key=lambda item: item["target"])
    if "ports" in made:
        made["ports"] = sorted(_port(item) for item in made["ports"])
    if "gpus" in made:
        made["gpus"] = _gpus(made["gpus"])
    if "restart" in made and not _RESTARTS.match(made["restart"]):
        raise NodeError(
            "bad_request",
            "restart: {0!r} is none of no, always, unless-stopped, on-failure, on-failure:N".format(made["restart"]),
        )
    return made


def _mount(text):
    parts = text.split(":")
    if len(parts) not in (2, 3) or not parts[0] or not parts[1].startswith("/") or "," in text:
        raise NodeError("bad_request", "mounts: {0!r} is not SOURCE:/TARGET or SOURCE:/TARGET:ro".format(text))
    if len(parts) == 3 and parts[2] not in ("ro", "rw"):
        raise NodeError("bad_request", "mounts: {0!r} ends with neither ro nor rw".format(text))
    source = os.path.expanduser(parts[0])
    kind = "bind" if source.startswith("/") else "volume"
    target = os.path.normpath(parts[1])
    return {"type": kind, "source": source, "target": target, "read_only": parts[2:] == ["ro"]}


def _port(text):
    match = _PORT.match(text)
    if not match:
        raise NodeError("bad_request", "ports: {0!r} is not HOST:CONTAINER, or IP:HOST:CONTAINER".format(text))
    return port_text((match["ip"] or "").strip("[]"), match["host"], match["inside"], match["kind"] or "tcp")


def port_text(address, host, inside, kind):
    """``8080:80/tcp``, ``127.0.0.1:8080:80/tcp``: one spelling, to compare and to show."""
    where = "" if address in _EVERYWHERE else "[{0}]:".format(address) if ":" in address else address + ":"
    return "{0}{1}:{2}/{3}".format(where, host, inside, kind)


def _gpus(value):
    """``["all"]``, [] for none, or indexes and UUIDs."""
    items = value if isinstance(value, list) else [part for part in re.split(r"[ ,]+", value) if part]
    if items in (["none"], []):
        return []
    if "all" in items:
        return ["all"]
    bad = [item for item in items if not re.match(r"^[A-Za-z0-9:._-]+$", item)]
    if bad:
        raise NodeError("bad_request", "gpus: {0!r} is not all, none, an index or a UUID".format(bad[0]))
    return sorted(items)


# -- as an engine tells it --------------------------------------------------------------------------------------


def actual(engine, told, image):
    """The definition of a container that is there. ``image``: what the engine tells of its image, None: not known.

    What is as the image has it is left out (so that a newer image may change it), and is in ``of_image``.
    """
    config, host = told["Config"], told["HostConfig"]
    base = (image or {}).get("Config") or {}
    found = {
        "image": told.get("ImageName") or config.get("Image") or "",
        "command": _differs(config.get("Cmd"), base.get("Cmd")),
        "entrypoint": _entrypoint(config.get("Entrypoint"), base.get("Entrypoint")),
        "env": _env(config, base),
        "workdir": _differs(config.get("WorkingDir") or "/", base.get("WorkingDir") or "/"),
        "user": _differs(config.get("User") or "", base.get("User") or ""),
        "hostname": _hostname(config.get("Hostname"), told.get("Id", "")),
        "mounts": _mounts(told.get("Mounts") or []),
        "ports": _ports(host.get("PortBindings") or {}),
        "restart": _restart(host.get("RestartPolicy") or {}),
        "network": _network(told),
        "ipc": "host" if host.get("IpcMode") == "host" else None,
        "shm_bytes": _shm(host),
        "privileged": bool(host.get("Privileged")) or None,
        "ulimits": [_ulimit(item) for item in host.get("Ulimits") or []],
        "cap_add": list(host.get("CapAdd") or []),
        "memory_bytes": host.get("Memory") or None,
        "cpus": host["NanoCpus"] / 1e9 if host.get("NanoCpus") else None,
        "runtime": "nvidia" if host.get("Runtime") == "nvidia" else None,
        "labels": _labels(config.get("Labels"), base.get("Labels")),
    }
    found["gpus"], found["devices"] = _devices(engine, told)
    found["of_image"] = {
        "workdir": base.get("WorkingDir") or "/",
        "user": base.get("User") or "",
        "command": base.get("Cmd") or [],
        "entrypoint": base.get("Entrypoint") or [],
        "env": {name: value for name, _equals, value in (item.partition("=") for item in base.get("Env") or [])},
    }
    return found


def _differs(value, default):
    return None if not value or value == default else value


def _entrypoint(value, default):
    # Podman 4 joins the words.
    if isinstance(value, str):
        joined = " ".join(default or []) if isinstance(default, list) else default or ""
        return None if not value or value == joined else [value]
    return _differs(value, default)


def _env(config, base):
    pairs = [item.partition("=") for item in config.get("Env") or [] if item not in (base.get("Env") or [])]
    labels = config.get("Labels") or {}
    if ENV_LABEL in labels:
        names = set(labels[ENV_LABEL].split(","))
        return {name: value for name, _equals, value in pairs if name in names}
    # What an engine or a GPU's files add is not part of the definition: as a wish it would hide what a newer image has.
    own = {"container=podman", "TERM=xterm", "PATH=" + _DEFAULT_PATH, "NVIDIA_VISIBLE_DEVICES=void"}
    names = ("HOSTNAME", "HOME")
    return {name: value for name, equals, value in pairs if name not in names and name + equals + value not in own}


def _hostname(told, identity):
    return None if not told or identity.startswith(told) else told


def _mounts(told):
    found = [
        {
            "type": item["Type"],
            "source": item["Name"] if item["Type"] == "volume" else item["Source"],
            "target": item["Destination"],
            "read_only": not item["RW"],
        }
        for item in told
        if item["Type"] in ("bind", "volume")
    ]
    return sorted(found, key=lambda item: item["target"])


def _ports(bindings):
    found = []
    for inside, places in bindings.items():
        number, _slash, kind = inside.partition("/")
        found += [
            port_text(place.get("HostIp") or "", place["HostPort"], number, kind or "tcp") for place in places or []
        ]
    return sorted(found)


def _restart(policy):
    name = policy.get("Name") or "no"
    most = policy.get("MaximumRetryCount") or 0
    return "{0}:{1}".format(name, most) if name == "on-failure" and most else name


def _network(told):
    mode = told["HostConfig"].get("NetworkMode") or ""
    if mode in ("host", "none") or ":" in mode:
        return mode
    names = list((told.get("NetworkSettings") or {}).get("Networks") or {}) or [mode]
    own = sorted(name for name in names if name not in _DEFAULT_NETWORKS)
    return ",".join(own) or None


def _shm(host):
    size = host.get("ShmSize")
    return size if size and size not in _DEFAULT_SHM and host.get("IpcMode") != "host" else None


def _ulimit(item):
    soft, hard = (-1 if item[key] >= 2**63 else item[key] for key in ("Soft", "Hard"))
    return "{0}={1}:{2}".format(item["Name"].lower().replace("rlimit_", ""), soft, hard)


def _labels(told, base):
    return {name: text for name, text in (told or {}).items() if (base or {}).get(name) != text}


def _devices(engine, told):
    """(GPUs, other devices); GPUs are None where the engine does not tell."""
    if engine == "podman":
        # Podman tells a device of the CDI as the files that it became; the command that made the container names it.
        command = told["Config"].get("CreateCommand") or []
        named = _options(command, "--device")
        gpus = [name[len(GPU_DEVICE) :] for name in named if name.startswith(GPU_DEVICE)]
        gpus += [item for text in _options(command, "--gpus") for item in text.replace("device=", "").split(",")]
        others = [name for name in named if not name.startswith(GPU_DEVICE)]
        if not command:
            return None, []
        return ["all"] if "all" in gpus else sorted(gpus), others
    gpus = []
    for item in told["HostConfig"].get("DeviceRequests") or []:
        if any("gpu" in group for group in item.get("Capabilities") or []):
            count = item.get("Count") or 0
            gpus += item.get("DeviceIDs") or (["all"] if count < 0 else ["any {0}".format(count)])
    devices = [
        "{PathOnHost}:{PathInContainer}:{CgroupPermissions}".format(**item)
        for item in told["HostConfig"].get("Devices") or []
    ]
    return ["all"] if "all" in gpus else sorted(gpus), devices


def _options(command, flag):
    found = [word[len(flag) + 1 :] for word in command if word.startswith(flag + "=")]
    return found + [after for word, after in zip(command, command[1:]) if word == flag]


def not_carried(engine, told):
    """Settings of a container that a new one would lack: names, [] where all can be carried over."""
    host, config = told["HostConfig"], told["Config"]
    found = [name for name in _NOT_CARRIED if host.get(name)]
    # Docker itself adds this one where memory segments or everything is shared.
    own = {"label=disable"} if host.get("IpcMode") == "host" or host.get("Privileged") else set()
    if set(host.get("SecurityOpt") or ()) - own:
        found.append("SecurityOpt")
    if host.get("PidMode") not in (None, "", "private"):
        found.append("PidMode")
    drops = set(host.get("CapDrop") or ())
    if drops and not (engine == "podman" and drops == _PODMAN_DROPS):
        found.append("CapDrop")
    if told.get("Pod"):
        found.append("Pod")
    if told.get("Rootfs"):
        found.append("Rootfs")
    if "," in (_network(told) or "") or ":" in (_network(told) or ""):
        found.append("NetworkMode")
    if isinstance(config.get("Entrypoint"), str) and " " in config["Entrypoint"]:
        found.append("Entrypoint of several words")
    if engine == "podman" and not config.get("CreateCommand"):
        found.append("devices (podman does not tell)")
    if any(gpu.startswith("any ") for gpu in _devices(engine, told)[0] or ()):
        found.append("a number of GPUs instead of their names")
    if any(item.get("Propagation") not in (None, "", "rprivate") for item in told.get("Mounts") or ()):
        found.append("Propagation of a mount")
    if any(item["Type"] not in ("bind", "volume") for item in told.get("Mounts") or ()):
        found.append("a mount that is neither folder nor volume")
    return found


# -- the difference ---------------------------------------------------------------------------------------------


def drift(want, have, same_image, secret=()):
    """What of a wanted definition a container does not have: [{field, wanted, actual}], both as text."""
    found = []
    if want.get("image") and not same_image:
        found.append(_field("image", want["image"], have["image"]))
    pairs = [(field, want.get(field), _or_image(have, field)) for field in ("command", "entrypoint", "workdir", "user")]
    pairs += [
        (field, _plain(field, want[field]), _plain(field, have[field]))
        for field in ("restart", "network", "ipc", "shm_bytes")
        if field in want
    ]
    gpus = "unknown" if have["gpus"] is None else have["gpus"]
    pairs.append(("gpus", want.get("gpus"), gpus))
    for field in ("ports", "mounts"):
        named = [item for item in have[field] if not is_anonymous(item)]
        pairs.append((field, want.get(field), named))
    found += [_field(field, wish, told) for field, wish, told in pairs if wish is not None and wish != told]
    return found + _env_drift(want.get("env"), have, secret)


def _or_image(have, field):
    return have["of_image"][field] if have[field] is None else have[field]


def _plain(field, value):
    default = {"restart": "no", "network": "default", "ipc": "private", "shm_bytes": "default"}[field]
    return default if value is None or (value == "bridge" and field == "network") else value


def is_anonymous(item):
    """Whether it is a volume that an engine made for an image, without a name."""
    return isinstance(item, dict) and item["type"] == "volume" and bool(_ANONYMOUS.match(item["source"]))


def _env_drift(want, have, secret):
    if want is None:
        return []
    set_earlier = [name for name in have["labels"].get(ENV_LABEL, "").split(",") if name]
    env = dict(have["of_image"]["env"], **have["env"])
    # Values stay out of the report: what the container has may be a secret.
    found = [
        _field("env " + name, "(secret)" if name in secret else value, "another value" if name in env else "not set")
        for name, value in sorted(want.items())
        if env.get(name) != value
    ]
    return found + [_field("env " + name, "not set", "set") for name in set_earlier if name not in want]


def _field(name, want, have):
    return {"field": name, "wanted": shown(want), "actual": shown(have)}


def shown(value):
    """A field's value as one text."""
    if isinstance(value, dict):
        return "{source}:{target}".format(**value) + (":ro" if value["read_only"] else "")
    if isinstance(value, list):
        return ", ".join(shown(item) for item in value) or "none"
    return "none" if value is None or value == "" else str(value)


# -- what makes one ---------------------------------------------------------------------------------------------


def create_words(engine, name, want, env_words):
    """The words after ``podman`` or ``docker`` that make the container; its environment comes as ``env_words``."""
    words = ["create", "--name", name, *env_words]
    for field, flag in (
        ("workdir", "--workdir"), ("user", "--user"), ("hostname", "--hostname"), ("restart", "--restart"),
        ("network", "--network"), ("ipc", "--ipc"), ("shm_bytes", "--shm-size"), ("memory_bytes", "--memory"),
        ("cpus", "--cpus"), ("runtime", "--runtime"),
    ):  # fmt: skip
        if want.get(field) and not (field == "network" and want[field] == "default"):
            words += [flag, str(want[field])]
    if want.get("privileged"):
        words.append("--privileged")
    for field, flag in (
        ("ulimits", "--ulimit"),
        ("cap_add", "--cap-add"),
        ("devices", "--device"),
        ("ports", "--publish"),
    ):
        words += [word for item in want.get(field) or () for word in (flag, item)]
    words += [word for item in want.get("mounts") or () for word in ("--mount", _mount_words(item))]
    words += _gpu_words(engine, want.get("gpus") or [])
    labels = dict(want.get("labels") or {})
    labels[ENV_LABEL] = ",".join(sorted(want.get("env") or {}))
    words += [word for key, text in labels.items() for word in ("--label", "{0}={1}".format(key, text))]
    entrypoint = list(want.get("entrypoint") or [])
    if entrypoint:
        words += ["--entrypoint", entrypoint[0]]
    return [*words, want["image"], *entrypoint[1:], *(want.get("command") or [])]


def _mount_words(item):
    text = "type={type},source={source},target={target}".format(**item)
    return text + ",ro" if item["read_only"] else text


def _gpu_words(engine, gpus):
    if engine == "podman":
        return [word for gpu in gpus for word in ("--device", GPU_DEVICE + gpu)]
    if not gpus:
        return []
    return ["--gpus", "all" if gpus == ["all"] else '"device={0}"'.format(",".join(gpus))]
