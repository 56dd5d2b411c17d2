# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a spec means to a container engine: the words of its command line, and the files that go into the container."""

from __future__ import annotations

import glob
import os
import shlex

from . import launch, snapshots
from .processes import TOKEN_VARIABLE
from .statedir import NodeError

# Where the attempt's own files are seen inside.
INSIDE = "/run/stoker"
# Where it sees the checkpoint that it goes on from, and its data.
RESUME, DATA = "/run/stoker-resume", "/run/stoker-data"
# Shells that set these themselves do not let a script set them.
_OF_THE_SHELL = ("UID", "EUID", "PPID", "GROUPS", "BASHOPTS", "SHELLOPTS", "BASH_VERSINFO")
# Runs inside, as the command's first life. "fault" is not empty until the command runs: a shell that cannot exec it
# ends through the trap.
_BEGIN = """exec >>{out} 2>>{err}
. {inside}/environment || exit 125
trap 'printf %s "$?" >{inside}/fault' EXIT
printf '' >{inside}/fault
exec "$@"
"""
_CDI_FOLDERS = ("/etc/cdi", "/var/run/cdi")


def complete(spec, image=None, engine=None, backend=None):
    """The spec with what the node's settings add. Raises NodeError for one that no container can carry out."""
    wanted = spec.get("container")
    if wanted is None and (spec.get("sandbox") == "container" or backend == "container"):
        wanted = {}
    if wanted is None:
        return spec
    wanted = dict(wanted)
    wanted["image"] = wanted.get("image") or image
    wanted["engine"] = wanted.get("engine") or engine
    wanted["user"] = wanted.get("user") or spec.get("user")
    if not wanted["image"]:
        raise NodeError(
            "bad_request",
            "a container needs an image, and none is named",
            "--container IMAGE, or the host variable stoker_container_image",
        )
    if spec.get("sandbox") == "bwrap":
        raise NodeError(
            "bad_request", "a container cannot be in the sandbox bwrap too", "use the sandbox container, or none"
        )
    if spec.get("sandbox") == "container":
        wanted["read_only"] = True
    for name in spec.get("secret_env") or ():
        if name in _OF_THE_SHELL:
            raise NodeError("bad_request", "{0} cannot be a secret: the shell sets it".format(name))
    return dict(spec, container=wanted)


def name_of(attempt, token):
    """The container's name. With the token of the attempt: two state folders may have a job of one id."""
    return "stoker-{0}-{1}-{2}".format(attempt.job, attempt.number, token[:8])


def folder_of(attempt):
    """The folder that the container sees as INSIDE."""
    return attempt.file("inside")


def write_files(attempt, spec, environ):
    """Write what the container needs to begin; the files of another user's container are readable to that one."""
    folder = folder_of(attempt)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    # The folder above stays closed: outside nobody else gets here.
    others = bool(spec["container"].get("user"))
    if others:
        os.chmod(folder, 0o755)
    streams = ("stdout", "stderr") if spec.get("split_output") else ("out.log", "out.log")
    outputs = [shlex.quote("{0}/{1}".format(INSIDE, stream)) for stream in streams]
    begin = _BEGIN.format(out=outputs[0], err=outputs[1], inside=INSIDE)
    _write(os.path.join(folder, "begin"), begin, 0o644 if others else 0o600)
    # Single quotes keep every character but the quote itself.
    lines = ["export {0}={1}\n".format(name, _quoted(value)) for name, value in sorted(environ.items())]
    _write(os.path.join(folder, "environment"), "".join(lines), 0o644 if others else 0o600)
    _write(os.path.join(folder, "fault"), "setup", 0o666 if others else 0o600)
    if spec.get("script"):
        _write(os.path.join(folder, "script"), spec["script"], 0o755 if others else 0o700)
    if others and not spec.get("split_output"):
        os.chmod(attempt.file("out.log"), 0o666)


def forget_secrets(attempt):
    """Remove the environment file: the command has it, or will never need it."""
    try:
        os.unlink(os.path.join(folder_of(attempt), "environment"))
    except FileNotFoundError:
        pass


def fault(attempt):
    """What kept the command from running inside: ``setup``, the shell's exit code as text, or None where it ran."""
    try:
        with open(os.path.join(folder_of(attempt), "fault"), encoding="ascii", errors="replace") as handle:
            return handle.read(16) or None
    except FileNotFoundError:
        return None  # the command may do with its folder what it likes


def start_fault(attempt, spec, engine_log):
    """Why the command never ran inside, in one sentence; None where it did. ``engine_log`` gives its words."""
    said = fault(attempt)
    if said is None:
        return None
    if said == "127":
        return "{0}: No such file or directory".format(argv_0(spec))
    if said == "126":
        return "{0}: Permission denied".format(argv_0(spec))
    told = engine_log() or "the engine kept no word of it"
    return "the container ended before the command began: {0}".format(told)


def argv_0(spec):
    return spec["argv"][0] if spec.get("argv") else (spec.get("interpreter") or "/bin/sh").split()[0]


