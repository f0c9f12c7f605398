"""Executors that are written in Python: what they answer, and what becomes of a flow when they do not."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType

import fastflow
import fastflow.testing
import pytest
from fastflow.executor import (
    AttemptRef,
    AttemptSpec,
    Capabilities,
    Ended,
    Execution,
    ExecutionHandle,
    Executor,
    Exited,
    Lost,
    LostCause,
    NeverStarted,
    StartFailure,
    StartFailureKind,
    StopCause,
)

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 60
LEAST_PRIORITY = 19


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


prefix_executor = _load("prefix_executor", ROOT / "examples/python/prefix_executor.py")


class Told(Execution):
    """Ends when it is told to."""

    def __init__(self, attempt: str) -> None:
        self.attempt = attempt
        self.may_end = threading.Event()
        self.stopped: list[StopCause] = []
        self.removed = 0

    @property
    def handle(self) -> ExecutionHandle:
        return ExecutionHandle(attempt=self.attempt, native_id="told", detail={"of": "a test"})

    def wait(self) -> Ended:
        assert self.may_end.wait(LIMIT_SECONDS)
        return ended(143 if self.stopped else 0, self.stopped[0] if self.stopped else None)

    def stop(self, grace: timedelta, cause: StopCause) -> None:
        assert grace > timedelta(0)
        self.stopped.append(cause)
        self.may_end.set()

    def remove(self) -> None:
        self.removed += 1


class AwaitedTold(Told):
    """The same with methods that are awaited."""

    async def wait(self) -> Ended:  # type: ignore[override]
        while not self.may_end.is_set():
            await asyncio.sleep(0.005)
        return super().wait()

    async def stop(self, grace: timedelta, cause: StopCause) -> None:  # type: ignore[override]
        super().stop(grace, cause)

    async def remove(self) -> None:  # type: ignore[override]
        super().remove()


class Theatre(Executor):
    """Starts nothing, and says so by what a test gives it."""

    def __init__(self, start: Callable[[AttemptSpec], Execution | StartFailure] | None = None) -> None:
        self.begin = start or (lambda spec: self.kind(spec.id))
        self.kind: type[Told] = Told
        self.specs: list[AttemptSpec] = []
        self.started: list[Told] = []
        self.found: Execution | NeverStarted | Lost = NeverStarted()

    def start(self, spec: AttemptSpec) -> Execution | StartFailure:
        self.specs.append(spec)
        execution = self.begin(spec)
        if isinstance(execution, Told):
            self.started.append(execution)
        return execution

    def list(self, owner: str) -> Sequence[ExecutionHandle]:
        return []

    def reattach(self, attempt: AttemptRef) -> Execution | NeverStarted | Lost:
        return self.found


def ended(code: int, stopped_by: StopCause | None = None) -> Exited:
    now = datetime.now(timezone.utc)
    return Exited(exit_code=code, stopped_by=stopped_by, started_at=now, ended_at=now, duration=timedelta(seconds=1))


def opened(pipelines: Path, data_dir: Path, executor: Executor) -> fastflow.Opening:
    return fastflow.open(pipelines, data_dir=data_dir, executors={"mine": executor})


@pytest.mark.parametrize("kind", [Told, AwaitedTold])
def test_a_run_ends_as_the_executor_says(pipelines: Path, data_dir: Path, kind: type[Told]) -> None:
    theatre = Theatre()
    theatre.kind = kind
    with opened(pipelines, data_dir, theatre) as flow:
        run = flow.run("hello", parameters={"who": "you"})
        fastflow.testing.wait_until(lambda: theatre.started)
        theatre.started[0].may_end.set()
        run = run.wait(timeout=LIMIT_SECONDS)
        assert run.status is fastflow.Status.SUCCESS
        fastflow.testing.wait_until(lambda: theatre.started[0].removed)
    (spec,) = theatre.specs
    assert spec.id == f"{run.id}-1"
    assert spec.working_dir.is_relative_to(spec.run_dir)
    assert spec.limits.stop_grace > timedelta(0)
    assert spec.argv[-1] == "main.py" or "main.py" in " ".join(spec.argv)


def test_the_cause_of_a_stop_arrives(pipelines: Path, data_dir: Path) -> None:
    theatre = Theatre()
    with opened(pipelines, data_dir, theatre) as flow:
        run = flow.run("hello")
        fastflow.testing.wait_until(lambda: theatre.started)
        run.cancel()
        assert run.wait(timeout=LIMIT_SECONDS).status is fastflow.Status.CANCELLED
    assert theatre.started[0].stopped == [StopCause.CANCELLED]


def test_a_start_that_fails_is_a_value(pipelines: Path, data_dir: Path) -> None:
    failure = StartFailure(kind=StartFailureKind.COMMAND_NOT_FOUND, message="no such thing here")
    with opened(pipelines, data_dir, Theatre(lambda spec: failure)) as flow:
        run = flow.run("hello").wait(timeout=LIMIT_SECONDS)
        assert run.failure is not None
        assert "no such thing here" in run.failure.message


def test_what_is_lost_is_no_success(pipelines: Path, data_dir: Path) -> None:
    class Vanishing(Told):
        def wait(self) -> Ended:
            return Lost(LostCause.MONITOR_DIED)

    with opened(pipelines, data_dir, Theatre(lambda spec: Vanishing(spec.id))) as flow:
        run = flow.run("hello").wait(timeout=LIMIT_SECONDS)
        assert run.failure is not None and run.failure.kind.value == "lost"


def test_what_is_raised_says_its_kind_and_what_is_unknown_is_logged(
    pipelines: Path, data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(spec: AttemptSpec) -> Execution:
        if "1st" in spec.env.values() or "1st" in " ".join(spec.argv):
            raise fastflow.DeniedError("not for you")
        raise KeyError("what nobody thought of")

    with caplog.at_level(logging.ERROR, "fastflow"), opened(pipelines, data_dir, Theatre(fail)) as flow:
        run = flow.run("hello", parameters={"who": "2nd"}).wait(timeout=LIMIT_SECONDS)
        assert run.failure is not None
        assert "what nobody thought of" in run.failure.message
        # A method of an earlier test may fail only now.
        said = [record.exc_info for record in caplog.records if record.name == "fastflow.executor"]
        assert [error for error in said if error and error[0] is KeyError]
        refused = flow.run("hello", parameters={"who": "1st"}).wait(timeout=LIMIT_SECONDS)
        assert refused.failure is not None and "not for you" in refused.failure.message


def test_an_answer_that_is_none_is_an_error_of_the_executor(
    pipelines: Path, data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(pipelines, data_dir, Theatre(lambda spec: None)) as flow:  # type: ignore[arg-type, return-value]
        run = flow.run("hello").wait(timeout=LIMIT_SECONDS)
        assert run.failure is not None and "NoneType" in run.failure.message


def test_a_need_that_is_not_claimed_is_refused_before_anything_is_asked(tmp_path: Path, data_dir: Path) -> None:
    pipeline = tmp_path / "pipelines" / "large"
    pipeline.mkdir(parents=True)
    (pipeline / "main.py").write_text("print(1)")
    (pipeline / "pipeline.json").write_text('{"mem_hard_limit": "64m"}')
    theatre = Theatre()
    with opened(tmp_path / "pipelines", data_dir, theatre) as flow:
        with pytest.raises(fastflow.UnsupportedError, match="mem_hard_limit"):
            flow.run("large").wait(timeout=LIMIT_SECONDS)
    assert not theatre.specs


def test_a_method_that_hangs_keeps_no_other_waiting(pipelines: Path, data_dir: Path) -> None:
    let_go, stuck_starts = threading.Event(), 8

    def start(spec: AttemptSpec) -> Execution:
        if "stuck" in spec.env.values() and spec.id.endswith("-1"):
            let_go.wait(4 * LIMIT_SECONDS)
        execution = Told(spec.id)
        execution.may_end.set()
        return execution

    theatre = Theatre(start)
    theatre.call_timeout = 2
    try:
        with opened(pipelines, data_dir, theatre) as flow:
            stuck = [flow.run("hello", parameters={"who": "stuck"}) for _ in range(stuck_starts)]
            fastflow.testing.wait_until(lambda: len(theatre.specs) >= stuck_starts)
            assert flow.run("hello").wait(timeout=LIMIT_SECONDS).status is fastflow.Status.SUCCESS
            assert not let_go.is_set()
            # `reattach` says that the attempt never started, so the run gets another.
            for run in stuck:
                late = run.wait(timeout=LIMIT_SECONDS)
                assert late.status is fastflow.Status.SUCCESS and late.attempt >= 2
            assert not let_go.is_set()
    finally:
        let_go.set()


def test_many_wait_at_one_time(pipelines: Path, data_dir: Path) -> None:
    theatre = Theatre()
    with fastflow.open(pipelines, data_dir=data_dir, executors={"mine": theatre}, max_concurrent_runs=40) as flow:
        runs = [flow.run("hello") for _ in range(40)]
        fastflow.testing.wait_until(lambda: len(theatre.started) == 40)
        for execution in theatre.started:
            execution.may_end.set()
        assert {run.wait(timeout=LIMIT_SECONDS).status for run in runs} == {fastflow.Status.SUCCESS}


def test_threads_end_with_their_flow(pipelines: Path, data_dir: Path) -> None:
    before = set(threading.enumerate())
    with opened(pipelines, data_dir, Theatre()) as flow:
        flow.run("hello")
        assert any(thread.name == "fastflow-executor" for thread in threading.enumerate())
    waiting = {thread for thread in threading.enumerate() if thread.name != "fastflow-executor"}
    assert waiting <= before


HOST = """
import os, sys, threading, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import fastflow, fastflow.testing
from test_executor import Theatre, Told

