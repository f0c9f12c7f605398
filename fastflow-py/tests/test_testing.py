"""What `fastflow.testing` gives to tests of other people."""

from __future__ import annotations

import asyncio
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import fastflow
import fastflow.testing
import pytest
from fastflow.executor import AttemptRef, AttemptSpec, Execution, ExecutionHandle, Executor, NeverStarted, StartFailure
from fastflow.testing import ManualClock

LIMIT_SECONDS = 60
MORNING = datetime(2030, 1, 1, 6, 0, tzinfo=timezone.utc)


@pytest.fixture
def nightly(tmp_path: Path) -> Path:
    """Pipelines with one that runs every night."""
    pipeline = tmp_path / "pipelines" / "nightly"
    pipeline.mkdir(parents=True)
    (pipeline / "main.py").write_text("print('good night')")
    (pipeline / "pipeline.json").write_text('{"schedule_cron": "0 2 * * *"}')
    return tmp_path / "pipelines"


def test_a_day_passes_at_once_and_its_run_is_made(nightly: Path) -> None:
    clock = ManualClock(MORNING)
    began = time.monotonic()
    with fastflow.testing.flow(nightly, clock=clock) as flow:
        data_dir = flow.data_dir
        for day in range(1, 4):
            clock.advance(timedelta(days=1))
            runs = fastflow.testing.wait_until(
                lambda day=day: (found := list(flow.runs.list(pipeline="nightly"))) and len(found) == day and found
            )
            run = runs[0].wait(timeout=LIMIT_SECONDS)
            assert run.status is fastflow.Status.SUCCESS
            assert run.scheduled_for == MORNING.replace(hour=2) + timedelta(days=day)
            assert run.created_at == clock.now
        assert [line.text for line in run.logs() if line.stream == "stdout"] == ["good night"]
    assert time.monotonic() - began < LIMIT_SECONDS
    assert not data_dir.exists()


def test_nothing_is_due_while_the_clock_stands_still(nightly: Path) -> None:
    clock = ManualClock(MORNING.replace(hour=1, minute=59, second=59))
    with fastflow.testing.flow(nightly, clock=clock) as flow:
        # A run in between takes longer than the second that is left until the instant.
        assert flow.run("nightly").wait(timeout=LIMIT_SECONDS).status is fastflow.Status.SUCCESS
        assert [run.scheduled_for for run in flow.runs.list()] == [None]
        clock.advance(1)
        fastflow.testing.wait_until(lambda: len(list(flow.runs.list())) == 2)


def test_the_same_with_await(nightly: Path) -> None:
    async def main() -> None:
        clock = ManualClock(MORNING)
        async with fastflow.testing.flow(nightly, clock=clock) as flow:
            clock.advance(timedelta(days=1))

            async def found() -> list[fastflow.AsyncRun]:
                return [run async for run in flow.runs.list(pipeline="nightly")]  # type: ignore[attr-defined]

            runs = await fastflow.testing.wait_until_async(found)
            assert (await runs[0].wait(timeout=LIMIT_SECONDS)).status is fastflow.Status.SUCCESS

    asyncio.run(main())


def test_what_has_not_ended_is_stopped_at_the_end(pipelines: Path) -> None:
    with fastflow.testing.flow(pipelines) as flow:
        run = flow.run("slow")
        assert any(line.stream == "stdout" for line in run.logs())
        data_dir = flow.data_dir
        assert _working_below(data_dir)
    assert not _working_below(data_dir / "runs")
    # What made environments was told to end, and nobody waits for that.
    fastflow.testing.wait_until(lambda: not _working_below(data_dir))


def _working_below(folder: Path) -> list[Path]:
    """The processes whose working directory is there, or was."""
    found: list[Path] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(folder):
                found.append(process)
        except OSError:  # It has ended, or belongs to somebody else.
            continue
    return found


def test_two_flows_have_nothing_in_common(pipelines: Path) -> None:
    with fastflow.testing.flow(pipelines) as one, fastflow.testing.flow(pipelines) as other:
        one.run("hello").wait(timeout=LIMIT_SECONDS)
        assert list(other.runs.list()) == []


def test_a_condition_that_does_not_come_true_is_said() -> None:
    with pytest.raises(fastflow.TimedOutError):
        fastflow.testing.wait_until(lambda: False, timeout=0.05)


def test_a_clock_does_not_go_beyond_the_end_of_time() -> None:
    with pytest.raises(fastflow.InvalidError):
        ManualClock(MORNING).advance(timedelta(days=365 * 9000))


class Liar(Executor):
    """Says that everything never started, and refuses nothing."""

    def start(self, spec: AttemptSpec) -> Execution | StartFailure:
        raise fastflow.AlreadyExistsError("it was here before")

    def list(self, owner: str) -> list[ExecutionHandle]:
        return []

    def reattach(self, attempt: AttemptRef) -> NeverStarted:
        return NeverStarted()


def test_who_breaks_the_contract_fails_by_a_case() -> None:
    with pytest.raises(AssertionError, match="not started"):
        fastflow.testing.run_case("exit_codes_are_reported", Liar)


def test_what_is_not_claimed_is_said() -> None:
    assert fastflow.testing.run_case("the_memory_limit_leaves_what_it_allows", Liar) == ["memory_limit"]


def test_a_case_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no such case"):
        fastflow.testing.run_case("it_is_nice", Liar)


def test_a_folder_is_there_as_long_as_its_flow(
    pipelines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    opening = fastflow.testing.flow(pipelines)
    assert not list(tmp_path.iterdir())
    with opening as flow:
        assert list(tmp_path.iterdir()) == [flow.data_dir]
    assert not list(tmp_path.iterdir())
    with pytest.raises(fastflow.FastflowError):
        fastflow.testing.flow(tmp_path / "nothing", pools={"a": -1}).start()
    with pytest.raises(fastflow.FastflowError):
        fastflow.testing.flow(pipelines, master_key=fastflow.MasterKeyFile(tmp_path / "nothing")).start()
    assert not list(tmp_path.iterdir())
