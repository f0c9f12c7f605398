"""What `fastflow.open` can be told: each option by what it does, and each that is wrong by its message."""

from __future__ import annotations

import dataclasses
import os
import textwrap
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import fastflow
import pytest
from fastflow import Status
from programs import wait_until

IMAGE = os.environ.get("FASTFLOW_TEST_IMAGE")


def write(folder: Path, name: str, code: str, pipeline_json: str | None = None) -> None:
    """A pipeline with this program."""
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    (place / "main.py").write_text(textwrap.dedent(code))
    if pipeline_json is not None:
        (place / "pipeline.json").write_text(pipeline_json)


def printed(run: fastflow.Run) -> list[str]:
    """What the program of a run wrote."""
    return [line.text for line in run.logs() if line.stream == "stdout"]


def engine(kind: str) -> str:
    """The address of a private engine."""
    host = os.environ.get(f"FASTFLOW_TEST_{kind.upper()}")
    if host is None or IMAGE is None:
        pytest.skip(f"{kind}: start the engines with `tools/setup-engines`, which says where they are")
    return host


def test_each_wrong_option_is_refused_by_one_clear_message(pipelines: Path, data_dir: Path) -> None:
    many: Any = object()
    wrong: dict[str, tuple[dict[str, Any], type[Exception] | tuple[type[Exception], ...], tuple[str, ...]]] = {
        "executor": ({"executor": "dokcer"}, ValueError, ("'dokcer'", "'docker'")),
        "kind": ({"executor": 3}, TypeError, ("a Docker", "3")),
        "both": ({"executor": "docker", "executors": ["process"]}, ValueError, ("`executor` or `executors`",)),
        "one text": ({"executors": "docker"}, ValueError, ("executors=['docker']",)),
        "twice": ({"executors": ["process", fastflow.Process()]}, ValueError, ("two executors", "'process'")),
        "name": ({"executors": {"a b": "process"}}, ValueError, ("a b",)),
        "image": ({"executor": fastflow.Docker(image="A B")}, ValueError, ("image", "executors")),
        "host": ({"executor": fastflow.Docker(host="ssh://me:hunter2@x")}, ValueError, ("unix:///", "executors")),
        "pull": ({"executor": fastflow.Docker(pull="often")}, ValueError, ("`pull`", "'missing'", "'often'")),
        "tmp": ({"executor": fastflow.Podman(tmp_size="64 parsecs")}, ValueError, ("byte size", "64 parsecs")),
        "tmp sign": ({"executor": fastflow.Docker(tmp_size=-1)}, ValueError, ("`tmp_size`",)),
        "files": ({"executor": fastflow.Docker(max_open_files=many)}, TypeError, ("`max_open_files`",)),
        "subfolder": ({"git": fastflow.Git("x", subfolder=many)}, TypeError, ("`subfolder`",)),
        "kept": ({"retention": fastflow.Retention(max_runs_per_pipeline=-1)}, ValueError, ("retention", "max_runs")),
        "memory": ({"memory_budget": "2 apples"}, ValueError, ("byte size", "2 apples", "memory_budget")),
        "negative": ({"memory_budget": -1}, ValueError, ("`memory_budget`",)),
        "large": ({"memory_budget": 10**30}, ValueError, ("`memory_budget`",)),
        "memory kind": ({"memory_budget": 1.5}, TypeError, ("`memory_budget`",)),
        "cpu": ({"cpu_budget": 0}, ValueError, ("cores", "cpu_budget")),
        "runs": ({"max_concurrent_runs": 0}, ValueError, ("`max_concurrent_runs` is a whole number from 1",)),
        "runs sign": ({"max_concurrent_runs": -1}, ValueError, ("`max_concurrent_runs` is a whole number from 1",)),
        "runs kind": ({"max_concurrent_runs": "many"}, TypeError, ("`max_concurrent_runs`",)),
        "pool": ({"pools": {"db": 0}}, ValueError, ("pools",)),
        "pools": ({"pools": "db"}, TypeError, ("`pools`",)),
        "pool name": ({"pools": {"a b": 1}}, ValueError, ("pools", "a b")),
        "sync": ({"sync_interval": 5}, ValueError, ("one minute",)),
        "sync sign": ({"sync_interval": timedelta(seconds=-90)}, ValueError, ("sync_interval",)),
        "audits": ({"audits": "never"}, ValueError, ("`audits`", "'on_request'", "'never'")),
        "zone": ({"blackouts": [fastflow.Blackout("quiet", timezone="Mars")]}, ValueError, ("Mars",)),
        "day": ({"blackouts": [fastflow.Blackout("quiet", weekdays=["caturday"])]}, ValueError, ("caturday",)),
        "blackout kind": ({"blackouts": [5]}, TypeError, ("`blackouts`",)),
        "blackouts kind": ({"blackouts": 5}, TypeError, ("`blackouts`",)),
        "retention kind": ({"retention": 5}, TypeError, ("`retention`",)),
        "total": ({"retention": fastflow.Retention(max_total=-1)}, ValueError, ("`retention.max_total`",)),
        "preheat": ({"preheat": -1}, ValueError, ("`preheat`",)),
        "timeout": ({"timeout": "x"}, TypeError, ("`timeout`",)),
        "no python": ({"default_python": ""}, ValueError, ("not a Python version", "default_python")),
        "no version": ({"default_python": "x y"}, ValueError, ("not a Python version", "default_python")),
        "old python": ({"default_python": "2.7"}, ValueError, ("not a Python version", "default_python")),
        "python kind": ({"default_python": 3.12}, TypeError, ("`default_python`",)),
        "uv": ({"uv": "/nope"}, ValueError, ("`uv`", "/nope")),
        "inherited": ({"inherit_env": ["A=B"]}, ValueError, ("variable", "A=B", "inherit_env")),
        "inherited none": ({"inherit_env": [""]}, ValueError, ("variable", "inherit_env")),
        "naive": (
            {"blackouts": [fastflow.Blackout("quiet", spans=[(datetime(2026, 1, 1), date(2026, 1, 2))])]},
            ValueError,
            ("time zone",),
        ),
        "key": ({"master_key": "hunter2"}, ValueError, ("master key", "master_key")),
        "key bytes": ({"master_key": b"\xffhunter2"}, ValueError, ("32 bytes",)),
        "older": ({"older_master_keys": "hunter2"}, ValueError, ("`older_master_keys`", "list")),
        "fernet": ({"fernet_key": "hunter2"}, ValueError, ("fernet_key",)),
        "store": ({"secret_stores": ["hunter2"]}, TypeError, ("a secret store", "str")),
        "store command": (
            {"secret_stores": [fastflow.CommandSecrets(["vault", "hunter2"])]},
            ValueError,
            ("{name}", "secret_stores"),
        ),
        "prefix": ({"secret_stores": [fastflow.EnvironmentSecrets("")]}, ValueError, ("prefix", "secret_stores")),
        "environment": ({"inherit_env": "TERM"}, ValueError, ("`inherit_env`", "['TERM']")),
        "source": ({"git": fastflow.Git("https://x.example/y.git")}, ValueError, ("`pipelines` and `git`",)),
    }
    for name, (options, kind, words) in wrong.items():
        with pytest.raises(kind) as refused:
            fastflow.open(None if name == "subfolder" else pipelines, data_dir=data_dir, **options).start()
        for word in words:
            assert word in str(refused.value), (name, str(refused.value))
        assert "hunter2" not in str(refused.value), name
        assert refused.value.__cause__ is None, name
    assert not data_dir.exists(), "what is refused has touched nothing"


