"""Fast-Flow: runs folders of Python, durably, in throw-away sandboxes, hosted by your own program.

A pipeline is a folder with a ``main.py``. A run does not belong to the process that started it: kill that process, and
the run goes on, and the next process takes hold of it.

>>> import fastflow
>>> with fastflow.open(pipelines, data_dir=data_dir) as flow:
...     run = flow.run("hello", parameters={"who": "world"})
...     for line in run.logs():
...         if line.stream == "stdout":
...             print(line.text)
...     print(run.wait().status)  # doctest: +ELLIPSIS
hello, world
this is Python 3...
SUCCESS
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._fastflow import LogLine, __version__
from .errors import (
    AlreadyExistsError,
    ClosedError,
    ConflictError,
    CorruptError,
    DeniedError,
    FastflowError,
    ForkError,
    InternalError,
    InvalidError,
    NotFoundError,
    RunFailedError,
    StorageFullError,
    TimedOutError,
    UnavailableError,
    UnsupportedError,
)
from .events import Event
from .flow import AsyncFlow, Flow, Opening, open
from .packages import (
    AsyncPackages,
    Audit,
    AuditOutcome,
    EnvironmentPackages,
    Finding,
    Package,
    PackageInEnvironment,
    PackageOrigin,
    Packages,
    PackageUse,
    SkippedPackage,
)
from .pipelines import (
    AsyncPipelines,
    Counters,
    DailyStatistics,
    Diagnostic,
    Environment,
    EnvironmentState,
    ParameterDeclaration,
    ParameterType,
    Pipeline,
    PipelineDefinition,
    Pipelines,
    Severity,
)
from .runs import (
    AsyncRun,
    AsyncRuns,
    Attempt,
    ExitReport,
    Failure,
    FailureKind,
    Run,
    RunData,
    Runs,
    Setup,
    Status,
    UsageSample,
)
from .schedules import (
    AsyncSchedules,
    CronExplanation,
    FoldRule,
    GapRule,
    Overlap,
    Schedule,
    ScheduleOwner,
    Schedules,
    Tick,
    TickOutcome,
    Upcoming,
    explain_cron,
)

if TYPE_CHECKING:
    from .executor import Execution, Executor
else:

    def __getattr__(name: str) -> object:
        """Few write executors of their own, and so these are imported when somebody asks for them."""
        if name not in ("Execution", "Executor"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from . import executor

        return getattr(executor, name)


__all__ = [
    "AlreadyExistsError",
    "AsyncFlow",
    "AsyncPackages",
    "AsyncPipelines",
    "AsyncRun",
    "AsyncRuns",
    "AsyncSchedules",
    "Attempt",
    "Audit",
    "AuditOutcome",
    "ClosedError",
    "ConflictError",
    "CorruptError",
    "Counters",
    "CronExplanation",
    "DailyStatistics",
    "DeniedError",
    "Diagnostic",
    "Environment",
    "EnvironmentPackages",
    "EnvironmentState",
    "Event",
    "Execution",
    "Executor",
    "ExitReport",
    "Failure",
    "FailureKind",
    "FastflowError",
    "Finding",
    "Flow",
    "FoldRule",
    "ForkError",
    "GapRule",
    "InternalError",
    "InvalidError",
    "LogLine",
    "NotFoundError",
    "Opening",
    "Overlap",
    "Package",
    "PackageInEnvironment",
    "PackageOrigin",
    "PackageUse",
    "Packages",
    "ParameterDeclaration",
    "ParameterType",
    "Pipeline",
    "PipelineDefinition",
    "Pipelines",
    "Run",
    "RunData",
    "RunFailedError",
    "Runs",
    "Schedule",
    "ScheduleOwner",
    "Schedules",
    "Setup",
    "Severity",
    "SkippedPackage",
    "Status",
    "StorageFullError",
    "Tick",
    "TickOutcome",
    "TimedOutError",
    "UnavailableError",
    "UnsupportedError",
    "Upcoming",
    "UsageSample",
    "__version__",
    "explain_cron",
    "open",
]
