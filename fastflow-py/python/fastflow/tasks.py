"""Tasks: functions that run isolated, and whose result or exception comes back."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, cast, overload
from uuid import UUID

from ._crossing import RESULT_BYTES_MAX, Crossing, Serializer
from ._time import Duration
from .code import CodeOptions
from .errors import ConflictError, FastflowError, InvalidError, TimedOutError
from .runs import AsyncRun, FailureKind, Run, RunData, Status

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._crossing import Call
    from ._fastflow import LogLine
    from .flow import AsyncFlow, Flow

P = ParamSpec("P")
R = TypeVar("R")

IN_FLIGHT_MAX = 64
"""How many runs of one ``map`` are there at one time, when nothing is said. How many of them run is the host's limit."""


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


def _outcome(crossing: Crossing, run: RunData, directory: Any) -> _Outcome[Any]:
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

    def done(self) -> bool:
        """Whether it has ended."""
        return self._outcome is not None or self.run.refresh().is_final

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

    async def done(self) -> bool:
        """Whether it has ended."""
        return self._outcome is not None or (await self.run.refresh()).is_final

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


class _Base(Generic[P, R]):
    """What both faces of a task have in common."""

    def __init__(self, crossing: Crossing, key: str | None = None, delay: Duration | None = None) -> None:
        functools.update_wrapper(cast("Callable[..., Any]", self), crossing.function)
        self.__fastflow_function__ = crossing.function
        self._crossing = crossing
        self._key = key
        self._delay = delay

    def local(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls the function here, as if it were no task."""
        return cast("R", self._crossing.function(*args, **kwargs))

    def __reduce__(self) -> tuple[Any, ...]:
        # In a sandbox, a task that another one uses is the function.
        return functools.partial, (self._crossing.function,)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        return self._crossing.call(self._crossing.files(), args, kwargs)

    def _calls(self, iterables: tuple[Iterable[Any], ...]) -> Iterator[Call]:
        files = self._crossing.files()
        return (self._crossing.call(files, args, {}) for args in zip(*iterables, strict=False))

    def _replaced(
        self,
        options: CodeOptions,
        serializer: Serializer | None,
        max_result_bytes: int | None,
    ) -> Crossing:
        crossing = self._crossing
        merged = crossing.options.copy()
        merged.update(options)
        return Crossing(
            function=crossing.function,
            serializer=serializer or crossing.serializer,
            max_result_bytes=max_result_bytes or crossing.max_result_bytes,
            options=merged,
        )


class Task(_Base[P, R]):
    """A function that runs isolated when it is called.

    Its source goes to the sandbox, with what it uses of its module: imports, other functions and classes of the same
    module, and constants. Arguments and results cross as JSON: None, bool, int, float, str, list and dict, exactly; or
    by ``cloudpickle``, where that was asked for. Whoever asks for ``cloudpickle`` trusts the program: what it leaves is
    unpickled here.

    >>> from statistics import mean
    >>> isolated = flow.task(mean)
    >>> isolated([1, 2, 6])
    3
    >>> isolated.submit([2, 4]).result(), list(isolated.map([[1], [2, 4]]))
    (3, [1, 3])
    """

    def __init__(
        self, flow: Flow, crossing: Crossing, key: str | None = None, delay: Duration | None = None
    ) -> None:
        super().__init__(crossing, key, delay)
        self._flow = flow

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs it isolated, and waits for its result. Who is interrupted while waiting has cancelled the run."""
        submitted = self.submit(*args, **kwargs)
        try:
            return submitted.result()
        except KeyboardInterrupt:
            submitted.cancel()
            raise

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> TaskRun[R]:
        """Runs it isolated, and waits for nothing but that this is written down."""
        return self._submit(self._call(args, kwargs))

    def _submit(self, call: Call) -> TaskRun[R]:
        flow = self._flow
        operation = call.code.submit(flow._engine.code, call.parameters, key=self._key, delay=self._delay)
        return TaskRun(flow.runs._run(operation.block(flow._limit(None))), self._crossing)

    @overload
    def map(
        self,
        *iterables: Iterable[Any],
        return_exceptions: Literal[False] = False,
        max_in_flight: int = IN_FLIGHT_MAX,
        timeout: Duration | None = None,
    ) -> Iterator[R]: ...
    @overload
    def map(
        self,
        *iterables: Iterable[Any],
        return_exceptions: Literal[True],
        max_in_flight: int = IN_FLIGHT_MAX,
        timeout: Duration | None = None,
    ) -> Iterator[R | Exception]: ...
    def map(
        self,
        *iterables: Iterable[Any],
        return_exceptions: bool = False,
        max_in_flight: int = IN_FLIGHT_MAX,
        timeout: Duration | None = None,
    ) -> Iterator[R | Exception]:
        """Runs it for each item, as ``map`` does, and gives the results in that order.

        The first runs are submitted at once, and further ones as results are taken. Who stops taking them, or meets an
        exception, has cancelled those that are left.

        Args:
            iterables: the arguments; with several, the function gets one of each.
            return_exceptions: gives exceptions in the place of results, and goes on.
            max_in_flight: how many runs are there at one time.
            timeout: how long to wait for each result.
        """
        calls = self._calls(iterables)
        _check_in_flight(max_in_flight)
        flying = deque(self._submit(call) for call in itertools.islice(calls, max_in_flight))
        return self._results(flying, calls, return_exceptions=return_exceptions, timeout=timeout)

    def _results(
        self,
        flying: deque[TaskRun[R]],
        calls: Iterator[Call],
        *,
        return_exceptions: bool,
        timeout: Duration | None,
    ) -> Iterator[R | Exception]:
        try:
            while flying:
                error = flying[0].exception(timeout)
                if error is not None and not return_exceptions:
                    raise error
                oldest = flying.popleft()
                flying.extend(self._submit(call) for call in itertools.islice(calls, 1))
                yield oldest.result() if error is None else error
        finally:
            for each in flying:
                try:
                    each.cancel()
                except FastflowError:
                    # The flow was closed, say; what made us stop matters more.
                    break

    def with_options(
        self,
        *,
        serializer: Serializer | None = None,
        max_result_bytes: int | None = None,
        key: str | None = None,
        delay: Duration | None = None,
        **options: Unpack[CodeOptions],
    ) -> Task[P, R]:
        """The same task with other options. ``key`` names its next submission, so that repeating it returns that run."""
        return Task(self._flow, self._replaced(options, serializer, max_result_bytes), key, delay)

    def __repr__(self) -> str:
        return f"<fastflow.Task {getattr(self, '__qualname__', '?')}>"


class AsyncTask(_Base[P, R]):
    """The same as :class:`Task`, for ``await`` and ``async for``."""

    def __init__(
        self, flow: AsyncFlow, crossing: Crossing, key: str | None = None, delay: Duration | None = None
    ) -> None:
        super().__init__(crossing, key, delay)
        self._flow = flow

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs it isolated, and waits for its result. Who is cancelled while waiting has cancelled the run."""
        submitted = await self.submit(*args, **kwargs)
        try:
            return await submitted.result()
        except asyncio.CancelledError:
            await asyncio.shield(submitted.cancel())
            raise

    async def submit(self, *args: P.args, **kwargs: P.kwargs) -> AsyncTaskRun[R]:
        """Runs it isolated, and waits for nothing but that this is written down."""
        return await self._submit(self._call(args, kwargs))

    async def _submit(self, call: Call) -> AsyncTaskRun[R]:
        flow = self._flow
        operation = call.code.submit(flow._engine.code, call.parameters, key=self._key, delay=self._delay)
        return AsyncTaskRun(flow.runs._run(await operation.within(flow._limit(None))), self._crossing)

    @overload
    def map(
        self,
        *iterables: Iterable[Any],
        return_exceptions: Literal[False] = False,
        max_in_flight: int = IN_FLIGHT_MAX,
        timeout: Duration | None = None,
    ) -> AsyncIterator[R]: ...
    @overload
    def map(
        self,
        *iterables: Iterable[Any],
        return_exceptions: Literal[True],
        max_in_flight: int = IN_FLIGHT_MAX,
        timeout: Duration | None = None,
    ) -> AsyncIterator[R | Exception]: ...
    def map(
        self,
        *iterables: Iterable[Any],
        return_exceptions: bool = False,
        max_in_flight: int = IN_FLIGHT_MAX,
        timeout: Duration | None = None,
    ) -> AsyncIterator[R | Exception]:
        """Runs it for each item, and gives the results in that order, for ``async for``. See :meth:`Task.map`."""
        _check_in_flight(max_in_flight)
        calls = self._calls(iterables)
        return self._results(calls, max_in_flight, return_exceptions=return_exceptions, timeout=timeout)

    async def _results(
        self, calls: Iterator[Call], max_in_flight: int, *, return_exceptions: bool, timeout: Duration | None
    ) -> AsyncIterator[R | Exception]:
        flying: deque[AsyncTaskRun[R]] = deque()
        try:
            for call in itertools.islice(calls, max_in_flight):
                flying.append(await self._submit(call))
            while flying:
                error = await flying[0].exception(timeout)
                if error is not None and not return_exceptions:
                    raise error
                oldest = flying.popleft()
                for call in itertools.islice(calls, 1):
                    flying.append(await self._submit(call))
                yield await oldest.result() if error is None else error
        finally:
            for each in flying:
                try:
                    await each.cancel()
                except FastflowError:
                    # The flow was closed, say; what made us stop matters more.
                    break

    def with_options(
        self,
        *,
        serializer: Serializer | None = None,
        max_result_bytes: int | None = None,
        key: str | None = None,
        delay: Duration | None = None,
        **options: Unpack[CodeOptions],
    ) -> AsyncTask[P, R]:
        """The same task with other options. See :meth:`Task.with_options`."""
        return AsyncTask(self._flow, self._replaced(options, serializer, max_result_bytes), key, delay)

    def __repr__(self) -> str:
        return f"<fastflow.AsyncTask {getattr(self, '__qualname__', '?')}>"


def _check_in_flight(max_in_flight: int) -> None:
    if max_in_flight < 1:
        raise InvalidError("`max_in_flight` is at least 1")


def crossing(
    function: Callable[..., Any], serializer: Serializer, max_result_bytes: int | None, options: CodeOptions
) -> Crossing:
    """How a function that is made a task crosses."""
    function = getattr(function, "__fastflow_function__", function)
    limit = RESULT_BYTES_MAX if max_result_bytes is None else max_result_bytes
    return Crossing(function=function, serializer=serializer, max_result_bytes=limit, options=options)
