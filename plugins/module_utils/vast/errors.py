# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What went wrong with the provider, by kind."""

from __future__ import annotations

# kind: what to do about it
NEXT = {
    "auth": "check the key: VAST_API_KEY, or vastai set api-key",
    "taken": "ask for offers again and take another one",
    "busy": "wait a minute and repeat it",
    "quota": "the provider allows no more searches today",
}


class VastError(Exception):
    """A call that did not end well. ``message`` is a sentence, without secrets.

    kind: ``auth`` (the key is not accepted), ``gone`` (no such instance), ``taken`` (no such ask any more), ``refused``
    (the provider said no, or would), ``busy`` (429, also after all retries), ``quota`` (429 that waiting some seconds
    does not mend), ``unanswered`` (it may or may not have been carried out), ``unreadable`` (an answer that is none of
    the contract's).
    status: of HTTP, or None. code: the provider's word for it. instance: an instance that exists in spite of the error,
    and is billed. retry_after_s: seconds, where the provider named a time. sent: False where it is certain that the
    request never left.
    """

    def __init__(self, message, kind, status=None, code=None, instance=None, retry_after_s=None, sent=True):
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.status = status
        self.code = code
        self.instance = instance
        self.retry_after_s = retry_after_s
        self.sent = sent

    @property
    def next(self):
        """The next step, or None."""
        return NEXT.get(self.kind)


def sentence(error):
    """The error with its next step."""
    return "{0} (next: {1})".format(error.message, error.next) if error.next else error.message
