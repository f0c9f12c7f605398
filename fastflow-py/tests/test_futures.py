"""``concurrent.futures`` code moves to isolated runs as it is."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import fastflow
import pytest
from fastflow.futures import FlowExecutor
from programs import LIMIT_SECONDS, wait_until


def square_or_fail(number: int) -> int:
    if number == 5:
        raise ValueError("five")
    return number * number


def waits_for(begun: str, go: str) -> int:
    Path(begun).touch()
    while not os.path.exists(go):
        time.sleep(0.01)
    return os.getpid()


def waits_for_ever(begun: str) -> None:
    Path(begun).touch()
    signal.pause()


def test_code_for_executors_moves_as_it_is(flow: fastflow.Flow) -> None:
    def work(executor: concurrent.futures.Executor) -> list[Any]:
        done: list[Any] = []
        futures = {executor.submit(square_or_fail, number): number for number in range(8)}
        for future in concurrent.futures.as_completed(futures, timeout=LIMIT_SECONDS):
            error = future.exception()
            done.append((futures[future], future.result() if error is None else (type(error), str(error))))
        return [sorted(done), list(executor.map(pow, range(5), range(5)))]

    with concurrent.futures.ThreadPoolExecutor() as threads, FlowExecutor(flow, memory="256m") as isolated:
        assert work(isolated) == work(threads)


def test_futures_are_real_ones(flow: fastflow.Flow, tmp_path: Path) -> None:
    called: list[Future[int]] = []
    paths = str(tmp_path / "begun"), str(tmp_path / "go")
    with FlowExecutor(flow) as executor:
        future = executor.submit(waits_for, *paths)
        future.add_done_callback(called.append)
        wait_until(Path(paths[0]).exists, "the function has begun")
        assert future.running() and not future.cancel() and not future.done()
        done, waiting = concurrent.futures.wait([future], timeout=0.05)
        assert (done, waiting) == (set(), {future})
        with pytest.raises(concurrent.futures.TimeoutError):
            future.result(timeout=0.05)
        Path(paths[1]).touch()
        assert future.result(timeout=LIMIT_SECONDS) != os.getpid()
    assert called == [future]


def test_an_exception_has_the_traceback_of_the_sandbox(flow: fastflow.Flow) -> None:
    with FlowExecutor(flow) as executor, pytest.raises(ValueError, match="five") as caught:
        executor.submit(square_or_fail, 5).result(timeout=LIMIT_SECONDS)
    assert "in square_or_fail" in str(caught.value.__cause__)


def test_what_waits_for_room_can_be_cancelled(flow: fastflow.Flow, tmp_path: Path) -> None:
    paths = str(tmp_path / "begun"), str(tmp_path / "go")
    executor = FlowExecutor(flow, max_in_flight=1)
    first = executor.submit(waits_for, *paths)
    wait_until(Path(paths[0]).exists, "the function has begun")
    second, third, fourth = (executor.submit(square_or_fail, number) for number in range(3))
    assert second.cancel()
    executor.shutdown(wait=False, cancel_futures=True)
    assert third.cancelled() and fourth.cancelled()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(square_or_fail, 1)
    Path(paths[1]).touch()
    executor.shutdown()
    assert first.done() and len(list(flow.runs.list())) == 1
    for future in (second, third, fourth):
        with pytest.raises(CancelledError):
            future.result(timeout=0)


def test_200_futures_have_one_thread_and_no_more_runs_than_they_may(flow: fastflow.Flow) -> None:
    most_runs = most_threads = 0
    of_others = {thread for thread in threading.enumerate() if thread.name == "fastflow-futures"}
    before = threading.active_count()
    with FlowExecutor(flow, max_in_flight=10) as executor:
        futures = [executor.submit(square_or_fail, number + 10) for number in range(200)]
        while not all(future.done() for future in futures):
            unfinished = flow.runs.list(status=[fastflow.Status.PENDING, fastflow.Status.RUNNING])
            most_runs = max(most_runs, len(list(unfinished)))
            now = {thread for thread in threading.enumerate() if thread.name == "fastflow-futures"}
            of_ours = now - of_others
            most_threads = max(most_threads, len(of_ours))
    assert [future.result() for future in futures] == [(number + 10) ** 2 for number in range(200)]
    assert 0 < most_runs <= 10
    assert most_threads == 1
    wait_until(lambda: threading.active_count() <= before, "no thread is left")


def test_an_executor_that_is_dropped_leaves_no_thread_and_no_file(flow: fastflow.Flow) -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    def threads() -> int:
        return sum(thread.name == "fastflow-futures" for thread in threading.enumerate())

    futures = [FlowExecutor(flow).submit(pow, 2, number) for number in range(5)]
    assert [future.result(timeout=LIMIT_SECONDS) for future in futures] == [1, 2, 4, 8, 16]
    wait_until(lambda: threads() == 0, "no thread is left")
    before = open_files()
    for _ in range(20):
        FlowExecutor(flow)
    wait_until(lambda: threads() == 0, "no thread is left")
    # The store opens its connections as they are needed: far fewer than the executors were.
    assert open_files() < before + 10


def test_what_cannot_cross_is_refused_at_once(flow: fastflow.Flow) -> None:
    with FlowExecutor(flow) as executor:
        with pytest.raises(fastflow.InvalidError, match="lambda"):
            executor.submit(lambda: 1)
        with pytest.raises(fastflow.InvalidError, match="tuple"):
            executor.submit(square_or_fail, (1, 2))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with pytest.raises(TypeError):
            executor.submit(square_or_fail)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match="unknown option"):
        FlowExecutor(flow, memmory="1g")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def test_closing_the_flow_ends_what_waits_for_it(flow: fastflow.Flow, tmp_path: Path) -> None:
    executor = FlowExecutor(flow)
    begun = tmp_path / "begun"
    future = executor.submit(waits_for_ever, str(begun))
    wait_until(begun.exists, "the function has begun")
    flow.runs.cancel(next(flow.runs.list()).id)
    with pytest.raises(fastflow.RunFailedError, match="cancelled"):
        future.result(timeout=LIMIT_SECONDS)
    begun.unlink()
    future = executor.submit(waits_for_ever, str(begun))
    wait_until(begun.exists, "the function has begun")
    run = next(flow.runs.list())
    flow.close()
    with pytest.raises(fastflow.ClosedError):
        future.result(timeout=LIMIT_SECONDS)
    executor.shutdown()
    with fastflow.open(tmp_path, data_dir=flow.data_dir) as again:
        assert not again.runs.get(run.id).is_final
        again.runs.cancel(run.id)
        again.runs.wait(run.id, timeout=LIMIT_SECONDS)


@pytest.mark.parametrize("ending", ["pass", "raise SystemExit(0)"])
def test_a_program_ends_while_futures_wait(pipelines: Path, tmp_path: Path, ending: str) -> None:
    script = tmp_path / "script.py"
    begun = tmp_path / "begun"
    script.write_text(
        textwrap.dedent(f"""
        import os, signal, time
        import fastflow
        from fastflow.futures import FlowExecutor

        def f(begun: str) -> None:
            open(begun, "w").close()
            signal.pause()

        flow = fastflow.open({str(pipelines)!r}, data_dir={str(tmp_path / "data")!r}).start()
        executor = FlowExecutor(flow, max_in_flight=1)
        future = executor.submit(f, {str(begun)!r})
        waiting = executor.submit(f, {str(begun)!r})
        while not os.path.exists({str(begun)!r}):
            time.sleep(0.01)
        {ending}
        """)
    )
    start = time.monotonic()
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=LIMIT_SECONDS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - start < 20
    with fastflow.open(pipelines, data_dir=tmp_path / "data") as flow:
        (run,) = flow.runs.list()
        # The program may have begun before that was recorded.
        wait_until(lambda: run.refresh().status is fastflow.Status.RUNNING, "it is found to be running")
        run.cancel()
        assert run.wait(timeout=LIMIT_SECONDS).status is fastflow.Status.CANCELLED


def test_a_fork_is_told_at_once(flow: fastflow.Flow) -> None:
    with FlowExecutor(flow) as executor:
        child = os.fork()
        if child == 0:
            try:
                executor.submit(square_or_fail, 1)
            except fastflow.ForkError:
                os._exit(7)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
