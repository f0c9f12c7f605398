"""Several runs at one time, runs that have to succeed, and those that wait for somebody to look at them."""

from __future__ import annotations

import pickle
from pathlib import Path
from uuid import uuid4

import fastflow
import pytest
from fastflow import FailureKind, Status
from folders import WAITS_FOR_A_FILE, write


@pytest.fixture
def pipelines(tmp_path: Path) -> Path:
    """Pipelines that end when the test says so, and as it says."""
    folder = tmp_path / "own"
    write(folder, "waits", WAITS_FOR_A_FILE)
    write(folder, "succeeds")
    write(folder, "fails", "raise SystemExit(3)")
    return folder


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """The file that the pipeline `waits` waits for."""
    return tmp_path / "gate"


def test_each_comes_when_it_has_ended(flow: fastflow.Flow, gate: Path) -> None:
    waits = flow.run("waits", parameters={"GATE": str(gate)})
    succeeds = flow.run("succeeds")
    ended = flow.runs.as_completed([waits, succeeds, succeeds.id, str(succeeds.id)])
    first = next(ended)
    assert (first.id, first.status) == (succeeds.id, Status.SUCCESS)
    assert flow.runs.get(waits.id).status is not Status.SUCCESS
    gate.touch()
    assert [run.id for run in ended] == [waits.id], "each of them once"


def test_all_come_in_the_order_that_was_asked_for(flow: fastflow.Flow, gate: Path) -> None:
    waits = flow.run("waits", parameters={"GATE": str(gate)})
    fails = flow.run("fails").wait()
    gate.touch()
    all_of_them = flow.runs.wait_all([waits.id, fails, waits])
    assert [run.id for run in all_of_them] == [waits.id, fails.id, waits.id]
    assert [run.status for run in all_of_them] == [Status.SUCCESS, Status.FAILED, Status.SUCCESS]
    assert flow.runs.wait_all([]) == [] == list(flow.runs.as_completed([]))


def test_waiting_for_several_has_an_end(flow: fastflow.Flow, gate: Path) -> None:
    waits = flow.run("waits", parameters={"GATE": str(gate)})
    with pytest.raises(fastflow.TimedOutError):
        flow.runs.wait_all([waits], timeout=0.05)
    with pytest.raises(fastflow.TimedOutError):
        next(flow.runs.as_completed([waits], timeout=0.05))
    gate.touch()
    assert waits.wait().status is Status.SUCCESS, "it was not cancelled with the waiting"


def test_waiting_for_what_is_not_there(flow: fastflow.Flow) -> None:
    with pytest.raises(fastflow.NotFoundError):
        flow.runs.wait_all([uuid4()])
    with pytest.raises(fastflow.NotFoundError):
        next(flow.runs.as_completed([uuid4()]))


def test_a_run_that_has_to_succeed(flow: fastflow.Flow, gate: Path) -> None:
    succeeded, failed = flow.runs.wait_all([flow.run("succeeds"), flow.run("fails")])
    assert succeeded.raise_for_failure() is succeeded
    with pytest.raises(fastflow.RunFailedError) as raised:
        failed.raise_for_failure()
    assert raised.value.run == failed
    assert raised.value.failure is not None
    assert (raised.value.failure.kind, raised.value.failure.exit_code) == (FailureKind.EXIT_CODE, 3)
    assert str(raised.value) == f"run {failed.id} of `fails` did not succeed: exit code 3"
    assert raised.value.context == {"run": str(failed.id), "pipeline": "fails"}


def test_a_run_that_was_cancelled_did_not_succeed(flow: fastflow.Flow, gate: Path) -> None:
    waits = flow.run("waits", parameters={"GATE": str(gate)})
    with pytest.raises(fastflow.ConflictError):
        waits.raise_for_failure()
    waits.cancel()
    with pytest.raises(fastflow.RunFailedError) as raised:
        waits.wait().raise_for_failure()
    assert raised.value.failure is None
    assert str(raised.value).endswith("did not succeed: it was cancelled")


def test_exceptions_cross_to_other_processes() -> None:
    error = fastflow.NotFoundError("no such run", run="1")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.context) == (type(error), str(error), error.context)


@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_failed_runs_until_they_are_run_again(
    flow: fastflow.Flow, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr("fastflow.runs._PAGE_ROWS", rows)
    flow.run("succeeds").wait()
    failed = [flow.run("fails").wait() for _ in range(3)]
    newest_first = [run.id for run in reversed(failed)]
    assert [run.id for run in flow.runs.dead_letters()] == newest_first
    assert [run.id for run in flow.runs.dead_letters(limit=2)] == newest_first[:2]
    again = failed[1].rerun().wait()
    assert [run.id for run in flow.runs.dead_letters()] == [again.id, failed[2].id, failed[0].id]


async def test_with_asyncio(pipelines: Path, data_dir: Path, gate: Path) -> None:
    async with fastflow.open(pipelines, data_dir=data_dir) as flow:
        waits = await flow.run("waits", parameters={"GATE": str(gate)})
        fails = await flow.run("fails")
        ended = flow.runs.as_completed([waits, fails])
        assert (await anext(ended)).id == fails.id
        gate.touch()
        assert [run.id async for run in ended] == [waits.id]
        waits, fails = await flow.runs.wait_all([waits, fails])
        assert [run.id async for run in flow.runs.dead_letters()] == [fails.id]
        assert waits.raise_for_failure() is waits
        with pytest.raises(fastflow.RunFailedError):
            fails.raise_for_failure()
