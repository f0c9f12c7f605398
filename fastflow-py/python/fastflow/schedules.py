"""Schedules: when pipelines start by themselves, their instants, and the ledger of what became of each."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from . import _fastflow, _given
from ._frozen import FrozenMapping
from ._given import (
    UINT32_MAX,
    choice_or_none,
    count_or_none,
    flag,
    priority_or_none,
    text,
    text_or_none,
    texts,
    whole,
    whole_or_none,
)
from ._time import Duration, instant_or_none, moment_or_none, seconds
from .errors import InvalidError
from .runs import _texts

if TYPE_CHECKING:
    from ._fastflow import Operation
    from ._fastflow import Schedules as NativeSchedules
    from .flow import AsyncFlow, Flow

Moment = date | datetime
"""A day of the schedule's own zone, or an instant: a ``datetime`` that has a ``tzinfo``."""

_PAGE_ROWS = 1000


class ScheduleOwner(str, Enum):
    """Who says what a schedule is."""

    FILES = "files"
    """The pipeline's files: it is changed there, and its id is ``<pipeline>/<name>``."""
    API = "api"
    """Whoever made it by a call: its id is ``<pipeline>@<name>``."""

    def __str__(self) -> str:
        return self.value


class Overlap(str, Enum):
    """What a schedule does at its instant while as many of its runs as may are unfinished."""

    ALLOW = "allow"
    """It runs beside them."""
    SKIP = "skip"
    """It does not run, and the ledger says so."""
    QUEUE = "queue"
    """It waits in the queue until they have ended."""
    REPLACE = "replace"
    """It cancels the oldest of them, and runs when they have ended."""

    def __str__(self) -> str:
        return self.value


class GapRule(str, Enum):
    """What happens at a local time that does not exist, because the clock was set forward."""

    SHIFT = "shift"
    """It runs at the first instant that exists."""
    SKIP = "skip"
    """It does not run."""

    def __str__(self) -> str:
        return self.value


class FoldRule(str, Enum):
    """What happens at a local time that exists twice, because the clock was set back."""

    FIRST = "first"
    """It runs the first time."""
    LAST = "last"
    """It runs the last time."""
    BOTH = "both"
    """It runs each time."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a pipeline starts, and with what, as it was when it was read.

    >>> nightly = flow.schedules.put("hello@nightly", cron="30 2 * * *", timezone="Europe/Berlin")
    >>> nightly.pipeline, nightly.name, nightly.overlap
    ('hello', 'nightly', <Overlap.SKIP: 'skip'>)
    """

    id: str
    """Its id, which says what it starts: ``etl@nightly``, or ``etl/nightly`` for one that the pipeline's files declare."""
    pipeline: str
    """The pipeline that it starts."""
    name: str
    """Its name among those of the pipeline and the owner."""
    owner: ScheduleOwner
    """Who says what it is."""
    cron: str | None
    """The cron expression that it follows, if it does."""
    interval: timedelta | None
    """The distance of its instants, if it follows one."""
    once: Moment | None
    """Its one instant, or the day that begins with it, if it has only one."""
    timezone: str
    """The zone in which it reads its expression and its days."""
    start: Moment | None
    """It is in force from the first instant of this."""
    end: Moment | None
    """It is in force to the last instant of this."""
    enabled: bool
    """Whether it starts anything. While it does not, the ledger says so at each instant."""
    config: str | None
    """The entry of the pipeline's ``schedules`` that its runs are made with."""
    parameters: Mapping[str, str]
    """Parameters of its runs."""
    priority: int | None
    """The priority of its runs; None is the pipeline's."""
    overlap: Overlap
    """What it does while as many of its runs as may are unfinished."""
    max_instances: int | None
    """How many may be unfinished before ``overlap`` decides; None is one."""
    catch_up: int | None
    """How many missed instants it catches up, the latest first; None is the latest, unless a newer one is in time."""
    catch_up_window: timedelta
    """How old an instant may be and still be caught up."""
    jitter: timedelta
    """The longest time by which its runs are later than its instants."""
    blackouts: tuple[str, ...]
    """The host's blackout calendars that it keeps, beside those that all schedules keep."""
    gap: GapRule | None
    """What it does at local times that do not exist; None follows cron(8)."""
    fold: FoldRule | None
    """What it does at local times that exist twice; None follows cron(8)."""
    next_at: datetime | None
    """Its next instant."""
    next_due_at: datetime | None
    """When that is acted upon: later by its jitter."""
    decided_until: datetime
    """The ledger has every instant up to this one."""
    problem: str | None
    """Why its instants cannot be known: its zone is not known here, say."""


