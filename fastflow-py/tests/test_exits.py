"""However a host ends, it ends at once and cleanly, and its runs go on."""

from __future__ import annotations

import collections
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import fastflow
import pytest
from programs import wait_until

HERE = Path(__file__).resolve().parent
PIPELINES = HERE / "pipelines"
EXITS_OF_EACH_WAY = 50
"""Ten ways: five hundred exits."""
LIMIT_SECONDS = 30.0
RUN_LIMIT_SECONDS = 200.0
"""After ten starts that an exit has interrupted, the next waits, up to 75 s."""

EXPECTED = {
    "clean": 0,
    "left_open": 0,
    "raises": 1,
    "sys_exit": 3,
    "os_exit": 4,
    "terminated": -signal.SIGTERM,
    "interrupted": -signal.SIGINT,
    "tasks_left": 0,
    "loop_left": 0,
    "thread_holds_on": 0,
}
FAULTS = ("Fatal Python error", "panicked", "Segmentation", "not initialized", "Event loop is closed", "never awaited")


def exit_by(way: str, data_dir: Path, mark: Path) -> list[str]:
    """Starts a host that ends this way: the runs it was promised."""
    command = [sys.executable, str(HERE / "hosts" / "exits.py"), way, str(PIPELINES), str(data_dir), str(mark)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    assert done.returncode == EXPECTED[way], done.stderr
    for fault in FAULTS:
        assert fault not in done.stderr, done.stderr
    if way not in ("raises", "interrupted"):
        assert done.stderr == ""
    return done.stdout.split()


def check_all_ran_once(promised: list[str], data_dir: Path, mark: Path) -> None:
    """The next host finds every run, and every program was executed exactly once."""
    with fastflow.open(PIPELINES, data_dir=data_dir) as flow:
        for id in promised:
            run = flow.runs.wait(id, timeout=RUN_LIMIT_SECONDS)
            assert run.status is fastflow.Status.SUCCESS, run
            lines = [line.text for line in run.logs() if line.stream == "stdout"]
            assert lines == [f"line {number}" for number in range(5)]
        assert {str(run.id) for run in flow.runs.list()} == set(promised)
    assert collections.Counter(mark.read_text().split()) == collections.Counter(promised)


@pytest.mark.parametrize("way", EXPECTED)
def test_an_exit_loses_nothing(way: str, tmp_path: Path) -> None:
    data_dir, mark = tmp_path / "data", tmp_path / "mark"
    promised: list[str] = []
    for _ in range(EXITS_OF_EACH_WAY):
        runs = exit_by(way, data_dir, mark)
        assert len(runs) == 2
        promised += runs
    check_all_ran_once(promised, data_dir, mark)


def forked(flow: fastflow.Flow, run: fastflow.Run, number: int) -> int:
    """Forks a child that uses the flow of its parent in every way it can, and ends in one of three ways."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        for use in (lambda: flow.run("marks"), run.wait, lambda: list(run.logs()), lambda: next(flow.runs.list())):
            try:
                use()
            except fastflow.ForkError:
                continue
            os._exit(2)
        del flow, run
        code = 0
    finally:
        if number % 3:
            os._exit(code)
        # With all that an interpreter does at its end; without the report of the test.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stdout = sys.__stdout__
        os._exit(code) if number % 2 else _end_interpreter(code)
    return 0


def _end_interpreter(code: int) -> None:
    """Ends the interpreter of a child as its end does: what was registered for it is called."""
    import atexit

    atexit._run_exitfuncs()
    os._exit(code)


def test_a_hundred_forks_with_runs_in_flight(tmp_path: Path) -> None:
    data_dir, mark = tmp_path / "data", tmp_path / "mark"
    with fastflow.open(PIPELINES, data_dir=data_dir) as flow:
        runs = [flow.run("marks", parameters={"MARK": str(mark), "PAUSE_SECONDS": "0.2"}) for _ in range(4)]
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(line.text for line in runs[0].logs()))
        reader.start()
        for number in range(100):
            pid = forked(flow, runs[number % 4], number)
            ended: list[int] = []

            def has_ended(pid: int = pid, ended: list[int] = ended) -> bool:
                found, status = os.waitpid(pid, os.WNOHANG)
                if found:
                    ended.append(os.waitstatus_to_exitcode(status))
                return bool(found)

            wait_until(has_ended, f"child {number} has ended", LIMIT_SECONDS)
            assert ended == [0]
        # The parent was disturbed by none of it.
        runs.append(flow.run("marks", parameters={"MARK": str(mark)}))
        for run in runs:
            assert run.wait(timeout=LIMIT_SECONDS).status is fastflow.Status.SUCCESS
        reader.join(LIMIT_SECONDS)
        assert "line 4" in lines
    assert collections.Counter(mark.read_text().split()) == collections.Counter(str(run.id) for run in runs)
