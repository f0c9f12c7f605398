"""Tasks: functions that run isolated, and whose result or exception comes back."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, cast, overload

from ._crossing import RESULT_BYTES_MAX, Crossing, Serializer
from ._time import Duration
from .code import CodeOptions
from .errors import FastflowError, InvalidError
from .task_runs import AsyncTaskRun, TaskRun

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._crossing import Call
    from .flow import AsyncFlow, Flow

P = ParamSpec("P")
R = TypeVar("R")

IN_FLIGHT_MAX = 64
"""How many runs of one ``map`` there are at one time, when nothing is said. How many of them run, the host decides."""


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

    def _calls(self, iterables: tuple[Iterable[Any], ...], max_in_flight: int) -> Iterator[Call]:
        if max_in_flight < 1:
            raise InvalidError("`max_in_flight` is at least 1")
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

    def __init__(self, flow: Flow, crossing: Crossing, key: str | None = None, delay: Duration | None = None) -> None:
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
        calls = self._calls(iterables, max_in_flight)
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
        """The same task with other options. ``key`` names the submission, so that repeating it returns its run."""
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
        calls = self._calls(iterables, max_in_flight)
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


def crossing(
    function: Callable[..., Any], serializer: Serializer, max_result_bytes: int | None, options: CodeOptions
) -> Crossing:
    """How a function that is made a task crosses."""
    function = getattr(function, "__fastflow_function__", function)
    limit = RESULT_BYTES_MAX if max_result_bytes is None else max_result_bytes
    return Crossing(function=function, serializer=serializer, max_result_bytes=limit, options=options)
