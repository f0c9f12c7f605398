"""A forked child gets an error from everything that its parent has opened, ends at once, and disturbs nobody."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import gc
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import fastflow
import pytest
from fastflow import Status
from programs import wait_until

HERE = Path(__file__).resolve().parent
LIMIT_SECONDS = 60.0
FILES_MAX = 1000
FAULTS = ("Fatal Python error", "panicked", "Segmentation", "Traceback", "destroyed but it is pending", "never awaited")


def in_child(work: Callable[[], None]) -> int:
    """Forks a child that does this work and nothing else: how it has ended."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    ended: list[int] = []

    def has_ended() -> bool:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            ended.append(os.waitstatus_to_exitcode(status))
        return bool(found)

    try:
        wait_until(has_ended, "the child has ended", LIMIT_SECONDS)
    finally:
        if not ended:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return ended[0]


def refused(use: Callable[[], object]) -> None:
    """Ends the child with 2 where something is not refused."""
    try:
        use()
    except fastflow.ForkError:
        return
    os._exit(2)


def uses(flow: fastflow.Flow, run: fastflow.Run) -> dict[str, Callable[[], Any]]:
    """One call of each kind of object."""
    return {
        "run": lambda: flow.run("hello"),
        "runs": lambda: next(flow.runs.list()),
        "logs": lambda: next(iter(run.logs())),
        "usage": lambda: next(iter(flow.runs.usage(run.id, attempt=1))),
        "attempts": run.attempts,
        "secrets": lambda: flow.secrets.set("TOKEN", "correct-horse"),
        "secrets list": lambda: next(flow.secrets.list()),
        "source": lambda: flow.source.sync(),
        "source status": flow.source.status,
        "source events": lambda: next(flow.source.events()),
    }


def test_every_object_is_refused_to_a_child(flow: fastflow.Flow) -> None:
    run = flow.run("hello").wait(timeout=LIMIT_SECONDS)
    assert "ForkError" in fastflow.__all__
    for name, use in uses(flow, run).items():
        assert in_child(partial(refused, use)) == 0, name
    with pytest.raises(StopIteration):
        next(flow.secrets.list())


def test_what_was_begun_before_the_fork_is_refused_and_can_be_dropped(flow: fastflow.Flow) -> None:
    run = flow.run("hello")
    begun = flow.runs._native.wait(str(run.id))
    logs = iter(run.logs())
    first = next(logs)
    events = flow.source.events()
    held: dict[str, Any] = {"begun": begun, "logs": logs, "events": events}

    def child() -> None:
        refused(begun.block)
        refused(lambda: begun.then(str))
        refused(lambda: begun.__await__())
        refused(lambda: next(logs))
        refused(lambda: next(events))
        held.clear()
        gc.collect()

    names = set(held)
    assert in_child(child) == 0
    assert set(held) == names
    # The parent was disturbed by none of it.
    assert begun.block(LIMIT_SECONDS)["status"] == "SUCCESS"
    assert [first.text, *(line.text for line in logs)] == [line.text for line in run.logs()]


def test_closing_does_nothing_in_a_child(pipelines: Path, data_dir: Path) -> None:
    with fastflow.open(pipelines, data_dir=data_dir) as flow:

        def child() -> None:
            flow.close()
            flow.close(drain=5)
            with flow:
                pass

        assert in_child(child) == 0
        assert flow.run("hello").wait(timeout=LIMIT_SECONDS).status is Status.SUCCESS


async def test_tasks_of_a_child_are_refused(pipelines: Path, data_dir: Path) -> None:
    async with fastflow.open(pipelines, data_dir=data_dir) as flow:
        run = await flow.run("hello")
        logs = run.logs()
        await anext(logs)

        async def use() -> None:
            for call in (run.refresh, lambda: anext(logs), lambda: flow.secrets.keys(), lambda: flow.source.status()):
                try:
                    await call()
                except fastflow.ForkError:
                    continue
                os._exit(2)

        def child() -> None:
            # A fork leaves the loop of its parent marked as running.
            asyncio._set_running_loop(None)
            asyncio.run(use())

        assert in_child(child) == 0
        assert (await run.wait(timeout=LIMIT_SECONDS)).status is Status.SUCCESS


