"""Tasks: functions that run isolated, and whose result or exception comes back."""

from __future__ import annotations

import asyncio
import functools
import itertools
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, cast, overload

from ._crossing import RESULT_BYTES_MAX, Crossing, Serializer
from ._given import INT64_MAX, whole
from ._time import Duration
from .code import CodeOptions
from .errors import ClosedError, InvalidError
from .task_runs import AsyncTaskRun, TaskRun

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._crossing import Call
    from ._fastflow import Operation
    from .flow import AsyncFlow, Flow

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_WITHDRAWN_DELAY = timedelta(hours=1)

IN_FLIGHT_MAX = 64
"""How many runs of one ``map`` there are at one time, when nothing is said. How many of them run, the host decides."""


class _Flight(Generic[T]):
    """A call from the instant before it is submitted, so that whatever ends the wait for it finds its run."""

    __slots__ = ("call", "key", "run")

    def __init__(self, call: Call, key: str) -> None:
        self.call: Call | None = call
        """What is submitted, until it is: it may be large."""
        self.key = key
        """The name of the submission: repeating it gives the run that the first one has made, if it came so far."""
        self.run: T | None = None
        """The run, once this process knows of it."""

    def begun(self) -> T:
        """The run of what was submitted."""
        assert self.run is not None, "it was submitted"
        return self.run


