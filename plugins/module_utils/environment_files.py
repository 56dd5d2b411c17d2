# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a project says it needs, and with what it is installed: the plan of an environment and its name.

The name is a hash of all that decides what is in it: the file, what it includes, the Python and the machine's kind.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig

from .environment_scope import belongs_to_folder, included
from .statedir import NodeError

# The first that is there is taken: a lock before a list, what pip reads before what conda reads.
ORDER = ("uv.lock", "pylock.toml", "requirements.txt", "pyproject.toml", "environment.yml", "environment.yaml")
TOOLS = ("uv", "pip", "conda")
_CONDAS = ("micromamba", "mamba", "conda")
_PLACES = ("~/.local/bin", "~/.cargo/bin", "~/bin", "/usr/local/bin", "/opt/conda/bin")
_CONDA_PLACES = ("~/miniforge3/bin", "~/mambaforge/bin", "~/miniconda3/bin", "~/anaconda3/bin")
_BUILDS = re.compile(rb"^\s*\[build-system\]", re.MULTILINE)
_VERSION_PROGRAM = "import sys; print('.'.join(map(str, sys.version_info[:3])))"
_LOOK_S = 20
_VERSION_BYTES = b"stoker-environment-1"


class Plan:
    """What will be installed, with what. ``name`` is the environment's."""

    def __init__(self, project, source, tool, program, python, version):
        self.project = project
        self.source = source
        self.tool = tool
        self.program = program
        self.python = python
        self.version = version
        self.path = os.path.join(project, source)
        self.kind = kind(source)
        content = read(self.path)
        # What is built from the folder, or points into it, belongs to this folder alone.
        self.builds = self.kind in ("pyproject", "uv.lock") and bool(_BUILDS.search(_pyproject(project)))
        contents = included(self.kind, self.path, content)
        bound = self.builds or belongs_to_folder(self.kind, contents)
        parts = [_VERSION_BYTES, self.kind.encode(), tool.encode(), version.encode(), sysconfig.get_platform().encode()]
        parts += [os.fsencode(project)] if bound else []
        parts += contents
        if self.kind == "uv.lock" or bound:
            parts.append(_pyproject(project))
        digest = hashlib.sha256()
        for part in parts:
            digest.update(b"%d:" % len(part) + part)
        self.name = digest.hexdigest()[:16]

    def steps(self, folder):
        """The commands that make the environment in ``folder``, in order: {argv, env}."""
        if self.tool == "conda":
            return [_step(self._conda(folder))]
        inside = os.path.join(folder, "bin", "python")
        if self.tool == "uv":
            return self._uv(folder, inside)
        steps = [_step([self.python, "-m", "venv", folder])]
        install = [inside, "-m", "pip", "install", "--no-input", "--progress-bar", "off"]
        if self.kind == "requirements":
            return [*steps, _step([*install, "-r", self.path])]
        if self.builds:
            return [*steps, _step([*install, "-e", self.project])]
        listed = os.path.join(folder, "requirements.txt")
        return [*steps, _step([inside, "-I", "-c", _LIST, self.path, listed]), _step([*install, "-r", listed])]

    def _uv(self, folder, inside):
        if self.kind == "uv.lock":
            sync = [self.program, "sync", "--frozen", "--python", self.python]
            return [_step(sync, UV_PROJECT_ENVIRONMENT=folder)]
        what = ["-e", self.project] if self.builds else ["-r", self.path]
        return [
            _step([self.program, "venv", "--no-project", "--python", self.python, folder]),
            _step([self.program, "pip", "install", "--python", inside, *what]),
        ]

    def _conda(self, folder):
        create = ["create"] if os.path.basename(self.program) == "micromamba" else ["env", "create"]
        return [self.program, *create, "--yes", "--prefix", folder, "--file", self.path]


# The dependencies of a project that is not built itself. pip brings a TOML reader where Python has none.
_LIST = """
import sys
try:
    import tomllib
except ImportError:
    from pip._vendor import tomli as tomllib
with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file).get("project")
if project is None:
    sys.exit("%s has neither [project] nor [build-system]: it names no dependencies" % sys.argv[1])
if "dependencies" in project.get("dynamic", ()):
    sys.exit("%s leaves its dependencies to a build, and has no [build-system]" % sys.argv[1])
with open(sys.argv[2], "w", encoding="utf-8") as file:
    file.writelines(line + chr(10) for line in project.get("dependencies", ()))
"""


def plan(project, wanted_file=None, wanted_python=None, wanted_tool=None):
    """Choose file, tool and Python. Raises NodeError, with the next step, where that cannot be done."""
    if not os.path.isdir(project):
        raise NodeError("bad_request", "there is no folder {0} on this node".format(project), "stoker sync push NODE")
    source = _source(project, wanted_file)
    if kind(source) in ("uv.lock", "pyproject"):
        # Their folder is the project.
        project, source = os.path.split(os.path.join(project, source))
    tool, program = _tool(source, wanted_tool)
    if tool == "conda":
        if wanted_python:
            raise NodeError("bad_request", "{0} says itself which Python it wants".format(source), "leave --python out")
        return Plan(project, source, tool, program, None, "conda")
    python, version = find_python(wanted_python)
    return Plan(project, source, tool, program, python, version)