def test_a_flow_without_pipelines_and_a_repository_without_a_place_are_refused() -> None:
    with pytest.raises(fastflow.InvalidError, match="git=fastflow.Git"):
        fastflow.open()
    with pytest.raises(fastflow.InvalidError, match="`data_dir`"):
        fastflow.open(git=fastflow.Git("https://git.example.org/x.git"))


def test_what_says_two_things_is_refused_where_it_is_said() -> None:
    refused: list[Callable[[], object]] = [
        lambda: fastflow.Git("https://git.example.org/x.git", branch="a", tag="b"),
        lambda: fastflow.Git("https://git.example.org/x.git", token="a", deploy_key="b"),
        lambda: fastflow.Git("https://git.example.org/x.git", username="a"),
        lambda: fastflow.Git("x", known_hosts="a", known_hosts_file="b"),
        lambda: fastflow.GitHubApp(app="1", installation=2),
        lambda: fastflow.SecretScope(pipeline="a", schedule="a/b"),
    ]
    for make in refused:
        with pytest.raises(fastflow.InvalidError):
            make()


def test_no_secret_is_shown_by_repr(pipelines: Path, data_dir: Path) -> None:
    secret = "hunter2-0123456789"
    shown: list[object] = [
        fastflow.Git("https://git.example.org/x.git", token=secret),
        fastflow.GitHubApp(app="1", installation=2, key=secret),
        fastflow.Git("x", github_app=fastflow.GitHubApp(app="1", installation=2, key=secret)),
        fastflow.MasterKeyCommand(["vault", f"--token={secret}"]),
        fastflow.CommandSecrets(["vault", "{name}", f"--token={secret}"], env={"VAULT_TOKEN": secret}),
        fastflow.open(pipelines, data_dir=data_dir, master_key=secret),
    ]
    for value in shown:
        assert secret not in repr(value), repr(value)
        if dataclasses.is_dataclass(value):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(value, dataclasses.fields(value)[0].name, "changed")


