"""What analysis says when it cannot answer: one sentence, and what to do next."""

from __future__ import annotations


class AnalysisError(Exception):
    """A question that has no answer as it was asked. ``next_step`` (or None) says what to try."""

    def __init__(self, message: str, *, next_step: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step


class NotThere(AnalysisError):
    """A file, a run or a metric of that name does not exist; near names are in the message."""


class Unreadable(AnalysisError):
    """A file is there, and cannot be read."""
