"""Lengths of time, as people give them."""

from __future__ import annotations

from datetime import timedelta

from .errors import InvalidError

Duration = float | timedelta
"""A length of time: a number of seconds, or a ``timedelta``."""


def seconds(duration: Duration, name: str = "timeout") -> float:
    """The same in seconds. ``inf``, where it is a limit, is none."""
    given = duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
    if not given >= 0.0:
        raise InvalidError(f"`{name}` is a length of time, 0 or more, and not {given} s")
    return given


def seconds_or_none(duration: Duration | None, name: str = "timeout") -> float | None:
    """The same in seconds; ``None`` stays what it is."""
    return None if duration is None else seconds(duration, name)
