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
from .code import CodeOptions
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
from .runs import AsyncRun, AsyncRuns, Attempt, Failure, Run, RunData, Runs, Status, UsageSample

__all__ = [
    "AlreadyExistsError",
    "AsyncFlow",
    "AsyncRun",
    "AsyncRuns",
    "Attempt",
    "ClosedError",
    "CodeOptions",
    "ConflictError",
    "CorruptError",
    "DeniedError",
    "Failure",
    "FastflowError",
    "Flow",
    "ForkError",
    "InternalError",
    "InvalidError",
    "LogLine",
    "NotFoundError",
    "Opening",
    "RemoteTraceback",
    "Run",
    "RunData",
    "RunFailedError",
    "Runs",
    "Status",
    "StorageFullError",
    "TaskError",
    "TimedOutError",
    "UnavailableError",
    "UnsupportedError",
    "UsageSample",
    "__version__",
    "open",
]

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def load_ipython_extension(shell: InteractiveShell) -> None:
    """What ``%load_ext fastflow`` calls. See :mod:`fastflow.notebook`."""
    from .notebook._magics import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """What ``%unload_ext fastflow`` calls."""
    from .notebook._magics import unload

    unload(shell)
