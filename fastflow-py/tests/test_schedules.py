"""The schedules: made, changed, removed; their instants, and the ledger of what became of each."""

from __future__ import annotations

from dataclasses import fields
from datetime import date, datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from typing import Any

import fastflow
import pytest
from fastflow import FoldRule, GapRule, Overlap, Schedule, ScheduleOwner, Status, Tick, TickOutcome, explain_cron
from folders import write
from programs import wait_until

UTC = timezone.utc
FAR = datetime(2199, 1, 1, 12, tzinfo=UTC)


def run_of(flow: fastflow.Flow, schedule: str) -> fastflow.Run:
    """The first run that a schedule makes."""
    for event in flow.events(timeout=60):
        run = flow.runs.get(event.run)
        if run.schedule == schedule and event.status.is_final:
            return run
    raise AssertionError("the events ended")


def test_its_runs_and_its_ledger(flow: fastflow.Flow) -> None:
    made = flow.schedules.put("hello@greeting", interval=1, parameters={"who": "everybody"}, priority=3)
    run = run_of(flow, "hello@greeting")
    assert (run.status, run.origin, run.schedule) == (Status.SUCCESS, "schedule", "hello@greeting")
    assert (run.parameters["who"], run.priority) == ("everybody", 3)
    (tick,) = [tick for tick in flow.schedules.ticks(schedule="hello@greeting") if tick.run == run.id]
    assert (tick.at, tick.through, tick.count) == (run.scheduled_for, run.scheduled_for, 1)
    assert (tick.schedule, tick.outcome, tick.message) == ("hello@greeting", TickOutcome.RUN, f"run {run.id}")
    assert tick.at > made.decided_until
    assert tick.decided_at >= tick.at


def test_what_was_given_is_what_is_read(tmp_path: Path, data_dir: Path) -> None:
    write(tmp_path / "own", "etl", schedules=[{"id": "big", "schedule_cron": "0 0 1 1 *", "enabled": False}])
    given: dict[str, Any] = {
        "cron": "30 2 * * MON",
        "timezone": "Europe/Berlin",
        "start": date(2030, 1, 1),
        "end": datetime(2040, 1, 1, 12, 30, tzinfo=timezone(timedelta(hours=2))),
        "parameters": {"MONTH": 3, "who": "x"},
        "config": "big",
        "priority": -5,
        "enabled": False,
        "overlap": Overlap.QUEUE,
        "max_instances": 2,
        "catch_up": 7,
        "catch_up_window": timedelta(hours=3),
        "jitter": 90,
        "gap": GapRule.SKIP,
        "fold": FoldRule.LAST,
    }
    with fastflow.open(tmp_path / "own", data_dir=data_dir) as flow:
        made = flow.schedules.put("etl@nightly", **given)
        assert flow.schedules.get("etl@nightly") == made
    expected = given | {
        "parameters": {"MONTH": "3", "who": "x"},
        "jitter": timedelta(seconds=90),
        "id": "etl@nightly",
        "pipeline": "etl",
        "name": "nightly",
        "owner": ScheduleOwner.API,
        "interval": None,
        "once": None,
        "blackouts": (),
        "problem": None,
        "next_at": datetime(2030, 1, 7, 1, 30, tzinfo=UTC),
    }
    found = {field.name: getattr(made, field.name) for field in fields(Schedule)}
    assert found.pop("next_due_at") - found["next_at"] <= timedelta(seconds=90)
    assert abs(found.pop("decided_until") - datetime.now(UTC)) < timedelta(minutes=5)
    assert found == expected


def test_what_is_not_said_has_the_defaults_of_files(flow: fastflow.Flow) -> None:
    made = flow.schedules.put("hello@hourly", interval=timedelta(hours=1))
    assert made.interval == timedelta(hours=1)
    assert (made.timezone, made.enabled, made.overlap) == ("UTC", True, Overlap.SKIP)
    assert (made.catch_up, made.catch_up_window, made.jitter) == (None, timedelta(days=1), timedelta(0))
    assert (made.gap, made.fold, made.max_instances) == (None, None, None)