def test_executors_have_the_names_that_they_are_given(pipelines: Path, data_dir: Path) -> None:
    executors = {"first": fastflow.Process(cgroups=False), "second": "process"}
    with fastflow.open(pipelines, data_dir=data_dir, executors=executors) as flow:
        assert flow.run("hello").wait().executor == "first"
        assert flow.run("hello", executor="second").wait().status is Status.SUCCESS
        with pytest.raises(fastflow.InvalidError):
            flow.run("hello", executor="process")


def test_a_named_process_executor_finds_what_the_default_one_has_started(
    tmp_path: Path, data_dir: Path
) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    write(tmp_path / "pipelines", "waits", f"print('began', flush=True); open({os.fspath(go)!r}).read(); print('ended')")
    with fastflow.open(tmp_path / "pipelines", data_dir=data_dir) as flow:
        run = flow.run("waits")
        for line in run.logs():
            if line.text == "began":
                break
    with fastflow.open(tmp_path / "pipelines", data_dir=data_dir, executor="process") as flow:
        go.write_text("")
        ended = flow.runs.wait(run.id, timeout=60)
        assert (ended.status, ended.attempt) == (Status.SUCCESS, 1)
        assert printed(ended) == ["began", "ended"]


@pytest.mark.parametrize("kind", ["docker", "podman"])
def test_programs_run_in_containers_of_an_engine(kind: str, tmp_path: Path, data_dir: Path) -> None:
    host = engine(kind)
    write(tmp_path / "pipelines", "inside", "import os; print(os.getuid(), os.path.exists(os.environ['OUTSIDE']))")
    make = fastflow.Docker if kind == "docker" else fastflow.Podman
    executor = make(image=IMAGE, host=host, pull="never", user=(1234, 1234), network=f"fastflow-py-{os.getpid()}")
    with fastflow.open(tmp_path / "pipelines", data_dir=data_dir, executors=[executor, "process"]) as flow:
        outside = {"OUTSIDE": os.fspath(tmp_path / "pipelines")}
        run = flow.run("inside", parameters=outside).wait(timeout=120)
        assert run.status is Status.SUCCESS, (run.failure, [line.text for line in run.logs()])
        assert run.executor == kind
        assert printed(run) == ["1234 False"]
        here = flow.run("inside", parameters=outside, executor="process").wait()
        assert printed(here) == [f"{os.getuid()} True"]


def test_an_image_that_is_not_allowed_is_not_run(tmp_path: Path, data_dir: Path) -> None:
    host = engine("docker")
    pipeline = '{"image": "python:3.12-slim"}'
    write(tmp_path / "pipelines", "chooses", "print('ran')", pipeline)
    executor = fastflow.Docker(image=IMAGE, host=host, pull="never", images=[])
    with fastflow.open(tmp_path / "pipelines", data_dir=data_dir, executor=executor) as flow:
        run = flow.run("chooses").wait(timeout=60)
        assert run.status is Status.FAILED
        assert run.failure is not None and "python:3.12-slim" in run.failure.message