class TickOutcome(str, Enum):
    """What became of an instant of a schedule."""

    RUN = "run"
    """It made a run."""
    SKIPPED_OVERLAP = "skipped_overlap"
    """As many of its runs as may were unfinished."""
    SKIPPED_DISABLED = "skipped_disabled"
    """The schedule or its pipeline was disabled."""
    SKIPPED_BLACKOUT = "skipped_blackout"
    """It fell into a blackout."""
    SKIPPED_FULL = "skipped_full"
    """As many runs of its pipeline as may were unfinished, and the pipeline refuses more."""
    MISSED = "missed"
    """No host was there, and the schedule does not catch it up."""
    REFUSED = "refused"
    """The pipeline could not be run."""
    ENDED = "ended"
    """No instant, but the end of the schedule."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One row of the ledger: an instant of a schedule, or many in a row, and what became of it."""

    schedule: str
    """The id of the schedule."""
    at: datetime
    """The instant; the first of them where the row stands for several."""
    through: datetime
    """The last instant that the row stands for."""
    count: int
    """How many instants it stands for."""
    outcome: TickOutcome
    """What became of it."""
    message: str
    """The same in words, with what belongs to it."""
    run: UUID | None
    """The run that it made, if any."""
    decided_at: datetime
    """When that was decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upcoming:
    """An instant that is to come."""

    at: datetime
    """The instant."""
    schedule: str
    """The id of the schedule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CronExplanation:
    """What a cron expression says: see :func:`explain_cron`."""

    description: str
    """When it is due, in words, by the local clock."""
    warnings: tuple[str, ...]
    """What its author may not have meant."""
    next: tuple[datetime, ...]
    """Its next instants."""
    odd_times: tuple[str, ...]
    """What becomes of local times that do not exist, or exist twice, within the next 400 days."""

    def __str__(self) -> str:
        lines = [self.description, *(f"warning: {warning}" for warning in self.warnings), *self.odd_times]
        return "\n".join(lines)


def explain_cron(
    text: str,
    *,
    timezone: str = "UTC",
    gap: GapRule | None = None,
    fold: FoldRule | None = None,
    after: datetime | None = None,
    limit: int = 5,
) -> CronExplanation:
    """What a cron expression says, in words, with warnings and its next instants.

    Args:
        text: the expression: 5 fields, 6 with the seconds first, or a nickname such as ``@daily``.
        timezone: the zone in which it is read.
        gap: what happens at local times that do not exist; as cron(8) does, when nothing is said.
        fold: what happens at local times that exist twice; as cron(8) does, when nothing is said.
        after: where the next instants begin; now, when nothing is said.
        limit: how many instants to tell, at most.

    Raises:
        InvalidError: it is no cron expression, it never matches, or nobody knows the zone.

    >>> from datetime import datetime, timezone
    >>> told = explain_cron(
    ...     "30 2 * * *", timezone="Europe/Berlin", after=datetime(2026, 3, 28, 12, tzinfo=timezone.utc), limit=1
    ... )
    >>> print(told)
    At 02:30.
    2026-03-29 02:30 does not exist: runs at 03:00
    2026-10-25 02:30 exists twice: runs the first time
    2027-03-28 02:30 does not exist: runs at 03:00
    >>> print(told.next[0])
    2026-03-29 01:00:00+00:00
    >>> explain_cron("* 5 * * *").warnings
    ('minutes `*` run 60 times in each of the hours: `0` would run once',)
    """
    # The parameter hides what checks a text.
    cron, zone = _given.text(text, "text"), _given.text(timezone, "timezone")
    gap, fold = choice_or_none(GapRule, gap, "gap"), choice_or_none(FoldRule, fold, "fold")
    after, limit = instant_or_none(after, "after"), whole(limit, "limit", 0)
    record = _fastflow.explain_cron(cron, zone, gap=gap, fold=fold, after=after, limit=limit)
    return CronExplanation(
        description=record["description"],
        warnings=tuple(record["warnings"]),
        next=tuple(record["next"]),
        odd_times=tuple(record["odd_times"]),
    )


