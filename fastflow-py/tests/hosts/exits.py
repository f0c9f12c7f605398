"""A host that ends while runs are in flight and threads and tasks of its own wait for them.

Prints the id of each run that was accepted. Called with the way to end, the folder of pipelines, the data directory and
the file for the programs' marks.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

import fastflow

WAY, PIPELINES, DATA_DIR, MARK = sys.argv[1:]
RUNS = 2
AGAIN_SECONDS = 10


def to_the_end(work: Callable[[], object]) -> None:
    """Works until it is done, or the flow is closed."""
    with contextlib.suppress(fastflow.ClosedError):
        work()


def busy(flow: fastflow.Flow) -> fastflow.Run:
    """Submits, and begins to read and to wait in threads that nobody joins."""
    runs: list[fastflow.Run] = []
    for _ in range(RUNS):
        run = flow.run("marks", parameters={"MARK": MARK})
        print(run.id, flush=True)
        runs.append(run)
        threading.Thread(target=to_the_end, args=[lambda run=run: list(run.logs())], daemon=True).start()
        threading.Thread(target=to_the_end, args=[run.wait], daemon=True).start()
    return runs[-1]


async def busy_tasks(flow: fastflow.AsyncFlow) -> list[asyncio.Task[None]]:
    """The same with tasks."""

    async def wait(run: fastflow.AsyncRun) -> None:
        with contextlib.suppress(fastflow.ClosedError):
            await run.wait()

    tasks: list[asyncio.Task[None]] = []
    for _ in range(RUNS):
        run = await flow.run("marks", parameters={"MARK": MARK})
        print(run.id, flush=True)
        tasks.append(asyncio.create_task(wait(run)))
    await asyncio.sleep(0)
    return tasks


def opened() -> fastflow.Flow:
    return fastflow.open(PIPELINES, data_dir=DATA_DIR).start()


def clean() -> None:
    with fastflow.open(PIPELINES, data_dir=DATA_DIR) as flow:
        busy(flow)


def left_open() -> None:
    # Kept to the end by the module, as applications do.
    globals()["flow"] = opened()
    busy(globals()["flow"])


def raises() -> None:
    with fastflow.open(PIPELINES, data_dir=DATA_DIR) as flow:
        busy(flow)
        raise ValueError("on purpose")


def sys_exit() -> None:
    busy(opened())
    sys.exit(3)


def os_exit() -> None:
    busy(opened())
    os._exit(4)


def terminated() -> None:
    busy(opened())
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()


def interrupt() -> None:
    """Again and again: one that comes in a destructor is lost, as everywhere in Python."""
    time.sleep(0.01)
    while True:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(AGAIN_SECONDS)


def interrupted() -> None:
    with fastflow.open(PIPELINES, data_dir=DATA_DIR) as flow:
        run = busy(flow)
        threading.Thread(target=interrupt, daemon=True).start()
        while True:
            run.wait()


def tasks_left() -> None:
    async def main() -> None:
        async with fastflow.open(PIPELINES, data_dir=DATA_DIR) as flow:
            await busy_tasks(flow)

    asyncio.run(main())


def loop_left() -> None:
    async def main() -> None:
        globals()["flow"] = await fastflow.open(PIPELINES, data_dir=DATA_DIR)
        await busy_tasks(globals()["flow"])

    asyncio.run(main())


def thread_holds_on() -> None:
    flow = opened()
    run = busy(flow)
    # The interpreter waits for this thread before it ends; the flow is still there for it.
    threading.Thread(target=to_the_end, args=[run.wait]).start()


WAYS: dict[str, Callable[[], None]] = {
    way.__name__: way
    for way in (
        clean,
        left_open,
        raises,
        sys_exit,
        os_exit,
        terminated,
        interrupted,
        tasks_left,
        loop_left,
        thread_holds_on,
    )
}

if __name__ == "__main__":
    WAYS[WAY]()