@pytest.mark.parametrize(("catch_up", "read"), [(None, None), (0, 0), (5, 5)])
def test_how_many_are_caught_up(flow: fastflow.Flow, catch_up: int | None, read: int | None) -> None:
    assert flow.schedules.put("hello@hourly", cron="@hourly", catch_up=catch_up).catch_up == read


@pytest.mark.parametrize(
    ("once", "first"),
    [(FAR, FAR), (FAR.date(), datetime(2198, 12, 31, 23, tzinfo=UTC))],
    ids=["an instant", "a day of the zone"],
)
def test_once(flow: fastflow.Flow, once: date | datetime, first: datetime) -> None:
    made = flow.schedules.put("hello@once", once=once, timezone="Europe/Berlin")
    assert (made.once, made.next_at) == (once, first)
    assert flow.schedules.next("hello@once", limit=10) == [first]


def test_a_change_is_one(flow: fastflow.Flow) -> None:
    flow.schedules.put("hello@daily", cron="0 4 * * *", parameters={"who": "x"})
    changed = flow.schedules.put("hello@daily", cron="0 5 * * *")
    assert (changed.cron, dict(changed.parameters)) == ("0 5 * * *", {})
    assert [schedule.id for schedule in flow.schedules.list()] == ["hello@daily"]
    assert [at.hour for at in flow.schedules.next("hello@daily", limit=3)] == [5, 5, 5]


def test_one_that_is_switched_off_says_so_at_each_instant(flow: fastflow.Flow) -> None:
    flow.schedules.put("hello@greeting", interval=1)
    off = flow.schedules.set_enabled("hello@greeting", False)
    assert not off.enabled
    flow.schedules.put("hello@other", interval=1)
    run_of(flow, "hello@other")


    def outcomes() -> set[TickOutcome]:
        return {tick.outcome for tick in flow.schedules.ticks(schedule="hello@greeting")}

    wait_until(lambda: TickOutcome.SKIPPED_DISABLED in outcomes(), "an instant is skipped")
    assert outcomes() <= {TickOutcome.RUN, TickOutcome.SKIPPED_DISABLED}
    assert {upcoming.schedule for upcoming in flow.schedules.upcoming(within=10)} == {"hello@other"}
    assert flow.schedules.set_enabled("hello@greeting", True).enabled
    run_of(flow, "hello@greeting")


def test_one_that_is_removed_leaves_its_ledger(flow: fastflow.Flow) -> None:
    flow.schedules.put("hello@daily", cron="@daily")
    flow.schedules.remove("hello@daily")
    assert flow.schedules.list() == []
    for call in (flow.schedules.get, flow.schedules.remove, flow.schedules.next):
        with pytest.raises(fastflow.NotFoundError):
            call("hello@daily")
    (tick,) = flow.schedules.ticks(schedule="hello@daily")
    assert (tick.outcome, tick.message) == (TickOutcome.ENDED, "ended: it was removed")


def test_one_that_files_declare_is_changed_there(tmp_path: Path, data_dir: Path) -> None:
    write(tmp_path / "own", "etl", schedules=[{"id": "nightly", "schedule_cron": "0 2 * * *"}])
    with fastflow.open(tmp_path / "own", data_dir=data_dir) as flow:
        (nightly,) = flow.schedules.list()
        assert (nightly.id, nightly.owner, nightly.config) == ("etl/nightly", ScheduleOwner.FILES, "nightly")
        with pytest.raises(fastflow.InvalidError):
            flow.schedules.put("etl/nightly", cron="0 3 * * *")
        with pytest.raises(fastflow.InvalidError):
            flow.schedules.set_enabled("etl/nightly", False)
        with pytest.raises(fastflow.InvalidError):
            flow.schedules.remove("etl/nightly")


