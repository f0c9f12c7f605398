"""A host that forks. The child leaves its `with` blocks and ends as any program does, with all that its parent had open."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import os
import sys

import fastflow

WAY, PIPELINES, DATA_DIR = sys.argv[1:4]


def fork() -> bool:
    """Whether this is the child. The parent waits for it, and ends as it has ended."""
    pid = os.fork()
    if pid == 0:
        return True
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    print(f"the child has ended with {code}", flush=True)
    return False


def blocking() -> None:
    """A fork with calls begun, streams half read, and a block to leave."""
    with fastflow.open(PIPELINES, data_dir=DATA_DIR) as flow:
        run = flow.run("hello", parameters={"who": "you"})
        logs = run.logs()
        print(next(logs).stream, flush=True)
        events = flow.source.events()
        operation = flow.runs._native.get(str(run.id))
        if fork():
            for use in (lambda: next(logs), lambda: next(events), operation.block, lambda: flow.run("hello")):
                try:
                    use()
                except fastflow.ForkError:
                    continue
                os._exit(2)
            del logs, events, operation, run
            return
        assert run.wait(timeout=60).status is fastflow.Status.SUCCESS
        assert [line.text for line in logs][-1]


async def awaiting() -> None:
    """The same, with a loop: calls that are awaited by tasks."""
    async with fastflow.open(PIPELINES, data_dir=DATA_DIR) as flow:
        run = await flow.run("hello", parameters={"who": "you"})
        waiting = asyncio.ensure_future(run.wait(timeout=60))
        logs = run.logs()
        await logs.__anext__()
        if fork():
            for use in (lambda: flow.runs.get(run.id), logs.__anext__):
                try:
                    use().__await__().__next__()
                except fastflow.ForkError:
                    continue
                os._exit(2)
            waiting.cancel()
            return
        assert (await waiting).status is fastflow.Status.SUCCESS
        assert [line.text async for line in logs][-1]


def left_open() -> None:
    """A flow that nobody closes; a child may open none, wherever, and ends."""
    flow = fastflow.open(PIPELINES, data_dir=DATA_DIR).start()
    if fork():
        for data_dir in (DATA_DIR, DATA_DIR + " of the child"):
            try:
                fastflow.open(PIPELINES, data_dir=data_dir).start(timeout=1)
            except fastflow.ForkError:
                continue
            sys.exit(1)
        sys.exit(0)
    assert flow.run("hello").wait(timeout=60).status is fastflow.Status.SUCCESS


def closed() -> None:
    """A flow that was closed before the fork: both may open one of the same data directory, and use it."""
    with fastflow.open(PIPELINES, data_dir=DATA_DIR) as flow:
        flow.run("hello").wait(timeout=60)
    fork()
    with fastflow.open(PIPELINES, data_dir=DATA_DIR) as flow:
        for _ in range(5):
            assert flow.run("hello").wait(timeout=60).status is fastflow.Status.SUCCESS


if WAY == "awaiting":
    asyncio.run(awaiting())
else:
    {"blocking": blocking, "closed": closed, "left_open": left_open}[WAY]()
