"""What the orchestrator says, as Python's `logging` hears it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import fastflow
import fastflow.testing
import pytest
from fastflow._logging import LogService

LIMIT_SECONDS = 60


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Pipelines that the host has something to say about: their run has no Python that could be had."""
    pipeline = tmp_path / "pipelines" / "plain"
    pipeline.mkdir(parents=True)
    (pipeline / "main.py").write_text("print(1)")
    return tmp_path / "pipelines"


def failing(folder: Path, data_dir: Path) -> fastflow.Opening:
    from test_executor import Theatre

    def start(spec: object) -> object:
        raise fastflow.InvalidError("the runtime refuses")

    return fastflow.open(folder, data_dir=data_dir, executors={"mine": Theatre(start)})  # type: ignore[arg-type]


def test_what_the_host_says_comes_to_a_child_of_the_logger(
    broken: Path, data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = time.time()
    with caplog.at_level(logging.INFO, "fastflow"), failing(broken, data_dir) as flow:
        flow.run("plain").wait(timeout=LIMIT_SECONDS)
        said = fastflow.testing.wait_until(
            lambda: [record for record in caplog.records if "a start has no answer" in record.getMessage()]
        )
    assert said[0].name == "fastflow.host.supervisor"
    assert said[0].levelno == logging.WARNING
    assert "the runtime refuses" in said[0].getMessage()
    assert before <= said[0].created <= time.time()


def test_nobody_hears_another_flow(broken: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A flow that is closed is heard no more, and one that is open is heard once."""
    with caplog.at_level(logging.INFO, "fastflow"):
        with failing(broken, tmp_path / "one"), failing(broken, tmp_path / "two") as flow:
            flow.run("plain").wait(timeout=LIMIT_SECONDS)
    said = [record for record in caplog.records if "a start has no answer" in record.getMessage()]
    assert len(said) == 1


@pytest.mark.parametrize(("configure", "is_heard"), [("", False), ("logging.basicConfig()", True)])
def test_nothing_is_printed_when_nobody_asked(broken: Path, data_dir: Path, configure: str, is_heard: bool) -> None:
    code = f"""
import logging, sys
sys.path.insert(0, {os.fspath(Path(__file__).parent)!r})
{configure}
from pathlib import Path
from test_logging import failing
with failing(Path({str(broken)!r}), Path({str(data_dir)!r})) as flow:
    flow.run("plain").wait(timeout=60)
"""
    path = os.pathsep.join([os.fspath(Path(fastflow.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=True,
    )
    assert ("a start has no answer" in done.stderr) is is_heard, done.stderr
    assert is_heard or done.stderr == ""


def test_a_handler_that_hangs_holds_up_no_run(broken: Path, data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    is_stuck, let_go = threading.Event(), threading.Event()

    class Hanging(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            is_stuck.set()
            let_go.wait(LIMIT_SECONDS)

    logger, handler = logging.getLogger("fastflow.host"), Hanging()
    logger.addHandler(handler)
    try:
        with caplog.at_level(logging.INFO, "fastflow"), failing(broken, data_dir) as flow:
            flow.run("plain").wait(timeout=LIMIT_SECONDS)
            assert is_stuck.wait(LIMIT_SECONDS)
            assert flow.run("plain").wait(timeout=LIMIT_SECONDS).status is fastflow.Status.FAILED
            let_go.set()
    finally:
        let_go.set()
        logger.removeHandler(handler)


def test_lines_that_do_not_fit_are_counted_and_said(
    broken: Path, data_dir: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastflow._logging.MAX_WAITING_LINES", 2)
    is_stuck, let_go = threading.Event(), threading.Event()

    class Hanging(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            is_stuck.set()
            let_go.wait(LIMIT_SECONDS)

    logger, handler = logging.getLogger("fastflow.host"), Hanging()
    logger.addHandler(handler)
    try:
        with caplog.at_level(logging.INFO, "fastflow"), failing(broken, data_dir) as flow:
            # Each has one line to say: one is being handled, two wait, and two are dropped.
            for _ in range(5):
                flow.run("plain").wait(timeout=LIMIT_SECONDS)
                assert is_stuck.wait(LIMIT_SECONDS)
            let_go.set()
            said = fastflow.testing.wait_until(
                lambda: [record for record in caplog.records if "were dropped" in record.getMessage()]
            )
            assert said[0].args == (2,)
    finally:
        let_go.set()
        logger.removeHandler(handler)


def test_the_thread_ends_with_its_flow(broken: Path, data_dir: Path) -> None:
    def logging() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name == "fastflow-logging"}

    of_others = logging()
    with fastflow.open(broken, data_dir=data_dir):
        its_own = logging() - of_others
        assert len(its_own) == 1
    assert not its_own & logging()


def test_a_service_that_never_began_ends() -> None:
    service = LogService()
    service.end()
    assert service.port.next() is None
