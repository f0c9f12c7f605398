"""Which of several processes with one data directory hosts it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any


class Hosting(str, Enum):
    """Whether a flow hosts, where several processes have the data directory open: starts runs, keeps schedules, syncs the
    source. All others submit and read.

    >>> Hosting("when_free") is Hosting.WHEN_FREE
    True
    """

    REQUIRED = "required"
    """It hosts. Where another one does, opening fails."""
    WHEN_FREE = "when_free"
    """It hosts as soon as no other one does. Until then it submits and reads."""
    NEVER = "never"
    """It submits and reads, and never hosts."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class HostInfo:
    """Who hosts a data directory."""

    pid: int
    """Its process, as that knows itself: in another container it may have another id here."""
    since: datetime
    """Since when it hosts."""
    is_here: bool
    """Whether it is the flow that was asked."""
    source: str | None
    """Where its pipelines come from, without credentials: the path of a folder, or of a repository the address, what is
    published of it and the folder in it. ``None`` where it does not say."""


def host_info(record: dict[str, Any] | None) -> HostInfo | None:
    """A host, if there is one."""
    return None if record is None else HostInfo(**record)
