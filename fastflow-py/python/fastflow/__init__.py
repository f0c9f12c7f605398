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
    StorageFullError,
    TimedOutError,
    UnavailableError,
    UnsupportedError,
)
from .executors import Docker, Executor, Podman, Process, PullPolicy
from .flow import AsyncFlow, Flow, Opening, open
from .git import Git, GitHubApp, GitLimits, InsecureScheme
from .hosting import HostInfo, Hosting
from .master_keys import MasterKey, MasterKeyCommand, MasterKeyFile, MasterKeyVariable, generate_master_key
from .options import Audits, Blackout, Retention, Weekday
from .runs import AsyncRun, AsyncRuns, Attempt, Failure, Run, RunData, Runs, Status, UsageSample
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

__all__ = [
    "AlreadyExistsError",
    "AsyncFlow",
    "AsyncRun",
    "AsyncRuns",
    "AsyncSecrets",
    "AsyncSource",
    "Attempt",
    "Audits",
    "Blackout",
    "ChangeKind",
    "ClosedError",
    "CommandSecrets",
    "Commit",
    "ConflictError",
    "CorruptError",
    "DeniedError",
    "DirectorySecrets",
    "Docker",
    "EnvironmentBegun",
    "EnvironmentEnded",
    "EnvironmentProgress",
    "EnvironmentSecrets",
    "Executor",
    "Failure",
    "FastflowError",
    "Flow",
    "ForkError",
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
    "PipelineChange",
    "Podman",
    "Probe",
    "Process",
    "PullPolicy",
    "Retention",
    "Rotation",
    "Run",
    "RunData",
    "Runs",
    "SecretInfo",
    "SecretScope",
    "SecretStore",
    "SecretVersion",
    "Secrets",
    "SetSecret",
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
    "TimedOutError",
    "UnavailableError",
    "UnreadableSecret",
    "UnsupportedError",
    "UsageSample",
    "WantedSecret",
    "Weekday",
    "__version__",
    "generate_master_key",
    "open",
]
