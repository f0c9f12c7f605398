"""Opening a flow: the one door of the package."""

from __future__ import annotations

import atexit
import contextlib
import os
import time
import weakref
from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from ._fastflow import Engine
from ._given import (
    INT64_MAX,
    INT64_MIN,
    PathLike,
    at_most_one,
    choice,
    mapping,
    number_or_none,
    path,
    several,
    several_of,
    size_or_none,
    text,
    text_or_none,
    texts,
    whole,
    whole_or_none,
)
from ._service import Service, end_all, started
from ._time import Duration, seconds, seconds_or_none
from ._uv import given_uv, installed_uv
from .errors import ClosedError, ForkError, InvalidError
from .running import AsyncRunsCode, RunsCode

# What an import of the package does not need is imported by what needs it.
if TYPE_CHECKING:
    from ._fastflow import ManualClock, Operation
    from ._given import Size
    from .events import Event
    from .executor import Executor
    from .executors import BuiltInExecutor
    from .git import Git
    from .hosting import HostInfo, Hosting
    from .master_keys import MasterKey
    from .options import Audits, Blackout, Retention
    from .packages import AsyncPackages, Packages
    from .pipelines import AsyncPipelines, Pipelines
    from .runs import AsyncRun, AsyncRuns, Run, Runs
    from .schedules import AsyncSchedules, Schedules
    from .secret_stores import SecretStore
    from .secrets import AsyncSecrets, Secrets
    from .source import AsyncSource, Source

ANSWER_TIMEOUT_SECONDS = 60.0
"""How long a call waits for its answer when it does not say. Waiting for runs and for lines has no such limit."""

_EXIT_TIMEOUT_SECONDS = 2.0

_open_engines: weakref.WeakKeyDictionary[Engine, list[Service]] = weakref.WeakKeyDictionary()
"""With the threads of Python's that work for each."""


def _engines() -> list[Engine]:
    """Those that are open. Another thread may open one meanwhile."""
    return [engine for reference in _open_engines.keyrefs() if (engine := reference()) is not None]


@atexit.register
def _close_all() -> None:
    """Lets go of what is still open when the interpreter ends. Programs run on; nothing waits for them."""
    closing: list[tuple[Engine, Operation[None]]] = []
    for engine in _engines():
        # By a thread that was faster; or it belongs to a process that this one was forked from.
        with contextlib.suppress(ClosedError, ForkError):
            closing.append((engine, engine.close().begun()))
    end = time.monotonic() + _EXIT_TIMEOUT_SECONDS
    for engine, closed in closing:
        try:
            closed.block(max(0.0, end - time.monotonic()))
        except Exception:  # It ends in any case, and the next flow takes over as after a crash.
            pass
        _stop(engine)


def _stop(engine: Engine) -> None:
    """Ends the threads that work for a flow."""
    engine.stop()
    if engine.is_own():
        end_all(_open_engines.pop(engine, ()))


