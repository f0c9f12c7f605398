"""What is given wrongly is refused by the exception that the table names, with the name that the caller gave it by."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import fastflow
import pytest


class Whole:
    """A whole number that is no ``int``, as those of numpy are none."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


class Mode(str, Enum):
    """A text that writes itself otherwise."""

    FULL = "full"


class Berlin(tzinfo):
    """A zone that is not of the standard library, as those of pytz are none."""

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        return None if dt is None else timedelta(hours=1)

    def dst(self, dt: datetime | None) -> timedelta:
        return timedelta(0)


HALF = "\ud800"
"""One half of a pair of surrogates, which no file and no database takes."""
LARGE = 10**5000
"""More digits than Python writes."""

docker: Any = fastflow.Docker
blackout: Any = functools.partial(fastflow.Blackout, "days")


def limited(**limits: Any) -> fastflow.Git:
    return fastflow.Git("https://git.invalid/x", limits=fastflow.GitLimits(**limits))


# The names of the arguments, and what is wrong with them; `f` is the flow and `r` one of its runs, as Python objects of
# any type: what a checker would refuse is what is tried here.
INVALID: dict[str, tuple[str, Callable[[Any, Any], object]]] = {
    "parameters with a half": ("who", lambda f, r: f.run("hello", parameters={"who": HALF})),
    "a parameter's name": ("parameters", lambda f, r: f.run("hello", parameters={HALF: "x"})),
    "pipeline": ("pipeline", lambda f, r: f.run(HALF)),
    "key": ("key", lambda f, r: f.run("hello", key=HALF)),
    "config": ("config", lambda f, r: f.run("hello", config=HALF)),
    "executor": ("executor", lambda f, r: f.run("hello", executor=HALF)),
    "priority": ("priority", lambda f, r: f.run("hello", priority=100_000)),
    "large priority": ("priority", lambda f, r: f.run("hello", priority=LARGE)),
    "priority of code": ("priority", lambda f, r: f.run_code("pass", priority=10**30)),
    "priority of a task": ("priority", lambda f, r: f.task(priority=-(10**30))(len)),
    "executor of a task": ("executor", lambda f, r: f.task(executor=HALF)(len)),
    "code": ("code", lambda f, r: f.run_code(f"print('{HALF}')")),
    "name of code": ("name", lambda f, r: f.run_code("pass", name=HALF)),
    "key of code": ("key", lambda f, r: f.run_code("pass", key=HALF)),
    "requirements": ("requirements", lambda f, r: f.run_code("pass", requirements=[HALF])),
    "path of a script": ("path", lambda f, r: f.run_script("a\0b")),
    "path of a half": ("path", lambda f, r: f.run_script(HALF)),
    "path of a folder": ("path", lambda f, r: f.run_folder("a\0b")),
    "delay": ("delay", lambda f, r: f.run("hello", delay=-1)),
    "large delay": ("delay", lambda f, r: f.run("hello", delay=LARGE)),
    "large timeout": ("timeout", lambda f, r: r.wait(timeout=LARGE)),
    "attempt -1": ("attempt", lambda f, r: r.directory(attempt=-1)),
    "attempt 0": ("attempt", lambda f, r: r.directory(attempt=0)),
    "large attempt": ("attempt", lambda f, r: r.directory(attempt=2**33)),
    "usage of attempt 0": ("attempt", lambda f, r: next(r.usage(attempt=0))),
    "usage of a large attempt": ("attempt", lambda f, r: next(r.usage(attempt=2**40))),
    "logs": ("after", lambda f, r: next(r.logs(after="99999999999:0"))),
    "logs of attempt 0": ("after", lambda f, r: next(r.logs(after="0:0"))),
    "logs far away": ("after", lambda f, r: next(r.logs(after=f"1:{2**64}"))),
    "logs of many digits": ("after", lambda f, r: next(r.logs(after="1:" + "9" * 5000))),
    "events": ("after", lambda f, r: next(f.events(after=-1))),
    "large event": ("after", lambda f, r: next(f.events(after=LARGE))),
    "id": ("id", lambda f, r: f.runs.get(HALF)),
    "several ids": ("id", lambda f, r: f.runs.wait_all([HALF])),
    "pipeline's name": ("name", lambda f, r: f.pipelines.get(HALF)),
    "days": ("days", lambda f, r: f.pipelines.daily_statistics("hello", days=-1)),
    "schedule": ("id", lambda f, r: f.schedules.get(HALF)),
    "interval 0": ("whole seconds, from 1", lambda f, r: f.schedules.put("hello@x", interval=0)),
    "interval of a part": ("whole seconds, from 1", lambda f, r: f.schedules.put("hello@x", interval=0.5)),
    "large interval": ("interval", lambda f, r: f.schedules.put("hello@x", interval=2**32)),
    "jitter": ("whole seconds, from 0", lambda f, r: f.schedules.put("hello@x", interval=1, jitter=0.5)),
    "naive": ("once", lambda f, r: f.schedules.put("hello@x", once=datetime(2030, 1, 1))),
    "overlap": ("overlap", lambda f, r: f.schedules.put("hello@x", cron="@daily", overlap="never")),
    "instances": ("max_instances", lambda f, r: f.schedules.put("hello@x", cron="@daily", max_instances=0)),
    "catch up": ("catch_up", lambda f, r: f.schedules.put("hello@x", cron="@daily", catch_up=-1)),
    "priority of a schedule": ("priority", lambda f, r: f.schedules.put("hello@x", cron="@daily", priority=2**15)),
    "next": ("limit", lambda f, r: f.schedules.next("hello@x", limit=-1)),
    "upcoming": ("limit", lambda f, r: f.schedules.upcoming(limit=-1)),
    "explained": ("limit", lambda f, r: fastflow.explain_cron("@daily", limit=-1)),
    "secret": ("name", lambda f, r: f.secrets.set(HALF, "x")),
    "value of a secret": ("value", lambda f, r: f.secrets.set("KEY", HALF)),
    "scope of a secret": ("scope", lambda f, r: f.secrets.reveal("KEY", scope=fastflow.SecretScope(pipeline=HALF))),
    "branch": ("branch", lambda f, r: f.source.sync(branch=HALF)),
    "syncs": ("limit", lambda f, r: next(f.source.syncs(limit=-1))),
    "package": ("name", lambda f, r: f.packages.used(HALF)),
    "users of a package": ("limit", lambda f, r: f.packages.used("urllib3", limit=0)),
    "audits": ("limit", lambda f, r: f.packages.audits(limit=0)),
    "one text": ("requirements` takes several: write ['A']", lambda f, r: f.run_code("pass", requirements="A")),
    "one in bytes": ("requirements` takes several: write ['A']", lambda f, r: f.run_code("pass", requirements=b"A")),
    "variables in bytes": ("inherit_env` takes several: write ['A'", lambda f, r: fastflow.open("x", inherit_env=b"A")),
    "one blackout": ("write [Blackout(", lambda f, r: fastflow.open("x", blackouts=fastflow.Blackout("x"))),
    "one end": ("pairs", lambda f, r: fastflow.open("x", blackouts=[blackout(spans=[(date(2030, 1, 1),)])])),
    "no end of a delay": ("delay", lambda f, r: f.run("hello", delay=float("inf"))),
    "no end of a delay of code": ("delay", lambda f, r: f.run_code("pass", delay=float("inf"))),
    "memory": ("`memory` is '2 gb!'", lambda f, r: f.run_code("pass", memory="2 gb!")),
    "memory of a task": ("`memory` is 'banana'", lambda f, r: f.task(memory="banana")(len)),
    "retries": ("`retries`", lambda f, r: f.run_code("pass", retries=-1)),
    "network": ("`network` is 'bridge' or 'none'", lambda f, r: f.task(len, network="host")),
    "secrets as": ("`secrets_as`", lambda f, r: f.run_code("pass", secrets_as="x")),
    "processes": ("`max_processes`", lambda f, r: f.run_code("pass", max_processes=0)),
    "cpu": ("`cpu`", lambda f, r: f.run_code("pass", cpu=0)),
    "endless cpu": ("`cpu`", lambda f, r: f.run_code("pass", cpu=float("nan"))),
    "nothing in env": ("`A` in `env`", lambda f, r: f.run_code("pass", env={"A": None})),
    "budget": ("`memory_budget`", lambda f, r: fastflow.open("x", memory_budget="much")),
    "warm sandboxes": ("`max_warm`", lambda f, r: fastflow.open("x", executor=docker(max_warm=-1))),
    "user": ("`user`", lambda f, r: fastflow.open("x", executor=docker(user=(1,)))),
    "empty folder": ("`pipelines` is empty", lambda f, r: fastflow.open("")),
    "empty data directory": ("`data_dir` is empty", lambda f, r: fastflow.open("x", data_dir="")),
    "folder": ("`pipelines` is no path", lambda f, r: fastflow.open("a\0b")),
    "in flight": ("max_in_flight", lambda f, r: f.task(len).map([[1]], max_in_flight=0)),
    "result": ("max_result_bytes", lambda f, r: f.task(len, max_result_bytes=0)),
}
TYPES: dict[str, tuple[str, Callable[[Any, Any], object]]] = {
    "parameters": ("parameters", lambda f, r: f.run("hello", parameters="x")),
    "pipeline": ("pipeline", lambda f, r: f.run(5)),
    "priority": ("priority", lambda f, r: f.run("hello", priority=1.5)),
    "delay": ("delay", lambda f, r: f.run("hello", delay="x")),
    "delay of digits": ("delay", lambda f, r: f.run("hello", delay="5")),
    "timeout": ("timeout", lambda f, r: r.wait(timeout="x")),
    "timeout of a list": ("timeout", lambda f, r: r.wait(timeout=[1])),
    "time limit": ("time_limit", lambda f, r: f.run_code("pass", time_limit="x")),
    "code in bytes": ("code", lambda f, r: f.run_code(b"pass")),
    "no code": ("code", lambda f, r: f.run_code(None)),
    "requirements": ("requirements", lambda f, r: f.run_code("pass", requirements=[1])),
    "no requirements": ("requirements", lambda f, r: f.run_code("pass", requirements=1)),
    "secrets": ("secrets", lambda f, r: f.run_code("pass", secrets=[1])),
    "env": ("env", lambda f, r: f.run_code("pass", env="x")),
    "settings": ("settings", lambda f, r: f.run_code("pass", settings=["x"])),
    "logs": ("after", lambda f, r: next(r.logs(after=5))),
    "events": ("after", lambda f, r: next(f.events(after="x"))),
    "attempt": ("attempt", lambda f, r: r.directory(attempt="1")),
    "limit": ("limit", lambda f, r: next(f.runs.list(limit="1"))),
    "days": ("days", lambda f, r: f.pipelines.daily_statistics("hello", days="1")),
    "schedule": ("id", lambda f, r: f.schedules.get(5)),
    "once": ("once", lambda f, r: f.schedules.put("hello@x", once="x")),
    "cron": ("cron", lambda f, r: f.schedules.put("hello@x", cron=5)),
    "enabled": ("enabled", lambda f, r: f.schedules.put("hello@x", cron="@daily", enabled="no")),
    "blackouts of a schedule": ("blackouts", lambda f, r: f.schedules.put("hello@x", cron="@daily", blackouts=[5])),
    "ticks": ("since", lambda f, r: next(f.schedules.ticks(since="x"))),
    "explained": ("after", lambda f, r: fastflow.explain_cron("@daily", after="x")),
    "a parameter's name": ("a name in `parameters`", lambda f, r: f.run("hello", parameters={1: "a"})),
    "status": ("status", lambda f, r: next(f.runs.list(status=5))),
    "one status": ("an item of `status`", lambda f, r: next(f.runs.list(status=["success", 5]))),
    "one run": ("write [run]", lambda f, r: f.runs.wait_all(r)),
    "one id": ("runs", lambda f, r: f.runs.wait_all(str(r.id))),
    "runs": ("runs", lambda f, r: f.runs.as_completed(5)),
    "no id": ("id", lambda f, r: f.runs.get(None)),
    "id": ("id", lambda f, r: f.runs.get(5)),
    "script": ("`path` is a str or an os.PathLike", lambda f, r: f.run_script(5)),
    "folder": ("`path` is a str or an os.PathLike", lambda f, r: f.run_folder(b"x")),
    "memory": ("`memory`", lambda f, r: f.run_code("pass", memory=1.5)),
    "cpu": ("`cpu`", lambda f, r: f.run_code("pass", cpu="2")),
    "retries": ("`retries`", lambda f, r: f.run_code("pass", retries="2")),
    "image": ("`image`", lambda f, r: f.run_code("pass", image=5)),
    "a name in env": ("a name in `env`", lambda f, r: f.run_code("pass", env={1: "x"})),
    "in flight": ("max_in_flight", lambda f, r: f.task(len).map([[1]], max_in_flight="3")),
    "result": ("max_result_bytes", lambda f, r: f.task(len, max_result_bytes="3")),
    "lines of a view": ("tail_lines", lambda f, r: r.view(tail_lines="3")),
    "pipelines": ("`pipelines` is a str or an os.PathLike", lambda f, r: fastflow.open(5)),
    "pipelines in bytes": ("pipelines", lambda f, r: fastflow.open(b"pipelines")),
    "data directory": ("data_dir", lambda f, r: fastflow.open("x", data_dir=b"x")),
    "uv": ("uv", lambda f, r: fastflow.open("x", uv=b"x")),
    "git": ("`git` is of the type Git", lambda f, r: fastflow.open(git="https://git.invalid/x")),
    "hosting": ("hosting", lambda f, r: fastflow.open("x", hosting=None)),
    "secret stores": ("secret_stores", lambda f, r: fastflow.open("x", secret_stores=5)),
    "older keys": ("older_master_keys", lambda f, r: fastflow.open("x", older_master_keys=None)),
    "variables": ("an item of `inherit_env`", lambda f, r: fastflow.open("x", inherit_env=[1])),
    "blackouts": ("an item of `blackouts`", lambda f, r: fastflow.open("x", blackouts=["x"])),
    "pools": ("`db` in `pools`", lambda f, r: fastflow.open("x", pools={"db": "1"})),
    "cpu budget": ("cpu_budget", lambda f, r: fastflow.open("x", cpu_budget="1")),
    "network": ("network", lambda f, r: fastflow.open("x", executor=docker(network=5))),
    "processes": ("default_max_processes", lambda f, r: fastflow.open("x", executor=docker(default_max_processes="5"))),
    "limits of git": ("max_pipelines", lambda f, r: fastflow.open(git=limited(max_pipelines="5"), data_dir="x")),
}
CALLS = [pytest.param(fastflow.InvalidError, *each, id=name) for name, each in INVALID.items()]
CALLS += [pytest.param(TypeError, *each, id=f"type of {name}") for name, each in TYPES.items()]


