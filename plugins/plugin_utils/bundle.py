# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The node side as one zip: what is pushed to a node, once per version. A backend of a package comes along."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import io
import os
import zipfile
from importlib.metadata import entry_points

BACKENDS = "stoker.backends"
# What only the controller has a use for.
_NOT_FOR_NODES = ("__pycache__", "vast")
_SOURCE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "module_utils")
# In the syntax of any Python 3, so that an old one can say what is wrong instead of failing to parse.
_ENTRY = b"""import sys
if sys.version_info < (3, 8):
    sys.stdout.write('STOKER-REPLY {"schema": "stoker.reply/1", "ok": false, "error": {"code": "not_supported", '
                     '"message": "Python %d.%d is too old: a node needs 3.8 or later", '
                     '"next": "set ansible_python_interpreter to a newer one"}}\\n' % sys.version_info[:2])
    sys.exit(0)
import os
from stoker_node.ctl import main
sys.exit(main(os.path.dirname(os.path.abspath(__file__)), sys.argv))
"""


class BackendError(Exception):
    """The backend of a package cannot be had; the message is a sentence."""


def _files(backend):
    yield "__main__.py", _ENTRY
    for folder, names, files in os.walk(_SOURCE):
        names[:] = sorted(name for name in names if name not in _NOT_FOR_NODES)
        for name in sorted(files):
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                with open(path, "rb") as handle:
                    yield os.path.join("stoker_node", os.path.relpath(path, _SOURCE)), handle.read()
    if backend is not None:
        yield "stoker_node/backends/added_{0}.py".format(backend), _source_of(backend)


def _source_of(backend):
    """The file of the backend that a package adds by the entry point group ``stoker.backends``."""
    found = sorted({(entry.value, entry.dist.name) for entry in entry_points(group=BACKENDS, name=backend)})
    if not found:
        raise BackendError("no package that is installed here has a backend {0!r}".format(backend))
    if len(found) > 1:
        names = " and ".join(package for module, package in found)
        raise BackendError("there are two backends {0!r}: of {1}".format(backend, names))
    try:
        spec = importlib.util.find_spec(found[0][0])
        with open(spec.origin, "rb") as handle:
            return handle.read()
    except (ImportError, AttributeError, TypeError, ValueError, OSError) as problem:
        words = "the backend {0!r} of {1}: its file {2} cannot be had: {3}"
        raise BackendError(words.format(backend, found[0][1], found[0][0], problem)) from problem


@functools.cache
def build(backend=None):
    """(hash, zip): the hash names the version, equal content has an equal hash.

    ``backend``: one of a package, to be put in. Raises BackendError where that cannot be had.
    """
    digest, packed = hashlib.sha256(), io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in _files(backend):
            digest.update(name.encode("utf-8") + b"\0" + data + b"\0")
            archive.writestr(zipfile.ZipInfo(name), data)
    return digest.hexdigest()[:16], packed.getvalue()
