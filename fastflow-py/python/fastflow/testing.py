"""What tests need: a clock that is moved by hand, a flow in memory, and the contract of executors as test cases.

A schedule, tried without waiting for its day::

    clock = fastflow.testing.ManualClock(datetime(2030, 1, 1, tzinfo=timezone.utc))
    with fastflow.testing.flow("pipelines", clock=clock) as flow:
        clock.advance(timedelta(days=1))
        fastflow.testing.wait_until(lambda: list(flow.runs.list(pipeline="nightly")))
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from ._executor import ExecutorService
from ._fastflow import ManualClock as _NativeClock
from ._fastflow import executor_cases as _executor_cases
from ._fastflow import run_executor_case
from ._service import end_all
from ._time import Duration, seconds
from .errors import TimedOutError
from .executor import Executor
from .flow import ANSWER_TIMEOUT_SECONDS, Opening
from .flow import open as _open

_T = TypeVar("_T")

CASE_TIMEOUT_SECONDS = 60.0
"""How long one case of the conformance suite may take."""

_LOOK_SECONDS = 0.01


class ManualClock:
    """A clock for a flow, whose wall time stands still until it is moved.

    Programs are real, and take real time: time limits pass as on any clock, and jump with this one.

    Args:
        now: the time that it shows; this moment when nothing is said. With a time zone.

    >>> from datetime import timedelta
    >>> clock = fastflow.testing.ManualClock(datetime(2030, 1, 1, tzinfo=timezone.utc))
    >>> clock.advance(timedelta(days=1))
    >>> print(clock.now)
    2030-01-02 00:00:00+00:00
    """

    __slots__ = ("_native",)

    def __init__(self, now: datetime | None = None) -> None:
        self._native = _NativeClock(datetime.now(timezone.utc) if now is None else now)

    @property
    def now(self) -> datetime:
        """The time that it shows."""
        return self._native.now

    def advance(self, by: Duration) -> None:
        """Moves it forward at once, as if the machine had slept.

        Schedules do with what they have missed as they say.
        """
        self._native.advance(seconds(by, "by"))

    def __repr__(self) -> str:
        return f"<fastflow.testing.ManualClock {self.now.isoformat()}>"


def flow(
    pipelines: str | os.PathLike[str],
    *,
    clock: ManualClock | None = None,
    executors: Mapping[str, Executor] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    timeout: Duration = ANSWER_TIMEOUT_SECONDS,
    **options: Any,
) -> Opening:
    """Opens a flow for a test: its runs and schedules are in memory, and nothing of it is left afterwards.

    Programs run as everywhere else. Those that have not ended when it is closed are stopped: nobody could find them.
    The same as :func:`fastflow.open`, for ``with`` and for ``async with``.

    Args:
        pipelines: the folder of pipelines.
        clock: its clock; one that stands still at this moment when nothing is said.
        executors: what runs programs; local processes when nothing is said.
        data_dir: where the files of runs and environments are kept; a folder that is removed when nothing is said.
        timeout: how long calls wait for their answers when they do not say.
        options: whatever else :func:`fastflow.open` takes.

    >>> with fastflow.testing.flow(pipelines) as flow:
    ...     flow.run("hello").wait().status
    <Status.SUCCESS: 'SUCCESS'>
    """
    folder = Path(tempfile.gettempdir(), f"fastflow-test-{uuid4().hex}") if data_dir is None else Path(data_dir)
    opening = _open(pipelines, data_dir=folder, executors=executors, timeout=timeout, **options)
    native = (clock or ManualClock())._native  # pyright: ignore[reportPrivateUsage]
    left = [_Folder(folder)] if data_dir is None else []
    return opening._for_tests(native, *left)  # pyright: ignore[reportPrivateUsage]


class _Folder:
    """A folder that lasts as long as its flow."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def start(self) -> None:
        self._path.mkdir(mode=0o700)

    def end(self) -> None:
        shutil.rmtree(self._path, ignore_errors=True)

    def threads(self) -> list[threading.Thread]:
        return []


def wait_until(condition: Callable[[], _T], *, timeout: Duration = ANSWER_TIMEOUT_SECONDS) -> _T:
    """Waits until something holds, and answers what it was: the first value that is true.

    Raises:
        TimedOutError: when it does not come true in time.

    >>> fastflow.testing.wait_until(lambda: 42)
    42
    """
    end = time.monotonic() + seconds(timeout)
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimedOutError(f"it did not come true within {seconds(timeout)} s")
        time.sleep(_LOOK_SECONDS)
    return value


async def wait_until_async(condition: Callable[[], Awaitable[_T]], *, timeout: Duration = ANSWER_TIMEOUT_SECONDS) -> _T:
    """The same as :func:`wait_until`, for what is awaited."""
    import asyncio

    end = time.monotonic() + seconds(timeout)
    while not (value := await condition()):
        if time.monotonic() > end:
            raise TimedOutError(f"it did not come true within {seconds(timeout)} s")
        await asyncio.sleep(_LOOK_SECONDS)
    return value


def executor_cases() -> list[str]:
    """The names of the cases of the conformance suite of executors, for ``pytest.mark.parametrize``.

    >>> "exit_codes_are_reported" in fastflow.testing.executor_cases()
    True
    """
    return _executor_cases()


def run_case(
    name: str, make_executor: Callable[[], Executor], *, timeout: Duration = CASE_TIMEOUT_SECONDS
) -> list[str]:
    """Runs one case of the conformance suite::

        @pytest.mark.parametrize("case", fastflow.testing.executor_cases())
        def test_contract(case: str, tmp_path: Path) -> None:
            if lacking := fastflow.testing.run_case(case, lambda: MyExecutor(tmp_path)):
                pytest.skip(", ".join(lacking))

    Args:
        name: one of :func:`executor_cases`.
        make_executor: makes an executor. Called twice: both are of one runtime, as two hosts would have it.
        timeout: how long the case may take.

    Returns:
        What the executor does not claim, or the runtime does not have, that the case or a part of it needs.

    Raises:
        AssertionError: when the executor does not keep the contract.
    """
    services = [ExecutorService(make_executor()) for _ in range(2)]
    try:
        for service in services:
            service.start()
        executor, other = (service.port for service in services)
        return run_executor_case(name, executor, other, seconds(timeout))
    finally:
        end_all(services)
