"""Lengths of time, instants and days, as people give them."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

from ._given import quoted, type_name
from .errors import InvalidError

Duration = float | timedelta
"""A length of time: a number of seconds, or a ``timedelta``."""


def seconds(duration: Duration, name: str = "timeout") -> float:
    """The same in seconds. ``inf``, where it is a limit, is none."""
    given = _number(duration, name)
    if not given >= 0.0:
        raise InvalidError(f"`{name}` is a length of time, 0 or more, and not {given} s")
    return given


def seconds_or_none(duration: Duration | None, name: str = "timeout") -> float | None:
    """The same in seconds; ``None`` stays what it is."""
    return None if duration is None else seconds(duration, name)


def delay_or_none(delay: Duration | None) -> float | None:
    """The time before a start, in seconds, if one was given."""
    given = seconds_or_none(delay, "delay")
    if given == float("inf"):
        raise InvalidError("`delay` is inf, not a length of time that has an end")
    return given


def _number(duration: Any, name: str) -> float:
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    try:
        # A text is none, though `float` would read it.
        return float("no number" if isinstance(duration, (str, bytes, bytearray)) else duration)
    except OverflowError:
        raise InvalidError(f"`{name}` is a length of time, and too long") from None
    except (TypeError, ValueError):
        raise TypeError(
            f"`{name}` is a number of seconds or a timedelta, and not of the type {type_name(duration)}"
        ) from None


def instant_or_none(time: Any, name: str) -> datetime | None:
    """Refuses what stands for another instant on every machine."""
    if time is None:
        return None
    if not isinstance(time, datetime):
        raise TypeError(f"`{name}` is of the type datetime, and not {type_name(time)}")
    if time.tzinfo is None or time.utcoffset() is None:
        raise InvalidError(
            f"{quoted(name)} is {time}, no instant: give it a time zone, such as tzinfo=datetime.timezone.utc"
        )
    # As the native half reads it: other zones than those of the standard library are unknown to it.
    try:
        return time.astimezone(timezone.utc)
    except OverflowError:
        raise InvalidError(f"{quoted(name)} is {time}, which is out of range in UTC") from None


def moment(moment: Any, name: str) -> str:
    """A day or an instant, as the native half takes it."""
    if isinstance(moment, datetime):
        instant_or_none(moment, name)
    elif not isinstance(moment, date):
        raise TypeError(f"{quoted(name)} is of the type date or datetime, and not {type_name(moment)}")
    written: str = moment.isoformat()
    return written


def moment_or_none(given: date | datetime | None, name: str) -> str | None:
    """The same, if one was given."""
    return None if given is None else moment(given, name)
