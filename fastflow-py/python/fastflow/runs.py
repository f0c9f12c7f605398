"""Runs: submitted, read, waited for, cancelled, repeated; their logs and their use of the machine."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from ._frozen import FrozenMapping
from ._given import (
    UINT32_MAX,
    UINT64_MAX,
    choices,
    count_or_none,
    mapping,
    priority_or_none,
    quoted,
    several,
    text,
    text_or_none,
    type_name,
    variable,
    whole,
    whole_or_none,
)
from ._time import Duration, delay_or_none, seconds_or_none
from .errors import ConflictError, InvalidError, RunFailedError

if TYPE_CHECKING:
    from ._fastflow import LogLine, Operation, Stream
    from ._fastflow import Runs as NativeRuns
    from .flow import AsyncFlow, Flow
    from .notebook import View

_R = TypeVar("_R", bound="RunData")

_PAGE_ROWS = 1000
_POSITION_DIGITS = 40
# How the arguments of a task are named; the module that decides it is not needed to read runs.
_ARGUMENTS_NAME = "TASK_ARGUMENTS"


class Status(str, Enum):
    """Where a run is in its life.

    >>> Status("SUCCESS").is_final, str(Status.RUNNING)
    (True, 'RUNNING')
    """

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_final(self) -> bool:
        """Whether it never changes again."""
        return self not in (Status.PENDING, Status.RUNNING)

    def __str__(self) -> str:
        return self.value


class FailureKind(str, Enum):
    """The classes of causes that make runs fail."""

    EXIT_CODE = "exit_code"
    SIGNAL = "signal"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    UNHEALTHY = "unhealthy"
    INTERRUPTED = "interrupted"
    ENVIRONMENT_FAILED = "environment_failed"
    START_FAILED = "start_failed"
    LOST = "lost"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a run, or one attempt of it, failed.

    >>> run = flow.run("etl", parameters={"fail": "yes"}).wait()
    >>> run.failure is None or run.failure.kind is FailureKind.EXIT_CODE
    True
    """

    kind: FailureKind
    """The class of the cause, to branch on."""
    message: str
    """The cause in words."""
    exit_code: int | None = None
    """The exit code of the program, if it ended by itself."""
    signal: int | None = None
    """The signal that ended the program, if one did."""

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSample:
    """What an attempt uses of the machine at one instant."""

    time: datetime
    """When the sample was taken."""
    cpu_time: timedelta
    """The CPU time so far."""
    cpu_millis: int
    """The CPU rate since the sample before, in thousandths of a core."""
    memory_bytes: int
    """The memory in use."""
    processes: int
    """Its living processes."""
    above_soft_cpu: bool
    """Whether the CPU rate is above the soft limit."""
    above_soft_memory: bool
    """Whether the memory is above the soft limit."""
    throttled_millis: int | None
    """How much of the time the kernel held it back at its CPU limit, in thousandths. None without such a limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What was made ready before a program could start."""

    duration: timedelta
    """From the claim to the request to start."""
    environment: str | None
    """The id of its environment; None where the executor brings its own."""
    python_version: str | None
    """The version of the interpreter in the environment."""
    built: bool
    """Whether the attempt had to wait for the environment to be built."""
    image: str | None
    """The image of its sandbox, by its content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitReport:
    """What a sandbox reports of a program that ran and ended."""

    exit_code: int | None
    """The exit code, if it ended by itself."""
    signal: int | None
    """The signal that ended it, if one did."""
    duration: timedelta
    """How long it ran."""
    cpu_time: timedelta | None
    """The CPU time of the program and its descendants."""
    peak_memory_bytes: int | None
    """The most memory it held at one time."""
    log_bytes: int
    """The size of all records of its output in the log file."""
    log_complete: bool
    """Whether every byte it wrote is in the log, but for what was masked."""
    masked: int
    """How often a secret was masked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try of a run."""

    number: int
    """1 for the first."""
    claimed_at: datetime
    """When a host took it on."""
    started_at: datetime | None
    """When its program began."""
    finished_at: datetime | None
    """When it ended."""
    end: str | None
    """How it ended: ``succeeded``, ``failed``, ``cancelled`` or ``never_started``; None while it goes on."""
    failure: Failure | None
    """Why it failed, if it did."""
    setup: Setup | None
    """What was made ready for it."""
    report: ExitReport | None
    """What its sandbox reported."""

    def _repr_html_(self) -> str:
        from .notebook._tables import attempts_table

        return str(attempts_table([self]))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """One execution of a pipeline, as it was when it was read.

    What becomes of a :class:`Run` that is copied or pickled: a flow stays in its process.
    """

    id: UUID
    """Its id."""
    pipeline: str
    """The pipeline's name."""
    status: Status
    """Where it is in its life."""
    state: str
    """The same, more exactly: ``queued``, ``starting``, ``running``, ``stopping``, ``succeeded``, ``failed``, ``cancelled``."""
    parameters: Mapping[str, str]
    """The values that its program finds as environment variables."""
    executor: str
    """The executor that runs it."""
    config: str | None
    """The entry of the pipeline's ``schedules`` it runs as."""
    revision: str
    """The content that it executes, by its hash."""
    commit: str | None
    """The commit of that content, where pipelines come from git."""
    origin: str
    """Why it exists: ``manual``, ``rerun``, ``schedule``, ``trigger``, ``join`` or ``daemon``."""
    schedule: str | None
    """The schedule that it is of."""
    scheduled_for: datetime | None
    """The instant of that schedule."""
    chain: UUID
    """The first run of its chain: itself, unless another run led to it."""
    priority: int
    """Higher runs first."""
    key: str | None
    """The caller's own name for the submission."""
    attempt: int
    """The number of the newest attempt; 0 before the first."""
    failed_attempts: int
    """How many attempts failed, and count against the retries."""
    created_at: datetime
    """When it was submitted."""
    started_at: datetime | None
    """When the program of the newest attempt began."""
    finished_at: datetime | None
    """When it ended."""
    failure: Failure | None
    """Why it failed, if it did."""

    def __reduce__(self) -> tuple[Any, ...]:
        # A flow stays in its process: what is copied or pickled is what was read.
        return _data, tuple(getattr(self, name) for name in _FIELDS)

    @property
    def is_final(self) -> bool:
        """Whether it has ended."""
        return self.status.is_final

    def raise_for_failure(self: _R) -> _R:
        """The run itself, if it succeeded: for programs that can do nothing with one that did not.

        Raises:
            RunFailedError: it failed or was cancelled.
            ConflictError: it had not ended when it was read. Wait for it first.

        >>> flow.run("hello").wait().raise_for_failure().status
        <Status.SUCCESS: 'SUCCESS'>
        >>> flow.run("broken").wait().raise_for_failure()
        Traceback (most recent call last):
        fastflow.errors.RunFailedError: run ... of `broken` did not succeed: exit code 1
        """
        if not self.is_final:
            raise ConflictError(f"run {self.id} has not ended: wait for it first", run=str(self.id))
        if self.status is not Status.SUCCESS:
            raise RunFailedError(self)
        return self

    def view(self, *, tail_lines: int = 100, tail_bytes: int = 32 * 1024) -> View:
        """A live view of it for notebooks, with the newest ``tail_lines`` and ``tail_bytes`` of its log.

        >>> flow.run("hello").view().wait(timeout=60).status
        <Status.SUCCESS: 'SUCCESS'>
        """
        from .notebook import View

        assert isinstance(self, (Run, AsyncRun)), "there are no others"
        return View(self, tail_lines=tail_lines, tail_bytes=tail_bytes)

    def _repr_html_(self) -> str:
        from .notebook._tables import run_card

        return str(run_card(self))

    def _ipython_display_(self) -> None:
        from .notebook._view import show_if_in_flight

        assert isinstance(self, (Run, AsyncRun)), "there are no others"
        show_if_in_flight(self)


