"""The pipelines: what their files say, what is wrong with them, and what became of their runs."""

from __future__ import annotations

import shutil
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import fastflow
import pytest
from fastflow import Counters, EnvironmentState, ParameterType, Severity
from folders import write
from uv import find_uv_bin


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder of pipelines that the test may change."""
    write(
        tmp_path / "own",
        "report",
        description="Writes the report of a month",
        tags=["finance", "monthly"],
        parameters={
            "MONTH": {"type": "integer", "required": True, "description": "The month"},
            "FORMAT": {"default": "pdf", "choices": ["pdf", "html"]},
        },
        timeout=60,
    )
    return tmp_path / "own"


def test_what_its_files_say(own: Path, data_dir: Path) -> None:
    with fastflow.open(own, data_dir=data_dir) as flow:
        report = flow.pipelines.get("report")
    assert report.is_runnable and report.present and report.diagnostics == ()
    definition = report.definition
    assert definition is not None
    assert definition.description == "Writes the report of a month"
    assert definition.tags == ("finance", "monthly")
    assert definition.entry == Path("main.py")
    assert definition.settings["limits"] == {"timeout": 60}
    month, layout = definition.parameters["MONTH"], definition.parameters["FORMAT"]
    assert (month.type, month.required, month.description) == (ParameterType.INTEGER, True, "The month")
    assert (layout.default, layout.choices, layout.required) == ("pdf", ("pdf", "html"), False)
    assert definition.takes_undeclared


def test_what_is_wrong_with_its_files(own: Path, data_dir: Path) -> None:
    (own / "report" / "pipeline.json").write_text('{\n  "timeout": "soon"\n}')
    with fastflow.open(own, data_dir=data_dir) as flow:
        report = flow.pipelines.get("report")
    assert report.definition is None and not report.is_runnable
    (wrong,) = report.diagnostics
    assert (wrong.severity, wrong.file, wrong.field) == (Severity.ERROR, "pipeline.json", "timeout")
    assert (wrong.line, wrong.column) == (2, 14)
    assert str(wrong) == f"pipeline.json:2:14: timeout: {wrong.message}"


def test_one_that_is_disabled(own: Path, data_dir: Path) -> None:
    write(own, "report", enabled=False)
    with fastflow.open(own, data_dir=data_dir) as flow:
        report = flow.pipelines.get("report")
        with pytest.raises(fastflow.ConflictError):
            flow.run("report")
    assert report.definition is not None and not report.is_runnable


def test_what_became_of_its_runs(flow: fastflow.Flow) -> None:
    before = datetime.now(timezone.utc)
    flow.runs.wait_all([flow.run("hello"), flow.run("hello"), flow.run("broken")])
    hello, broken = flow.pipelines.get("hello"), flow.pipelines.get("broken")
    assert hello.counters == Counters(succeeded=2, failed=0, cancelled=0)
    assert broken.counters == Counters(succeeded=0, failed=1, cancelled=0)
    assert hello.last_submitted_at is not None and hello.last_submitted_at >= before
    assert flow.pipelines.get("etl").last_submitted_at is None
    days = flow.pipelines.daily_statistics("hello")
    # A test around midnight in UTC has two of them.
    assert sum(day.counters.succeeded for day in days) == 2
    assert days[0].day in (before.date(), (before + timedelta(minutes=5)).date())
    assert all(day.run_time > timedelta(0) for day in days)


def test_how_its_environment_stands(flow: fastflow.Flow) -> None:
    attempt = flow.run("hello").wait().attempts()[-1]
    assert attempt.setup is not None
    environment = flow.pipelines.get("hello").environment
    assert environment.state is EnvironmentState.CACHED
    assert environment.id == attempt.setup.environment
    assert environment.python_version == attempt.setup.python_version


def test_one_whose_folder_is_gone_is_still_known(own: Path, data_dir: Path) -> None:
    write(own, "other")
    with fastflow.open(own, data_dir=data_dir) as flow:
        flow.run("other").wait()
    shutil.rmtree(own / "other")
    with fastflow.open(own, data_dir=data_dir) as flow:
        known = {pipeline.name: pipeline for pipeline in flow.pipelines.list()}
    assert known["report"].present
    assert not known["other"].present and known["other"].definition is None
    assert known["other"].counters.succeeded == 1


def test_one_that_is_not_there(flow: fastflow.Flow) -> None:
    with pytest.raises(fastflow.NotFoundError) as raised:
        flow.pipelines.get("helo")
    assert raised.value.context == {"pipeline": "helo", "did you mean": "hello"}


async def test_with_asyncio(pipelines: Path, data_dir: Path) -> None:
    async with fastflow.open(pipelines, data_dir=data_dir) as flow:
        await (await flow.run("hello")).wait()
        hello = await flow.pipelines.get("hello")
        assert hello.counters.succeeded == 1
        assert hello in await flow.pipelines.list()
        # The day may have just begun.
        days = await flow.pipelines.daily_statistics("hello", days=2)
        assert sum(day.counters.succeeded for day in days) == 1
        with pytest.raises(fastflow.NotFoundError):
            await flow.pipelines.get("helo")


def test_a_process_that_goes_elsewhere_takes_no_flow_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("here", "there"):
        (tmp_path / place / "pipelines" / "tells").mkdir(parents=True)
        (tmp_path / place / "pipelines" / "tells" / "main.py").write_text(f"print({place!r})")
    monkeypatch.chdir(tmp_path / "here")
    opening = fastflow.open("pipelines")
    monkeypatch.chdir(tmp_path / "there")
    with opening as flow:
        assert flow.data_dir == tmp_path / "here" / ".fastflow"
        run = flow.run("tells").wait(timeout=60)
        assert [line.text for line in run.logs() if line.stream == "stdout"] == ["here"]
        host = flow.host()
        assert host is not None and host.source == str(tmp_path / "here" / "pipelines")


@pytest.mark.parametrize("option", ["uv", "default_python"])
def test_a_program_is_found_from_everywhere(
    option: str, pipelines: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = sys.executable if option == "default_python" else find_uv_bin()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "it").symlink_to(program)
    monkeypatch.chdir(tmp_path)
    options: Any = {option: "./bin/it"}
    with fastflow.open(pipelines, data_dir=data_dir, **options) as flow:
        run = flow.run_code("import sys; print(*sys.version_info[:3])").wait(timeout=60)
        assert run.status is fastflow.Status.SUCCESS
    with pytest.raises(fastflow.InvalidError, match=option):
        fastflow.open(pipelines, data_dir=data_dir, **{option: "./bin/none"}).start()