@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_the_ledger_page_by_page(flow: fastflow.Flow, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr("fastflow.schedules._PAGE_ROWS", rows)
    for name in "abcde":
        # All of them end at instants of their own.
        flow.schedules.put(f"hello@{name}", once=FAR)
        flow.schedules.remove(f"hello@{name}")
    ticks: list[Tick] = list(flow.schedules.ticks())
    assert [tick.schedule for tick in ticks] == [f"hello@{name}" for name in "edcba"]
    assert list(flow.schedules.ticks(limit=3)) == ticks[:3]
    assert list(flow.schedules.ticks(before=ticks[1].at)) == ticks[2:]
    assert list(flow.schedules.ticks(since=ticks[1].at)) == ticks[:2]
    assert list(islice(flow.schedules.ticks(), 4)) == ticks[:4]


@pytest.mark.parametrize(
    ("id", "given"),
    [
        ("hello@x", {"cron": "every day"}),
        ("hello@x", {"cron": "0 0 30 2 *"}),
        ("hello@x", {"cron": "@daily", "timezone": "Europe/Berln"}),
        ("hello@x", {"cron": "@daily", "blackouts": ["holidays"]}),
        ("hello@x", {"cron": "@daily", "parameters": {"A=B": "x"}}),
        ("hello@x", {"cron": "@daily", "parameters": {"who": True}}),
        ("hello@x", {"cron": "@daily", "interval": 60}),
        ("hello@x", {}),
        ("hello@x", {"interval": 0.5}),
        ("hello@x", {"cron": "@daily", "jitter": -1}),
        ("hello@x", {"once": datetime(2199, 1, 1)}),
        ("hello", {"cron": "@daily"}),
    ],
)
def test_what_is_refused(flow: fastflow.Flow, id: str, given: dict[str, Any]) -> None:
    with pytest.raises(fastflow.InvalidError):
        flow.schedules.put(id, **given)
    assert flow.schedules.list() == []


def test_a_pipeline_that_is_not_there(flow: fastflow.Flow) -> None:
    with pytest.raises(fastflow.NotFoundError):
        flow.schedules.put("helo@x", cron="@daily")


def test_a_cron_expression_in_words() -> None:
    told = explain_cron("*/7 9-17 * * MON-FRI", after=datetime(2026, 1, 1, tzinfo=UTC), limit=3)
    assert told.warnings == ("`*/7` does not divide 60: the last distance is only 4",)
    assert told.next == tuple(datetime(2026, 1, 1, 9, minute, tzinfo=UTC) for minute in (0, 7, 14))
    assert told.odd_times == ()
    assert str(told) == f"{told.description}\nwarning: {told.warnings[0]}"


def test_a_cron_expression_when_the_clock_is_changed() -> None:
    after = datetime(2026, 3, 28, 12, tzinfo=UTC)
    told = explain_cron("30 2 * * *", timezone="Europe/Berlin", after=after, gap=GapRule.SKIP, fold=FoldRule.BOTH)
    assert told.next[0] == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)
    assert told.odd_times[:2] == (
        "2026-03-29 02:30 does not exist: does not run",
        "2026-10-25 02:30 exists twice: runs each time",
    )


def test_no_cron_expression() -> None:
    with pytest.raises(fastflow.InvalidError):
        explain_cron("every day")
    with pytest.raises(fastflow.InvalidError) as raised:
        explain_cron("@daily", timezone="Europe/Berln")
    assert raised.value.context["did you mean"] == "Europe/Berlin"


async def test_with_asyncio(pipelines: Path, data_dir: Path) -> None:
    async with fastflow.open(pipelines, data_dir=data_dir) as flow:
        made = await flow.schedules.put("hello@nightly", cron="0 2 * * *", timezone="Europe/Berlin")
        assert await flow.schedules.get("hello@nightly") == made
        assert await flow.schedules.list() == [made]
        (first,) = await flow.schedules.next("hello@nightly", limit=1)
        upcoming = await flow.schedules.upcoming(within=timedelta(days=2))
        assert (first, upcoming[0].at) == (made.next_at, made.next_at)
        assert not (await flow.schedules.set_enabled("hello@nightly", False)).enabled
        await flow.schedules.remove("hello@nightly")
        ticks = [tick async for tick in flow.schedules.ticks(schedule="hello@nightly")]
        assert ticks[0].outcome is TickOutcome.ENDED
