"""Events: each change of a run's state, in order, live, and resumable by id."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ._given import INT64_MAX, whole
from ._time import Duration, seconds_or_none
from .runs import Status

if TYPE_CHECKING:
    from ._fastflow import Events as NativeEvents
    from ._fastflow import Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change of a run's state.

    >>> _ = flow.run("hello").wait()
    >>> next(flow.events()).name
    'submitted'
    """

    id: int
    """Its position: it grows, and each event has its own."""
    time: datetime
    """When it happened."""
    run: UUID
    """The run it moved."""
    pipeline: str
    """The run's pipeline."""
    attempt: int
    """The attempt it belongs to; 0 before the first."""
    name: str
    """What happened: ``submitted``, ``claimed``, ``started``, ``exited`` and so on."""
    state: str
    """The state after it."""
    status: Status
    """The status after it."""


def _event(record: dict[str, Any]) -> Event:
    record["run"] = UUID(record["run"])
    record["status"] = Status(record["status"])
    return Event(**record)


def events_after(native: NativeEvents, after: Event | int | None, timeout: Duration | None) -> Stream[Event]:
    """The stream behind :meth:`Flow.events`."""
    position = after.id if isinstance(after, Event) else whole(0 if after is None else after, "after", 0, INT64_MAX)
    return native.after(position, then=_event, timeout=seconds_or_none(timeout))