def _whole_seconds(name: str, duration: Duration, least: int = 0) -> int:
    given = seconds(duration, name)
    if not given.is_integer() or not least <= given <= UINT32_MAX:
        raise InvalidError(f"`{name}` is given in whole seconds, from {least} to {UINT32_MAX}; this is {given}")
    return int(given)


def _schedule(record: dict[str, Any]) -> Schedule:
    record["owner"] = ScheduleOwner(record["owner"])
    record["parameters"] = FrozenMapping(record["parameters"])
    record["overlap"] = Overlap(record["overlap"])
    record["blackouts"] = tuple(record["blackouts"])
    record["gap"] = None if record["gap"] is None else GapRule(record["gap"])
    record["fold"] = None if record["fold"] is None else FoldRule(record["fold"])
    return Schedule(**record)


def _schedules(records: list[dict[str, Any]]) -> list[Schedule]:
    return [_schedule(record) for record in records]


def _upcoming(records: list[dict[str, Any]]) -> list[Upcoming]:
    return [Upcoming(**record) for record in records]


def _tick(record: dict[str, Any]) -> Tick:
    record["outcome"] = TickOutcome(record["outcome"])
    record["run"] = None if record["run"] is None else UUID(record["run"])
    return Tick(**record)


def _ticks(records: list[dict[str, Any]]) -> list[Tick]:
    return [_tick(record) for record in records]


def _page_rows(left: int | None) -> int:
    return _PAGE_ROWS if left is None else min(left, _PAGE_ROWS)


class _Operations:
    """What both faces do in the same way."""

    __slots__ = ("_native",)

    def __init__(self, native: NativeSchedules) -> None:
        self._native = native

    def put(self, id: str, **given: Any) -> Operation[Schedule]:
        rules = [name for name in ("cron", "interval", "once") if given[name] is not None]
        if len(rules) != 1:
            found = " and ".join(rules) or "none"
            raise InvalidError(f"a schedule follows one of `cron`, `interval` and `once`; given: {found}")
        interval = given.pop("interval")
        given["id"] = text(id, "id")
        given["interval_seconds"] = None if interval is None else _whole_seconds("interval", interval, 1)
        given["catch_up_window_seconds"] = _whole_seconds("catch_up_window", given.pop("catch_up_window"))
        given["jitter_seconds"] = _whole_seconds("jitter", given.pop("jitter"))
        for name in ("once", "start", "end"):
            given[name] = moment_or_none(given[name], name)
        for name in ("cron", "timezone", "config"):
            given[name] = text_or_none(given[name], name)
        for name, kind in (("overlap", Overlap), ("gap", GapRule), ("fold", FoldRule)):
            chosen = choice_or_none(kind, given[name], name)
            given[name] = None if chosen is None else chosen.value
        given["max_instances"] = whole_or_none(given["max_instances"], "max_instances", 1)
        given["catch_up"] = whole_or_none(given["catch_up"], "catch_up", 0)
        given["priority"] = priority_or_none(given["priority"])
        given["enabled"] = flag(given["enabled"], "enabled")
        given["parameters"] = _texts(given["parameters"])
        given["blackouts"] = texts(given["blackouts"], "blackouts")
        return self._native.put(given).then(_schedule)

    def set_enabled(self, id: str, enabled: bool) -> Operation[Schedule]:
        return self._native.set_enabled(text(id, "id"), flag(enabled, "enabled")).then(_schedule)

    def upcoming(self, within: Duration, limit: int) -> Operation[list[Upcoming]]:
        return self._native.upcoming(seconds(within, "within"), whole(limit, "limit", 0)).then(_upcoming)

    def ticks(
        self,
        schedule: str | None,
        window: tuple[datetime | None, datetime | None],
        behind: Tick | None,
        left: int | None,
    ) -> Operation[list[Tick]]:
        since, before = window
        return self._native.ticks(
            schedule=text_or_none(schedule, "schedule"),
            since=instant_or_none(since, "since"),
            before=instant_or_none(before, "before"),
            behind=None if behind is None else (behind.at, behind.schedule),
            limit=_page_rows(left),
        ).then(_ticks)