class _Base(Generic[P, R]):
    """What both faces of a task have in common."""

    def __init__(
        self,
        either: Flow | AsyncFlow,
        crossing: Crossing,
        key: str | None = None,
        delay: Duration | None = None,
        timeout: Duration | None = None,
    ) -> None:
        functools.update_wrapper(cast("Callable[..., Any]", self), crossing.function)
        self.__fastflow_function__ = crossing.function
        self._either = either
        self._crossing = crossing
        self._key = key
        self._delay = delay
        self._timeout = timeout

    def local(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls the function here, as if it were no task."""
        return cast("R", self._crossing.function(*args, **kwargs))

    def __reduce__(self) -> tuple[Any, ...]:
        # In a sandbox, a task that another one uses is the function.
        return functools.partial, (self._crossing.function,)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        return self._crossing.call(self._crossing.files(), args, kwargs)

    def _flight(self, call: Call) -> _Flight[Any]:
        return _Flight(call, self._key or uuid.uuid4().hex)

    def _submission(self, flight: _Flight[Any], delay: Duration | None) -> Operation[dict[str, Any]]:
        call = flight.call
        assert call is not None, "it is submitted once"
        return call.code.submit(self._either._engine.code, call.parameters, key=flight.key, delay=delay)

    def _withdraw(self, flights: Iterable[_Flight[Any]]) -> None:
        """Cancels the runs of calls that nobody waits for any more, those that are half submitted included."""
        if self._key is not None:
            # By its key it is found again, and others may have submitted it, too, and wait for it.
            return
        for flight in flights:
            try:
                self._cancel(flight)
            except ClosedError:
                return
            except Exception:
                # It has ended already, say; what made us stop matters more, and so do those that are left.
                continue

    def _cancel(self, flight: _Flight[Any]) -> None:
        limit = self._either._limit(None)
        if flight.run is not None:
            id = str(flight.run.id)
        elif flight.call is not None:
            # Where the first submission came to nothing, this is another run, which is not to begin.
            id = self._submission(flight, _WITHDRAWN_DELAY).block(limit)["id"]
        else:
            return
        self._either._engine.runs.cancel(id).block(limit)

    def _calls(self, iterables: tuple[Iterable[Any], ...]) -> Iterator[Call]:
        if self._key is not None:
            raise InvalidError("a key is of one submission, and all of a `map` would be that run: leave `key` out")
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
            serializer=crossing.serializer if serializer is None else serializer,
            max_result_bytes=_limit(max_result_bytes, crossing.max_result_bytes),
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
        self,
        flow: Flow,
        crossing: Crossing,
        key: str | None = None,
        delay: Duration | None = None,
        timeout: Duration | None = None,
    ) -> None:
        super().__init__(flow, crossing, key, delay, timeout)
        self._flow = flow

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs it isolated, and waits for its result.

        Who is interrupted, or waits no longer, has cancelled the run, which may have begun. One that has a ``key`` goes
        on: by it, it is found again.
        """
        flight = self._flight(self._call(args, kwargs))
        try:
            outcome = self._submit(flight)._finished(self._timeout)
        except BaseException:
            self._withdraw([flight])
            raise
        return outcome.get()

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> TaskRun[R]:
        """Runs it isolated, and waits for nothing but that this is written down.

        Who is interrupted meanwhile has cancelled the run, unless it has a ``key``, by which it is found again.
        """
        flight = self._flight(self._call(args, kwargs))
        try:
            return self._submit(flight)
        except BaseException:
            self._withdraw([flight])
            raise

    def _submit(self, flight: _Flight[TaskRun[R]]) -> TaskRun[R]:
        record = self._submission(flight, self._delay).block(self._flow._limit(self._timeout))
        run = flight.run = TaskRun(self._flow.runs._run(record), self._crossing)
        flight.call = None
        return run

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

        The first runs are submitted when the first result is asked for, and further ones as results are taken. Who
        stops taking them (closes the iterator, or drops it), or meets an exception, has cancelled those that are left.

        Args:
            iterables: the arguments; with several, the function gets one of each.
            return_exceptions: gives exceptions in the place of results, and goes on.
            max_in_flight: how many runs are there at one time.
            timeout: how long to wait for each result.
        """
        max_in_flight = whole(max_in_flight, "max_in_flight", 1)
        calls = self._calls(iterables)
        return self._results(calls, max_in_flight, return_exceptions=return_exceptions, timeout=timeout)

    def _results(
        self, calls: Iterator[Call], max_in_flight: int, *, return_exceptions: bool, timeout: Duration | None
    ) -> Iterator[R | Exception]:
        # All of it is inside of the generator: one that was never asked for anything has nothing to tidy up.
        flying: deque[_Flight[TaskRun[R]]] = deque()
        try:
            self._fill(flying, calls, max_in_flight)
            while flying:
                oldest = flying[0].begun()
                error = oldest.exception(timeout)
                if error is not None and not return_exceptions:
                    raise error
                flying.popleft()
                self._fill(flying, calls, max_in_flight)
                yield oldest.result() if error is None else error
        finally:
            self._withdraw(flying)

    def _fill(self, flying: deque[_Flight[TaskRun[R]]], calls: Iterator[Call], max_in_flight: int) -> None:
        for call in itertools.islice(calls, max_in_flight - len(flying)):
            flying.append(self._flight(call))
            self._submit(flying[-1])

    def with_options(
        self,
        *,
        serializer: Serializer | None = None,
        max_result_bytes: int | None = None,
        key: str | None = None,
        delay: Duration | None = None,
        timeout: Duration | None = None,
        **options: Unpack[CodeOptions],
    ) -> Task[P, R]:
        """The same task with other options.

        Args:
            serializer: how arguments and results cross.
            max_result_bytes: the largest result.
            key: names the submission, so that repeating it returns its run, which whoever stops waiting for does not
                cancel.
            delay: does not start it before so much time has passed.
            timeout: how long a call waits for its result, and a submission for being written down.
            options: what it needs and may use, in the place of what was said before.
        """
        return Task(self._flow, self._replaced(options, serializer, max_result_bytes), key, delay, timeout)

    def __repr__(self) -> str:
        return f"<fastflow.Task {getattr(self, '__qualname__', '?')}>"


class AsyncTask(_Base[P, R]):
    """The same as :class:`Task`, for ``await`` and ``async for``."""

    def __init__(
        self,
        flow: AsyncFlow,
        crossing: Crossing,
        key: str | None = None,
        delay: Duration | None = None,
        timeout: Duration | None = None,
    ) -> None:
        super().__init__(flow, crossing, key, delay, timeout)
        self._flow = flow

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs it isolated, and waits for its result. Who is cancelled has cancelled the run. See :class:`Task`."""
        flight = self._flight(self._call(args, kwargs))
        try:
            outcome = await (await self._submit(flight))._finished(self._timeout)
        except GeneratorExit:
            # Nothing can be awaited in a coroutine that is closed.
            self._withdraw([flight])
            raise
        except BaseException:
            await self._withdrawn([flight])
            raise
        return outcome.get()

    async def submit(self, *args: P.args, **kwargs: P.kwargs) -> AsyncTaskRun[R]:
        """Runs it isolated, and waits for nothing but that this is written down. See :meth:`Task.submit`."""
        flight = self._flight(self._call(args, kwargs))
        try:
            return await self._submit(flight)
        except GeneratorExit:
            self._withdraw([flight])
            raise
        except BaseException:
            await self._withdrawn([flight])
            raise

    async def _submit(self, flight: _Flight[AsyncTaskRun[R]]) -> AsyncTaskRun[R]:
        record = await self._submission(flight, self._delay).within(self._flow._limit(self._timeout))
        run = flight.run = AsyncTaskRun(self._flow.runs._run(record), self._crossing)
        flight.call = None
        return run

    async def _withdrawn(self, flights: Iterable[_Flight[Any]]) -> None:
        # A thread goes on when the loop cancels all of its tasks, as it does at its end; that end waits for threads.
        work = asyncio.get_running_loop().run_in_executor(None, self._withdraw, list(flights))
        await asyncio.shield(work)

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
        max_in_flight = whole(max_in_flight, "max_in_flight", 1)
        calls = self._calls(iterables)
        return self._results(calls, max_in_flight, return_exceptions=return_exceptions, timeout=timeout)

    async def _results(
        self, calls: Iterator[Call], max_in_flight: int, *, return_exceptions: bool, timeout: Duration | None
    ) -> AsyncIterator[R | Exception]:
        flying: deque[_Flight[AsyncTaskRun[R]]] = deque()
        try:
            await self._fill(flying, calls, max_in_flight)
            while flying:
                oldest = flying[0].begun()
                error = await oldest.exception(timeout)
                if error is not None and not return_exceptions:
                    raise error
                flying.popleft()
                await self._fill(flying, calls, max_in_flight)
                yield await oldest.result() if error is None else error
        finally:
            if flying:
                await self._withdrawn(flying)

    async def _fill(self, flying: deque[_Flight[AsyncTaskRun[R]]], calls: Iterator[Call], max_in_flight: int) -> None:
        for call in itertools.islice(calls, max_in_flight - len(flying)):
            flying.append(self._flight(call))
            await self._submit(flying[-1])

    def with_options(
        self,
        *,
        serializer: Serializer | None = None,
        max_result_bytes: int | None = None,
        key: str | None = None,
        delay: Duration | None = None,
        timeout: Duration | None = None,
        **options: Unpack[CodeOptions],
    ) -> AsyncTask[P, R]:
        """The same task with other options. See :meth:`Task.with_options`."""
        return AsyncTask(self._flow, self._replaced(options, serializer, max_result_bytes), key, delay, timeout)

    def __repr__(self) -> str:
        return f"<fastflow.AsyncTask {getattr(self, '__qualname__', '?')}>"


def _limit(max_result_bytes: int | None, otherwise: int) -> int:
    return otherwise if max_result_bytes is None else whole(max_result_bytes, "max_result_bytes", 1, INT64_MAX)


def crossing(
    function: Callable[..., Any], serializer: Serializer, max_result_bytes: int | None, options: CodeOptions
) -> Crossing:
    """How a function that is made a task crosses."""
    function = getattr(function, "__fastflow_function__", function)
    limit = _limit(max_result_bytes, RESULT_BYTES_MAX)
    return Crossing(function=function, serializer=serializer, max_result_bytes=limit, options=options)
