"""What was read is a value: it is copied, hashed, compared, pickled and taken to another process like any other."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import fastflow
import pytest
from fastflow import RunData, RunFailedError, Status
from fastflow._frozen import FrozenMapping


def told(flow: fastflow.Flow) -> list[Any]:
    """Something of each class that is read."""
    run = flow.run("etl", parameters={"fail": "no"}).wait()
    broken = flow.run("broken").wait()
    return [
        run,
        broken,
        broken.failure,
        *run.attempts(),
        *broken.attempts(),
        *[attempt.report for attempt in run.attempts()],
        *[attempt.setup for attempt in run.attempts()],
        *run.logs(),
        *flow.pipelines.list(),
        *[pipeline.definition for pipeline in flow.pipelines.list()],
        *flow.schedules.list(),
        flow.source.status(),
        flow.host(),
        FrozenMapping({"a": [1], "b": {}}),
    ]


def as_data(value: Any) -> Any:
    """A run without its flow, as it is after it was copied."""
    if not isinstance(value, RunData):
        return value
    return RunData(**{each.name: getattr(value, each.name) for each in dataclasses.fields(RunData)})


def test_what_is_read_is_a_value(flow: fastflow.Flow) -> None:
    values = [value for value in told(flow) if value is not None]
    kinds = {type(value).__name__ for value in values}
    assert {"Run", "Failure", "Attempt", "ExitReport", "LogLine", "Pipeline", "PipelineDefinition"} <= kinds
    for value in values:
        plain = as_data(value)
        for copied in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value), copy.copy(value)):
            assert copied == plain and type(copied) is type(plain), value
            assert hash(copied) == hash(plain), value
            assert repr(copied) == repr(plain)
        assert hash(value) == hash(value)
        if dataclasses.is_dataclass(value):
            assert dataclasses.asdict(value).keys() >= {each.name for each in dataclasses.fields(plain)}  # type: ignore[arg-type]


def test_a_line_keeps_all_its_parts(flow: fastflow.Flow) -> None:
    run = flow.run("hello").wait()
    for line in run.logs():
        copied = pickle.loads(pickle.dumps(line))
        names = ("text", "raw", "time", "stream", "attempt", "continues", "dropped_lines", "position")
        assert [getattr(copied, name) for name in names] == [getattr(line, name) for name in names]
        assert list(run.logs(after=copied)) == list(run.logs(after=line))


def test_a_frozen_mapping_is_a_mapping() -> None:
    mapping = FrozenMapping({"a": "1", "b": "2"})
    assert mapping == {"a": "1", "b": "2"} and dict(mapping) == mapping and list(mapping) == ["a", "b"]
    assert {mapping: 1}[FrozenMapping({"b": "2", "a": "1"})] == 1
    with pytest.raises(TypeError):
        mapping["a"] = "3"  # type: ignore[index]


def exceptions(run: RunData) -> list[BaseException]:
    """One of each class, with facts."""
    found: list[BaseException] = []
    for kind in vars(fastflow.errors).values():
        if not inspect.isclass(kind) or not issubclass(kind, Exception):
            continue
        if issubclass(kind, fastflow.errors.TaskError):
            found.append(kind("it broke", run, type_name="ValueError", remote_traceback="there"))
        elif issubclass(kind, RunFailedError):
            found.append(kind(run))
        elif issubclass(kind, fastflow.FastflowError):
            found.append(kind("it broke", pipeline="nightly"))
        else:
            found.append(kind("it broke"))
    return found


def test_exceptions_cross(flow: fastflow.Flow) -> None:
    run = flow.run("broken").wait()
    for error in exceptions(run):
        for copied in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
            assert type(copied) is type(error) and str(copied) == str(error)
            if isinstance(error, fastflow.FastflowError):
                assert copied.context == error.context
            if isinstance(error, RunFailedError):
                assert copied.run == as_data(run) and copied.failure == run.failure
            if isinstance(error, fastflow.errors.TaskError):
                assert (copied.type_name, copied.remote_traceback) == ("ValueError", "there")


def run_broken(pipelines: Path, data_dir: Path) -> RunData:
    """In another process: a run that fails, and the exception for it."""
    with fastflow.open(pipelines, data_dir=data_dir) as flow:
        return flow.run("broken").wait().raise_for_failure()


def run_hello(pipelines: Path, data_dir: Path) -> RunData:
    with fastflow.open(pipelines, data_dir=data_dir) as flow:
        return flow.run("hello").wait().raise_for_failure()


def test_results_come_back_from_other_processes(pipelines: Path, data_dir: Path) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(run_hello, pipelines, data_dir).result(60).status is Status.SUCCESS
        with pytest.raises(RunFailedError) as raised:
            pool.submit(run_broken, pipelines, data_dir).result(60)
    assert raised.value.run.pipeline == "broken" and raised.value.failure is not None


def test_what_is_listed_is_asked_for_in_one_way(flow: fastflow.Flow) -> None:
    flow.run("hello").wait()
    flow.run("broken").wait()

    def named(status: Any) -> set[str]:
        return {run.pipeline for run in flow.runs.list(status=status)}

    assert named("FAILED") == named(Status.FAILED) == named(["FAILED"]) == {"broken"}
    assert named(("SUCCESS", Status.FAILED)) == {"hello", "broken"}
    with pytest.raises(fastflow.InvalidError, match=r"`status` is one of 'PENDING', .* and not 'broken'"):
        named("broken")
    assert list(flow.runs.list(limit=0)) == []
    for listed in (flow.runs.list, flow.runs.dead_letters, flow.schedules.ticks):
        with pytest.raises(fastflow.InvalidError, match="`limit` is 0 or more, and not -1"):
            list(listed(limit=-1))


@pytest.mark.parametrize("wrong", [float("nan"), -1, -0.5, timedelta(seconds=-1)])
def test_no_length_of_time(flow: fastflow.Flow, wrong: Any) -> None:
    run = flow.run("hello")
    for use in (run.wait, flow.host, run.attempts, flow.close):
        with pytest.raises(fastflow.InvalidError, match="`timeout` is a length of time, 0 or more, and not "):
            use(timeout=wrong)
    assert run.wait().status is Status.SUCCESS


async def test_without_end_is_without_limit(pipelines: Path, data_dir: Path) -> None:
    endless = float("inf")
    async with fastflow.open(pipelines, data_dir=data_dir, timeout=endless) as flow:
        run = await (await flow.run("hello")).wait(timeout=endless)
        assert [line.text async for line in run.logs(timeout=endless)]
    with fastflow.open(pipelines, data_dir=data_dir, timeout=endless) as again:
        assert again.runs.get(run.id).wait(timeout=endless).status is Status.SUCCESS
        assert again.run("hello").view().wait(timeout=endless).status is Status.SUCCESS
        with pytest.raises(fastflow.InvalidError, match="not a length of time"):
            again.run("hello", delay=endless)
        with pytest.raises(fastflow.InvalidError, match="`time_limit` has an end"):
            again.run_code("print()", time_limit=endless)


def test_a_pool_has_slots(pipelines: Path, data_dir: Path) -> None:
    with pytest.raises(fastflow.InvalidError, match="a pool has one slot or more"):
        fastflow.open(pipelines, data_dir=data_dir, pools={"a": -1}).start()