class Schedules:
    """The schedules of a flow.

    >>> _ = flow.schedules.put("hello@hourly", interval=3600, parameters={"who": "everybody"})
    >>> [schedule.id for schedule in flow.schedules.list()]
    ['hello@hourly']
    """

    __slots__ = ("_flow", "_native", "_operations")

    def __init__(self, flow: Flow, native: NativeSchedules) -> None:
        self._flow = flow
        self._native = native
        self._operations = _Operations(native)

    def list(self, *, timeout: Duration | None = None) -> builtins.list[Schedule]:
        """All schedules, by id: those that files declare, and those that were made by a call."""
        return self._native.list().then(_schedules).block(self._flow._limit(timeout))

    def get(self, id: str, *, timeout: Duration | None = None) -> Schedule:
        """One schedule.

        Raises:
            NotFoundError: there is no such schedule.
        """
        return self._native.get(text(id, "id")).then(_schedule).block(self._flow._limit(timeout))

    def put(
        self,
        id: str,
        *,
        cron: str | None = None,
        interval: Duration | None = None,
        once: Moment | None = None,
        timezone: str = "UTC",
        start: Moment | None = None,
        end: Moment | None = None,
        parameters: Mapping[str, object] | None = None,
        config: str | None = None,
        priority: int | None = None,
        enabled: bool = True,
        overlap: Overlap = Overlap.SKIP,
        max_instances: int | None = None,
        catch_up: int | None = None,
        catch_up_window: Duration = timedelta(days=1),
        jitter: Duration = 0,
        blackouts: Iterable[str] = (),
        gap: GapRule | None = None,
        fold: FoldRule | None = None,
        timeout: Duration | None = None,
    ) -> Schedule:
        """Makes a schedule, or changes the one with its id. One of ``cron``, ``interval`` and ``once`` says when.

        Once this has returned, every instant of it from now on gets its row in the ledger. A change keeps what an
        interval counts from, and starts nothing of the past.

        Args:
            id: ``<pipeline>@<name>``.
            cron: at the instants of this expression; :func:`explain_cron` says what it means.
            interval: every so many whole seconds of real time, counted from now, or from ``start``.
            once: at this instant, or when this day begins.
            timezone: the zone in which the expression and the days are read.
            start: in force from the first instant of this.
            end: in force to the last instant of this.
            parameters: parameters of its runs.
            config: the entry of the pipeline's ``schedules`` that its runs are made with.
            priority: the priority of its runs; the pipeline's, when nothing is said.
            enabled: whether it starts anything.
            overlap: what it does while as many of its runs as may are unfinished.
            max_instances: how many may be unfinished before ``overlap`` decides; one, when nothing is said.
            catch_up: how many instants that no host saw are caught up, the latest; 0 is none of them. When nothing is
                said, it is the latest, unless a newer one is in time.
            catch_up_window: how old an instant may be and still be caught up.
            jitter: the longest time, in whole seconds, by which its runs are later than its instants: always the same
                for one schedule, so that many schedules of one instant are spread.
            blackouts: the host's blackout calendars that it keeps, beside those that all schedules keep.
            gap: what it does at local times that do not exist; as cron(8), when nothing is said.
            fold: what it does at local times that exist twice; as cron(8), when nothing is said.
            timeout: how long to wait for the answer.

        Raises:
            InvalidError: an expression, a zone, a blackout or a parameter is wrong, or the id belongs to files.
            NotFoundError: there is no such pipeline, or no such entry of it.

        >>> nightly = flow.schedules.put("hello@nightly", cron="0 2 * * *", timezone="Europe/Berlin", jitter=60)
        >>> nightly.cron, nightly.jitter
        ('0 2 * * *', datetime.timedelta(seconds=60))
        >>> flow.schedules.put("hello@sometimes", cron="every day")
        Traceback (most recent call last):
        fastflow.errors.InvalidError: not a cron expression (found: every day, ...
        """
        operation = self._operations.put(
            id,
            cron=cron,
            interval=interval,
            once=once,
            timezone=timezone,
            start=start,
            end=end,
            parameters=parameters,
            config=config,
            priority=priority,
            enabled=enabled,
            overlap=overlap,
            max_instances=max_instances,
            catch_up=catch_up,
            catch_up_window=catch_up_window,
            jitter=jitter,
            blackouts=blackouts,
            gap=gap,
            fold=fold,
        )
        return operation.block(self._flow._limit(timeout))

    def set_enabled(self, id: str, enabled: bool, *, timeout: Duration | None = None) -> Schedule:
        """Switches a schedule on or off. While it is off, its ledger says so at each instant.

        Raises:
            NotFoundError: there is no such schedule.
            InvalidError: files declare it: its file says whether it is enabled.
        """
        return self._operations.set_enabled(id, enabled).block(self._flow._limit(timeout))

    def remove(self, id: str, *, timeout: Duration | None = None) -> None:
        """Removes a schedule. Its ledger stays, and its runs go on.

        Raises:
            NotFoundError: there is no such schedule.
            InvalidError: files declare it: remove it there.
        """
        self._native.remove(text(id, "id")).block(self._flow._limit(timeout))

    def next(self, id: str, *, limit: int = 5, timeout: Duration | None = None) -> builtins.list[datetime]:
        """The next instants of a schedule; at most ``limit``, and never more than 10,000.

        >>> _ = flow.schedules.put("hello@yearly", cron="@yearly")
        >>> [(at.month, at.day) for at in flow.schedules.next("hello@yearly", limit=2)]
        [(1, 1), (1, 1)]
        """
        return self._native.next(text(id, "id"), whole(limit, "limit", 0)).block(self._flow._limit(timeout))

    def upcoming(
        self, *, within: Duration = timedelta(days=7), limit: int = 100, timeout: Duration | None = None
    ) -> builtins.list[Upcoming]:
        """What will run within this time, over all schedules, in order; at most ``limit``, and never more than 10,000.

        Left out are schedules and pipelines that are disabled, pipelines that cannot run, and what falls into a
        blackout.

        >>> _ = flow.schedules.put("hello@hourly", cron="@hourly")
        >>> [upcoming.schedule for upcoming in flow.schedules.upcoming(within=2 * 3600)]
        ['hello@hourly', 'hello@hourly']
        """
        return self._operations.upcoming(within, limit).block(self._flow._limit(timeout))

    def ticks(
        self,
        *,
        schedule: str | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        limit: int | None = None,
        timeout: Duration | None = None,
    ) -> Iterator[Tick]:
        """Rows of the ledger, newest first; read a page at a time while they are iterated over.

        Args:
            schedule: only of the schedule with this id.
            since: only rows that begin at this instant or later.
            before: only rows before this instant.
            limit: at most so many; all, when nothing is said.
            timeout: how long to wait for each page.
        """
        behind: Tick | None = None
        left = count_or_none(limit, "limit")
        while left is None or left > 0:
            rows = self._operations.ticks(schedule, (since, before), behind, left).block(self._flow._limit(timeout))
            yield from rows
            if len(rows) < _page_rows(left):
                return
            behind = rows[-1]
            left = None if left is None else left - len(rows)