def kind(source):
    """What sort of file this is, by its name; None: none that says what a project needs."""
    name = os.path.basename(source)
    if name in ("uv.lock", "pyproject.toml"):
        return name.replace(".toml", "")
    if name.startswith("pylock.") and name.endswith(".toml"):
        return "pylock"
    return {".txt": "requirements", ".yml": "environment", ".yaml": "environment"}.get(os.path.splitext(name)[1])


def _source(project, wanted):
    if wanted:
        if kind(wanted) is None:
            known = "uv.lock, pylock.*.toml, *.txt, pyproject.toml, *.yml"
            raise NodeError("bad_request", "{0} is none of the files that can be read: {1}".format(wanted, known))
        if not os.path.isfile(os.path.join(project, wanted)):
            raise NodeError("bad_request", "there is no file {0} in {1} on this node".format(wanted, project))
        return wanted
    found = [name for name in ORDER if os.path.isfile(os.path.join(project, name))]
    if not found:
        raise NodeError(
            "bad_request",
            "{0} says nowhere what it needs: none of {1} is there".format(project, ", ".join(ORDER)),
            "write a requirements.txt",
        )
    return found[0]


def _tool(source, wanted):
    """(tool, program). uv where it is there, else pip; conda for its own file."""
    if kind(source) == "environment":
        if wanted not in (None, "conda"):
            raise NodeError("bad_request", "{0} cannot be installed with {1}".format(source, wanted))
        program = next(filter(None, map(find_program, _CONDAS)), None)
        if program is None:
            raise NodeError(
                "not_supported",
                "{0} needs conda, and there is no {1} on this node".format(source, " or ".join(_CONDAS)),
                "install micromamba there, or name another file with --file",
            )
        return "conda", program
    if wanted == "conda":
        raise NodeError("bad_request", "conda does not read {0}".format(source), "--file environment.yml")
    program = find_program("uv")
    locked = kind(source) in ("uv.lock", "pylock")
    if program is None and (locked or wanted == "uv"):
        raise NodeError(
            "not_supported",
            "{0} needs uv, and there is none on this node".format(source),
            "install uv there (pip install --user uv)" + (", or name another file with --file" if locked else ""),
        )
    if wanted == "pip" and locked:
        raise NodeError("bad_request", "pip does not read {0}".format(source), "name another file with --file")
    return ("pip", None) if program is None or wanted == "pip" else ("uv", program)


def find_program(name):
    """Where a program is: in PATH, or where such programs install themselves. A login that is none has a short PATH."""
    places = [*_PLACES, *(_CONDA_PLACES if name in _CONDAS else ())]
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *map(os.path.expanduser, places)])
    return shutil.which(name, path=path)


def find_python(wanted):
    """(path, version) of the interpreter to use: the one that runs this, or one of the wanted version."""
    own = ".".join(str(part) for part in sys.version_info[:3])
    if not wanted or own == wanted or own.startswith(wanted + "."):
        return sys.executable, own
    minor = ".".join(wanted.split(".")[:2])
    for path in _pythons(minor):
        version = _said([path, "-I", "-S", "-c", _VERSION_PROGRAM])
        if version and (version == wanted or version.startswith(wanted + ".")):
            return path, version
    raise NodeError(
        "not_supported", "there is no Python {0} on this node".format(wanted),
        "install it there, or leave --python out: the node has {0}".format(own),
    )  # fmt: skip


def _pythons(minor):
    for folder in [*os.environ.get("PATH", os.defpath).split(os.pathsep), "/usr/local/bin", "/usr/bin"]:
        path = os.path.join(folder, "python" + minor)
        # A shim of pyenv answers for versions that are not there.
        if os.path.isfile(path) and os.access(path, os.X_OK) and not folder.endswith("/shims"):
            yield path
    versions = os.path.join(os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv"), "versions")
    for name in sorted(os.listdir(versions), reverse=True) if os.path.isdir(versions) else ():
        path = os.path.join(versions, name, "bin", "python" + minor)
        if os.path.isfile(path):
            yield path
    uv = find_program("uv")
    found = _said([uv, "python", "find", "--no-project", minor]) if uv else None
    if found:
        yield found


def _said(argv):
    """The line that a program prints; None where it fails."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_LOOK_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None


def _step(argv, **env):
    return {"argv": argv, "env": env}


def read(path):
    """The bytes of a file of the project."""
    with open(path, "rb") as handle:
        return handle.read()


def _pyproject(project):
    path = os.path.join(project, "pyproject.toml")
    return read(path) if os.path.isfile(path) else b""