async def test_a_child_that_goes_on_with_the_loop_takes_nothing_from_its_parent(pipelines: Path, data_dir: Path) -> None:
    async with fastflow.open(pipelines, data_dir=data_dir) as flow:
        run = await (await flow.run("hello")).wait(timeout=LIMIT_SECONDS)
        waiting = asyncio.ensure_future(flow.runs.get(run.id))
        await asyncio.sleep(0)
        selector: Any = asyncio.get_running_loop()._selector  # type: ignore[attr-defined] # pyright: ignore
        readers = [(key.fd, key.data[0]._callback) for key in selector.get_map().values()]
        (bell,) = [(fd, deliver) for fd, deliver in readers if type(deliver.__self__).__name__ == "Mailbox"]
        assert select.select([bell[0]], [], [], LIMIT_SECONDS)[0], "the answer has come"
        assert in_child(bell[1]) == 0
        is_there = bool(select.select([bell[0]], [], [], 0)[0])
        if not is_there:
            # Or nothing would ever come of this loop any more, not even the end of the test.
            os.eventfd_write(bell[0], 1)
        assert is_there, "the child has taken the answer"
        assert (await asyncio.wait_for(waiting, LIMIT_SECONDS)).id == run.id


@pytest.mark.parametrize("way", ["blocking", "awaiting", "left_open", "closed"])
def test_a_child_ends_as_any_program_does(way: str, pipelines: Path, data_dir: Path) -> None:
    command = [sys.executable, os.fspath(HERE / "hosts" / "forks.py"), way, os.fspath(pipelines), os.fspath(data_dir)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    assert done.returncode == 0, done.stderr
    assert "the child has ended with 0" in done.stdout, (done.stdout, done.stderr)
    for fault in FAULTS:
        assert fault not in done.stderr, done.stderr


def test_a_child_keeps_nobody_from_taking_the_place_of_its_parent(pipelines: Path, data_dir: Path) -> None:
    """The child of a host outlives it, and the next process hosts at once."""
    told, tell = os.pipe()
    hold, let_go = os.pipe()
    program = f"""
import os, fastflow
flow = fastflow.open({os.fspath(pipelines)!r}, data_dir={os.fspath(data_dir)!r}, hosting="required").start()
assert flow.host().is_here
if os.fork() == 0:
    # A child of the child, too.
    if os.fork() == 0:
        os.write({tell}, b"child")
        os.read({hold}, 1)
    os._exit(0)
os.wait()
os.kill(os.getpid(), 9)
"""
    host = subprocess.Popen([sys.executable, "-c", program], pass_fds=(tell, hold))
    # Where it fails, nobody writes, and the read ends.
    os.close(tell)
    os.close(hold)
    assert os.read(told, 5) == b"child"
    assert host.wait(LIMIT_SECONDS) == -9
    try:
        with fastflow.open(pipelines, data_dir=data_dir, hosting="required") as flow:
            host_now = flow.host()
            assert host_now is not None and host_now.is_here and host_now.pid == os.getpid()
    finally:
        for descriptor in (let_go, told):
            os.close(descriptor)


def test_a_grandchild_closes_no_file_of_its_own(pipelines: Path, data_dir: Path, tmp_path: Path) -> None:
    with fastflow.open(pipelines, data_dir=data_dir) as flow:
        locks = flow._engine.inherited_locks()
        assert locks

        def child() -> None:
            for lock in locks:
                assert os.readlink(f"/proc/self/fd/{lock}") == os.devnull
            for lock in locks:
                os.close(lock)
            mine: list[int] = []
            while not set(locks) <= set(mine):
                mine.append(os.open(tmp_path / f"mine {len(mine)}", os.O_CREAT | os.O_RDWR))
                assert len(mine) < FILES_MAX, "their numbers are free"
            assert in_child(lambda: [os.write(own, b"mine") for own in mine] and None) == 0
            for number in range(len(mine)):
                assert (tmp_path / f"mine {number}").read_text() == "mine"

        assert in_child(child) == 0
        assert flow.run("hello").wait(timeout=LIMIT_SECONDS).status is Status.SUCCESS
