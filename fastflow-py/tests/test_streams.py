"""Who is interrupted while iterating, or waits no longer, misses nothing; and a reader who pauses holds little."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import fastflow
import fastflow.events
import pytest
from fastflow import FailureKind, LogLine, SourceEvent, Status, SyncEnded, SyncStarted
from folders import WAITS_FOR_A_FILE, write

LIMIT_SECONDS = 60.0
LINES = 300
RUNS = 20
ROUNDS = 5
LONG_LINES = 256
LONG_LINE_BYTES = 64 * 1024
LONG_LOG_BYTES = LONG_LINES * LONG_LINE_BYTES
PAUSED_READERS = 16
"""More than the store has connections: none of them may hold one while it pauses."""
READERS = 6
BURSTS = f"""
import os, sys, time
for gate, text in (("first", "".join(f"{{number}}\\n" for number in range({LINES}))), ("last", "")):
    print("begun", flush=True)
    while not os.path.exists(os.path.join(os.environ["GATES"], gate)):
        time.sleep(0.01)
    sys.stdout.write(text)
    sys.stdout.flush()
"""
"""Writes many lines at one time, and then nothing until it may end."""
PACKAGE = os.path.dirname(fastflow.__file__)
T = TypeVar("T")


@pytest.fixture
def pipelines(tmp_path: Path) -> Path:
    """Pipelines that write many lines, and long ones, one that fails, and one that waits."""
    folder = tmp_path / "own"
    write(folder, "counts", f"for number in range({LINES}):\n    print(number, flush=True)\n")
    write(folder, "fails", "raise SystemExit(3)")
    write(folder, "long", f"for _ in range({LONG_LINES}):\n    print('x' * {LONG_LINE_BYTES - 1})\n")
    write(folder, "waits", WAITS_FOR_A_FILE)
    write(folder, "bursts", BURSTS)
    return folder


async def test_a_task_that_is_cancelled_before_it_begins_takes_no_line(pipelines: Path, data_dir: Path) -> None:
    async with fastflow.open(pipelines, data_dir=data_dir) as flow:
        run = await (await flow.run("counts")).wait(timeout=LIMIT_SECONDS)
        lines = run.logs()
        seen = [await anext(lines)]
        while seen[-1].text != str(LINES - 1):
            hasty = asyncio.ensure_future(anext(lines))
            hasty.cancel()
            with pytest.raises(asyncio.CancelledError):
                await hasty
            seen.append(await anext(lines))
        texts = [line.text for line in seen if line.stream == "stdout"]
        assert texts == [str(number) for number in range(LINES)]


async def test_a_task_that_is_cancelled_when_its_event_has_come_leaves_it_there(
    pipelines: Path, data_dir: Path
) -> None:
    async with fastflow.open(pipelines, data_dir=data_dir) as flow:
        loop = asyncio.get_running_loop()
        events = flow.events()
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        selector: Any = loop._selector  # type: ignore[attr-defined] # pyright: ignore
        readers = [(key.fd, key.data[0]._callback) for key in selector.get_map().values()]
        (bell,) = [fd for fd, deliver in readers if type(deliver.__self__).__name__ == "Mailbox"]
        run = fastflow.Flow(flow._engine, LIMIT_SECONDS).run("counts", delay=3600)
        assert select.select([bell], [], [], LIMIT_SECONDS)[0], "the event has come"
        # After the loop has heard of it, and before the task goes on: it hears of it in the next turn.
        loop.call_soon(loop.call_soon, waiting.cancel)
        with pytest.raises(asyncio.CancelledError):
            await waiting
        event = await asyncio.wait_for(anext(events), LIMIT_SECONDS)
        assert (event.run, event.name) == (run.id, "submitted")


async def test_waiting_with_a_default_ends_as_any_waiting_does(pipelines: Path, data_dir: Path) -> None:
    async with fastflow.open(pipelines, data_dir=data_dir) as flow:
        waiting = asyncio.ensure_future(anext(flow.events(), None))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(fastflow.TimedOutError):
            await anext(flow.events(timeout=0.05), None)
        run = await (await flow.run("fails")).wait(timeout=LIMIT_SECONDS)
        lines = run.logs()
        while await anext(lines, None) is not None:
            pass


def test_threads_share_what_has_come_at_one_time(flow: fastflow.Flow, tmp_path: Path) -> None:
    for round_ in range(ROUNDS):
        gates = tmp_path / f"gates {round_}"
        gates.mkdir()
        run = flow.run("bursts", parameters={"GATES": str(gates)})
        lines = run.logs(timeout=LIMIT_SECONDS / 2)
        while next(lines).text != "begun":
            pass
        all_there = threading.Barrier(READERS + 1)

        def read(all_there: threading.Barrier = all_there, lines: Iterator[LogLine] = lines) -> LogLine:
            all_there.wait(LIMIT_SECONDS)
            return next(lines)

        with ThreadPoolExecutor(READERS) as threads:
            readers = [threads.submit(read) for _ in range(READERS)]
            all_there.wait(LIMIT_SECONDS)
            (gates / "first").touch()
            # Nothing more comes before the last gate opens.
            assert len({reader.result().text for reader in readers}) == READERS
        (gates / "last").touch()
        assert run.wait(timeout=LIMIT_SECONDS).status is Status.SUCCESS


def test_an_item_that_cannot_be_made_keeps_nobody_from_the_next(
    flow: fastflow.Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = flow.run("fails").wait(timeout=LIMIT_SECONDS)
    made = fastflow.events._event

    def strict(fields: dict[str, Any]) -> fastflow.Event:
        if fields["name"] == "claimed":
            raise ValueError("nobody knows such an event")
        return made(fields)

    monkeypatch.setattr(fastflow.events, "_event", strict)
    events = flow.events()
    seen: list[str] = []
    refused = 0
    while not seen or seen[-1] != "exited":
        try:
            event = next(events)
        except ValueError:
            refused += 1
        else:
            assert event.run == run.id
            seen.append(event.name)
    # Once more than it is there: it might have been an interrupt.
    assert (refused, "submitted" in seen, "started" in seen) == (2, True, True)


async def test_two_tasks_share_what_comes(pipelines: Path, data_dir: Path) -> None:
    async with fastflow.open(pipelines, data_dir=data_dir) as flow:
        events = flow.events()
        waiting = [asyncio.ensure_future(anext(events)) for _ in range(RUNS)]
        await asyncio.sleep(0)
        runs = [await flow.run("counts", delay=3600) for _ in range(RUNS)]
        seen = await asyncio.wait_for(asyncio.gather(*waiting), LIMIT_SECONDS)
        assert sorted(str(event.run) for event in seen) == sorted(str(run.id) for run in runs)


async def test_the_usage_goes_on_after_an_impatient_wait(pipelines: Path, data_dir: Path, tmp_path: Path) -> None:
    async with fastflow.open(pipelines, data_dir=data_dir) as flow:
        run = await flow.run("waits", parameters={"GATE": str(tmp_path / "gate")})
        async for event in flow.events():
            if event.status is Status.RUNNING:
                break
        samples = run.usage()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(samples), 0)
        sample = await asyncio.wait_for(anext(samples), LIMIT_SECONDS)
        assert sample.processes >= 1
        (tmp_path / "gate").touch()
        await run.wait(timeout=LIMIT_SECONDS)


class Interrupted(BaseException):
    """What a handler of a signal may raise between any two lines of Python."""


def interrupted_everywhere(items: Iterator[T], is_enough: Callable[[list[T]], bool]) -> list[T]:
    """Until it is enough, each after it was interrupted once at every line of the package that has a part in it."""
    seen: list[T] = []
    interrupts, line = 0, 0
    while not is_enough(seen):
        lines = 0

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal lines
            if not frame.f_code.co_filename.startswith(PACKAGE):
                return None
            if event == "line":
                lines += 1
                if lines > line:
                    raise Interrupted
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            item = next(items)
        except Interrupted:
            interrupts, line = interrupts + 1, line + 1
        else:
            seen.append(item)
            line = 0
        finally:
            sys.settrace(before)
    assert interrupts >= len(seen)
    return seen


def test_events_that_were_interrupted_come_again(flow: fastflow.Flow) -> None:
    runs = [flow.run("counts", delay=3600) for _ in range(RUNS)]
    seen = interrupted_everywhere(iter(flow.events(timeout=LIMIT_SECONDS)), lambda seen: len(seen) == RUNS)
    assert [(event.run, event.name) for event in seen] == [(run.id, "submitted") for run in runs]


def test_runs_that_were_interrupted_come_again(flow: fastflow.Flow) -> None:
    runs = flow.runs.wait_all([flow.run("fails") for _ in range(3)], timeout=LIMIT_SECONDS)
    ended = flow.runs.as_completed(runs, timeout=LIMIT_SECONDS)
    seen = interrupted_everywhere(iter(ended), lambda seen: len(seen) == len(runs))
    assert sorted(run.id for run in seen) == sorted(run.id for run in runs)
    assert {run.failure.kind for run in seen if run.failure} == {FailureKind.EXIT_CODE}


def test_events_of_the_source_that_were_interrupted_come_again(flow: fastflow.Flow, pipelines: Path) -> None:
    events = flow.source.events(timeout=LIMIT_SECONDS)
    write(pipelines, "new")
    sync = flow.source.sync()

    def has_ended(event: SourceEvent) -> bool:
        return isinstance(event, SyncEnded) and event.sync == sync

    seen = interrupted_everywhere(iter(events), lambda seen: any(map(has_ended, seen)))
    # Whoever watches the folder may have begun one, too, and environments are made meanwhile.
    syncs = [isinstance(event, SyncStarted) for event in seen if isinstance(event, SyncStarted | SyncEnded)]
    syncs = syncs[syncs.index(True) :]
    assert syncs == [True, False] * (len(syncs) // 2)


def read_bytes() -> int:
    """How much this process has read from files so far."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"])


def test_a_reader_who_pauses_has_little_read_ahead(flow: fastflow.Flow) -> None:
    run = flow.run("long").wait(timeout=LIMIT_SECONDS)
    before = read_bytes()
    paused = [run.logs() for _ in range(PAUSED_READERS)]
    for lines in paused:
        assert next(iter(lines)) is not None
    # By then those who read ahead without end have read as much.
    assert sum(len(line.text) + 1 for line in run.logs() if line.stream == "stdout") == LONG_LOG_BYTES
    assert read_bytes() - before < (1 + PAUSED_READERS / 2) * LONG_LOG_BYTES
    # And what they have not read comes all the same.
    assert sum(line.text.count("x") for line in paused[0]) == LONG_LOG_BYTES - LONG_LINES
