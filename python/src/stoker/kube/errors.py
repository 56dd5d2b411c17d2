"""What went wrong with an API server, as types."""

from __future__ import annotations

from stoker.errors import StokerError


class KubeError(StokerError):
    """A context could not be asked, or refused. The message begins with its name; `why` is the rest of it.

    `context` is that name. `passing`: it may well be otherwise in a moment.
    """

    passing = False

    def __init__(self, context: str, why: str, *, next_step: str | None = None) -> None:
        super().__init__(f"{context}: {why}", next_step=next_step)
        self.context, self.why = context, why


class Unusable(KubeError):
    """The kubeconfig, or a program that it names, gives nothing that a server could be asked with."""


class Unreachable(KubeError):
    """No answer, or none that could be read to its end."""

    passing = True


class Untrusted(KubeError):
    """TLS: the server is not proved to be the one that is meant, or does not take the client's certificate."""


class Refused(KubeError):
    """401: it does not know these credentials."""


class Forbidden(KubeError):
    """403: these credentials may not do that."""


class Missing(KubeError):
    """404: there is no such thing."""


class Conflict(KubeError):
    """409: it was changed by somebody else meanwhile."""


class Gone(KubeError):
    """410: a list cannot be gone on with; it has to be begun again."""


class Failing(KubeError):
    """429 and 5xx: the server could not answer now."""

    passing = True


class Answered(KubeError):
    """Any other answer that is no success."""


BY_STATUS: dict[int, type[KubeError]] = {401: Refused, 403: Forbidden, 404: Missing, 409: Conflict, 410: Gone}


def of_status(status: int) -> type[KubeError]:
    """The type for an HTTP status that is no success."""
    return BY_STATUS.get(status) or (Failing if status == 429 or status >= 500 else Answered)
