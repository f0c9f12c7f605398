"""What a host does without being asked, and when it does not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum
from typing import Any

from ._given import UINT64_MAX, Size, choices, flag, of_kind, several, size_or_none, text, whole_or_none
from ._time import Duration, moment, seconds_or_none
from .errors import InvalidError


class Audits(str, Enum):
    """When packages are audited for known vulnerabilities."""

    ON_REQUEST = "on_request"
    """When the program asks for it."""
    NEW_ENVIRONMENTS = "new_environments"
    """Also in the background, for each environment that has no answer yet."""

    def __str__(self) -> str:
        return self.value


class Weekday(str, Enum):
    """A day of the week."""

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Blackout:
    """Times at which schedules start nothing.

    >>> from datetime import date
    >>> fastflow.Blackout(
    ...     "holidays",
    ...     timezone="Europe/Berlin",
    ...     spans=[(date(2026, 12, 24), date(2026, 12, 26))],
    ...     weekdays=[fastflow.Weekday.SUNDAY],
    ... ).name
    'holidays'
    """

    name: str
    """What schedules call it, in ``blackouts``."""
    timezone: str = field(default="UTC", kw_only=True)
    """The zone whose days are meant."""
    spans: Iterable[tuple[date | datetime, date | datetime]] = field(default=(), kw_only=True)
    """Single times, both ends included: days of the zone, or instants."""
    weekdays: Iterable[Weekday | str] = field(default=(), kw_only=True)
    """Whole days, each week."""
    only_where_named: bool = field(default=False, kw_only=True)
    """Whether it is kept by the schedules that name it, and by no others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What is kept of ended runs' directories: logs, usage, files left behind. The runs themselves stay known.

    >>> fastflow.Retention(max_runs_per_pipeline=20, max_total="5g").max_total
    '5g'
    """

    max_runs_per_pipeline: int | None = None
    """The newest runs of each pipeline that are kept; 200 when nothing is said."""
    max_age: Duration | None = None
    """The age, since submission, up to which they are kept; 90 days when nothing is said."""
    max_total: Size | None = None
    """What all of them together may take, the oldest go first; 20 GiB when nothing is said."""
    max_unused_environment_age: Duration | None = None
    """How long an environment that no run uses is kept; 30 days when nothing is said."""


def blackout_record(blackout: Blackout) -> dict[str, Any]:
    """A blackout, as the native half takes it."""
    return {
        "name": text(blackout.name, "name"),
        "timezone": text(blackout.timezone, "timezone"),
        "spans": [_span(span) for span in several(blackout.spans, "spans")],
        "weekdays": [day.value for day in choices(Weekday, blackout.weekdays, "weekdays")],
        "only_where_named": flag(blackout.only_where_named, "only_where_named"),
    }


def _span(span: Any) -> tuple[str, str]:
    ends = [moment(end, "an end in `spans`") for end in several(span, "spans")]
    if len(ends) != 2:
        raise InvalidError("`spans` takes pairs: write [(first, last)], both included")
    return ends[0], ends[1]


def retention_record(retention: Retention | None) -> dict[str, Any] | None:
    """What is kept, as the native half takes it."""
    if retention is None:
        return None
    of_kind(Retention, retention, "retention")
    return {
        "max_runs_per_pipeline": whole_or_none(
            retention.max_runs_per_pipeline, "retention.max_runs_per_pipeline", 0, UINT64_MAX
        ),
        "max_age": seconds_or_none(retention.max_age, "max_age"),
        "max_total": size_or_none(retention.max_total, "retention.max_total"),
        "max_unused_environment_age": seconds_or_none(retention.max_unused_environment_age, "max_unused_environment_age"),
    }
