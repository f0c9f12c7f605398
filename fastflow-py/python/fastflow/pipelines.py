"""Pipelines: what they are, what is wrong with them, and what became of their runs."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._frozen import FrozenMapping
from ._given import text, whole
from ._time import Duration

if TYPE_CHECKING:
    from ._fastflow import Operation
    from ._fastflow import Pipelines as NativePipelines
    from .flow import AsyncFlow, Flow

DEFAULT_DAYS = 30
"""How many days of statistics are read when the caller does not say."""


class Severity(str, Enum):
    """How bad a diagnostic is.

    >>> Severity("error") is Severity.ERROR
    True
    """

    WARNING = "warning"
    ERROR = "error"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One thing that is wrong with, or odd about, a pipeline's files."""

    severity: Severity
    """An error keeps the pipeline from running; a warning does not."""
    text: str
    """The place and the message, on one line."""
    file: str
    """The file or folder it is about, relative to the pipeline's folder."""
    line: int | None
    """The line in it, from 1."""
    column: int | None
    """The column in it, in characters from 1."""
    field: str
    """The field, such as ``retry_strategy.delay``; empty when it is about the whole file."""
    message: str
    """What was found, what is allowed, and what to do."""

    def __str__(self) -> str:
        return self.text


class ParameterType(str, Enum):
    """What the text of a parameter must be."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterDeclaration:
    """One parameter that a pipeline declares."""

    type: ParameterType
    """What its text must be."""
    description: str | None
    """Shown to people."""
    default: str | None
    """Its value where the caller gives none."""
    required: bool
    """Whether a caller must give it."""
    choices: tuple[str, ...]
    """The only values it may have; any when empty."""


class EnvironmentState(str, Enum):
    """How an environment stands."""

    NOT_NEEDED = "not_needed"
    """There is nothing to make ready."""
    NOT_CACHED = "not_cached"
    """It is not there. The next run builds it."""
    QUEUED = "queued"
    """It is not there, and will be made ahead of the next run."""
    BUILDING = "building"
    """It is being made ahead of the next run, which joins if it comes before the end."""
    CACHED = "cached"
    """It is there: the next run starts in it at once."""
    FAILED = "failed"
    """It could not be made ready: a run would end like this now."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """How the environment stands that the next run of a pipeline needs."""

    state: EnvironmentState
    """How it stands."""
    since: datetime | None
    """When its building began, while it is built."""
    id: str | None
    """Which one it is, if it is there."""
    python_version: str | None
    """The full version of its interpreter, if it is there."""
    failure: str | None
    """Why it could not be made ready, if so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Runs that ended, by how they ended.

    >>> Counters(succeeded=8, failed=1, cancelled=1).total
    10
    """

    succeeded: int
    """Runs that ended as ``SUCCESS``."""
    failed: int
    """Runs that ended as ``FAILED``."""
    cancelled: int
    """Runs that ended as ``CANCELLED``."""

    @property
    def total(self) -> int:
        """All runs that ended."""
        return self.succeeded + self.failed + self.cancelled


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyStatistics:
    """One day of a pipeline, in UTC."""

    day: date
    """The day."""
    counters: Counters
    """Runs that ended on it, by how they ended."""
    run_time: timedelta
    """How long the programs of their last attempts ran, summed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineDefinition:
    """What the files of a pipeline say, with the defaults for the rest."""

    description: str | None
    """Shown to people."""
    tags: tuple[str, ...]
    """For filters and groups, in the file's order."""
    enabled: bool
    """Whether it may start at all."""
    entry: Path
    """The file to run, relative to the pipeline's folder."""
    executor: str | None
    """Which executor runs it; None is the default."""
    parameters: Mapping[str, ParameterDeclaration]
    """The parameters that it declares, by name."""
    takes_undeclared: bool
    """Whether a caller may give others."""
    unsupported: tuple[str, ...]
    """Fields that this version does not act on. It does not run while there are any."""
    settings: Mapping[str, Any]
    """Everything that ``pipeline.json`` can say, as it applies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A pipeline, what is wrong with it, and what became of its runs, as it was when it was read.

    >>> hello = flow.pipelines.get("hello")
    >>> hello.definition.description, hello.is_runnable
    ('The smallest pipeline that takes a parameter', True)
    """

    name: str
    """Its name."""
    definition: PipelineDefinition | None
    """What its files say; None when they have errors, or its source does not have it any more."""
    diagnostics: tuple[Diagnostic, ...]
    """Errors and warnings about its files."""
    present: bool
    """Whether the source still has it."""
    environment: Environment
    """How the environment stands that its next run needs."""
    counters: Counters
    """Its runs that ended, by how they ended."""
    last_submitted_at: datetime | None
    """When its newest run was submitted."""

    @property
    def is_runnable(self) -> bool:
        """Whether its files allow a run: without errors, enabled, and with nothing that this version lacks."""
        definition = self.definition
        return definition is not None and definition.enabled and not definition.unsupported

    def _repr_html_(self) -> str:
        from .notebook._pipelines import pipelines_table

        return str(pipelines_table([self]))


