"""What a flow has is gone when it is closed, whoever still knows it; and a loop that is closed leaves nothing behind."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastflow
import pytest
from programs import wait_until

CYCLES = 30
LOOPS = 50


def descriptors() -> dict[str, str]:
    """The open files of this process, by their numbers."""
    found: dict[str, str] = {}
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[number] = os.readlink(f"/proc/self/fd/{number}")
    return found


def at_rest() -> tuple[int, int]:
    """How many open files and threads there are, once those that watched folders have ended: nobody waits for them."""

    def watching() -> bool:
        return any("inotify" in file for file in descriptors().values())

    wait_until(lambda: not watching(), "nothing is watched")
    return len(descriptors()), len(os.listdir("/proc/self/task"))


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Whatever goes, goes without the collector of cycles."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_opening_and_closing_leaves_nothing_behind(pipelines: Path, data_dir: Path, no_collector: None) -> None:
    def once() -> fastflow.Flow:
        with fastflow.open(pipelines, data_dir=data_dir) as flow:
            flow.host()
        return flow

    once()
    before = at_rest()
    closed = [once() for _ in range(CYCLES)]
    wait_until(lambda: all(now <= then for now, then in zip(at_rest(), before, strict=True)), "files and threads are as many as before")
    assert not any(str(data_dir) in file for file in descriptors().values())
    assert all(repr(flow) for flow in closed)


async def test_opening_and_closing_in_one_loop_leaves_nothing_behind(
    pipelines: Path, data_dir: Path, no_collector: None
) -> None:
    async def once() -> fastflow.AsyncFlow:
        async with fastflow.open(pipelines, data_dir=data_dir) as flow:
            await flow.host()
        return flow

    await once()
    before, _ = at_rest()
    closed = [await once() for _ in range(CYCLES)]
    wait_until(lambda: at_rest()[0] <= before, "files are as many as before")
    assert all(repr(flow) for flow in closed)


def test_loops_that_close_under_a_wait_leave_nothing_behind(pipelines: Path, data_dir: Path) -> None:
    opening = fastflow.open(pipelines, data_dir=data_dir)
    keeper = asyncio.new_event_loop()

    async def opened() -> fastflow.AsyncFlow:
        return await opening

    flow = keeper.run_until_complete(opened())

    def once() -> None:
        loop = asyncio.new_event_loop()

        async def begin() -> asyncio.Task[Any]:
            events = flow.events()
            waiting = asyncio.ensure_future(events.__anext__())
            await flow.host()
            return waiting

        waiting = loop.run_until_complete(begin())
        assert not waiting.done()
        waiting._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.close()

    once()
    once()
    gc.collect()
    before = len(descriptors())
    for _ in range(LOOPS):
        once()
    gc.collect()
    # The store opens its connections as they are needed, and a folder may be watched from now on.
    after = descriptors()
    assert len(after) - before < LOOPS // 5, after
    keeper.run_until_complete(flow.close())
    keeper.close()


def test_the_loop_goes_on_while_a_flow_closes(pipelines: Path, data_dir: Path) -> None:
    stopped_in: list[threading.Thread] = []

    async def main() -> None:
        async with fastflow.open(pipelines, data_dir=data_dir) as flow:
            await flow.host()
            service = _Noting(stopped_in)
            from fastflow.flow import _open_engines

            _open_engines[flow._engine].append(service)

    asyncio.run(main())
    assert stopped_in and stopped_in[0] is not threading.main_thread()


class _Noting:
    """Notes which thread ends it."""

    def __init__(self, ended_in: list[threading.Thread]) -> None:
        self._ended_in = ended_in

    def start(self) -> None: ...

    def end(self) -> None:
        self._ended_in.append(threading.current_thread())

    def threads(self) -> list[threading.Thread]:
        return []


def test_a_failing_future_keeps_no_other_waiting(
    pipelines: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", lambda unraisable: told.append(unraisable.exc_value))

    class Broken(asyncio.Future[Any]):
        def set_result(self, result: Any) -> None:
            raise RuntimeError("no room for a result")

    class Loop(asyncio.SelectorEventLoop):
        breaks = False

        def create_future(self) -> asyncio.Future[Any]:
            if not self.breaks:
                return super().create_future()
            self.breaks = False
            return Broken(loop=self)

    loop = Loop()

    async def main() -> None:
        async with fastflow.open(pipelines, data_dir=data_dir) as flow:

            async def ask() -> None:
                await flow.host()

            async def ask_broken() -> None:
                loop.breaks = True
                await ask()

            broken = loop.create_task(ask_broken())
            others = [loop.create_task(ask()) for _ in range(50)]
            # They all begin, and this thread does not look at what has come before all have.
            loop.call_soon(flow._engine.host().block)
            await asyncio.wait_for(asyncio.gather(*others), 30)
            broken.cancel()

    loop.run_until_complete(main())
    loop.close()
    assert [str(error) for error in told] == ["no room for a result"]


def test_no_descriptor_left_is_unavailable(pipelines: Path, data_dir: Path) -> None:
    with fastflow.open(pipelines, data_dir=data_dir):
        pass
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opening = fastflow.open(pipelines, data_dir=data_dir)
    # No number below the highest is free.
    last = max(int(number) for number in descriptors())
    fillers = [os.open(os.devnull, os.O_RDONLY)]
    while fillers[-1] < last:
        fillers.append(os.open(os.devnull, os.O_RDONLY))
    used = fillers[-1] + 1
    found: list[type[BaseException]] = []
    try:
        for spare in range(40):
            resource.setrlimit(resource.RLIMIT_NOFILE, (used + spare, hard))
            try:
                opening.start().close()
            except (fastflow.FastflowError, RuntimeError) as error:
                found.append(type(error))
            else:
                break
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for filler in fillers:
            os.close(filler)
    assert fastflow.UnavailableError in found and fastflow.DeniedError not in found, found


def opened_in(loop: asyncio.AbstractEventLoop, opening: fastflow.Opening) -> fastflow.AsyncFlow:
    """A flow that this loop has opened, and that nobody closes."""

    async def opened() -> fastflow.AsyncFlow:
        return await opening

    return loop.run_until_complete(opened())


def bells() -> int:
    """How many event loops can be told of something."""
    return sum("eventfd" in file for file in descriptors().values())


def can_host(pipelines: Path, data_dir: Path) -> bool:
    """Whether nobody hosts this data directory."""
    try:
        fastflow.open(pipelines, data_dir=data_dir, hosting="required").start().close()
    except fastflow.ConflictError:
        return False
    return True


def test_a_flow_whose_loop_closes_under_a_wait_is_collected(pipelines: Path, data_dir: Path) -> None:
    def left() -> weakref.ref[Any]:
        loop = asyncio.new_event_loop()
        flow = opened_in(loop, fastflow.open(pipelines, data_dir=data_dir, hosting="required"))

        async def begin() -> asyncio.Task[Any]:
            waiting = asyncio.ensure_future(anext(flow.events()))
            await flow.host()
            return waiting

        waiting = loop.run_until_complete(begin())
        assert not waiting.done()
        waiting._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.close()
        return weakref.ref(flow._engine)

    engine = left()
    gc.collect()
    assert engine() is None
    wait_until(lambda: can_host(pipelines, data_dir), "its host is gone")


def test_a_flow_that_is_dropped_leaves_no_bell_in_a_loop_that_goes_on(pipelines: Path, data_dir: Path) -> None:
    loop = asyncio.new_event_loop()
    readers = len(loop._selector.get_map())  # type: ignore[attr-defined] # pyright: ignore

    def none_left() -> bool:
        loop.run_until_complete(asyncio.sleep(0))
        gc.collect()
        return len(loop._selector.get_map()) == readers  # type: ignore[attr-defined,no-any-return] # pyright: ignore

    for _ in range(3):
        flow = opened_in(loop, fastflow.open(pipelines, data_dir=data_dir))
        del flow
    wait_until(none_left, "the loop reads nothing of theirs")
    loop.close()


async def test_a_closed_flow_that_is_asked_once_more_opens_no_bell(pipelines: Path, data_dir: Path) -> None:
    flow = await fastflow.open(pipelines, data_dir=data_dir)
    await flow.close()
    selector: Any = asyncio.get_running_loop()._selector  # type: ignore[attr-defined] # pyright: ignore
    before = len(selector.get_map())
    with pytest.raises(fastflow.ClosedError):
        await flow.host()
    assert len(selector.get_map()) <= before


def test_loops_of_many_threads_share_a_flow(pipelines: Path, data_dir: Path) -> None:
    keeper = asyncio.new_event_loop()
    flow = opened_in(keeper, fastflow.open(pipelines, data_dir=data_dir, hosting="never"))
    failed: list[BaseException] = []

    async def ask() -> None:
        await flow.host()

    def work() -> None:
        try:
            for _ in range(LOOPS):
                asyncio.run(ask())
        except BaseException as error:
            failed.append(error)

    # Many that are known already take long to be looked through.
    known = [asyncio.new_event_loop() for _ in range(LOOPS)]
    for loop in known:
        loop.run_until_complete(ask())
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    keeper.run_until_complete(flow.close())
    for loop in (*known, keeper):
        loop.close()
    assert failed == []


def test_threads_may_close_a_flow_at_one_time(pipelines: Path, data_dir: Path) -> None:
    failed: list[BaseException] = []
    for _ in range(10):
        flow = fastflow.open(pipelines, data_dir=data_dir).start()
        together = threading.Barrier(4)

        def close(flow: fastflow.Flow = flow, together: threading.Barrier = together) -> None:
            together.wait()
            try:
                flow.close()
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=close) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == []


def test_an_end_that_was_begun_needs_nobody_to_wait_for_it(pipelines: Path, data_dir: Path) -> None:
    flow = fastflow.open(pipelines, data_dir=data_dir, hosting="required").start()
    closed = flow._engine.close().begun()
    wait_until(lambda: can_host(pipelines, data_dir), "its host is gone")
    closed.block()
    flow.close()
