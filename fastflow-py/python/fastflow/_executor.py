"""The threads that run the methods of executors."""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import errors
from ._executor_forms import attempt_of, ended_fields, failure_fields, handle_fields, spec_of
from ._fastflow import ExecutorPort
from ._service import started
from ._time import seconds
from .executor import Execution, Executor, Lost, NeverStarted, StartFailure, StopCause, capability_fields

if TYPE_CHECKING:
    import asyncio

    from ._fastflow import Call

MAX_CALL_THREADS = 16
"""Threads that run the methods of one executor which answer soon."""
MAX_WAIT_THREADS = 256
"""Threads in which plain methods of its executions wait for the end of programs."""

_LOG = "fastflow.executor"

_KINDS: tuple[tuple[type[errors.FastflowError], str], ...] = (
    (errors.NotFoundError, "not_found"),
    (errors.AlreadyExistsError, "already_exists"),
    (errors.ConflictError, "conflict"),
    (errors.InvalidError, "invalid"),
    (errors.UnsupportedError, "unsupported"),
    (errors.DeniedError, "denied"),
    (errors.StorageFullError, "storage_full"),
    (errors.UnavailableError, "unavailable"),
    (errors.TimedOutError, "unavailable"),
    (errors.CorruptError, "corrupt"),
)


class ExecutorService:
    """Runs the methods of one executor, in threads that a flow owns."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        call_timeout = seconds(executor.call_timeout, "call_timeout")
        self.port = ExecutorPort(capability_fields(executor.capabilities), call_timeout)
        self._lanes = (_Lane(self, waits=False), _Lane(self, waits=True))
        self._loop = _Loop()

    def start(self) -> None:
        """Begins to answer."""
        for lane in self._lanes:
            lane.grow()

    def end(self) -> None:
        """Answers nothing more."""
        self.port.close()
        self._loop.end()

    def threads(self) -> list[threading.Thread]:
        """Those that were started."""
        return [*self._lanes[0].threads, *self._lanes[1].threads, *self._loop.threads]

    def run(self, call: Call) -> None:
        """Runs a method. One that is awaited is answered later, by the loop."""
        try:
            value = _called(self._executor, call)
            if inspect.isawaitable(value):
                limit = None if call.method == "wait" else seconds(self._executor.call_timeout, "call_timeout")
                self._loop.run(_awaited(call, value, limit))
            else:
                _answer(call, value)
        except BaseException as error:  # Whatever it is, somebody waits for an answer, and the thread has more to do.
            _fail(call, error)


class _Lane:
    """Threads for one kind of calls. There is always one more than are busy, up to the most there may be."""

    def __init__(self, service: ExecutorService, *, waits: bool) -> None:
        self._service = service
        self._waits = waits
        self._most = MAX_WAIT_THREADS if waits else MAX_CALL_THREADS
        self._lock = threading.Lock()
        self.threads: list[threading.Thread] = []

    def grow(self) -> None:
        with self._lock:
            if len(self.threads) < self._most and self._service.port.is_short_of_hands(self._waits):
                self.threads.append(started("fastflow-executor", self._run))

    def _run(self) -> None:
        while (call := self._service.port.next(self._waits)) is not None:
            # Before the method, which may keep this thread.
            self.grow()
            if call.is_wanted():
                self._service.run(call)
            del call


class _Loop:
    """An event loop for methods that are awaited, made when there is one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = False
        self.threads: list[threading.Thread] = []

    def run(self, coroutine: Any) -> None:
        import asyncio

        with self._lock:
            if self._ended:
                coroutine.close()
                raise errors.UnavailableError("the flow of the executor is closed")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self.threads.append(started("fastflow-executor-loop", self._serve(self._loop)))
            asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
        import asyncio

        def serve() -> None:
            asyncio.set_event_loop(loop)
            try:
                loop.run_forever()
            finally:
                waiting = asyncio.all_tasks(loop)
                for task in waiting:
                    task.cancel()
                loop.run_until_complete(asyncio.gather(*waiting, return_exceptions=True))
                loop.close()

        return serve

    def end(self) -> None:
        with self._lock:
            if not self._ended and self._loop is not None:
                self._loop.call_soon_threadsafe(self._loop.stop)
            self._ended = True


async def _awaited(call: Call, value: Any, limit: float | None) -> None:
    import asyncio

    try:
        _answer(call, await asyncio.wait_for(value, limit))
    except asyncio.CancelledError as error:
        _fail(call, errors.UnavailableError("the flow of the executor was closed"))
        raise error
    except BaseException as error:  # As for methods that are not awaited.
        _fail(call, error)


def _called(executor: Executor, call: Call) -> Any:
    execution: Execution | None = call.execution
    given = call.arguments
    if execution is not None:
        if call.method == "stop":
            return execution.stop(given["grace"], StopCause(given["cause"]))
        return execution.wait() if call.method == "wait" else execution.remove()
    if call.method == "start":
        return executor.start(spec_of(given))
    if call.method == "reattach":
        return executor.reattach(attempt_of(given))
    return executor.list(given) if call.method == "list" else executor.probe()


def _answer(call: Call, value: Any) -> None:
    method = call.method
    if method in ("probe", "stop", "remove"):
        call.done("null")
    elif method == "list":
        call.done(json.dumps([handle_fields(handle) for handle in value]))
    elif method == "wait":
        call.done(json.dumps(ended_fields(value)))
    elif isinstance(value, Execution):
        word = "started" if method == "start" else "found"
        call.done(json.dumps({"is": word, "handle": handle_fields(value.handle)}), value)
    elif method == "start" and isinstance(value, StartFailure):
        call.done(json.dumps({"is": "failed", "failure": failure_fields(value)}))
    elif method == "reattach" and isinstance(value, NeverStarted):
        call.done(json.dumps({"is": "never_started"}))
    elif method == "reattach" and isinstance(value, Lost):
        call.done(json.dumps({"is": "lost", "cause": value.cause.value}))
    else:
        raise TypeError(f"`{method}` of an executor must not answer {type(value).__name__}")


def _fail(call: Call, error: BaseException) -> None:
    kind = next((kind for known, kind in _KINDS if isinstance(error, known)), None)
    if kind is None:
        import logging

        kind = "unavailable" if isinstance(error, TimeoutError) else "internal"
        logging.getLogger(_LOG).error("`%s` of an executor has failed", call.method, exc_info=error)
    call.failed(kind, str(error) or type(error).__name__)
