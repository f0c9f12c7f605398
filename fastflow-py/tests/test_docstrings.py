"""The examples in docstrings do what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import fastflow
import pytest

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL | doctest.ELLIPSIS


def examples() -> Iterator[doctest.DocTest]:
    """Every docstring of the package that has an example."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    names = [found.name for found in pkgutil.walk_packages(fastflow.__path__, "fastflow.")]
    for name in ["fastflow", *names]:
        if name.endswith("__main__") or "._remote" in name:
            continue
        module = importlib.import_module(name)
        for test in finder.find(module, name, module=module):
            if test.examples:
                yield test


@pytest.mark.parametrize("test", [pytest.param(test, id=test.name) for test in examples()])
def test_the_example(
    test: doctest.DocTest, flow: fastflow.Flow, pipelines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What an example leaves lies in a folder of its own.
    monkeypatch.chdir(tmp_path)
    test.globs.update(fastflow=fastflow, flow=flow, pipelines=pipelines, data_dir=tmp_path / "another")
    said: list[str] = []
    failed = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.append)
    assert failed.failed == 0, "".join(said)
    assert failed.attempted > 0