theatre = Theatre()
flow = fastflow.open({pipelines!r}, data_dir={data_dir!r}, executors={{"mine": theatre}}).start()
run = flow.run("hello")
fastflow.testing.wait_until(lambda: theatre.started)
{then}
"""


def host(pipelines: Path, data_dir: Path, then: str) -> subprocess.CompletedProcess[str]:
    tests = os.fspath(Path(__file__).parent)
    code = HOST.format(tests=tests, pipelines=str(pipelines), data_dir=str(data_dir), then=then)
    path = os.pathsep.join([os.fspath(Path(fastflow.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )


@pytest.mark.parametrize(
    ("then", "code"),
    [
        ("", 0),
        ("raise SystemExit(3)", 3),
        ("1 / 0", 1),
        ("os.kill(os.getpid(), 15)", -signal.SIGTERM),
        ("os.kill(os.getpid(), 2); time.sleep(60)", -signal.SIGINT),
        ("os._exit(4)", 4),
        ("threading.Timer(0.2, theatre.started[0].may_end.set).start()", 0),
        ("flow.close(); print(fastflow.__version__)", 0),
    ],
)
def test_the_interpreter_ends_while_methods_are_at_work(pipelines: Path, data_dir: Path, then: str, code: int) -> None:
    done = host(pipelines, data_dir, then)
    assert done.returncode == code, done.stderr
    assert "fatal" not in done.stderr.lower(), done.stderr


def test_a_forked_child_is_told_and_ends(pipelines: Path, data_dir: Path) -> None:
    then = textwrap.dedent("""
        child = os.fork()
        if child == 0:
            try:
                flow.run("hello")
            except fastflow.ForkError:
                sys.exit(7)
        _, status = os.waitpid(child, 0)
        theatre.started[0].may_end.set()
        assert run.wait(timeout=60).status is fastflow.Status.SUCCESS
        sys.exit(os.waitstatus_to_exitcode(status))
    """)
    done = host(pipelines, data_dir, then)
    assert done.returncode == 7, done.stderr


def test_a_busy_interpreter_delays_no_run(tmp_path: Path, data_dir: Path) -> None:
    """The host program holds the interpreter for three seconds, and schedules are kept all the same."""
    pipeline = tmp_path / "pipelines" / "often"
    pipeline.mkdir(parents=True)
    (pipeline / "main.py").write_text("print('here')")
    (pipeline / "pipeline.json").write_text('{"schedule_interval_seconds": 1}')
    code = textwrap.dedent("""
        import ctypes, sys, time, fastflow, fastflow.testing
        with fastflow.open(sys.argv[1], data_dir=sys.argv[2]) as flow:
            ended = lambda: [run for run in flow.runs.list(pipeline="often") if run.status.is_final]
            fastflow.testing.wait_until(ended)
            began = time.time()
            ctypes.PyDLL(None).usleep(999_999)
            ctypes.PyDLL(None).usleep(999_999)
            ctypes.PyDLL(None).usleep(999_999)
            held = time.time()
            during = [run for run in flow.runs.list(pipeline="often") if began < run.created_at.timestamp() < held]
            late = max(run.created_at - run.scheduled_for for run in during)
            print(len(during), late.total_seconds(), sum(run.status.is_final for run in during))
    """)
    path = os.pathsep.join([os.fspath(Path(fastflow.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "pipelines"), str(data_dir)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Whatever waited for the interpreter would have been made after the hold, and not during it.
    count, late, finished = (float(word) for word in done.stdout.split())
    assert count >= 2 and late < 0.5 and finished >= 1, done.stdout


class TestPrefixExecutor:
    """The example keeps the contract, and its own promise."""

    CASES = fastflow.testing.executor_cases()

    @pytest.mark.parametrize("case", CASES)
    def test_contract(self, case: str, tmp_path: Path) -> None:
        make = lambda: prefix_executor.PrefixExecutor(["nice", "-n", "15"], tmp_path)  # noqa: E731
        if lacking := fastflow.testing.run_case(case, make):
            pytest.skip(", ".join(lacking))

    def test_programs_run_behind_the_command(self, tmp_path: Path, data_dir: Path) -> None:
        pipeline = tmp_path / "pipelines" / "nice"
        pipeline.mkdir(parents=True)
        (pipeline / "main.py").write_text("import os; print(os.getpriority(os.PRIO_PROCESS, 0))")
        executor = prefix_executor.PrefixExecutor(["nice", "-n", "15"], tmp_path / "state")
        with fastflow.open(tmp_path / "pipelines", data_dir=data_dir, executors={"nice": executor}) as flow:
            run = flow.run("nice")
            assert run.wait(timeout=LIMIT_SECONDS).status is fastflow.Status.SUCCESS
            assert [line.text for line in run.logs() if line.stream == "stdout"] == [
                str(min(os.getpriority(os.PRIO_PROCESS, 0) + 15, LEAST_PRIORITY))
            ]

    def test_the_next_flow_takes_over(self, tmp_path: Path, data_dir: Path) -> None:
        pipeline = tmp_path / "pipelines" / "patient"
        pipeline.mkdir(parents=True)
        may_end = tmp_path / "may-end"
        (pipeline / "main.py").write_text(
            f"import pathlib, time\nwhile not pathlib.Path({str(may_end)!r}).exists(): time.sleep(0.01)"
        )
        with opened(tmp_path / "pipelines", data_dir, prefix_executor.PrefixExecutor([], tmp_path)) as flow:
            run = flow.run("patient")
            fastflow.testing.wait_until(lambda: run.refresh().status is fastflow.Status.RUNNING)
        with opened(tmp_path / "pipelines", data_dir, prefix_executor.PrefixExecutor([], tmp_path)) as flow:
            may_end.touch()
            found = flow.runs.wait(run.id, timeout=LIMIT_SECONDS)
            assert (found.status, found.attempt) == (fastflow.Status.SUCCESS, 1)


def test_built_in_executors_stand_beside_it(pipelines: Path, data_dir: Path) -> None:
    executors = {"mine": Theatre(), "local": fastflow.Process(), "process": "process"}
    with fastflow.open(pipelines, data_dir=data_dir, executors=executors) as flow:
        run = flow.run("hello", executor="local").wait(timeout=LIMIT_SECONDS)
        assert (run.executor, run.status) == ("local", fastflow.Status.SUCCESS)
        assert flow.run("hello").executor == "mine"


def test_one_without_a_name_is_refused(pipelines: Path, data_dir: Path) -> None:
    with pytest.raises(fastflow.InvalidError, match="needs a name"):
        fastflow.open(pipelines, data_dir=data_dir, executors=[Theatre()])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="an executor is a name"):
        fastflow.open(pipelines, data_dir=data_dir, executors={"mine": object()})  # type: ignore[dict-item]


def test_capabilities_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Capabilities().output = True  # type: ignore[misc]
