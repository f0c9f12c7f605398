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
    RemoteTraceback,
    RunFailedError,
    StorageFullError,
    TaskError,
    TimedOutError,
    UnavailableError,
    UnsupportedError,
)
from .flow import AsyncFlow, Flow, Opening, open

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from .code import CodeOptions
    from .events import Event
    from .executor import Execution, Executor
    from .executors import BuiltInExecutor, Docker, Podman, Process, PullPolicy
    from .git import Git, GitHubApp, GitLimits, InsecureScheme
    from .hosting import HostInfo, Hosting
    from .master_keys import MasterKey, MasterKeyCommand, MasterKeyFile, MasterKeyVariable, generate_master_key
    from .options import Audits, Blackout, Retention, Weekday
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
    from .secret_stores import CommandSecrets, DirectorySecrets, EnvironmentSecrets, SecretStore
    from .secrets import (
        AsyncSecrets,
        MasterKeyUse,
        Rotation,
        SecretInfo,
        Secrets,
        SecretScope,
        SecretVersion,
        SetSecret,
        UnreadableSecret,
        WantedSecret,
    )
    from .source import (
        AsyncSource,
        ChangeKind,
        Commit,
        EnvironmentBegun,
        EnvironmentEnded,
        EnvironmentProgress,
        PipelineChange,
        Probe,
        Source,
        SourceEvent,
        SourceStatus,
        Sync,
        SyncEnded,
        SyncFailure,
        SyncFailureKind,
        SyncOutcome,
        SyncStarted,
        SyncTrigger,
    )
    from .task_runs import AsyncTaskRun, TaskRun
    from .tasks import AsyncTask, Task

__all__ = [
    "AlreadyExistsError",
    "AsyncFlow",
    "AsyncPackages",
    "AsyncPipelines",
    "AsyncRun",
    "AsyncRuns",
    "AsyncSchedules",
    "AsyncSecrets",
    "AsyncSource",
    "AsyncTask",
    "AsyncTaskRun",
    "Attempt",
    "Audit",
    "AuditOutcome",
    "Audits",
    "Blackout",
    "BuiltInExecutor",
    "ChangeKind",
    "ClosedError",
    "CodeOptions",
    "CommandSecrets",
    "Commit",
    "ConflictError",
    "CorruptError",
    "Counters",
    "CronExplanation",
    "DailyStatistics",
    "DeniedError",
    "Diagnostic",
    "DirectorySecrets",
    "Docker",
    "Environment",
    "EnvironmentBegun",
    "EnvironmentEnded",
    "EnvironmentPackages",
    "EnvironmentProgress",
    "EnvironmentSecrets",
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
    "Git",
    "GitHubApp",
    "GitLimits",
    "HostInfo",
    "Hosting",
    "InsecureScheme",
    "InternalError",
    "InvalidError",
    "LogLine",
    "MasterKey",
    "MasterKeyCommand",
    "MasterKeyFile",
    "MasterKeyUse",
    "MasterKeyVariable",
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
    "PipelineChange",
    "PipelineDefinition",
    "Pipelines",
    "Podman",
    "Probe",
    "Process",
    "PullPolicy",
    "RemoteTraceback",
    "Retention",
    "Rotation",
    "Run",
    "RunData",
    "RunFailedError",
    "Runs",
    "Schedule",
    "ScheduleOwner",
    "Schedules",
    "SecretInfo",
    "SecretScope",
    "SecretStore",
    "SecretVersion",
    "Secrets",
    "SetSecret",
    "Setup",
    "Severity",
    "SkippedPackage",
    "Source",
    "SourceEvent",
    "SourceStatus",
    "Status",
    "StorageFullError",
    "Sync",
    "SyncEnded",
    "SyncFailure",
    "SyncFailureKind",
    "SyncOutcome",
    "SyncStarted",
    "SyncTrigger",
    "Task",
    "TaskError",
    "TaskRun",
    "Tick",
    "TickOutcome",
    "TimedOutError",
    "UnavailableError",
    "UnreadableSecret",
    "UnsupportedError",
    "Upcoming",
    "UsageSample",
    "WantedSecret",
    "Weekday",
    "__version__",
    "explain_cron",
    "generate_master_key",
    "open",
]

# Where the names are that are imported when somebody asks for them: an import of the package takes little with it.
_LATER = {
    "code": ("CodeOptions",),
    "events": ("Event",),
    "executor": ("Execution", "Executor"),
    "executors": ("BuiltInExecutor", "Docker", "Podman", "Process", "PullPolicy"),
    "git": ("Git", "GitHubApp", "GitLimits", "InsecureScheme"),
    "hosting": ("HostInfo", "Hosting"),
    "master_keys": ("MasterKey", "MasterKeyCommand", "MasterKeyFile", "MasterKeyVariable", "generate_master_key"),
    "options": ("Audits", "Blackout", "Retention", "Weekday"),
    "packages": (
        "AsyncPackages",
        "Audit",
        "AuditOutcome",
        "EnvironmentPackages",
        "Finding",
        "Package",
        "PackageInEnvironment",
        "PackageOrigin",
        "PackageUse",
        "Packages",
        "SkippedPackage",
    ),
    "pipelines": (
        "AsyncPipelines",
        "Counters",
        "DailyStatistics",
        "Diagnostic",
        "Environment",
        "EnvironmentState",
        "ParameterDeclaration",
        "ParameterType",
        "Pipeline",
        "PipelineDefinition",
        "Pipelines",
        "Severity",
    ),
    "runs": (
        "AsyncRun",
        "AsyncRuns",
        "Attempt",
        "ExitReport",
        "Failure",
        "FailureKind",
        "Run",
        "RunData",
        "Runs",
        "Setup",
        "Status",
        "UsageSample",
    ),
    "schedules": (
        "AsyncSchedules",
        "CronExplanation",
        "FoldRule",
        "GapRule",
        "Overlap",
        "Schedule",
        "ScheduleOwner",
        "Schedules",
        "Tick",
        "TickOutcome",
        "Upcoming",
        "explain_cron",
    ),
    "secret_stores": ("CommandSecrets", "DirectorySecrets", "EnvironmentSecrets", "SecretStore"),
    "secrets": (
        "AsyncSecrets",
        "MasterKeyUse",
        "Rotation",
        "SecretInfo",
        "SecretScope",
        "SecretVersion",
        "Secrets",
        "SetSecret",
        "UnreadableSecret",
        "WantedSecret",
    ),
    "source": (
        "AsyncSource",
        "ChangeKind",
        "Commit",
        "EnvironmentBegun",
        "EnvironmentEnded",
        "EnvironmentProgress",
        "PipelineChange",
        "Probe",
        "Source",
        "SourceEvent",
        "SourceStatus",
        "Sync",
        "SyncEnded",
        "SyncFailure",
        "SyncFailureKind",
        "SyncOutcome",
        "SyncStarted",
        "SyncTrigger",
    ),
    "task_runs": ("AsyncTaskRun", "TaskRun"),
    "tasks": ("AsyncTask", "Task"),
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """A name of the package that nobody has asked for before."""
        from importlib import import_module

        for module, names in _LATER.items():
            if name in names:
                value = getattr(import_module(f".{module}", __name__), name)
                globals()[name] = value
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "load_ipython_extension", "unload_ipython_extension"]


def load_ipython_extension(shell: InteractiveShell) -> None:
    """What ``%load_ext fastflow`` calls. See :mod:`fastflow.notebook`."""
    from .notebook._magics import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """What ``%unload_ext fastflow`` calls."""
    from .notebook._magics import unload

    unload(shell)
