"""Lengths of time, as people give them."""

from __future__ import annotations

from datetime import timedelta

Duration = float | timedelta
"""A length of time: a number of seconds, or a ``timedelta``."""


def seconds(duration: Duration) -> float:
    """The same in seconds."""
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)


def seconds_or_none(duration: Duration | None) -> float | None:
    """The same in seconds; ``None`` stays what it is."""
    return None if duration is None else seconds(duration)
