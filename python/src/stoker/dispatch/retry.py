"""Whether a job is tried again, and when. Pure."""

from __future__ import annotations

import re
import signal
import zlib
from collections.abc import Sequence

from stoker.errors import UsageError
from stoker.store import JobRow

FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 60.0
# So much longer a pause may be than it says: jobs that failed together do not all come back together.
JITTER = 0.1
# A loss without reason is not tried again: nothing proves that the attempt is over.
_LOSSES_RETRIED = frozenset({"reboot", "killed", "expired", "provider"})
_REASONS = ("code", "signal", "oom", "timeout", "lost")
_CODES = re.compile(r"(\d{1,3})(?:-(\d{1,3}))?")


def backoff_s(job: JobRow) -> float:
    """How long a job waits for its next attempt, in seconds: 1, 2, 4, ... at most 60, and up to a tenth more."""
    pause = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(job.retries_used, 10))
    chance = zlib.crc32(f"{job.uid}/{job.attempt}".encode()) / 2**32
    return float(pause * (1.0 + JITTER * chance))


def worth_retrying(job: JobRow, state: str, reason: str | None, exit_code: int | None, number: int | None) -> bool:
    """Whether an attempt that ended so may be followed by another one. `number` is the signal that ended it."""
    # What could not start will not start the next time either, and what used up its limit had it.
    if not (
        (state == "failed" and reason not in ("start", "limit")) or (state == "lost" and reason in _LOSSES_RETRIED)
    ):
        return False
    if job.retry_on is None:
        return True
    return any(_means(word, state, reason, exit_code, number) for word in job.retry_on.split(","))


def retry_words(words: Sequence[str]) -> str | None:
    """What `--retry-on` says, as it is stored; None: whatever can be tried again. Raises UsageError."""
    said = [word.strip() for word in words if word.strip()]
    for word in said:
        codes = _CODES.fullmatch(word)
        if codes:
            low, high = int(codes[1]), int(codes[2] or codes[1])
            if not 1 <= low <= high <= 255:
                raise UsageError(f"--retry-on: {word} are no exit codes of a failure", next_step="1 to 255")
        elif word not in _REASONS and word not in signal.Signals.__members__:
            raise UsageError(
                f"--retry-on: {word!r} is no way to fail",
                next_step=f"{', '.join(_REASONS)}, an exit code (75), some (64-78), or a signal (SIGKILL)",
            )
    return ",".join(said) or None


def _means(word: str, state: str, reason: str | None, exit_code: int | None, number: int | None) -> bool:
    if state == "lost":
        return word == "lost"
    if codes := _CODES.fullmatch(word):
        return exit_code is not None and int(codes[1]) <= exit_code <= int(codes[2] or codes[1])
    if word in signal.Signals.__members__:
        return number == signal.Signals[word]
    return word == reason
