"""What the tests share: the pipelines of the examples, a data directory of their own, and a flow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastflow
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


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


@pytest.fixture(autouse=True)
def _names_of_doctests(
    request: pytest.FixtureRequest, doctest_namespace: dict[str, Any], pipelines: Path, tmp_path: Path
) -> None:
    """The names that the examples in docstrings use."""
    if not isinstance(request.node, pytest.Item) or type(request.node).__name__ != "DoctestItem":
        return
    doctest_namespace["fastflow"] = fastflow
    doctest_namespace["pipelines"] = pipelines
    doctest_namespace["data_dir"] = tmp_path / "data of the example"
    doctest_namespace["flow"] = request.getfixturevalue("flow")
