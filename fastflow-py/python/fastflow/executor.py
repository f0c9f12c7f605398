"""Executors of your own: classes that start attempts in sandboxes, and find them again after a crash.

An executor is given to :func:`fastflow.open` under a name that pipelines can ask for. :class:`Executor` and
:class:`Execution` are the whole contract; :mod:`fastflow.testing` checks it. :class:`Shim` does most of it for
executors that start processes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

from ._time import Duration

_T = TypeVar("_T")

MaybeAwaitable: TypeAlias = _T | Awaitable[_T]
"""What a method answers that may be ``def`` or ``async def``."""


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an executor can do. To claim a capability is to pass its cases of the conformance suite.

    What a pipeline needs and its executor does not claim is refused before anything is asked of the executor.

    >>> Capabilities(output=True).secrets
    False
    """

    environments: bool = False
    """It runs programs in environments that were prepared on this machine."""
    cpu_limit: bool = False
    """It keeps a limit on CPU."""
    memory_limit: bool = False
    """It keeps a limit on memory."""
    process_limit: bool = False
    """It keeps a limit on processes."""
    network: bool = False
    """It can take the network away from a program."""
    isolation: bool = False
    """It confines programs: without privileges, with nothing to write to but their own run directory."""
    output: bool = False
    """It writes logs and usage into the run directory, and its programs work in there."""
    secrets: bool = False
    """It gives secrets to programs so that nobody else sees them, and masks them in logs."""
    reattach: bool = False
    """An execution survives this process, and ``reattach`` finds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one attempt may use."""

    cpu_millis: int | None = None
    """CPU, in thousandths of a core."""
    memory_bytes: int | None = None
    """Memory, in bytes; no swap beside it."""
    max_processes: int | None = None
    """Processes and threads at one time."""
    soft_cpu_millis: int | None = None
    """CPU above which samples are marked, in thousandths of a core."""
    soft_memory_bytes: int | None = None
    """Memory above which samples are marked, in bytes."""
    timeout: timedelta | None = None
    """How long the program may run."""
    stop_grace: timedelta = timedelta(seconds=10)
    """The time between asking the program to end and killing it."""
    log_max_bytes: int = 1 << 30
    """The most bytes of log that are kept."""
    log_tail_bytes: int = 1 << 26
    """How many of them are kept for the end of a longer log."""
    usage_interval: timedelta = timedelta(seconds=1)
    """The time between two samples of usage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSpec:
    """Everything an executor needs to start an attempt, resolved. An executor looks nothing up.

    >>> spec = AttemptSpec(
    ...     id="019aa2f0-7c3c-7def-8000-000000000001-1", owner="warehouse", argv=("/bin/true",),
    ...     working_dir=Path("/data/run/work"), run_dir=Path("/data/run"), secret_env={"TOKEN": "s3cret"},
    ... )
    >>> "s3cret" in repr(spec)
    False
    """

    id: str
    """The attempt; also the name of its sandbox."""
    owner: str
    """The installation it belongs to."""
    argv: Sequence[str]
    """The program and its arguments. The first is an absolute path, or a name to look for in the ``PATH`` of ``env``.
    """
    working_dir: Path
    """The attempt's private, writable copy of the pipeline's folder; the program starts in it."""
    run_dir: Path
    """The attempt's directory, where the sandbox writes its files."""
    env: Mapping[str, str] = field(default_factory=_nothing, repr=False)
    """The whole environment of the program, but for the secrets."""
    secret_env: Mapping[str, str] = field(default_factory=_nothing, repr=False)
    """Secrets that the program finds as variables; they win over ``env``. Given only to who claims ``secrets``."""
    secret_files: Mapping[str, str] = field(default_factory=_nothing, repr=False)
    """Secrets that it finds as files, in the folder that ``FASTFLOW_SECRETS_DIR`` names."""
    masked_files: Sequence[Path] = ()
    """Files in ``working_dir`` in which secrets are masked when the program has ended."""
    image: str | None = None
    """The image of its sandbox."""
    network: bool = True
    """Whether it may reach the network."""
    read_only: Sequence[Path] = ()
    """Folders of this machine that the program finds under the same paths, and cannot write to where it is confined."""
    limits: Limits = Limits()
    """What it may use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionHandle:
    """Where an attempt runs: plain data, stored with the run, from which the execution can be found again."""

    attempt: str
    """The attempt."""
    native_id: str
    """The runtime's own name for it: a process id, the number of a job."""
    detail: Any = None
    """The executor's private notes, of what JSON has. Nobody else reads them, and they hold no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRef:
    """What names an attempt for :meth:`Executor.reattach`."""

    id: str
    """The attempt."""
    owner: str
    """The installation it belongs to."""
    run_dir: Path
    """The directory that was prepared for it."""
    handle: ExecutionHandle | None = None
    """Its handle, if its start was recorded. An attempt with a handle has started for sure."""


class StopCause(str, Enum):
    """Why a program is asked to stop."""

    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    NO_OUTPUT = "no_output"
    NO_HEARTBEAT = "no_heartbeat"
    SOFT_CPU = "soft_cpu"
    SOFT_MEMORY = "soft_memory"

    def __str__(self) -> str:
        return self.value


class StartFailureKind(str, Enum):
    """The classes of causes that keep a program from starting."""

    COMMAND_NOT_FOUND = "command_not_found"
    COMMAND_NOT_EXECUTABLE = "command_not_executable"
    STORAGE_FULL = "storage_full"
    DENIED = "denied"
    UNSUPPORTED = "unsupported"
    IMAGE_MISSING = "image_missing"
    EXECUTOR_UNAVAILABLE = "executor_unavailable"
    INTERNAL = "internal"

    def __str__(self) -> str:
        return self.value


class LostCause(str, Enum):
    """Why the end of a started program cannot be known."""

    MONITOR_DIED = "monitor_died"
    MACHINE_RESTARTED = "machine_restarted"
    REMOVED = "removed"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class StartFailure:
    """Why a program could not be started. It never ran."""

    kind: StartFailureKind
    """The class of the cause."""
    message: str
    """The cause in words."""


@dataclass(frozen=True, slots=True)
class NeverStarted:
    """The program of an attempt never started, and now never will."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A program started, and nobody can know how it ended. Nothing of it runs any more."""

    cause: LostCause
    """Why nobody can know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited:
    """A program ran and ended.

    >>> Exited(exit_code=0, started_at=datetime.now(), ended_at=datetime.now(), duration=timedelta(0)).signal is None
    True
    """

    started_at: datetime
    """When the program began."""
    ended_at: datetime
    """When it ended."""
    duration: timedelta
    """How long it ran, by a clock that does not jump."""
    exit_code: int | None = None
    """The exit code, if it ended by itself. 0 is a proof that it did, never the default of a runtime."""
    signal: int | None = None
    """The signal that ended it, if one did."""
    out_of_memory: bool = False
    """Whether the kernel killed it because its memory limit was reached."""
    stopped_by: StopCause | None = None
    """Whether the sandbox stopped it, and why."""
    cpu_time: timedelta | None = None
    """CPU time of the program and all its descendants."""
    peak_memory_bytes: int | None = None
    """The most memory it held at one time."""
    oom_kills: int = 0
    """How many of its processes the kernel killed for want of memory."""
    log_bytes: int = 0
    """The size of all records of its output, in bytes, those that were not kept included."""
    log_dropped_bytes: int = 0
    """The size of those that were not kept."""
    log_complete: bool = True
    """Whether every byte that it wrote is in the log, but for what was masked."""
    masked: int = 0
    """How often a secret was masked."""


Ended = Exited | StartFailure | Lost
"""How an execution ended. A :class:`StartFailure` is one whose program could not be executed, and never ran."""


class Execution(ABC):
    """One attempt in flight, or ended. Letting go of it stops nothing.

    Methods are ``def`` or ``async def``. A ``def`` is run in a thread of the flow's; an ``async def`` in an event loop
    of the executor's, where any number can wait at one time.
    """

    @property
    @abstractmethod
    def handle(self) -> ExecutionHandle:
        """The plain data from which the execution can be found again. It never changes."""

    @abstractmethod
    def wait(self) -> MaybeAwaitable[Ended]:
        """Waits for the end. Called once at a time, and again after an error; the answer is always the same.

        Raises:
            UnavailableError: when the runtime cannot be asked for now.
        """

    @abstractmethod
    def stop(self, grace: timedelta, cause: StopCause) -> MaybeAwaitable[None]:
        """Asks the program to end, and has it killed with all its descendants after ``grace``.

        Returns when the request is delivered or the execution has ended; :meth:`wait` tells the end. Fine on an ended
        one.

        Raises:
            UnavailableError: when the runtime cannot be asked for now.
        """

    @abstractmethod
    def remove(self) -> MaybeAwaitable[None]:
        """Frees everything the runtime holds for it, killing it first if it must. Files in the run directory stay.

        Fine to repeat.

        Raises:
            UnavailableError: when the runtime cannot be asked for now.
        """


class Executor(ABC):
    """Starts attempts on one runtime, and finds them again after a crash.

    - The program of one attempt starts at most once, whoever asks and however often.
    - :meth:`start` leaves one execution under ``spec.id``, or :meth:`reattach` tells what became of it.
    - An execution outlives this process, where :attr:`capabilities` says so.
    - The runtime is the truth: an executor keeps no table of what it started.

    Methods are ``def`` or ``async def``, and are called by threads of the flow, several at one time. An exception of
    the package is the answer of that kind; any other is an :class:`~fastflow.InternalError`, and its traceback is in
    the log ``fastflow.executor``. A method that hangs keeps its thread, of which an executor has 16 at most, and no
    other.

    ``examples/python/prefix_executor.py`` is a whole one.
    """

    capabilities: Capabilities = Capabilities()
    """What it can do. Read once, when the flow is opened."""

    call_timeout: Duration = 60.0
    """How long a call is waited for, but for :meth:`Execution.wait`. Later its answer is unknown, and asked for anew.
    """

    def probe(self) -> MaybeAwaitable[None]:
        """Asks the runtime whether it can be used.

        Raises:
            UnavailableError: when it cannot be reached.
            UnsupportedError: when it cannot do what it must.
        """
        return None

    @abstractmethod
    def start(self, spec: AttemptSpec) -> MaybeAwaitable[Execution | StartFailure]:
        """Starts one attempt, and returns once its program runs or has ended.

        A cause in the workload is a value: a :class:`StartFailure`.

        Raises:
            AlreadyExistsError: when the attempt was started before.
            FastflowError: when the outcome is unknown until :meth:`reattach` settles it.
        """

    @abstractmethod
    def list(self, owner: str) -> MaybeAwaitable[Sequence[ExecutionHandle]]:
        """Every execution of ``owner`` that the runtime still knows, running or ended. Complete, or an error.

        Raises:
            UnavailableError: when the runtime cannot be asked.
        """

    @abstractmethod
    def reattach(self, attempt: AttemptRef) -> MaybeAwaitable[Execution | NeverStarted | Lost]:
        """Settles what became of an attempt: takes hold of it if it was started, and otherwise makes sure that it never
        will be, even if an earlier :meth:`start` is still on its way. It never starts anything.

        Raises:
            UnavailableError: when the runtime cannot be asked; then nothing is known.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """The shim of an attempt, named so that no other process ever has the same name."""

    pid: int
    """Its process."""
    start_time_ticks: int
    """When that started, in clock ticks since boot."""
    boot_id: str
    """The boot that both are of."""

    def is_alive(self) -> bool:
        """Whether it runs."""
        from ._fastflow import Shim as Native

        return Native.is_alive(self.pid, self.start_time_ticks, self.boot_id)


