"""How an operation becomes a method: without the session, which the namespace holds."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from stoker.errors import UsageError
from stoker.fleet.job import Job
from stoker.operations import (
    policy,
    registry,
    values,
)
from stoker.operations.session import Session

P = ParamSpec("P")
R = TypeVar("R")


class bound(Generic[P, R]):  # noqa: N801  used like `property`
    """A method of a namespace, made from an operation: its type is the operation's, without the session."""

    def __init__(self, function: Callable[Concatenate[Session, P], R]) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, namespace: None, owner: type) -> bound[P, R]: ...
    @overload
    def __get__(self, namespace: Namespace, owner: type) -> Callable[P, R]: ...
    def __get__(self, namespace: Namespace | None, owner: type) -> bound[P, R] | Callable[P, R]:
        if namespace is None:
            return self
        return _without_session(self.function, namespace._session)


class bound_job(Generic[P]):  # noqa: N801
    """The same for an operation that answers with a new job: the method returns its handle."""

    def __init__(self, function: Callable[Concatenate[Session, P], values.Submitted]) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, namespace: None, owner: type) -> bound_job[P]: ...
    @overload
    def __get__(self, namespace: Namespace, owner: type) -> Callable[P, Job]: ...
    def __get__(self, namespace: Namespace | None, owner: type) -> bound_job[P] | Callable[P, Job]:
        if namespace is None:
            return self
        session = namespace._session
        submit_job = _without_session(self.function, session)

        @functools.wraps(submit_job)
        def call(*args: P.args, **kwargs: P.kwargs) -> Job:
            return Job(session, submit_job(*args, **kwargs).job)

        return call


def _without_session(function: Callable[Concatenate[Session, P], R], session: Session) -> Callable[P, R]:
    asked = registry.find(function)
    signature = asked.signature()

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        policy.refuse_off(session, asked)
        # Shared options (Unpack) would take any word without a murmur.
        given = signature.bind(*args, **kwargs).arguments
        for name, given_value in given.items():
            taken = signature.parameters[name]
            for value in given_value if taken.kind is taken.VAR_POSITIONAL else (given_value,):
                if taken.annotation is str and not isinstance(value, str | os.PathLike):
                    raise UsageError(f"{name}: {value!r} is not a text")
        return function(session, *args, **kwargs)

    call.__signature__ = signature  # type: ignore[attr-defined]
    return call


class Namespace:
    """One area of operations. Operations of plug-ins are found by name, too."""

    area = ""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Callable[..., Any]:
        for operation in registry.operations():
            if operation.name == f"{self.area}.{name}":
                return _without_session(operation.function, self._session)
        raise AttributeError(f"there is no operation {self.area}.{name}")