def environment(attempt, spec, state, secrets):
    """(for the file inside, for the command line of the engine): what the command gets beyond the image's own."""
    environ = {"PYTHONUNBUFFERED": "1"}
    if not spec["container"].get("user"):
        environ["HOME"] = os.path.expanduser("~")
    environ.update(spec.get("env") or {})
    environ.update(secrets or {})
    environ.update({"STOKER_JOB": attempt.job, "STOKER_ATTEMPT": str(attempt.number)})
    if spec.get("gpus") or state.get("gpus"):
        environ.update({"CUDA_VISIBLE_DEVICES": ",".join(state.get("gpus") or ()), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"})
    if spec.get("dataset"):
        environ["STOKER_DATA"] = "{0}/{1}".format(DATA, spec["dataset"]["name"])
    if spec.get("resume"):
        environ["STOKER_RESUME_FROM"] = "{0}/{1}".format(RESUME, spec["resume"]["name"])
    environ["PWD"] = workdir(spec)
    inherited = {name: environ.pop(name) for name in _OF_THE_SHELL if name in environ}
    inherited[TOKEN_VARIABLE] = state["token"]
    return environ, inherited


def workdir(spec):
    """The folder of the command, as it sees it."""
    return spec["container"].get("workdir") or launch.working_directory(spec.get("workdir"))


def create_words(attempt, spec, state, engine, inherited):
    """The words after ``create``. Raises NodeError for what the node lacks."""
    wanted = spec["container"]
    words = [
        "--name=" + name_of(attempt, state["token"]),
        "--init",
        "--pull=never",
        "--security-opt=label=disable",
        "--label=stoker.job=" + attempt.job,
        "--label=stoker.attempt={0}".format(attempt.number),
        "--label=stoker.uid={0}".format(spec.get("uid")),
        "--workdir=" + workdir(spec),
        "--entrypoint=/bin/sh",
    ]
    words += ["--env=" + name for name in sorted(inherited)]
    words += ["--user=" + _user(wanted, engine)]
    for option, value in (
        ("network", wanted.get("network")),
        ("shm-size", _bytes(wanted.get("shm_bytes"))),
        ("memory", _bytes(spec.get("memory_bytes"))),
        ("memory-swap", _bytes(spec.get("memory_bytes"))),
        ("cpus", spec.get("cpus")),
    ):
        words += ["--{0}={1}".format(option, value)] if value else []
    if wanted.get("read_only"):
        words += ["--read-only", "--tmpfs=/tmp"]
    words += _gpu_words(state.get("gpus") or [], engine)
    for source, target, read_only in _mounts(attempt, spec):
        words += _mount_words(source, target, read_only)
    return [*words, wanted["image"], INSIDE + "/begin", *_command(spec)]


def _command(spec):
    if spec.get("argv"):
        return list(spec["argv"])
    return [*shlex.split(spec.get("interpreter") or "/bin/sh"), INSIDE + "/script"]


def _user(wanted, engine):
    """By default the node's own user: to rootless Podman that is root inside."""
    if wanted.get("user"):
        return wanted["user"]
    if engine.name == "podman":
        return "0:0"
    return "{0}:{1}".format(os.geteuid(), os.getegid())


def _mounts(attempt, spec):
    """(source, target, read only) of everything that the container sees of the node."""
    wanted, here = spec["container"], launch.working_directory(spec.get("workdir"))
    if not os.path.isdir(here):
        raise NodeError("bad_request", "working directory {0}: No such file or directory".format(here))
    targets = {mount["target"] for mount in wanted.get("mounts") or ()}
    found = [] if here in targets else [(here, here, False)]
    for mount in wanted.get("mounts") or ():
        source = launch.working_directory(mount["source"])
        if not os.path.exists(source):
            raise NodeError("bad_request", "mount {0}: No such file or directory".format(source))
        if not mount["target"].startswith("/"):
            raise NodeError(
                "bad_request", "mount {0}: has to be an absolute path in the container".format(mount["target"])
            )
        found.append((source, mount["target"], bool(mount.get("read_only"))))
    found.append((folder_of(attempt), INSIDE, False))
    if spec.get("dataset"):
        found.append((snapshots.place(attempt.state_dir, spec["dataset"]["digest"]), DATA, True))
    if spec.get("resume"):
        found.append((attempt.file("resume"), RESUME, True))
    if not spec.get("split_output"):
        found.append((attempt.file("out.log"), INSIDE + "/out.log", False))
    return found


def _mount_words(source, target, read_only):
    if "," not in source + target and '"' not in source + target:
        tail = ",readonly" if read_only else ""
        return ["--mount=type=bind,source={0},target={1}{2}".format(source, target, tail)]
    if ":" not in source + target:
        return ["--volume={0}:{1}{2}".format(source, target, ":ro" if read_only else "")]
    raise NodeError("bad_request", "{0}: no engine mounts a path with a comma and a colon".format(source))


def _gpu_words(uuids, engine):
    """Only the GPUs that the attempt holds. None at all where it holds none."""
    if not uuids:
        return []
    if engine.name == "docker":
        # Docker reads this option as CSV: the quotes keep the UUIDs together.
        return ['--gpus="device={0}"'.format(",".join(uuids))]
    known = _cdi_text()
    missing = [uuid for uuid in uuids if uuid not in known]
    if missing:
        raise NodeError(
            "not_supported",
            "no CDI specification on this node names the GPU {0}: Podman cannot give it to a container".format(
                ", ".join(missing)
            ),
            "sudo nvidia-ctk cdi generate --device-name-strategy=uuid --output=/etc/cdi/nvidia.yaml",
        )
    return ["--device=nvidia.com/gpu=" + uuid for uuid in uuids]


def _cdi_text():
    found = []
    for folder in _CDI_FOLDERS:
        for kind in ("yaml", "json"):
            for path in sorted(glob.glob(os.path.join(folder, "*." + kind))):
                with open(path, encoding="utf-8", errors="replace") as handle:
                    text = handle.read()
                if "nvidia.com/gpu" in text:
                    found.append(text)
    return "\n".join(found)


def _bytes(size):
    return "{0}b".format(int(size)) if size else None


def _quoted(text):
    return "'{0}'".format(text.replace("'", "'\\''"))


def _write(path, text, mode):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape") as handle:
        os.fchmod(handle.fileno(), mode)
        handle.write(text)
