"""Whoever no longer waits for a call has cancelled its run, at whatever instant that comes."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import fastflow
import pytest
from programs import LIMIT_SECONDS


def waits(number: int) -> None:
    signal.pause()


def assert_all_cancelled(flow: fastflow.Flow) -> None:
    """A run that was asked to end may take a while; one that was not would never end."""
    ended = flow.runs.wait_all(flow.runs.list(), timeout=LIMIT_SECONDS)
    assert {run.status for run in ended} <= {fastflow.Status.CANCELLED}


async def test_tasks_of_asyncio_that_are_cancelled_at_any_instant(pipelines: Path, data_dir: Path) -> None:
    async with fastflow.open(pipelines, data_dir=data_dir) as flow:
        task = flow.task(waits)

        async def submits(number: int) -> None:
            await task.submit(number)
            await asyncio.Event().wait()

        async def maps(number: int) -> None:
            async for _ in task.map([number, number], max_in_flight=2):
                pass

        unnoticed: list[Any] = []
        for number in range(40):
            calls = [asyncio.create_task(each) for each in (task(number), maps(number))]  # type: ignore[arg-type, var-annotated]
            await asyncio.sleep(number / 1000)
            for call in calls:
                call.cancel()
            unnoticed += await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in unnoticed)
        submission = asyncio.create_task(submits(1))
        await asyncio.sleep(0)
        submission.cancel()
        await asyncio.gather(submission, return_exceptions=True)
        runs = [run async for run in flow.runs.list()]
        ended = await flow.runs.wait_all(runs, timeout=LIMIT_SECONDS)
        assert {run.status for run in ended} == {fastflow.Status.CANCELLED}


def test_a_map_that_nothing_was_taken_of_leaves_nothing(flow: fastflow.Flow) -> None:
    task = flow.task(waits)
    results = task.map([4, 5])
    del results
    gc.collect()
    unsendable: Any = [1, 2, {3}]
    with pytest.raises(fastflow.InvalidError, match="builtins.set"):
        next(task.map(unsendable))
    assert_all_cancelled(flow)


def test_a_call_that_takes_too_long_is_cancelled(flow: fastflow.Flow) -> None:
    with pytest.raises(fastflow.TimedOutError):
        flow.task(waits).with_options(timeout=5)(1)
    assert_all_cancelled(flow)
    assert len(list(flow.runs.list())) == 1


def test_a_named_submission_that_is_interrupted_goes_on(flow: fastflow.Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    task = flow.task(waits).with_options(key="named")
    call = task.submit(1)

    def interrupted(*_: object) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(flow.runs), "_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        task.submit(1)
    with pytest.raises(KeyboardInterrupt):
        task.with_options().submit(2)
    monkeypatch.undo()
    assert not call.done(timeout=LIMIT_SECONDS)
    assert len(list(flow.runs.list())) == 2
    call.cancel()
    assert_all_cancelled(flow)


PROGRAM = """
import asyncio, os, signal, sys, threading
import fastflow
# Before Python 3.12, an interrupt while a module is loaded comes out as whatever its class bodies make of it.
import fastflow.task_runs, fastflow.tasks

def waits(number: int) -> None:
    signal.pause()

def sync_call(flow) -> None:
    flow.task(waits)(1)

def sync_map(flow) -> None:
    list(flow.task(waits).map(range(3)))

def async_call(flow) -> None:
    async def main() -> None:
        async with fastflow.open({pipelines!r}, data_dir={data_dir!r}) as mine:
            armed()
            task = mine.task(waits)
            await asyncio.gather(task(1), task(2), return_exceptions=True)

    asyncio.run(main())

def armed() -> None:
    # It comes again: one that comes in a destructor is lost, as everywhere in Python.
    signal.setitimer(signal.ITIMER_REAL, MILLIS / 1000, {again_seconds})

signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
with fastflow.open({pipelines!r}, data_dir={data_dir!r}) as flow:
    for MILLIS in {millis}:
        try:
            if {kind!r} != "async_call":
                armed()
            {kind}(flow)
        except KeyboardInterrupt:
            signal.setitimer(signal.ITIMER_REAL, 0)
            continue
        raise AssertionError("it was not interrupted")
"""


@pytest.mark.parametrize(
    ("kind", "millis"),
    [
        ("sync_call", [0.1, *range(1, 40, 2), 100, 400]),
        ("sync_map", [0.1, *range(1, 40, 4), 100]),
        ("async_call", [0.1, *range(1, 30, 8), 100]),
    ],
)
def test_an_interrupt_at_any_instant(
    kind: str, millis: list[float], pipelines: Path, data_dir: Path, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    program = textwrap.dedent(PROGRAM)
    folders = {"pipelines": str(pipelines), "data_dir": str(data_dir)}
    script.write_text(program.format(kind=kind, millis=millis, again_seconds=LIMIT_SECONDS / 4, **folders))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=2 * LIMIT_SECONDS)
    assert done.returncode == 0, done.stderr
    for fault in ("never awaited", "Fatal Python error", "panicked"):
        assert fault not in done.stderr, done.stderr
    with fastflow.open(pipelines, data_dir=data_dir) as flow:
        # The last interrupts come when there is one.
        assert list(flow.runs.list(limit=1))
        assert_all_cancelled(flow)
