"""The exceptions of the package.

A program that fails is no exception: its run has a ``failure``. An exception says that the machinery could not do what
was asked of it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from ._printable import printable

if TYPE_CHECKING:
    from .runs import Failure, RunData


class FastflowError(Exception):
    """What all exceptions of the package are.

    Attributes:
        context: the facts that belong to it, such as the name of the pipeline, by name.

    >>> try:
    ...     raise NotFoundError("no such pipeline", pipeline="nightly")
    ... except FastflowError as error:
    ...     print(error, error.context)
    no such pipeline {'pipeline': 'nightly'}
    """

    context: dict[str, str]

    def __init__(self, message: str = "", **context: str) -> None:
        super().__init__(message)
        self.context = context


class NotFoundError(FastflowError, LookupError):
    """The named thing does not exist."""


class AlreadyExistsError(FastflowError):
    """The named thing exists, and this call had to create it."""


class ConflictError(FastflowError):
    """The thing moved on since the caller looked, or somebody else has it."""


class InvalidError(FastflowError, ValueError):
    """What was given can never work as it stands."""


class UnsupportedError(FastflowError):
    """This version, or the executor, lacks a capability that the call needs."""


class DeniedError(FastflowError, PermissionError):
    """The credentials or the permissions of files do not allow this."""


class UnavailableError(FastflowError, ConnectionError):
    """Out of reach or out of capacity now: worth trying again, as it is."""


class ClosedError(UnavailableError):
    """The flow was closed. Its runs are not: another flow of the same data directory goes on with them."""


class StorageFullError(UnavailableError):
    """No room is left on a disk."""


class TimedOutError(FastflowError, TimeoutError):
    """A call took longer than its ``timeout``. What it asked for may still happen."""


class RunFailedError(FastflowError):
    """A run that had to succeed did not: raised by ``raise_for_failure``, and by tasks.

    Attributes:
        run: the run.
        failure: why it failed; None when it was cancelled.
    """

    run: RunData
    failure: Failure | None

    def __init__(self, run: RunData) -> None:
        why = "it was cancelled" if run.failure is None else str(run.failure)
        super().__init__(f"run {run.id} of `{run.pipeline}` did not succeed: {why}", run=str(run.id), pipeline=run.pipeline)
        self.run = run
        self.failure = run.failure

    def __reduce__(self) -> tuple[type[RunFailedError], tuple[RunData]]:
        return type(self), (self.run,)


class ForkError(FastflowError, RuntimeError):
    """The flow belongs to the process that this one was forked from."""


class InternalError(FastflowError, RuntimeError):
    """A fault of the package itself, or damaged data."""


class CorruptError(InternalError):
    """Stored data is not what was written."""


class TaskError(RunFailedError):
    """A function that ran isolated has brought no result, and no exception that can be raised here as it was there.

    Attributes:
        type_name: the type of the exception there, with its module; None when there was none.
        remote_traceback: its traceback, as the program wrote it, control characters included; empty when there was none.
    """

    type_name: str | None
    remote_traceback: str

    def __init__(self, message: str, run: RunData, *, type_name: str | None = None, remote_traceback: str = "") -> None:
        # Both may be the words of a program, and are printed where nobody expects them to do anything.
        FastflowError.__init__(self, printable(message), run=str(run.id), pipeline=run.pipeline)
        self.run = run
        self.failure = run.failure
        self.type_name = None if type_name is None else printable(type_name)
        self.remote_traceback = remote_traceback

    def __reduce__(self) -> tuple[Any, ...]:
        made = functools.partial(type(self), type_name=self.type_name, remote_traceback=self.remote_traceback)
        return made, (str(self), self.run)


class RemoteTraceback(Exception):
    """The traceback of an exception in a sandbox: the ``__cause__`` of what is raised here."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{printable(self.text)}"""'
