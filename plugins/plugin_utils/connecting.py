# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One more try where a machine did not answer: rented ones are away for moments, others are given up at once."""

from __future__ import annotations

import time

from ansible.errors import AnsibleConnectionFailure

# Seconds before each further try.
PAUSES_S = (2, 4, 8, 16, 32)


# Words of ssh for what no waiting mends.
_FINAL = ("Host key verification failed", "Permission denied")


def connected(work, retries, sleep=time.sleep):
    """``work()``, repeated where it ends with AnsibleConnectionFailure: ``retries`` times, 5 at most.

    Only a failure of ssh itself (its exit code 255) is one; the exit code of a command is an answer.
    """
    for pause in PAUSES_S[: max(0, retries)]:
        try:
            return work()
        except AnsibleConnectionFailure as problem:
            if any(words in str(problem) for words in _FINAL):
                raise
            sleep(pause)
    return work()
