"""Values as people read them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone


def duration(value: timedelta) -> str:
    """A length of time in at most two units.

    >>> from datetime import timedelta
    >>> from fastflow.notebook._text import duration
    >>> duration(timedelta(seconds=1.25)), duration(timedelta(hours=3, seconds=61))
    ('1.2 s', '3 h 1 min')
    """
    total = max(value.total_seconds(), 0.0)
    if total < 60:
        return f"{total:.1f} s"
    minutes, rest = divmod(int(total), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def size(count_bytes: int) -> str:
    """A number of bytes.

    >>> from fastflow.notebook._text import size
    >>> size(512), size(3 * 1024 * 1024)
    ('512 B', '3.0 MiB')
    """
    amount = float(count_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def instant(value: datetime) -> str:
    """An instant, in the time zone of the kernel, to the second."""
    return value.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def since(start: datetime, end: datetime | None) -> timedelta:
    """From one instant to another; to now, when there is no other."""
    return (datetime.now(timezone.utc) if end is None else end) - start