@pytest.fixture(scope="module")
def opened(pipelines: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with fastflow.open(pipelines, data_dir=tmp_path_factory.mktemp("refused") / "data", preheat=0) as flow:
        flow.schedules.put("hello@x", cron="@yearly")
        yield flow, flow.run("hello").wait()


@pytest.mark.parametrize(("kind", "name", "call"), CALLS)
def test_the_argument_is_named(
    opened: tuple[fastflow.Flow, fastflow.Run], kind: type[Exception], name: str, call: Callable[[Any, Any], object]
) -> None:
    with pytest.raises(kind) as refused:
        call(*opened)
    said = str(refused.value)
    assert name in said and "Given" not in said and "\n" not in said, said
    assert len(list(opened[0].runs.list())) == 1, "nothing was submitted"


def test_what_is_in_bounds_is_taken(opened: tuple[fastflow.Flow, fastflow.Run]) -> None:
    flow, run = opened
    assert run.directory(attempt=1) == run.directory()
    assert {each.id for each in flow.runs.list(status="success")} == {run.id}
    assert {each.id for each in flow.runs.list(status=["Failed", "SUCCESS"])} == {run.id}
    assert next(flow.events(after=None)) == next(flow.events(after=0))
    assert flow.schedules.put("hello@x", cron="@yearly", overlap="Queue").overlap is fastflow.Overlap.QUEUE  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_what_is_not_there_is_named(opened: tuple[fastflow.Flow, fastflow.Run], tmp_path: Path) -> None:
    flow, _run = opened
    (tmp_path / "main.py").write_text("pass")
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(fastflow.NotFoundError, match=r"no\.py"):
        flow.run_script("no.py")
    with pytest.raises(fastflow.NotFoundError, match="no-folder"):
        flow.run_folder("no-folder")
    with pytest.raises(fastflow.InvalidError, match="dangling"):
        flow.run_folder(tmp_path)


def test_numbers_of_other_types_are_taken(opened: tuple[fastflow.Flow, fastflow.Run], tmp_path: Path) -> None:
    flow, run = opened
    three: Any = Whole(3)
    yes: Any = type("bool_", (), {"__module__": "numpy", "__bool__": lambda self: True})()
    assert next(flow.runs.list(limit=three)).id == run.id
    assert list(flow.runs.dead_letters(limit=three)) == []
    assert len(list(flow.source.syncs(limit=three))) == 1
    assert len(list(flow.schedules.ticks(limit=three))) <= 3
    assert flow.schedules.set_enabled("hello@x", yes).enabled
    large: Any = Whole(10**9)
    fastflow.open(
        tmp_path,
        memory_budget=large,
        retention=fastflow.Retention(max_total=large, max_runs_per_pipeline=three),
        executor=fastflow.Docker(default_memory=large, max_warm=three),
    )
    fastflow.open(git=limited(max_fetch=large, max_pipelines=three), data_dir=tmp_path)


def test_options_of_code_are_taken_in_other_types(pipelines: Path, tmp_path: Path) -> None:
    options: Any = {"memory": Whole(2**28), "retries": Whole(0), "cpu": Decimal(2), "max_processes": Whole(100)}
    parameters = {"MODE": Mode.FULL, "COUNT": Whole(3), "RATE": 0.5}
    with fastflow.open(pipelines, data_dir=tmp_path / "data", preheat=0) as flow:
        run = flow.run_code("import os; print(os.environ['N'])", parameters=parameters, env={"N": 1}, **options)
        assert dict(run.parameters) == {"MODE": "full", "COUNT": "3", "RATE": "0.5"}
        assert [line.text for line in run.wait().logs() if line.stream == "stdout"] == ["1"]
        assert flow.runs.get(run).id == run.id


def test_instants_of_any_zone_are_taken(opened: tuple[fastflow.Flow, fastflow.Run]) -> None:
    flow, _run = opened
    new_year = datetime(2030, 1, 1, tzinfo=Berlin())
    assert fastflow.explain_cron("@daily", after=new_year).next[0] == datetime(2030, 1, 1, tzinfo=timezone.utc)
    assert list(flow.schedules.ticks(since=new_year)) == []
