"""What the tests share: the pipelines of the examples, a data directory of their own, and a flow."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastflow
import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell has its jobs in the background ignore Ctrl-C, and every program they start would, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parents[2]


SUITES = ("docker", "podman")
"""Suites of their own; whatever else is skipped is a part of the suite `python`."""


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Says once for each suite why tests of it were skipped, in the words that `make test` collects at its end."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = {str(report.longrepr[2]).removeprefix("Skipped: ").removeprefix("SKIPPED: ") for report in reports}
    for why in sorted(reasons):
        suite = why.partition(":")[0]
        terminalreporter.write_line(f"SKIPPED: {why}" if suite in SUITES else f"SKIPPED: python/{why}")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout that the tests are part of."""
    return REPOSITORY


@pytest.fixture(scope="session")
def pipelines() -> Path:
    """The pipelines of the examples."""
    return REPOSITORY / "examples" / "pipelines"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data directory that nobody else uses."""
    return tmp_path / "data"


@pytest.fixture
def flow(pipelines: Path, data_dir: Path) -> Iterator[fastflow.Flow]:
    """An open flow."""
    with fastflow.open(pipelines, data_dir=data_dir) as flow:
        yield flow
