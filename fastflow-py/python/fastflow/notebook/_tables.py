"""Runs, attempts and other results as HTML that does not change."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from itertools import islice
from typing import Any, cast

from ..runs import _ARGUMENTS_NAME, Attempt, RunData, Status
from ._html import Html, element, joined
from ._style import framed
from ._text import duration, instant, since

MAX_ROWS = 200
"""How many rows a table shows. It says when there are more."""
MAX_CELL_CHARACTERS = 500
"""How long a value in a table is."""

_ENDS = {"succeeded": Status.SUCCESS, "failed": Status.FAILED, "cancelled": Status.CANCELLED}


def badge(status: Status, text: str | None = None) -> Html:
    """A status in its colour."""
    return element("span", text or status.value, class_=f"ff-badge ff-{status.value.lower()}")


def head(run: RunData) -> Html:
    """The line above everything: which run, how it is, and for how long."""
    parts = [badge(run.status), element("span", run.pipeline, class_="ff-name")]
    if run.started_at is not None:
        parts.append(element("span", duration(since(run.started_at, run.finished_at))))
    if run.attempt > 1:
        parts.append(element("span", f"attempt {run.attempt}", class_="ff-soft"))
    parts.append(element("code", run.id, class_="ff-soft"))
    return element("div", *parts, class_="ff-head")


def run_card(run: RunData) -> Html:
    """One run as it was when it was read."""
    return framed(head(run), _facts(run))


def _parameters(run: RunData) -> str:
    """Parameters, without the arguments of a task: they are for the function, not for whoever looks on."""
    return cell({name: value for name, value in run.parameters.items() if name != _ARGUMENTS_NAME})


def _facts(run: RunData) -> Html:
    """What is to be said of a run, one row a fact."""
    rows: list[tuple[str, object]] = []
    if run.failure is not None:
        rows.append(("failure", run.failure.message))
    if parameters := _parameters(run):
        rows.append(("parameters", parameters))
    rows += [("executor", run.executor), ("origin", run.origin), ("created", instant(run.created_at))]
    if run.schedule is not None:
        rows.append(("schedule", run.schedule))
    if run.started_at is not None:
        rows.append(("started", instant(run.started_at)))
    if run.finished_at is not None:
        rows.append(("finished", instant(run.finished_at)))
    body = [element("tr", element("th", name), element("td", value)) for name, value in rows]
    return element("table", *body, class_="ff-table")


def runs_table(runs: Iterable[RunData]) -> Html:
    """Runs, one row each."""
    rows = [
        [
            badge(run.status),
            run.pipeline,
            _parameters(run),
            instant(run.created_at),
            "" if run.started_at is None else duration(since(run.started_at, run.finished_at)),
            "" if run.failure is None else _shortened(run.failure.message),
            element("code", run.id, class_="ff-soft"),
        ]
        for run in islice(runs, MAX_ROWS + 1)
    ]
    return table_of(["status", "pipeline", "parameters", "created", "took", "failure", "id"], rows, "no runs")


def attempts_table(attempts: Iterable[Attempt]) -> Html:
    """Attempts of a run, one row each."""
    rows = [_attempt_row(attempt) for attempt in islice(attempts, MAX_ROWS + 1)]
    names = ["attempt", "end", "claimed", "set up in", "took", "CPU time", "failure"]
    return table_of(names, rows, "no attempts")


def _attempt_row(attempt: Attempt) -> list[object]:
    cpu_time = None if attempt.report is None else attempt.report.cpu_time
    return [
        attempt.number,
        badge(Status.RUNNING) if attempt.end is None else badge(_ENDS.get(attempt.end, Status.FAILED), attempt.end),
        instant(attempt.claimed_at),
        "" if attempt.setup is None else duration(attempt.setup.duration),
        "" if attempt.started_at is None else duration(since(attempt.started_at, attempt.finished_at)),
        "" if cpu_time is None else duration(cpu_time),
        "" if attempt.failure is None else _shortened(attempt.failure.message),
    ]


def records_table(records: Iterable[Any]) -> Html:
    """Results of any kind, such as pipelines: a row each, a column for each field that says something of one."""
    items = list(islice(records, MAX_ROWS + 1))
    names: dict[str, None] = {}
    for item in items:
        names.update((each.name, None) for each in dataclasses.fields(item) if each.repr)
    said = [name for name in names if any(cell(getattr(item, name, None)) for item in items)]
    rows: list[Sequence[object]] = [[cell(getattr(item, name, None)) for name in said] for item in items]
    return table_of([name.replace("_", " ") for name in said], rows, "nothing")


def table_of(names: Sequence[str], rows: Sequence[Sequence[object]], nothing: str) -> Html:
    """Rows below the names of their columns; ``nothing`` where there are none."""
    if not rows:
        return framed(element("div", nothing, class_="ff-soft"))
    top = element("thead", element("tr", *[element("th", name) for name in names]))
    body = [element("tr", *[element("td", value) for value in row]) for row in rows[:MAX_ROWS]]
    table = element("table", top, element("tbody", *body), class_="ff-table")
    if len(rows) <= MAX_ROWS:
        return framed(table)
    return framed(joined(table, element("div", f"only the first {MAX_ROWS} are shown", class_="ff-soft")))


def cell(value: object) -> str:
    """A value in few characters; an empty text when it says nothing."""
    if value is None:
        return ""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, timedelta):
        return duration(value)
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value).items()
        return _shortened(", ".join(f"{name}={cell(each)}" for name, each in islice(pairs, MAX_ROWS)))
    if isinstance(value, (list, tuple, set, frozenset)):
        return _shortened(", ".join(cell(each) for each in islice(cast("Iterable[object]", value), MAX_ROWS)))
    return _shortened(str(value))


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_CELL_CHARACTERS else text[: MAX_CELL_CHARACTERS - 1] + "…"