_FIELDS = tuple(each.name for each in fields(RunData))


def _data(*values: Any) -> RunData:
    return RunData(**dict(zip(_FIELDS, values, strict=True)))


def _failure(record: dict[str, Any] | None) -> Failure | None:
    if record is None:
        return None
    record["kind"] = FailureKind(record["kind"])
    return Failure(**record)


def _attempt(record: dict[str, Any]) -> Attempt:
    record["failure"] = _failure(record["failure"])
    record["setup"] = None if record["setup"] is None else Setup(**record["setup"])
    record["report"] = None if record["report"] is None else ExitReport(**record["report"])
    return Attempt(**record)


class _Parameters(FrozenMapping[str, str]):
    """Parameters, whose text leaves out the arguments of tasks: they are for the function, not for whoever looks on."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr({name: value for name, value in self.items() if name != _ARGUMENTS_NAME})


def _fields(record: dict[str, Any]) -> dict[str, Any]:
    record["id"] = UUID(record["id"])
    record["chain"] = UUID(record["chain"])
    record["status"] = Status(record["status"])
    record["parameters"] = _Parameters(record["parameters"])
    record["failure"] = _failure(record["failure"])
    return record


def _attempts(records: list[dict[str, Any]]) -> list[Attempt]:
    return [_attempt(record) for record in records]


def _sample(record: dict[str, Any]) -> UsageSample:
    return UsageSample(**record)


def _page_rows(left: int | None) -> int:
    return _PAGE_ROWS if left is None else min(left, _PAGE_ROWS)


def _id(id: RunData | UUID | str, name: str = "id") -> str:
    """The id of a run, which may be given itself."""
    given: Any = id.id if isinstance(id, RunData) else id
    if not isinstance(given, (str, UUID)):
        raise TypeError(f"{quoted(name)} is a run, or its id as a UUID or a str, and not {type_name(given)}")
    return text(str(given), name)


def _ids(runs: Iterable[RunData | UUID | str]) -> list[str]:
    given: Any = runs
    if isinstance(given, (RunData, UUID, str)):
        alone = "run" if isinstance(given, RunData) else repr(given)
        raise TypeError(f"`runs` takes several, as a list: write [{alone}]")
    return [_id(run, "an id in `runs`") for run in several(given, "runs")]


def _newest(run: RunData) -> int:
    """The number of its newest attempt; of the first one while there is none."""
    return max(run.attempt, 1)


def _unique(ids: list[str]) -> list[str]:
    return list(dict.fromkeys(ids))


def _position(after: str | LogLine | None) -> tuple[int, int]:
    """The attempt and the offset of a position."""
    if after is None:
        return 1, 0
    position = getattr(after, "position", after)
    if not isinstance(position, str):
        raise TypeError(f"`after` is a line of a log, or the `position` of one, and no {type(after).__name__}")
    attempt, separator, offset = position.partition(":")
    good = separator and all(each.isdecimal() and len(each) <= _POSITION_DIGITS for each in (attempt, offset))
    if not good or not 1 <= int(attempt) <= UINT32_MAX or int(offset) > UINT64_MAX:
        raise InvalidError(
            f"`after` is {position[:_POSITION_DIGITS]!r}, no position in a log: give the `position` of a line, such as "
            "'1:4096'"
        )
    return int(attempt), int(offset)


def _texts(parameters: Mapping[str, object] | None) -> list[tuple[str, str]]:
    """Parameters as programs find them."""
    texts: list[tuple[str, str]] = []
    for name, value in mapping({} if parameters is None else parameters, "parameters").items():
        text(name, "a name in `parameters`")
        texts.append((name, variable(value, f"the parameter `{name}`")))
    return texts


class _Operations:
    """What can be asked of runs, each once; the two faces block on them and await them."""

    __slots__ = ("_native",)

    def __init__(self, native: NativeRuns) -> None:
        self._native = native

    def submit(
        self,
        pipeline: str,
        parameters: Mapping[str, object] | None,
        *,
        priority: int | None,
        config: str | None,
        key: str | None,
        delay: Duration | None,
        executor: str | None,
    ) -> Operation[dict[str, Any]]:
        return self._native.submit(
            text(pipeline, "pipeline"),
            _texts(parameters),
            priority=priority_or_none(priority),
            config=text_or_none(config, "config"),
            key=text_or_none(key, "key"),
            delay=delay_or_none(delay),
            executor=text_or_none(executor, "executor"),
        )

    def page(
        self,
        pipeline: str | None,
        status: Status | str | Iterable[Status | str] | None,
        before: str | None,
        limit: int | None,
    ) -> Operation[tuple[list[dict[str, Any]], str | None]]:
        statuses = choices(Status, status, "status")
        return self._native.page(
            pipeline=text_or_none(pipeline, "pipeline"),
            statuses=[each.value for each in statuses],
            before=before,
            limit=limit,
        )

    def logs(self, id: str, after: str | LogLine | None, timeout: Duration | None) -> Stream[LogLine]:
        attempt, offset = _position(after)
        return self._native.logs(id, attempt=attempt, offset=offset, timeout=seconds_or_none(timeout))

    def usage(self, id: str, attempt: int | None, timeout: Duration | None) -> Stream[UsageSample]:
        number = None if attempt is None else max(attempt, 1)
        return self._native.usage(id, number, then=_sample, timeout=seconds_or_none(timeout))


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(RunData):
    """One execution of a pipeline, as it was when it was read; and what can be done with it.

    >>> run = flow.run("hello", parameters={"who": "Python"})
    >>> run.pipeline, run.parameters["who"]
    ('hello', 'Python')
    >>> run.wait().status
    <Status.SUCCESS: 'SUCCESS'>
    """

    flow: Flow = field(repr=False, compare=False)
    """The flow it was read with."""

    def refresh(self, *, timeout: Duration | None = None) -> Run:
        """The run as it is now."""
        return self.flow.runs.get(self.id, timeout=timeout)

    def wait(self, *, timeout: Duration | None = None) -> Run:
        """Waits until the run has ended, and answers how.

        Raises:
            TimedOutError: it has not ended within ``timeout``. The run goes on.
        """
        return self.flow.runs.wait(self.id, timeout=timeout)

    def logs(self, *, after: str | LogLine | None = None, timeout: Duration | None = None) -> Iterator[LogLine]:
        """The log of all attempts, live, until the run has ended.

        ``after`` is the ``position`` of a line: what follows it is read. ``timeout`` is how long to wait for each line.

        >>> run = flow.run("hello")
        >>> first, second = [line for line in run.logs() if line.stream == "stdout"]
        >>> print(first)
        hello, world
        >>> next(run.logs(after=first)) == second
        True
        """
        return self.flow.runs.logs(self.id, after=after, timeout=timeout)

    def usage(self, *, attempt: int | None = None, timeout: Duration | None = None) -> Iterator[UsageSample]:
        """What an attempt uses of the machine, live, about once a second; the newest attempt, when none is named.

        Raises:
            NotFoundError: no attempt has begun yet.
        """
        return self.flow.runs.usage(self.id, attempt=attempt, timeout=timeout)

    def attempts(self, *, timeout: Duration | None = None) -> list[Attempt]:
        """Its attempts, first to last."""
        return self.flow.runs.attempts(self.id, timeout=timeout)

    def cancel(self, *, timeout: Duration | None = None) -> Run:
        """Asks for its end. It has ended once :meth:`wait` returns."""
        return self.flow.runs.cancel(self.id, timeout=timeout)

    def rerun(self, *, newest_revision: bool = False, timeout: Duration | None = None) -> Run:
        """Runs it again: what it executed, or what its pipeline is now."""
        return self.flow.runs.rerun(self.id, newest_revision=newest_revision, timeout=timeout)

    def directory(self, *, attempt: int | None = None, timeout: Duration | None = None) -> Path:
        """The directory of an attempt, the newest when none is named; in ``work/`` lie the files its program left."""
        return self.flow.runs.directory(self.id, attempt=attempt, timeout=timeout)

    def explain(self, *, timeout: Duration | None = None) -> str:
        """Why it waits, or ended as it did: one line a fact."""
        return self.flow.runs.explain(self.id, timeout=timeout)


class Runs:
    """The runs of a flow.

    >>> flow.runs.get(flow.run("hello").id).pipeline
    'hello'
    """

    __slots__ = ("_flow", "_native", "_operations")

    def __init__(self, flow: Flow, native: NativeRuns) -> None:
        self._flow = flow
        self._native = native
        self._operations = _Operations(native)

    def _run(self, record: dict[str, Any]) -> Run:
        return Run(flow=self._flow, **_fields(record))

    def submit(
        self,
        pipeline: str,
        *,
        parameters: Mapping[str, object] | None = None,
        priority: int | None = None,
        config: str | None = None,
        key: str | None = None,
        delay: Duration | None = None,
        executor: str | None = None,
        timeout: Duration | None = None,
    ) -> Run:
        """Accepts a run of a pipeline. Once this has returned, the run survives the death of the process.

        Args:
            pipeline: the pipeline's name.
            parameters: values that its program finds as environment variables.
            priority: higher runs first; the pipeline's own, when nothing is said.
            config: runs it as this entry of its ``schedules`` does.
            key: names the submission, so that repeating it returns the run of the first.
            delay: does not start it before so much time has passed.
            executor: runs it on this executor, whatever the pipeline asks for.
            timeout: how long to wait for the answer.

        Raises:
            NotFoundError: there is no such pipeline.
            InvalidError: the pipeline has errors, or a parameter is wrong.
            UnsupportedError: the pipeline needs what this version, or the executor, does not have.
            ConflictError: the pipeline is disabled.
        """
        operation = self._operations.submit(
            pipeline, parameters, priority=priority, config=config, key=key, delay=delay, executor=executor
        )
        return self._run(operation.block(self._flow._limit(timeout)))

    def get(self, id: RunData | UUID | str, *, timeout: Duration | None = None) -> Run:
        """One run.

        Raises:
            NotFoundError: there is no such run.

        >>> flow.runs.get("019aa2f0-7c3c-7def-8000-000000000001")
        Traceback (most recent call last):
        fastflow.errors.NotFoundError: no such run (run: 019aa2f0-7c3c-7def-8000-000000000001)
        """
        return self._run(self._native.get(_id(id)).block(self._flow._limit(timeout)))

    def list(
        self,
        *,
        pipeline: str | None = None,
        status: Status | str | Iterable[Status | str] | None = None,
        limit: int | None = None,
        timeout: Duration | None = None,
    ) -> Iterator[Run]:
        """Runs, newest first; read a page at a time while they are iterated over.

        Args:
            pipeline: only those of this pipeline.
            status: only those with this status, or with one of these.
            limit: at most so many; all, when nothing is said.
            timeout: how long to wait for each page.

        >>> _ = flow.run("hello").wait()
        >>> next(flow.runs.list(pipeline="hello", status=Status.SUCCESS)).status
        <Status.SUCCESS: 'SUCCESS'>
        """
        before: str | None = None
        left = count_or_none(limit, "limit")
        while left is None or left > 0:
            page = self._operations.page(pipeline, status, before, _page_rows(left))
            records, before = page.block(self._flow._limit(timeout))
            for record in records:
                yield self._run(record)
            left = None if left is None else left - len(records)
            if before is None:
                return

    def wait(self, id: RunData | UUID | str, *, timeout: Duration | None = None) -> Run:
        """One run, once it has ended.

        Raises:
            TimedOutError: it has not ended within ``timeout``. The run goes on.
        """
        return self._run(self._native.wait(_id(id)).block(seconds_or_none(timeout)))

    def dead_letters(
        self, *, limit: int | None = None, timeout: Duration | None = None
    ) -> Iterator[Run]:
        """Failed runs that were not run again since, newest first. :meth:`rerun` takes one off the list.

        >>> run = flow.run("broken").wait()
        >>> [run.pipeline for run in flow.runs.dead_letters()]
        ['broken']
        >>> again = run.rerun().wait()
        >>> [found.id for found in flow.runs.dead_letters()] == [again.id]
        True
        """
        before: str | None = None
        left = count_or_none(limit, "limit")
        while left is None or left > 0:
            page = self._native.dead_letters(before=before, limit=_page_rows(left))
            records, before = page.block(self._flow._limit(timeout))
            for record in records:
                yield self._run(record)
            left = None if left is None else left - len(records)
            if before is None:
                return

    def wait_all(
        self, runs: Iterable[RunData | UUID | str], *, timeout: Duration | None = None
    ) -> builtins.list[Run]:
        """Several runs, in this order, once all of them have ended. One that fails is no exception.

        Raises:
            NotFoundError: there is no such run.
            TimedOutError: they have not all ended within ``timeout``. They go on.

        >>> runs = [flow.run("hello"), flow.run("broken")]
        >>> [run.status.value for run in flow.runs.wait_all(runs)]
        ['SUCCESS', 'FAILED']
        """
        records = self._native.wait_all(_ids(runs)).block(seconds_or_none(timeout))
        return [self._run(record) for record in records]

    def as_completed(
        self, runs: Iterable[RunData | UUID | str], *, timeout: Duration | None = None
    ) -> Iterator[Run]:
        """Several runs, each once when it has ended, whichever is first. ``timeout`` is how long to wait for each.

        Raises:
            NotFoundError: there is no such run.
            TimedOutError: the next one has not ended within ``timeout``. The runs go on.

        >>> runs = [flow.run("hello", parameters={"who": name}) for name in ("Ada", "Grace")]
        >>> sorted(run.parameters["who"] for run in flow.runs.as_completed(runs))
        ['Ada', 'Grace']
        """
        return self._native.as_completed(_unique(_ids(runs)), then=self._run, timeout=seconds_or_none(timeout))

    def logs(
        self, id: RunData | UUID | str, *, after: str | LogLine | None = None, timeout: Duration | None = None
    ) -> Iterator[LogLine]:
        """The log of all attempts of a run, live, until it has ended."""
        return self._operations.logs(_id(id), after, timeout)

    def usage(
        self, id: RunData | UUID | str, *, attempt: int | None = None, timeout: Duration | None = None
    ) -> Iterator[UsageSample]:
        """What an attempt uses of the machine, live; the newest attempt, when none is named.

        Raises:
            NotFoundError: there is no such run, or no attempt of it has begun yet.
        """
        return self._operations.usage(_id(id), whole_or_none(attempt, "attempt", 1), timeout)

    def attempts(self, id: RunData | UUID | str, *, timeout: Duration | None = None) -> builtins.list[Attempt]:
        """The attempts of a run, first to last."""
        return self._native.attempts(_id(id)).then(_attempts).block(self._flow._limit(timeout))

    def cancel(self, id: RunData | UUID | str, *, timeout: Duration | None = None) -> Run:
        """Asks for the end of a run.

        Raises:
            ConflictError: it has ended.
        """
        return self._run(self._native.cancel(_id(id)).block(self._flow._limit(timeout)))

    def rerun(self, id: RunData | UUID | str, *, newest_revision: bool = False, timeout: Duration | None = None) -> Run:
        """Runs it again: what it executed, or what its pipeline is now."""
        return self._run(self._native.rerun(_id(id), newest_revision).block(self._flow._limit(timeout)))

    def directory(
        self, id: RunData | UUID | str, *, attempt: int | None = None, timeout: Duration | None = None
    ) -> Path:
        """The directory of an attempt, the newest when none is named."""
        number = _newest(self.get(id, timeout=timeout)) if attempt is None else whole(attempt, "attempt", 1)
        return self._native.directory(_id(id), number).block(self._flow._limit(timeout))

    def explain(self, id: RunData | UUID | str, *, timeout: Duration | None = None) -> str:
        """Why a run waits, or ended as it did: one line a fact."""
        return self._native.explain(_id(id)).block(self._flow._limit(timeout))


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncRun(RunData):
    """The same as :class:`Run`, for ``await`` and ``async for``."""

    flow: AsyncFlow = field(repr=False, compare=False)
    """The flow it was read with."""

    async def refresh(self, *, timeout: Duration | None = None) -> AsyncRun:
        """The run as it is now."""
        return await self.flow.runs.get(self.id, timeout=timeout)

    async def wait(self, *, timeout: Duration | None = None) -> AsyncRun:
        """Waits until the run has ended, and answers how."""
        return await self.flow.runs.wait(self.id, timeout=timeout)

    def logs(self, *, after: str | LogLine | None = None, timeout: Duration | None = None) -> AsyncIterator[LogLine]:
        """The log of all attempts, live, until the run has ended; for ``async for``."""
        return self.flow.runs.logs(self.id, after=after, timeout=timeout)

    def usage(self, *, attempt: int | None = None, timeout: Duration | None = None) -> AsyncIterator[UsageSample]:
        """What an attempt uses of the machine, live; for ``async for``."""
        return self.flow.runs.usage(self.id, attempt=attempt, timeout=timeout)

    async def attempts(self, *, timeout: Duration | None = None) -> list[Attempt]:
        """Its attempts, first to last."""
        return await self.flow.runs.attempts(self.id, timeout=timeout)

    async def cancel(self, *, timeout: Duration | None = None) -> AsyncRun:
        """Asks for its end. It has ended once :meth:`wait` returns."""
        return await self.flow.runs.cancel(self.id, timeout=timeout)

    async def rerun(self, *, newest_revision: bool = False, timeout: Duration | None = None) -> AsyncRun:
        """Runs it again: what it executed, or what its pipeline is now."""
        return await self.flow.runs.rerun(self.id, newest_revision=newest_revision, timeout=timeout)

    async def directory(self, *, attempt: int | None = None, timeout: Duration | None = None) -> Path:
        """The directory of an attempt, the newest when none is named."""
        return await self.flow.runs.directory(self.id, attempt=attempt, timeout=timeout)

    async def explain(self, *, timeout: Duration | None = None) -> str:
        """Why it waits, or ended as it did: one line a fact."""
        return await self.flow.runs.explain(self.id, timeout=timeout)


class AsyncRuns:
    """The same as :class:`Runs`, for ``await`` and ``async for``."""

    __slots__ = ("_flow", "_native", "_operations")

    def __init__(self, flow: AsyncFlow, native: NativeRuns) -> None:
        self._flow = flow
        self._native = native
        self._operations = _Operations(native)

    def _run(self, record: dict[str, Any]) -> AsyncRun:
        return AsyncRun(flow=self._flow, **_fields(record))

    async def submit(
        self,
        pipeline: str,
        *,
        parameters: Mapping[str, object] | None = None,
        priority: int | None = None,
        config: str | None = None,
        key: str | None = None,
        delay: Duration | None = None,
        executor: str | None = None,
        timeout: Duration | None = None,
    ) -> AsyncRun:
        """Accepts a run of a pipeline. See :meth:`Runs.submit`."""
        operation = self._operations.submit(
            pipeline, parameters, priority=priority, config=config, key=key, delay=delay, executor=executor
        )
        return self._run(await operation.within(self._flow._limit(timeout)))

    async def get(self, id: RunData | UUID | str, *, timeout: Duration | None = None) -> AsyncRun:
        """One run."""
        return self._run(await self._native.get(_id(id)).within(self._flow._limit(timeout)))

    async def list(
        self,
        *,
        pipeline: str | None = None,
        status: Status | str | Iterable[Status | str] | None = None,
        limit: int | None = None,
        timeout: Duration | None = None,
    ) -> AsyncIterator[AsyncRun]:
        """Runs, newest first; read a page at a time while they are iterated over."""
        before: str | None = None
        left = count_or_none(limit, "limit")
        while left is None or left > 0:
            page = self._operations.page(pipeline, status, before, _page_rows(left))
            records, before = await page.within(self._flow._limit(timeout))
            for record in records:
                yield self._run(record)
            left = None if left is None else left - len(records)
            if before is None:
                return

    async def wait(self, id: RunData | UUID | str, *, timeout: Duration | None = None) -> AsyncRun:
        """One run, once it has ended."""
        return self._run(await self._native.wait(_id(id)).within(seconds_or_none(timeout)))

    async def dead_letters(
        self, *, limit: int | None = None, timeout: Duration | None = None
    ) -> AsyncIterator[AsyncRun]:
        """Failed runs that were not run again since, newest first; for ``async for``."""
        before: str | None = None
        left = count_or_none(limit, "limit")
        while left is None or left > 0:
            page = self._native.dead_letters(before=before, limit=_page_rows(left))
            records, before = await page.within(self._flow._limit(timeout))
            for record in records:
                yield self._run(record)
            left = None if left is None else left - len(records)
            if before is None:
                return

    async def wait_all(
        self, runs: Iterable[RunData | UUID | str], *, timeout: Duration | None = None
    ) -> builtins.list[AsyncRun]:
        """Several runs, in this order, once all of them have ended. See :meth:`Runs.wait_all`."""
        records = await self._native.wait_all(_ids(runs)).within(seconds_or_none(timeout))
        return [self._run(record) for record in records]

    def as_completed(
        self, runs: Iterable[RunData | UUID | str], *, timeout: Duration | None = None
    ) -> AsyncIterator[AsyncRun]:
        """Several runs, each once when it has ended; for ``async for``. See :meth:`Runs.as_completed`."""
        return self._native.as_completed(_unique(_ids(runs)), then=self._run, timeout=seconds_or_none(timeout))

    def logs(
        self, id: RunData | UUID | str, *, after: str | LogLine | None = None, timeout: Duration | None = None
    ) -> AsyncIterator[LogLine]:
        """The log of all attempts of a run, live, until it has ended; for ``async for``."""
        return self._operations.logs(_id(id), after, timeout)

    def usage(
        self, id: RunData | UUID | str, *, attempt: int | None = None, timeout: Duration | None = None
    ) -> AsyncIterator[UsageSample]:
        """What an attempt uses of the machine, live; for ``async for``."""
        return self._operations.usage(_id(id), whole_or_none(attempt, "attempt", 1), timeout)

    async def attempts(self, id: RunData | UUID | str, *, timeout: Duration | None = None) -> builtins.list[Attempt]:
        """The attempts of a run, first to last."""
        return await self._native.attempts(_id(id)).then(_attempts).within(self._flow._limit(timeout))

    async def cancel(self, id: RunData | UUID | str, *, timeout: Duration | None = None) -> AsyncRun:
        """Asks for the end of a run."""
        return self._run(await self._native.cancel(_id(id)).within(self._flow._limit(timeout)))

    async def rerun(
        self, id: RunData | UUID | str, *, newest_revision: bool = False, timeout: Duration | None = None
    ) -> AsyncRun:
        """Runs it again: what it executed, or what its pipeline is now."""
        return self._run(await self._native.rerun(_id(id), newest_revision).within(self._flow._limit(timeout)))

    async def directory(
        self, id: RunData | UUID | str, *, attempt: int | None = None, timeout: Duration | None = None
    ) -> Path:
        """The directory of an attempt, the newest when none is named."""
        number = _newest(await self.get(id, timeout=timeout)) if attempt is None else whole(attempt, "attempt", 1)
        return await self._native.directory(_id(id), number).within(self._flow._limit(timeout))

    async def explain(self, id: RunData | UUID | str, *, timeout: Duration | None = None) -> str:
        """Why a run waits, or ended as it did: one line a fact."""
        return await self._native.explain(_id(id)).within(self._flow._limit(timeout))
