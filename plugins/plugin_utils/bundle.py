# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The node side as one zip: what is pushed to a node, once per version."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import zipfile

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


def _files():
    yield "__main__.py", _ENTRY
    for folder, names, files in os.walk(_SOURCE):
        names[:] = sorted(name for name in names if name != "__pycache__")
        for name in sorted(files):
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                with open(path, "rb") as handle:
                    yield os.path.join("stoker_node", os.path.relpath(path, _SOURCE)), handle.read()


@functools.cache
def build():
    """(hash, zip): the hash names the version, equal content has an equal hash."""
    digest, packed = hashlib.sha256(), io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in _files():
            digest.update(name.encode("utf-8") + b"\0" + data + b"\0")
            archive.writestr(zipfile.ZipInfo(name), data)
    return digest.hexdigest()[:16], packed.getvalue()
