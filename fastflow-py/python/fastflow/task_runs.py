"""Calls of tasks: runs, and the results that they bring."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from uuid import UUID

from ._crossing import Crossing
from ._time import Duration
from .errors import ConflictError
from .runs import AsyncRun, FailureKind, Run, RunData, Status

if TYPE_CHECKING:
    from ._fastflow import LogLine

R = TypeVar("R")


class _Outcome(Generic[R]):
    """The value or the exception of a call, once it is known."""

    __slots__ = ("error", "value")

    def __init__(self, value: R | None, error: Exception | None) -> None:
        self.value = value
        self.error = error

    def get(self) -> R:
        if self.error is not None:
            raise self.error
        return cast("R", self.value)


def _outcome(crossing: Crossing, run: RunData, directory: Path | None) -> _Outcome[Any]:
    try:
        return _Outcome(crossing.outcome(run, None if directory is None else directory / "work"), None)
    except Exception as error:
        return _Outcome(None, error)


def _leaves_outcome(run: RunData) -> bool:
    """Whether the newest attempt may have left something to read. It is never that of an attempt before."""
    by_itself = run.failure is not None and run.failure.kind is FailureKind.EXIT_CODE
    return run.status is Status.SUCCESS or (run.status is Status.FAILED and by_itself)


class TaskRun(Generic[R]):
    """One call of a task: a run, and the result that it brings.

    >>> def double(number: int) -> int:
    ...     return 2 * number
    >>> call = flow.task(double).submit(21)  # doctest: +SKIP
    >>> call.result(), call.run.pipeline  # doctest: +SKIP
    (42, 'code.double')
    """

    __slots__ = ("_crossing", "_outcome", "run")

    run: Run
    """The run, as it was when it was submitted."""

    def __init__(self, run: Run, crossing: Crossing) -> None:
        self.run = run
        self._crossing = crossing
        self._outcome: _Outcome[R] | None = None

    @property
    def id(self) -> UUID:
        """The id of the run."""
        return self.run.id

    def result(self, timeout: Duration | None = None) -> R:
        """Waits for what the function returns, or raises what it has raised.

        Raises:
            TimedOutError: it has not ended within ``timeout``. The run goes on.
            RunFailedError: the run was cancelled, or ended by something else than the function, such as a limit.
            TaskError: what the function returned, or raised, cannot be had here as it was there.
        """
        return self._finished(timeout).get()

    def exception(self, timeout: Duration | None = None) -> Exception | None:
        """Waits for the end, and gives what :meth:`result` would raise; None when there is a result."""
        return self._finished(timeout).error

    def done(self, *, timeout: Duration | None = None) -> bool:
        """Whether it has ended."""
        return self._outcome is not None or self.run.refresh(timeout=timeout).is_final

    def logs(self, *, after: str | LogLine | None = None, timeout: Duration | None = None) -> Iterator[LogLine]:
        """The log of the run, live: what the function prints, among others."""
        return self.run.logs(after=after, timeout=timeout)

    def cancel(self, *, timeout: Duration | None = None) -> bool:
        """Asks for its end. False when it has ended already."""
        try:
            self.run.cancel(timeout=timeout)
        except ConflictError:
            return False
        return True

    def _finished(self, timeout: Duration | None) -> _Outcome[R]:
        if self._outcome is not None:
            return self._outcome
        run = self.run.wait(timeout=timeout)
        directory = run.directory() if _leaves_outcome(run) else None
        outcome: _Outcome[R] = _outcome(self._crossing, run, directory)
        self._outcome = outcome
        return outcome

    def __repr__(self) -> str:
        return f"<fastflow.TaskRun {self.run.pipeline} {self.run.id}>"


class AsyncTaskRun(Generic[R]):
    """The same as :class:`TaskRun`, for ``await``: awaiting it gives the result."""

    __slots__ = ("_crossing", "_outcome", "run")

    run: AsyncRun
    """The run, as it was when it was submitted."""

    def __init__(self, run: AsyncRun, crossing: Crossing) -> None:
        self.run = run
        self._crossing = crossing
        self._outcome: _Outcome[R] | None = None

    @property
    def id(self) -> UUID:
        """The id of the run."""
        return self.run.id

    async def result(self, timeout: Duration | None = None) -> R:
        """Waits for what the function returns, or raises what it has raised. See :meth:`TaskRun.result`."""
        return (await self._finished(timeout)).get()

    async def exception(self, timeout: Duration | None = None) -> Exception | None:
        """Waits for the end, and gives what :meth:`result` would raise; None when there is a result."""
        return (await self._finished(timeout)).error

    async def done(self, *, timeout: Duration | None = None) -> bool:
        """Whether it has ended."""
        return self._outcome is not None or (await self.run.refresh(timeout=timeout)).is_final

    def logs(self, *, after: str | LogLine | None = None, timeout: Duration | None = None) -> AsyncIterator[LogLine]:
        """The log of the run, live, for ``async for``."""
        return self.run.logs(after=after, timeout=timeout)

    async def cancel(self, *, timeout: Duration | None = None) -> bool:
        """Asks for its end. False when it has ended already."""
        try:
            await self.run.cancel(timeout=timeout)
        except ConflictError:
            return False
        return True

    async def _finished(self, timeout: Duration | None) -> _Outcome[R]:
        if self._outcome is not None:
            return self._outcome
        run = await self.run.wait(timeout=timeout)
        directory = await run.directory() if _leaves_outcome(run) else None
        # Reading a large result would hold up the loop.
        outcome: _Outcome[R] = await asyncio.to_thread(_outcome, self._crossing, run, directory)
        self._outcome = outcome
        return outcome

    def __await__(self) -> Generator[Any, Any, R]:
        return self.result().__await__()

    def __repr__(self) -> str:
        return f"<fastflow.AsyncTaskRun {self.run.pipeline} {self.run.id}>"
