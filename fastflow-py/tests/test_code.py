"""Scripts, snippets and folders run isolated, with what they were given and nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import fastflow
import pytest
from fastflow.runs import FailureKind


def printed(run: fastflow.Run) -> list[str]:
    """What a program that went well has printed."""
    lines = list(run.logs(timeout=60))
    assert run.wait(timeout=60).status is fastflow.Status.SUCCESS, [line.text for line in lines]
    return [line.text for line in lines if line.stream == "stdout"]


def test_a_snippet_runs_with_its_parameters_and_settings(flow: fastflow.Flow) -> None:
    code = "import os, sys\nprint(os.environ['WHO'], os.environ['UNIT'])\nprint('ä€😀')"
    run = flow.run_code(
        code, name="greet me!", parameters={"WHO": "you"}, env={"UNIT": "kg"}, tags=["adhoc"], priority=3, memory="128m"
    )
    assert printed(run) == ["you kg", "ä€😀"]
    assert (run.pipeline, run.priority, run.parameters) == ("code.greet_me_", 3, {"WHO": "you"})


def test_it_is_found_in_no_folder_of_ours(flow: fastflow.Flow, tmp_path: Path) -> None:
    (tmp_path / "beside.txt").write_text("here")
    folder, beside = printed(flow.run_code("import os; print(os.getcwd()); print(os.listdir())"))
    assert Path(folder).is_relative_to(flow.data_dir)
    assert beside == "['main.py']"


def test_a_script_anywhere_runs_alone(flow: fastflow.Flow, tmp_path: Path) -> None:
    script = tmp_path / "an etl.py"
    script.write_text("import pathlib\nprint(__file__.rpartition('/')[2], [str(p) for p in pathlib.Path().iterdir()])")
    (tmp_path / "helper.py").write_text("")
    assert printed(flow.run_script(script)) == ["main.py ['main.py']"]
    assert flow.run_script(os.fspath(script)).pipeline == "code.an_etl"


def test_a_folder_runs_with_its_files_and_the_options_win(flow: fastflow.Flow, tmp_path: Path) -> None:
    folder = tmp_path / "etl"
    (folder / "data").mkdir(parents=True)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "old.pyc").write_bytes(b"\0")
    (folder / "data" / "table.csv").write_text("1,2")
    (folder / "main.py").write_text(
        "import os\nprint(open('data/table.csv').read(), os.environ['A'], os.environ.get('B'))"
    )
    (folder / "pipeline.json").write_text(json.dumps({"default_env": {"A": "own", "B": "own"}, "priority": 7}))
    run = flow.run_folder(folder)
    assert (printed(run), run.priority, run.pipeline) == (["1,2 own own"], 7, "code.etl")
    assert printed(flow.run_folder(folder, env={"A": "given"})) == ["1,2 given None"]


def test_of_one_key_the_first_run_is_returned(flow: fastflow.Flow) -> None:
    first = flow.run_code("print('first')", key="once")
    assert flow.run_code("print('second')", key="once").id == first.id
    assert printed(first) == ["first"]


def test_limits_hold(flow: fastflow.Flow) -> None:
    run = flow.run_code("import threading; print('here', flush=True); threading.Event().wait()", time_limit=5)
    failure = run.wait(timeout=60).failure
    assert "here" in [line.text for line in run.logs()]
    assert failure is not None and failure.kind is FailureKind.TIMED_OUT


def test_retries_are_made_after_the_delay_that_was_asked_for(flow: fastflow.Flow) -> None:
    code = "import os, sys; sys.exit(0 if os.environ['FASTFLOW_ATTEMPT'] == '3' else 9)"
    run = flow.run_code(code, retries=2, retry_delay=0).wait(timeout=60)
    assert (run.status, run.attempt, run.failed_attempts) == (fastflow.Status.SUCCESS, 3, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"requirements": "polars"}, r"write \['polars'\]"),
        ({"time_limit": 0}, "`time_limit` is more than 0"),
        ({"memory": "a lot"}, "`memory`"),
        ({"memory": "1g", "settings": {"mem_hard_limit": "2g"}}, "given twice"),
        ({"settings": {"schedule_cron": "* * * * *"}}, "code is run when it is submitted"),
        ({"settings": {"default_env": {1}}}, "cannot be written as JSON"),
        ({"network": "everything"}, "network"),
        ({"settings": {"mem_hardlimit": "64m"}}, "mem_hardlimit: unknown field: did you mean `mem_hard_limit`"),
        ({"settings": {"timeout": "abc"}}, "timeout: found"),
    ],
)
def test_what_can_never_work_is_refused(flow: fastflow.Flow, options: fastflow.CodeOptions, message: str) -> None:
    with pytest.raises(fastflow.InvalidError, match=message):
        flow.run_code("pass", **options)
    assert list(flow.runs.list()) == []


def test_an_unknown_option_is_named(flow: fastflow.Flow) -> None:
    with pytest.raises(TypeError, match="unknown option 'memmory'.*memory"):
        flow.run_code("pass", memmory="1g")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def test_requirements_are_said_in_one_place(flow: fastflow.Flow, tmp_path: Path) -> None:
    script = tmp_path / "inline.py"
    script.write_text('# /// script\n# dependencies = ["tiny"]\n# ///\n')
    with pytest.raises(fastflow.InvalidError, match=r"main\.py says already"):
        flow.run_script(script, requirements=["tiny"])


def test_what_is_not_there_is_not_found(flow: fastflow.Flow, tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="no such script"):
        flow.run_script(tmp_path / "none.py")
    with pytest.raises(LookupError, match="no such folder"):
        flow.run_folder(tmp_path / "none")


def test_a_link_to_a_folder_is_refused_by_its_name(flow: fastflow.Flow, tmp_path: Path) -> None:
    library, job = tmp_path / "library", tmp_path / "job"
    for folder in (library, job):
        folder.mkdir()
    (library / "helper.py").write_text("")
    (job / "main.py").write_text("import library.helper")
    (job / ".venv").symlink_to(library)
    assert flow.run_folder(job).wait().status is fastflow.Status.FAILED, "there is no library"
    (job / "library").symlink_to("../library")
    with pytest.raises(fastflow.InvalidError, match=r"job/library is a link to a folder") as refused:
        flow.run_folder(job)
    assert refused.value.context == {"path": str(job / "library")}


def test_a_folder_with_a_pipe_does_not_hang(flow: fastflow.Flow, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(fastflow.InvalidError, match="holds files only"):
        flow.run_folder(tmp_path)


async def test_the_async_face(pipelines: Path, data_dir: Path, tmp_path: Path) -> None:
    job = tmp_path / "job"
    job.mkdir()
    (job / "main.py").write_text("print('hello')")
    async with fastflow.open(pipelines, data_dir=data_dir) as flow:
        for run in (
            await flow.run_code("print('hello')", memory="128m"),
            await flow.run_script(job / "main.py"),
            await flow.run_folder(job),
        ):
            assert [line.text async for line in run.logs() if line.stream == "stdout"] == ["hello"]
