"""Lengths of time, instants and days, as people give them."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

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
            f"`{name}` is a number of seconds or a timedelta, and not of the type {type(duration).__name__}"
        ) from None


def instant_or_none(time: Any, name: str) -> datetime | None:
    """Refuses what stands for another instant on every machine."""
    if time is None:
        return None
    if not isinstance(time, datetime):
        raise TypeError(f"`{name}` is of the type datetime, and not {type(time).__name__}")
    if time.tzinfo is None:
        raise InvalidError(f"`{name}` is {time}, no instant: give it a time zone, such as tzinfo=datetime.timezone.utc")
    return time


def moment(moment: Any, name: str) -> str:
    """A day or an instant, as the native half takes it."""
    if isinstance(moment, datetime):
        instant_or_none(moment, name)
    elif not isinstance(moment, date):
        raise TypeError(f"`{name}` is of the type date or datetime, and not {type(moment).__name__}")
    written: str = moment.isoformat()
    return written


def moment_or_none(given: date | datetime | None, name: str) -> str | None:
    """The same, if one was given."""
    return None if given is None else moment(given, name)
