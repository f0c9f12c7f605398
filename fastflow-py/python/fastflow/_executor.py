"""The threads that run the methods of executors, and the forms in which questions and answers cross."""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from . import errors
from ._fastflow import ExecutorPort
from ._service import started
from ._time import seconds
from .executor import (
    AttemptRef,
    AttemptSpec,
    Ended,
    Execution,
    ExecutionHandle,
    Executor,
    Exited,
    Limits,
    Lost,
    LostCause,
    NeverStarted,
    StartFailure,
    StartFailureKind,
    StopCause,
    capability_fields,
)

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
        self.port = ExecutorPort(capability_fields(executor.capabilities), seconds(executor.call_timeout))
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
                limit = None if call.method == "wait" else seconds(self._executor.call_timeout)
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
        return executor.start(AttemptSpec(**{**given, "limits": Limits(**given["limits"])}))
    if call.method == "reattach":
        handle = given["handle"]
        return executor.reattach(AttemptRef(**{**given, "handle": handle and ExecutionHandle(**handle)}))
    return executor.list(given) if call.method == "list" else executor.probe()


def _answer(call: Call, value: Any) -> None:
    method = call.method
    if method in ("probe", "stop", "remove"):
        call.done("null")
    elif method == "list":
        call.done(json.dumps([_handle_fields(handle) for handle in value]))
    elif method == "wait":
        call.done(json.dumps(_ended_fields(value)))
    elif isinstance(value, Execution):
        word = "started" if method == "start" else "found"
        call.done(json.dumps({"is": word, "handle": _handle_fields(value.handle)}), value)
    elif method == "start" and isinstance(value, StartFailure):
        call.done(json.dumps({"is": "failed", "failure": _failure_fields(value)}))
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


def spec_fields(spec: AttemptSpec) -> dict[str, Any]:
    """What the shim needs of a spec."""
    limits = spec.limits
    return {
        "id": spec.id,
        "owner": spec.owner,
        "argv": list(spec.argv),
        "env": dict(spec.env),
        "secret_env": dict(spec.secret_env),
        "secret_files": dict(spec.secret_files),
        "masked_files": list(spec.masked_files),
        "working_dir": spec.working_dir,
        "run_dir": spec.run_dir,
        "limits": {
            "soft_cpu_millis": limits.soft_cpu_millis,
            "soft_memory_bytes": limits.soft_memory_bytes,
            "timeout": None if limits.timeout is None else limits.timeout.total_seconds(),
            "stop_grace": limits.stop_grace.total_seconds(),
            "log_max_bytes": limits.log_max_bytes,
            "log_tail_bytes": limits.log_tail_bytes,
            "usage_interval": limits.usage_interval.total_seconds(),
        },
    }


def handle_json(handle: ExecutionHandle) -> str:
    """A handle as it is stored."""
    return json.dumps(_handle_fields(handle))


def _handle_fields(handle: ExecutionHandle) -> dict[str, Any]:
    return {"attempt": handle.attempt, "native_id": handle.native_id, "detail": handle.detail}


def _failure_fields(failure: StartFailure) -> dict[str, Any]:
    return {"kind": failure.kind.value, "message": failure.message}


def _ended_fields(ended: Ended) -> dict[str, Any]:
    if isinstance(ended, StartFailure):
        return {"is": "not_executed", "failure": _failure_fields(ended)}
    if isinstance(ended, Lost):
        return {"is": "lost", "cause": ended.cause.value}
    if not isinstance(ended, Exited):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"`wait` of an execution must not answer {type(ended).__name__}")
    report: dict[str, Any] = {
        "exit": _exit(ended),
        "stopped_by": _cause(ended.stopped_by),
        "started_at": _time(ended.started_at),
        "ended_at": _time(ended.ended_at),
        "duration": _duration(ended.duration),
        "cpu_time": None if ended.cpu_time is None else _duration(ended.cpu_time),
        "peak_memory_bytes": ended.peak_memory_bytes,
        "oom_kills": ended.oom_kills,
        "log": {
            "bytes": ended.log_bytes,
            "dropped_bytes": ended.log_dropped_bytes,
            "complete": ended.log_complete,
            "masked": ended.masked,
        },
    }
    return {"is": "exited", "report": report}


def _exit(ended: Exited) -> Any:
    if ended.out_of_memory:
        return "out_of_memory"
    if ended.signal is not None:
        return {"signal": ended.signal}
    if ended.exit_code is None:
        raise ValueError("the end of a program has an exit code, a signal, or is for want of memory")
    return {"code": ended.exit_code}


def _cause(cause: StopCause | None) -> Any:
    if cause is None or cause in (StopCause.CANCELLED, StopCause.TIMED_OUT):
        return cause and cause.value
    return {"unhealthy": cause.value}


def _time(time: datetime) -> str:
    return time.astimezone(timezone.utc).isoformat()


def _duration(duration: timedelta) -> dict[str, int]:
    micros = duration // timedelta(microseconds=1)
    return {"secs": micros // 1_000_000, "nanos": micros % 1_000_000 * 1000}


def ended_of(text: str) -> Ended:
    """An end, as it is stored."""
    ended = json.loads(text)
    if ended["is"] == "not_executed":
        failure = ended["failure"]
        return StartFailure(kind=StartFailureKind(failure["kind"]), message=failure["message"])
    if ended["is"] == "lost":
        return Lost(LostCause(ended["cause"]))
    report = ended["report"]
    exit_, cause, log = report["exit"], report["stopped_by"], report["log"]
    return Exited(
        exit_code=exit_.get("code") if isinstance(exit_, dict) else None,
        signal=exit_.get("signal") if isinstance(exit_, dict) else None,
        out_of_memory=exit_ == "out_of_memory",
        stopped_by=cause and StopCause(cause["unhealthy"] if isinstance(cause, dict) else cause),
        started_at=_time_of(report["started_at"]),
        ended_at=_time_of(report["ended_at"]),
        duration=_duration_of(report["duration"]),
        cpu_time=report["cpu_time"] and _duration_of(report["cpu_time"]),
        peak_memory_bytes=report["peak_memory_bytes"],
        oom_kills=report["oom_kills"],
        log_bytes=log["bytes"],
        log_dropped_bytes=log["dropped_bytes"],
        log_complete=log["complete"],
        masked=log["masked"],
    )


def _time_of(text: str) -> datetime:
    # Before 3.11, the library reads 3 or 6 digits after the point, and no "Z".
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{(fraction + '000000')[:6]}+00:00")


def _duration_of(duration: dict[str, int]) -> timedelta:
    return timedelta(seconds=duration["secs"], microseconds=duration["nanos"] // 1000)