class AsyncSchedules:
    """The same as :class:`Schedules`, for ``await`` and ``async for``."""

    __slots__ = ("_flow", "_native", "_operations")

    def __init__(self, flow: AsyncFlow, native: NativeSchedules) -> None:
        self._flow = flow
        self._native = native
        self._operations = _Operations(native)

    async def list(self, *, timeout: Duration | None = None) -> builtins.list[Schedule]:
        """All schedules, by id: those that files declare, and those that were made by a call."""
        return await self._native.list().then(_schedules).within(self._flow._limit(timeout))

    async def get(self, id: str, *, timeout: Duration | None = None) -> Schedule:
        """One schedule. See :meth:`Schedules.get`."""
        return await self._native.get(text(id, "id")).then(_schedule).within(self._flow._limit(timeout))

    async def put(
        self,
        id: str,
        *,
        cron: str | None = None,
        interval: Duration | None = None,
        once: Moment | None = None,
        timezone: str = "UTC",
        start: Moment | None = None,
        end: Moment | None = None,
        parameters: Mapping[str, object] | None = None,
        config: str | None = None,
        priority: int | None = None,
        enabled: bool = True,
        overlap: Overlap = Overlap.SKIP,
        max_instances: int | None = None,
        catch_up: int | None = None,
        catch_up_window: Duration = timedelta(days=1),
        jitter: Duration = 0,
        blackouts: Iterable[str] = (),
        gap: GapRule | None = None,
        fold: FoldRule | None = None,
        timeout: Duration | None = None,
    ) -> Schedule:
        """Makes a schedule, or changes the one with its id. See :meth:`Schedules.put`."""
        operation = self._operations.put(
            id,
            cron=cron,
            interval=interval,
            once=once,
            timezone=timezone,
            start=start,
            end=end,
            parameters=parameters,
            config=config,
            priority=priority,
            enabled=enabled,
            overlap=overlap,
            max_instances=max_instances,
            catch_up=catch_up,
            catch_up_window=catch_up_window,
            jitter=jitter,
            blackouts=blackouts,
            gap=gap,
            fold=fold,
        )
        return await operation.within(self._flow._limit(timeout))

    async def set_enabled(self, id: str, enabled: bool, *, timeout: Duration | None = None) -> Schedule:
        """Switches a schedule on or off. See :meth:`Schedules.set_enabled`."""
        return await self._operations.set_enabled(id, enabled).within(self._flow._limit(timeout))

    async def remove(self, id: str, *, timeout: Duration | None = None) -> None:
        """Removes a schedule. Its ledger stays, and its runs go on. See :meth:`Schedules.remove`."""
        await self._native.remove(text(id, "id")).within(self._flow._limit(timeout))

    async def next(self, id: str, *, limit: int = 5, timeout: Duration | None = None) -> builtins.list[datetime]:
        """The next instants of a schedule; at most ``limit``, and never more than 10,000."""
        return await self._native.next(text(id, "id"), whole(limit, "limit", 0)).within(self._flow._limit(timeout))

    async def upcoming(
        self, *, within: Duration = timedelta(days=7), limit: int = 100, timeout: Duration | None = None
    ) -> builtins.list[Upcoming]:
        """What will run within this time, over all schedules, in order. See :meth:`Schedules.upcoming`."""
        return await self._operations.upcoming(within, limit).within(self._flow._limit(timeout))

    async def ticks(
        self,
        *,
        schedule: str | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        limit: int | None = None,
        timeout: Duration | None = None,
    ) -> AsyncIterator[Tick]:
        """Rows of the ledger, newest first; for ``async for``. See :meth:`Schedules.ticks`."""
        behind: Tick | None = None
        left = count_or_none(limit, "limit")
        while left is None or left > 0:
            page = self._operations.ticks(schedule, (since, before), behind, left)
            rows = await page.within(self._flow._limit(timeout))
            for row in rows:
                yield row
            if len(rows) < _page_rows(left):
                return
            behind = rows[-1]
            left = None if left is None else left - len(rows)
