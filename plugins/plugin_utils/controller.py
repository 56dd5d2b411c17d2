# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the actions share that work with the store on the controller, where the Python package stoker has to be."""

from __future__ import annotations

from ansible.errors import AnsibleActionFail

# At the top: Ansible loads an action in its parent process first, and the forks that run it inherit what was imported.
try:
    import stoker.dispatch  # pylint: disable=unused-import
    import stoker.store  # noqa: F401  # pylint: disable=unused-import
except ImportError as problem:
    IMPORT_PROBLEM = problem
else:
    IMPORT_PROBLEM = None


def refuse_without_stoker():
    """Fail with one sentence where the Python package is missing, or is not whole."""
    if IMPORT_PROBLEM is None:
        return
    name = getattr(IMPORT_PROBLEM, "name", None) or "stoker"
    if name.split(".", maxsplit=1)[0] == "stoker":
        text = "the Python package stoker is needed on the controller (next: pip install stoker)"
    else:
        text = "the Python package stoker on the controller lacks {0} (next: pip install stoker)".format(name)
    raise AnsibleActionFail(text) from IMPORT_PROBLEM


def sentence(problem):
    """A StokerError as one sentence, with the next step where it names one."""
    return "{0} (next: {1})".format(problem, problem.next_step) if problem.next_step else str(problem)
