"""The events: each change of a run's state, in order, live, resumable."""

from __future__ import annotations

import threading
from itertools import islice
from pathlib import Path

import fastflow
import pytest
from fastflow import Event, Status


def until_the_end(events: list[Event], event: Event) -> bool:
    events.append(event)
    return event.status.is_final


def test_a_run_from_its_submission_to_its_end(flow: fastflow.Flow) -> None:
    run = flow.run("hello")
    seen: list[Event] = []
    for event in flow.events():
        if until_the_end(seen, event):
            break
    assert [event.name for event in seen] == ["submitted", "claimed", "started", "exited"]
    assert [event.status for event in seen] == [Status.PENDING, Status.PENDING, Status.RUNNING, Status.SUCCESS]
    assert {(event.run, event.pipeline) for event in seen} == {(run.id, "hello")}
    assert [event.attempt for event in seen] == [0, 1, 1, 1]
    assert seen == sorted(seen, key=lambda event: event.id)
    ended = run.refresh()
    assert (seen[0].time, seen[-1].time) == (ended.created_at, ended.finished_at)


@pytest.mark.parametrize("by", ["event", "id"])
def test_who_was_interrupted_goes_on(flow: fastflow.Flow, by: str) -> None:
    flow.run("hello").wait()
    first, *rest = islice(flow.events(), 4)
    assert list(islice(flow.events(after=first if by == "event" else first.id), 3)) == rest


def test_it_goes_on_in_another_flow(pipelines: Path, data_dir: Path) -> None:
    with fastflow.open(pipelines, data_dir=data_dir) as flow:
        flow.run("hello").wait()
        last = list(islice(flow.events(), 4))[-1]
    with fastflow.open(pipelines, data_dir=data_dir) as flow:
        run = flow.run("hello")
        event = next(flow.events(after=last))
    assert (event.run, event.name) == (run.id, "submitted")


def test_new_ones_come_live(flow: fastflow.Flow) -> None:
    events = flow.events(timeout=60)
    seen: list[Event] = []
    began = threading.Event()

    def read() -> None:
        began.set()
        for event in events:
            if until_the_end(seen, event):
                return

    reader = threading.Thread(target=read)
    reader.start()
    began.wait()
    run = flow.run("hello")
    reader.join(60)
    assert not reader.is_alive()
    assert seen[-1].run == run.id


def test_waiting_has_an_end_and_goes_on(flow: fastflow.Flow) -> None:
    events = flow.events(timeout=0.05)
    with pytest.raises(fastflow.TimedOutError):
        next(events)
    run = flow.run("hello").wait()
    seen: list[fastflow.Event] = []
    while len(seen) < 4:
        try:
            seen.append(next(events))
        except fastflow.TimedOutError:
            continue
    assert [event.run for event in seen] == [run.id] * 4


def test_a_flow_that_closes_ends_it(pipelines: Path, data_dir: Path) -> None:
    flow = fastflow.open(pipelines, data_dir=data_dir).start()
    events = flow.events()
    flow.run("hello").wait()
    assert len(list(islice(events, 4))) == 4
    flow.close()
    with pytest.raises(fastflow.ClosedError):
        next(events)


async def test_with_asyncio(pipelines: Path, data_dir: Path) -> None:
    async with fastflow.open(pipelines, data_dir=data_dir) as flow:
        run = await flow.run("hello")
        seen: list[Event] = []
        async for event in flow.events():
            if until_the_end(seen, event):
                break
        assert [event.run for event in seen] == [run.id] * 4
        assert await anext(flow.events(after=seen[0])) == seen[1]
        with pytest.raises(fastflow.TimedOutError):
            await anext(flow.events(after=seen[-1], timeout=0.05))
