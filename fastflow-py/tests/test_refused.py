"""What is given wrongly is refused by the exception that the table names, with the name that the caller gave it by."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import fastflow
import pytest

HALF = "\ud800"
"""One half of a pair of surrogates, which no file and no database takes."""
LARGE = 10**5000
"""More digits than Python writes."""

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