async def _stop_async(engine: Engine) -> None:
    """The same, while the loop goes on: threads may take some seconds to end.

    The loop is woken through a pipe of its own. What `asyncio.to_thread` wakes it with is gone once a forked child has
    closed its copy of the loop: both have one `epoll`.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    here, there = os.pipe()

    def stop() -> None:
        try:
            _stop(engine)
        finally:
            with contextlib.suppress(BrokenPipeError):
                os.write(there, b".")
            os.close(there)

    def told() -> None:
        if not ended.done():
            ended.set_result(None)

    loop.add_reader(here, told)
    try:
        started("fastflow-stop", stop)
        await ended
    finally:
        loop.remove_reader(here)
        os.close(here)


class _Ancestry:
    """What this process was forked from."""

    had_a_flow_open = False
    """Whether that process, or one that it was forked from, had a flow open at that moment."""


def _after_fork() -> None:
    """Lets a forked child hold no lock of its parent: as long as it did, nobody could take the place of its parent."""
    engines = _engines()
    _open_engines.clear()
    if engines:
        # SQLite's own view of who has locked what was copied, too, and is wrong here for as long as this process lives.
        _Ancestry.had_a_flow_open = True
        nothing = os.open(os.devnull, os.O_RDWR)
        for engine in engines:
            for lock in engine.inherited_locks():
                # Closed, its number would be free for another file, which what is left of the store would take for its own.
                os.dup2(nothing, lock, inheritable=False)
        os.close(nothing)


os.register_at_fork(after_in_child=_after_fork)


def open(
    pipelines: PathLike | None = None,
    *,
    git: Git | None = None,
    data_dir: PathLike | None = None,
    hosting: Hosting | str = "when_free",
    executor: BuiltInExecutor | str | None = None,
    executors: Iterable[BuiltInExecutor | str]
    | Mapping[str, Executor | BuiltInExecutor | str]
    | None = None,
    master_key: MasterKey | None = None,
    older_master_keys: Iterable[MasterKey] = (),
    fernet_key: str | bytes | None = None,
    secret_stores: Iterable[SecretStore] = (),
    max_concurrent_runs: int | None = None,
    pools: Mapping[str, int] | None = None,
    memory_budget: Size | None = None,
    cpu_budget: float | None = None,
    blackouts: Iterable[Blackout] = (),
    retention: Retention | None = None,
    sync_interval: Duration | None = None,
    preheat: int | None = None,
    audits: Audits | str = "on_request",
    default_python: str | None = None,
    inherit_env: Iterable[str] = (),
    uv: PathLike | None = None,
    timeout: Duration = ANSWER_TIMEOUT_SECONDS,
) -> Opening:
    """Opens a flow: ``with`` gives a :class:`Flow`, ``async with`` an :class:`AsyncFlow`.

    Leaving it stops no program: runs go on, and the next flow of the same data directory takes hold of them.

    Args:
        pipelines: the folder of pipelines.
        git: a repository of pipelines, in the place of a folder.
        data_dir: where everything is kept; ``.fastflow`` beside the folder of pipelines when nothing is said.
        hosting: whether this process hosts, where several have the data directory open.
        executor: the executor, by its name (``"process"``, ``"docker"``, ``"podman"``) or with its options; processes of
            this machine when nothing is said.
        executors: several of them; the first is the default, and pipelines name the others. A mapping gives them names
            of their own, which those that are classes of yours need; see :class:`Executor`.
        master_key: the key that secrets are sealed with. Without one there are no stored secrets.
        older_master_keys: keys of earlier: what is sealed with them can be opened.
        fernet_key: the ``ENCRYPTION_KEY`` of an older Fast-Flow, with which ``encrypted_env`` of its pipelines is read.
        secret_stores: others who have secrets; asked in this order for what the flow has not.
        max_concurrent_runs: how many runs are in flight at one time; 16 when nothing is said.
        pools: the slots of each pool, by its name. Runs of pipelines that name a pool hold slots of it.
        memory_budget: the most memory that runs in flight may have declared together, as ``"8g"`` or in bytes.
        cpu_budget: the same for processor time, in cores.
        blackouts: times at which schedules start nothing.
        retention: how long what ended runs have left behind is kept.
        sync_interval: how often the source is synced without anybody asking: every minute or less often. Never, when
            nothing is said; folders are watched all the same.
        preheat: how many environments at one time are made ready before runs need them; 2 when nothing is said, and none
            with 0.
        audits: when packages are audited.
        default_python: the Python for pipelines that ask for none, such as ``"3.12"``, or the path of an interpreter.
        inherit_env: further variables of this process that programs get, by name.
        uv: the ``uv`` to make environments with; the one that was installed with the package when nothing is said.
        timeout: how long calls wait for their answers when they do not say.

    Raises:
        ConflictError: another process hosts, and this one must; or no ``data_dir`` was given, and another flow hosts the
            usual one for other pipelines, whose schedules alone would start.
        InvalidError: an option is wrong. Those that only the data directory or a program can tell are told when it is
            opened.

    >>> with fastflow.open(pipelines, data_dir=data_dir, pools={"db": 3}, memory_budget="8g") as flow:
    ...     flow.run("hello").wait().status
    <Status.SUCCESS: 'SUCCESS'>
    """
    from .executors import named_executors
    from .git import git_record
    from .hosting import Hosting
    from .master_keys import fernet_text, key_record, key_records
    from .options import Audits, Blackout, blackout_record, retention_record
    from .secret_stores import store_record

    repository = git_record(git)
    _check_source(pipelines, git, data_dir)
    options: dict[str, Any] = {
        "pipelines": _folder(pipelines, "pipelines"),
        "git": repository,
        "data_dir": _folder(data_dir, "data_dir"),
        "hosting": choice(Hosting, hosting, "hosting").value,
        "executors": named_executors(executor, executors),
        "master_key": key_record(master_key),
        "older_master_keys": key_records(older_master_keys),
        "fernet_key": fernet_text(fernet_key),
        "secret_stores": [store_record(store) for store in several(secret_stores, "secret_stores")],
        "max_concurrent_runs": whole_or_none(max_concurrent_runs, "max_concurrent_runs", 1),
        "pools": _pools({} if pools is None else pools),
        "memory_budget": size_or_none(memory_budget, "memory_budget"),
        "cpu_budget": number_or_none(cpu_budget, "cpu_budget"),
        "blackouts": [blackout_record(blackout) for blackout in several_of(Blackout, blackouts, "blackouts")],
        "retention": retention_record(retention),
        "sync_interval": seconds_or_none(sync_interval, "sync_interval"),
        "preheat": whole_or_none(preheat, "preheat", 0),
        "audits": choice(Audits, audits, "audits").value,
        "default_python": text_or_none(default_python, "default_python"),
        "inherit_env": texts(inherit_env, "inherit_env"),
        "uv": installed_uv() if uv is None else given_uv(uv),
        "test_clock": None,
    }
    return Opening(options, seconds(timeout))


def _check_source(pipelines: PathLike | None, git: Git | None, data_dir: PathLike | None) -> None:
    if pipelines is None and git is None:
        raise InvalidError("a flow needs pipelines: give a folder, or git=fastflow.Git(…)")
    at_most_one("where pipelines come from", pipelines=pipelines, git=git)
    if pipelines is None and data_dir is None:
        raise InvalidError("with a repository there is no folder to keep things beside: give `data_dir`")


def _pools(pools: Mapping[str, int]) -> dict[str, int]:
    return {
        text(name, "a name in `pools`"): whole(slots, f"`{name}` in `pools`", INT64_MIN, INT64_MAX)
        for name, slots in mapping(pools, "pools").items()
    }


def _folder(folder: PathLike | None, name: str) -> Path | None:
    """With the home of this user for ``~``, and as it is found from where the process is now."""
    found = path(folder, name)
    return None if found is None else found.absolute()


class Opening:
    """A flow that is about to be opened: by ``with``, by ``async with``, or by :meth:`start` and ``await``."""

    __slots__ = ("_flow", "_options", "_services", "_timeout")

    def __init__(self, options: dict[str, Any], timeout: float) -> None:
        self._options = options
        self._timeout = timeout
        self._flow: Flow | AsyncFlow | None = None
        self._services: tuple[Service, ...] = ()

    def start(self, *, timeout: Duration | None = None) -> Flow:
        """Opens it without a ``with``, for a notebook for example; :meth:`Flow.close` closes it."""
        engine = self._engine()
        try:
            engine.open().block(self._timeout if timeout is None else seconds(timeout))
        except BaseException:
            _stop(engine)
            raise
        return Flow(engine, self._timeout)

    def __enter__(self) -> Flow:
        flow = self.start()
        self._flow = flow
        return flow

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(self._flow, Flow):
            self._flow.close()

    async def _start(self) -> AsyncFlow:
        engine = self._engine()
        try:
            await engine.open().within(self._timeout)
        except BaseException:
            await _stop_async(engine)
            raise
        return AsyncFlow(engine, self._timeout)

    def __await__(self) -> Generator[Any, Any, AsyncFlow]:
        return self._start().__await__()

    async def __aenter__(self) -> AsyncFlow:
        flow = await self._start()
        self._flow = flow
        return flow

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(self._flow, AsyncFlow):
            await self._flow.close()

    def _for_tests(self, clock: ManualClock, *services: Service) -> Opening:
        """The same with this clock, and with a store in memory."""
        self._options["test_clock"] = clock
        self._services = services
        return self

    def _engine(self) -> Engine:
        if _Ancestry.had_a_flow_open:
            raise ForkError(
                "this process was forked from one that had a flow open, and can open none: what the database knows of "
                "its locks was copied. Fork before a flow is opened, or start processes with `spawn` or `forkserver`"
            )
        from ._logging import LogService

        log = LogService()
        services: list[Service] = [log, *self._services]
        executors: list[tuple[str, object]] = []
        options: dict[str, Any] = {**self._options, "log": log.port, "executors": executors}
        for name, executor in self._options["executors"]:
            if isinstance(executor, dict):
                executors.append((name, cast("object", executor)))
                continue
            from ._executor import ExecutorService

            serving = ExecutorService(executor)
            services.append(serving)
            executors.append((name, serving.port))
        engine = Engine(options)
        _open_engines[engine] = services
        try:
            for service in services:
                service.start()
        except BaseException:
            _stop(engine)
            raise
        return engine


class Flow(RunsCode):
    """An orchestrator, hosted by this process or by another one.

    >>> flow.run("hello").wait().status
    <Status.SUCCESS: 'SUCCESS'>
    """

    __slots__ = ("__weakref__", "_engine", "_timeout")

    def __init__(self, engine: Engine, timeout: float) -> None:
        self._engine = engine
        self._timeout = timeout

    @property
    def runs(self) -> Runs:
        """The runs: read, wait for, cancel, repeat; their logs and usage."""
        from .runs import Runs

        return Runs(self, self._engine.runs)

    @property
    def pipelines(self) -> Pipelines:
        """The pipelines: read, statistics."""
        from .pipelines import Pipelines

        return Pipelines(self, self._engine.pipelines)

    @property
    def schedules(self) -> Schedules:
        """The schedules: read, make, change; their instants and their ledger."""
        from .schedules import Schedules

        return Schedules(self, self._engine.schedules)

    @property
    def packages(self) -> Packages:
        """The packages: what is installed where, who used it, bills of materials, audits."""
        from .packages import Packages

        return Packages(self, self._engine.packages)

    @property
    def secrets(self) -> Secrets:
        """The secrets: set, removed, listed, put under a new key."""
        from .secrets import Secrets

        return Secrets(self, self._engine.secrets)

    @property
    def source(self) -> Source:
        """Where pipelines come from: synced, looked at, watched."""
        from .source import Source

        return Source(self, self._engine.source)

    def _limit(self, timeout: Duration | None) -> float:
        return self._timeout if timeout is None else seconds(timeout)

    @property
    def data_dir(self) -> Path:
        """Where everything is kept."""
        return self._engine.data_dir

    def host(self, *, timeout: Duration | None = None) -> HostInfo | None:
        """Who hosts the data directory now: this flow, another one, or nobody. What is submitted waits for a host."""
        from .hosting import host_info

        return self._engine.host().then(host_info).block(self._limit(timeout))

    def run(
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
        """Submits a run of a pipeline. The same as :meth:`Runs.submit`."""
        return self.runs.submit(
            pipeline,
            parameters=parameters,
            priority=priority,
            config=config,
            key=key,
            delay=delay,
            executor=executor,
            timeout=timeout,
        )

    def events(self, *, after: Event | int | None = None, timeout: Duration | None = None) -> Iterator[Event]:
        """Each change of a run's state: those that are kept first, then new ones as they come.

        Only those after ``after``, an event or its id. A slow reader loses none, and who was interrupted goes on after
        the last event that it saw, with the same iterator or with a new one.

        Args:
            after: the event, or the id of one, that the first one follows; everything that is kept, when nothing is said.
            timeout: how long to wait for each event.

        Raises:
            TimedOutError: no event came within ``timeout``. Iterating can go on.
            ClosedError: the flow was closed. Another one goes on after the last event.

        >>> run = flow.run("hello")
        >>> for event in flow.events():
        ...     if event.status.is_final:
        ...         print(event.pipeline, event.status)
        ...         break
        hello SUCCESS
        """
        from .events import events_after

        return events_after(self._engine.events, after, timeout)

    def close(self, *, drain: Duration | None = None, grace: Duration = 10.0, timeout: Duration | None = None) -> None:
        """Ends the work of the host, and closes the data directory.

        Programs run on, and the next flow takes hold of them. With ``drain`` they are waited for so long, and those that
        are left are cancelled: asked to end, and killed after ``grace``.
        """
        if self._engine.is_alive():
            limit = self._limit(timeout) + (0.0 if drain is None else seconds(drain, "drain") + seconds(grace, "grace"))
            try:
                self._engine.close(seconds_or_none(drain, "drain"), seconds(grace, "grace")).block(limit)
            except ClosedError:
                pass  # Another thread has closed it meanwhile.
            finally:
                _stop(self._engine)

    def __enter__(self) -> Flow:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __deepcopy__(self, memo: dict[int, Any]) -> Flow:
        # There is one: what holds it, such as a run as a dictionary, holds the same.
        return self

    def __repr__(self) -> str:
        return f"<fastflow.Flow {str(self.data_dir)!r}>"


class AsyncFlow(AsyncRunsCode):
    """The same as :class:`Flow`, for ``await`` and ``async for``."""

    __slots__ = ("__weakref__", "_engine", "_timeout")

    def __init__(self, engine: Engine, timeout: float) -> None:
        self._engine = engine
        self._timeout = timeout

    @property
    def runs(self) -> AsyncRuns:
        """The runs: read, wait for, cancel, repeat; their logs and usage."""
        from .runs import AsyncRuns

        return AsyncRuns(self, self._engine.runs)

    @property
    def pipelines(self) -> AsyncPipelines:
        """The pipelines: read, statistics."""
        from .pipelines import AsyncPipelines

        return AsyncPipelines(self, self._engine.pipelines)

    @property
    def schedules(self) -> AsyncSchedules:
        """The schedules: read, make, change; their instants and their ledger."""
        from .schedules import AsyncSchedules

        return AsyncSchedules(self, self._engine.schedules)

    @property
    def packages(self) -> AsyncPackages:
        """The packages: what is installed where, who used it, bills of materials, audits."""
        from .packages import AsyncPackages

        return AsyncPackages(self, self._engine.packages)

    @property
    def secrets(self) -> AsyncSecrets:
        """The secrets: set, removed, listed, put under a new key."""
        from .secrets import AsyncSecrets

        return AsyncSecrets(self, self._engine.secrets)

    @property
    def source(self) -> AsyncSource:
        """Where pipelines come from: synced, looked at, watched."""
        from .source import AsyncSource

        return AsyncSource(self, self._engine.source)

    def _limit(self, timeout: Duration | None) -> float:
        return self._timeout if timeout is None else seconds(timeout)

    @property
    def data_dir(self) -> Path:
        """Where everything is kept."""
        return self._engine.data_dir

    async def host(self, *, timeout: Duration | None = None) -> HostInfo | None:
        """Who hosts the data directory now. See :meth:`Flow.host`."""
        from .hosting import host_info

        return await self._engine.host().then(host_info).within(self._limit(timeout))

    async def run(
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
        """Submits a run of a pipeline. The same as :meth:`AsyncRuns.submit`."""
        return await self.runs.submit(
            pipeline,
            parameters=parameters,
            priority=priority,
            config=config,
            key=key,
            delay=delay,
            executor=executor,
            timeout=timeout,
        )

    def events(self, *, after: Event | int | None = None, timeout: Duration | None = None) -> AsyncIterator[Event]:
        """Each change of a run's state, for ``async for``. See :meth:`Flow.events`."""
        from .events import events_after

        return events_after(self._engine.events, after, timeout)

    async def close(
        self, *, drain: Duration | None = None, grace: Duration = 10.0, timeout: Duration | None = None
    ) -> None:
        """Ends the work of the host, and closes the data directory. See :meth:`Flow.close`."""
        if self._engine.is_alive():
            limit = self._limit(timeout) + (0.0 if drain is None else seconds(drain, "drain") + seconds(grace, "grace"))
            try:
                await self._engine.close(seconds_or_none(drain, "drain"), seconds(grace, "grace")).within(limit)
            except ClosedError:
                pass  # Somebody else has closed it meanwhile.
            finally:
                await _stop_async(self._engine)

    async def __aenter__(self) -> AsyncFlow:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __deepcopy__(self, memo: dict[int, Any]) -> AsyncFlow:
        # There is one: what holds it, such as a run as a dictionary, holds the same.
        return self

    def __repr__(self) -> str:
        return f"<fastflow.AsyncFlow {str(self.data_dir)!r}>"
