"""Checkers of types know what a task takes and gives, on both faces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import fastflow
import pytest

LIMIT_SECONDS = 300

PROGRAM = """
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future

from fastflow import AsyncFlow, Flow
from fastflow.futures import FlowExecutor
from fastflow.task_runs import AsyncTaskRun, TaskRun
from typing_extensions import assert_type


def both(flow: Flow) -> None:
    @flow.task
    def bare(x: int, *, y: str = "") -> dict[str, int]:
        return {y: x}

    @flow.task(requirements=["polars"], memory="2g", time_limit=3)
    def with_options(x: int) -> list[int]:
        return [x]

    assert_type(bare(1, y="a"), dict[str, int])
    assert_type(bare.local(1), dict[str, int])
    assert_type(bare.submit(1), TaskRun[dict[str, int]])
    assert_type(with_options(1), list[int])
    assert_type(with_options.submit(1).result(timeout=1), list[int])
    assert_type(with_options.map([1]), Iterator[list[int]])
    assert_type(with_options.map([1], return_exceptions=True), Iterator[list[int] | Exception])
    assert_type(with_options.with_options(key="a", memory=1)(1), list[int])
    with FlowExecutor(flow, memory="1g") as executor:
        assert_type(executor.submit(bare.local, 1), Future[dict[str, int]])


async def awaited(flow: AsyncFlow) -> None:
    @flow.task(python="3.12")
    def task(x: int) -> str:
        return str(x)

    assert_type(await task(1), str)
    assert_type(await task.submit(1), AsyncTaskRun[str])
    assert_type(await (await task.submit(1)), str)
    assert_type(task.map([1]), AsyncIterator[str])


def wrong(flow: Flow) -> None:
    @flow.task
    def task(x: int) -> str:
        return str(x)

    task("a")  # WRONG
    task.submit()  # WRONG
    task(1).bit_length()  # WRONG
    flow.run_code("pass", memmory="1g")  # WRONG
    flow.task(cpu="all")  # WRONG
"""
WRONG_LINES = {number for number, line in enumerate(PROGRAM.splitlines(), 1) if line.endswith("# WRONG")}


def lines_of_mypy(program: Path, folder: str) -> set[int]:
    env = {**os.environ, **({} if "site-packages" in folder else {"MYPYPATH": folder})}
    how = ["--config-file=", "--strict", "--no-error-summary", "--output", "json"]
    command = [sys.executable, "-m", "mypy", *how, str(program)]
    said = subprocess.run(command, cwd=program.parent, env=env, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    assert said.returncode == 1, said.stderr
    found = [json.loads(line) for line in said.stdout.splitlines()]
    return {each["line"] for each in found if each["file"].endswith(program.name) and each["severity"] == "error"}


def lines_of_pyright(program: Path, folder: str) -> set[int]:
    (program.parent / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [folder], "strict": ["."]}))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", "--project", "."]
    said = subprocess.run(command, cwd=program.parent, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    found = json.loads(said.stdout)["generalDiagnostics"]
    ours = [each for each in found if each["file"].endswith(program.name) and each["severity"] == "error"]
    return {each["range"]["start"]["line"] + 1 for each in ours}


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_the_types_of_tasks(checker: str, tmp_path: Path) -> None:
    pytest.importorskip(checker)
    program = tmp_path / "typed_program.py"
    program.write_text(PROGRAM)
    folder = str(Path(fastflow.__file__).parents[1])
    lines = {"mypy": lines_of_mypy, "pyright": lines_of_pyright}[checker](program, folder)
    assert lines == WRONG_LINES