def test_a_pool_holds_back_what_wants_more_slots_than_it_has(tmp_path: Path, data_dir: Path) -> None:
    go = tmp_path / "go"
    code = f"""
        import pathlib, time
        print('began', flush=True)
        while not pathlib.Path({os.fspath(go)!r}).exists():
            time.sleep(0.01)
    """
    write(tmp_path / "pipelines", "db", code, '{"pools": {"db": 1}}')
    with fastflow.open(tmp_path / "pipelines", data_dir=data_dir, pools={"db": 1}) as flow:
        first, second = flow.run("db"), flow.run("db")
        wait_until(lambda: first.refresh().status is Status.RUNNING, "the first runs")
        assert second.refresh().status is Status.PENDING
        assert "db" in second.explain()
        go.write_text("")
        assert first.wait(timeout=60).status is second.wait(timeout=60).status is Status.SUCCESS


def test_a_memory_budget_lets_one_run_wait_for_another(tmp_path: Path, data_dir: Path) -> None:
    go = tmp_path / "go"
    code = f"""
        import pathlib, time
        while not pathlib.Path({os.fspath(go)!r}).exists():
            time.sleep(0.01)
    """
    write(tmp_path / "pipelines", "large", code, '{"mem_hard_limit": "600m"}')
    with fastflow.open(tmp_path / "pipelines", data_dir=data_dir, memory_budget="1g") as flow:
        first, second = flow.run("large"), flow.run("large")
        wait_until(lambda: first.refresh().state != "queued", "the first is in flight")
        assert second.refresh().state == "queued"
        assert "memory" in second.explain()
        go.write_text("")
        for run in (first, second):
            assert run.wait(timeout=60).is_final


def test_programs_find_the_variables_that_are_named_and_no_others(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAMED", "yes")
    monkeypatch.setenv("NOT_NAMED", "yes")
    write(tmp_path / "pipelines", "looks", "import os; print(os.environ.get('NAMED'), os.environ.get('NOT_NAMED'))")
    with fastflow.open(tmp_path / "pipelines", data_dir=data_dir, inherit_env=["NAMED"]) as flow:
        assert printed(flow.run("looks").wait()) == ["yes None"]


def test_all_options_together_open_a_flow(pipelines: Path, data_dir: Path) -> None:
    now = datetime.now(timezone.utc)
    with fastflow.open(
        pipelines,
        data_dir=data_dir,
        executor=fastflow.Process(secrets_folder="/dev/shm"),
        max_concurrent_runs=2,
        pools={"db": 3},
        memory_budget=8 << 30,
        cpu_budget=2.5,
        blackouts=[
            fastflow.Blackout("now", spans=[(now - timedelta(hours=1), now + timedelta(hours=1))]),
            fastflow.Blackout("days", timezone="Europe/Berlin", weekdays=["sunday"], only_where_named=True),
        ],
        retention=fastflow.Retention(max_runs_per_pipeline=5, max_age=timedelta(days=1), max_total="1.5g"),
        sync_interval=timedelta(minutes=5),
        preheat=0,
        audits=fastflow.Audits.NEW_ENVIRONMENTS,
        default_python="3",
        inherit_env=["TERM"],
    ) as flow:
        assert flow.run("hello").wait().status is Status.SUCCESS


def test_retention_removes_the_directories_of_older_runs(tmp_path: Path, data_dir: Path) -> None:
    write(tmp_path / "pipelines", "small", "print('ran')")
    with fastflow.open(tmp_path / "pipelines", data_dir=data_dir) as flow:
        runs = [flow.run("small").wait() for _ in range(3)]
        directories = [run.directory() for run in runs]
    keep_one = fastflow.Retention(max_runs_per_pipeline=1)
    with fastflow.open(tmp_path / "pipelines", data_dir=data_dir, retention=keep_one):
        wait_until(lambda: not directories[0].exists() and not directories[1].exists(), "the older ones are gone")
        assert directories[2].exists()


async def test_an_async_flow_takes_the_same_options(pipelines: Path, data_dir: Path) -> None:
    async with fastflow.open(pipelines, data_dir=data_dir, executors={"local": fastflow.Process()}) as flow:
        run = await (await flow.run("hello")).wait()
        assert run.executor == "local"


