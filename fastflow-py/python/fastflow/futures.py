"""A ``concurrent.futures.Executor`` whose functions run isolated."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ._crossing import Call, Serializer
from ._given import whole
from .code import CodeOptions
from .errors import ForkError
from .flow import AsyncFlow, Flow
from .tasks import IN_FLIGHT_MAX, AsyncTask, crossing

if TYPE_CHECKING:
    from typing_extensions import Unpack

P = ParamSpec("P")
T = TypeVar("T")

_EXIT_TIMEOUT_SECONDS = 2.0


class FlowExecutor(Executor):
    """Runs functions isolated, and gives their results as futures: ``executor.map`` code moves as it is.

    The same rules hold for functions, arguments and results as for tasks. A future can be cancelled while its run is
    not submitted. Leaving ``with`` waits for what was submitted; a program that ends without waits for nothing, and the
    runs that were begun go on.

    Args:
        flow: the flow that the runs are submitted to. It stays open until the executor was shut down.
        serializer: how arguments and results cross: ``"json"`` or ``"cloudpickle"``.
        max_result_bytes: the largest result; 16 MiB, when nothing is said.
        max_in_flight: how many runs are there at one time.
        options: what the functions need and may use, as for :meth:`Flow.task`.

    >>> from fastflow.futures import FlowExecutor
    >>> with FlowExecutor(flow, memory="256m") as executor:
    ...     list(executor.map(pow, [2, 3], [5, 2]))
    [32, 9]
    """

    def __init__(
        self,
        flow: Flow,
        *,
        serializer: Serializer = "json",
        max_result_bytes: int | None = None,
        max_in_flight: int = IN_FLIGHT_MAX,
        **options: Unpack[CodeOptions],
    ) -> None:
        max_in_flight = whole(max_in_flight, "max_in_flight", 1)
        # What is wrong with the options is said here, and not by each future.
        crossing(pow, serializer, max_result_bytes, options)
        self._flow = AsyncFlow(flow._engine, flow._limit(None))
        self._serializer: Serializer = serializer
        self._max_result_bytes = max_result_bytes
        self._options = options
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._is_shut_down = False
        self._waiter = _Waiter(max_in_flight)
        # Who drops an executor has none to shut down: its thread ends once what was submitted has ended.
        weakref.finalize(self, self._waiter.finish, cancel_futures=False).atexit = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Runs a function isolated.

        Raises:
            InvalidError: the function or an argument cannot cross.
            RuntimeError: the executor was shut down.
        """
        if os.getpid() != self._process:
            raise ForkError(f"this executor was made by process {self._process}, and its thread was not forked")
        how = crossing(fn, self._serializer, self._max_result_bytes, self._options)
        call = how.call(how.files(), args, kwargs)
        task: AsyncTask[P, T] = AsyncTask(self._flow, how)
        future: Future[T] = Future()
        with self._lock:
            if self._is_shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._waiter.begin(task, call, future)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more, and ends when what was submitted has ended.

        Args:
            wait: waits for that.
            cancel_futures: cancels those whose run is not submitted yet.
        """
        with self._lock:
            self._is_shut_down = True
            self._waiter.finish(cancel_futures=cancel_futures)
        if wait:
            self._waiter.join()


class _Waiter:
    """The one thread that waits for all runs of an executor: an event loop of its own."""

    def __init__(self, max_in_flight: int) -> None:
        self._max_in_flight = max_in_flight
        self._loop = asyncio.new_event_loop()
        self._futures: weakref.WeakSet[Future[Any]] = weakref.WeakSet()
        self._works: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(max_in_flight)
        self._finished = asyncio.Event()
        # It is no reason for the interpreter not to end.
        self._thread = threading.Thread(target=self._run, name="fastflow-futures", daemon=True)
        _waiters.add(self)
        self._thread.start()

    def begin(self, task: AsyncTask[Any, Any], call: Call, future: Future[Any]) -> None:
        """Submits a call once there is room for it."""
        self._futures.add(future)
        self._loop.call_soon_threadsafe(self._begin, task, call, future)

    def _begin(self, task: AsyncTask[Any, Any], call: Call, future: Future[Any]) -> None:
        work = self._loop.create_task(self._serve(task, call, future))
        self._works.add(work)
        work.add_done_callback(self._works.discard)

    async def _serve(self, task: AsyncTask[Any, Any], call: Call, future: Future[Any]) -> None:
        async with self._slots:
            if not future.set_running_or_notify_cancel():
                return
            try:
                submitted = await task._submit(task._flight(call))
                error = await submitted.exception()
                value = None if error is not None else await submitted.result()
            except Exception as failed:
                future.set_exception(failed)
            except BaseException as ended:
                future.set_exception(ended)
                raise
            else:
                if error is not None:
                    future.set_exception(error)
                else:
                    future.set_result(value)

    def finish(self, *, cancel_futures: bool) -> None:
        """Ends the thread once all is done."""
        if cancel_futures:
            for future in list(self._futures):
                future.cancel()
        self._tell(self._finished.set)

    def join(self, timeout: float | None = None) -> None:
        """Waits until the thread has ended."""
        self._thread.join(timeout)

    def abandon(self) -> None:
        """Ends the thread now. Runs go on."""
        self._tell(self._cancel)
        self.join(_EXIT_TIMEOUT_SECONDS)

    def _tell(self, what: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(what)
        except RuntimeError:
            # The loop is closed: there is nothing left to end.
            pass

    def _cancel(self) -> None:
        self._finished.set()
        for work in self._works:
            work.cancel()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._until_finished())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()

    async def _until_finished(self) -> None:
        await self._finished.wait()
        # What was begun before the end was asked for is among them, since the loop keeps the order.
        while self._works:
            await asyncio.wait(self._works)


_waiters: weakref.WeakSet[_Waiter] = weakref.WeakSet()


@atexit.register
def _abandon_all() -> None:
    """Before the flows are closed, which they wait for."""
    for waiter in list(_waiters):
        waiter.abandon()