def _parameter(record: dict[str, Any]) -> ParameterDeclaration:
    record["type"] = ParameterType(record["type"])
    record["choices"] = tuple(record["choices"])
    return ParameterDeclaration(**record)


def _definition(record: dict[str, Any]) -> PipelineDefinition:
    declared = {name: _parameter(parameter) for name, parameter in record["parameters"].items()}
    record["parameters"] = FrozenMapping(declared)
    record["tags"] = tuple(record["tags"])
    record["unsupported"] = tuple(record["unsupported"])
    record["settings"] = FrozenMapping(record["settings"])
    return PipelineDefinition(**record)


def _diagnostic(record: dict[str, Any]) -> Diagnostic:
    record["severity"] = Severity(record["severity"])
    return Diagnostic(**record)


def _environment(record: dict[str, Any]) -> Environment:
    record["state"] = EnvironmentState(record["state"])
    return Environment(**record)


def _pipeline(record: dict[str, Any]) -> Pipeline:
    record["definition"] = None if record["definition"] is None else _definition(record["definition"])
    record["diagnostics"] = tuple(_diagnostic(found) for found in record["diagnostics"])
    record["environment"] = _environment(record["environment"])
    record["counters"] = Counters(**record["counters"])
    return Pipeline(**record)


def _pipelines(records: list[dict[str, Any]]) -> list[Pipeline]:
    return [_pipeline(record) for record in records]


def _day(record: dict[str, Any]) -> DailyStatistics:
    record["counters"] = Counters(**record["counters"])
    return DailyStatistics(**record)


def _daily(native: NativePipelines, name: str, days: int) -> Operation[list[dict[str, Any]]]:
    return native.daily_statistics(text(name, "name"), whole(days, "days", 0))


def _days(records: list[dict[str, Any]]) -> list[DailyStatistics]:
    return [_day(record) for record in records]


class Pipelines:
    """The pipelines of a flow.

    >>> [pipeline.name for pipeline in flow.pipelines.list() if "demo" in pipeline.definition.tags][:2]
    ['broken', 'chatty']
    """

    __slots__ = ("_flow", "_native")

    def __init__(self, flow: Flow, native: NativePipelines) -> None:
        self._flow = flow
        self._native = native

    def list(self, *, timeout: Duration | None = None) -> builtins.list[Pipeline]:
        """All pipelines that the source has or ever had, by name."""
        return self._native.list().then(_pipelines).block(self._flow._limit(timeout))

    def get(self, name: str, *, timeout: Duration | None = None) -> Pipeline:
        """One pipeline.

        Raises:
            NotFoundError: there is no such pipeline; its context has the nearest name.

        >>> flow.pipelines.get("helo")
        Traceback (most recent call last):
        fastflow.errors.NotFoundError: no such pipeline (pipeline: helo, did you mean: hello)
        """
        return self._native.get(text(name, "name")).then(_pipeline).block(self._flow._limit(timeout))

    def daily_statistics(
        self, name: str, *, days: int = DEFAULT_DAYS, timeout: Duration | None = None
    ) -> builtins.list[DailyStatistics]:
        """The last ``days`` days on which a run of a pipeline ended, newest first, in UTC.

        >>> _ = flow.run("hello").wait()
        >>> [day.counters for day in flow.pipelines.daily_statistics("hello")]
        [Counters(succeeded=1, failed=0, cancelled=0)]
        """
        return _daily(self._native, name, days).then(_days).block(self._flow._limit(timeout))


class AsyncPipelines:
    """The same as :class:`Pipelines`, for ``await``."""

    __slots__ = ("_flow", "_native")

    def __init__(self, flow: AsyncFlow, native: NativePipelines) -> None:
        self._flow = flow
        self._native = native

    async def list(self, *, timeout: Duration | None = None) -> builtins.list[Pipeline]:
        """All pipelines that the source has or ever had, by name."""
        return await self._native.list().then(_pipelines).within(self._flow._limit(timeout))

    async def get(self, name: str, *, timeout: Duration | None = None) -> Pipeline:
        """One pipeline. See :meth:`Pipelines.get`."""
        return await self._native.get(text(name, "name")).then(_pipeline).within(self._flow._limit(timeout))

    async def daily_statistics(
        self, name: str, *, days: int = DEFAULT_DAYS, timeout: Duration | None = None
    ) -> builtins.list[DailyStatistics]:
        """The last ``days`` days on which a run of a pipeline ended, newest first, in UTC."""
        return await _daily(self._native, name, days).then(_days).within(self._flow._limit(timeout))