class Shim:
    """What every attempt runs under, for executors that start it by ways of their own.

    It is a static Linux executable that keeps most of the contract by itself: it starts a program once, keeps limits of
    time, writes the log and usage, and leaves a proof of the end. Start :attr:`command`, give it the :meth:`order` on
    its standard input, and read its reply, one line of JSON, from its standard output. ``SIGTERM`` stops the attempt,
    ``SIGQUIT`` kills it.

    Args:
        folder: where it is installed; on a file system that allows to execute.
    """

    __slots__ = ("_native",)

    def __init__(self, folder: Path) -> None:
        from ._fastflow import Shim as Native

        self._native = Native(folder)

    @property
    def command(self) -> list[str]:
        """The command that starts it, away from this process."""
        return [str(self._native.path), "--order-fd", "0", "--reply", "--detach"]

    def order(self, spec: AttemptSpec, *, secrets_dir: Path | None = None) -> bytes:
        """The order for an attempt. It carries the secrets: hand it over through a pipe.

        Args:
            secrets_dir: a folder in memory, for those secrets that are files.

        Raises:
            AlreadyExistsError: when the attempt was started before, or never may.
            InvalidError: when it can never be started as it stands.
        """
        from ._executor_forms import spec_fields

        return self._native.order(spec_fields(spec), secrets_dir or Path())

    def settle(self, attempt: AttemptRef, *, begun: bool) -> Monitor | NeverStarted | Lost:
        """Settles whether an attempt was started, once and for ever.

        Args:
            begun: whether the executor had begun to start it, so that a run directory that is not there was taken away.

        Raises:
            FastflowError: when the file system does not allow it. Nothing is known then.
        """
        from ._executor_forms import handle_json

        fields: dict[str, Any] = {
            "id": attempt.id,
            "owner": attempt.owner,
            "run_dir": attempt.run_dir,
            "handle": None if attempt.handle is None else handle_json(attempt.handle),
        }
        word, monitor = self._native.settle(fields, begun)
        if word == "never_started":
            return NeverStarted()
        return Lost(LostCause.REMOVED) if monitor is None else Monitor(**monitor)

    def ended(self, run_dir: Path, attempt: str) -> Ended | None:
        """The end of an attempt by the proof that its shim has left, or None when there is none."""
        from ._executor_forms import ended_of

        proof = self._native.ended(run_dir, attempt)
        return None if proof is None else ended_of(proof)

    def record_stop(self, run_dir: Path, cause: StopCause) -> None:
        """Writes down why an attempt is asked to stop, for the shim can only tell that it was. Before the signal."""
        self._native.record_stop(run_dir, cause.value)


def capability_fields(capabilities: Capabilities) -> dict[str, bool]:
    """The capabilities by name."""
    return asdict(capabilities)
