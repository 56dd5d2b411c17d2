"""What Stoker says when something cannot be done: one sentence a person can use, and what to do next."""

from __future__ import annotations


class StokerError(Exception):
    """Something could not be done. ``str(error)`` is one sentence; ``next_step`` (or None) says what to try.

    ``exit_code`` is what the command line exits with.
    """

    def __init__(self, message: str, *, next_step: str | None = None, exit_code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step
        self.exit_code = exit_code


class UsageError(StokerError):
    """The request itself is wrong (a bad argument, a missing file): nothing was done. Exit code 2."""

    def __init__(self, message: str, *, next_step: str | None = None, exit_code: int = 2) -> None:
        super().__init__(message, next_step=next_step, exit_code=exit_code)


class NotFound(UsageError):
    """Something named by the caller (a job, a node, an inventory file) does not exist."""


class NodeError(StokerError):
    """One node could not be reached, or refused. ``node`` is its name in the inventory; ``message`` begins with it."""

    def __init__(self, node: str, message: str, *, next_step: str | None = None, exit_code: int = 1) -> None:
        super().__init__(f"{node}: {message}", next_step=next_step, exit_code=exit_code)
        self.node = node
        self.node_message = message
