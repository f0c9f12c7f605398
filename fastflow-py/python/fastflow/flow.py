"""Opening a flow: the one door of the package."""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from ._fastflow import Engine
from ._time import Duration, seconds, seconds_or_none
from .code import CodeOptions, Prepared, folder, script, snippet
from .runs import AsyncRun, AsyncRuns, Run, Runs, texts

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._crossing import Serializer
    from .tasks import AsyncTask, Task

P = ParamSpec("P")
R = TypeVar("R")

ANSWER_TIMEOUT_SECONDS = 60.0
"""How long a call waits for its answer when it does not say. Waiting for runs and for lines has no such limit."""

_EXIT_TIMEOUT_SECONDS = 2.0

_open_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Lets go of what is still open when the interpreter ends. Programs run on; nothing waits for them."""
    for engine in list(_open_engines):
        if engine.is_alive():
            try:
                engine.close().block(_EXIT_TIMEOUT_SECONDS)
            except Exception:  # It ends in any case, and the next flow takes over as after a crash.
                pass
            engine.stop()


def _uv() -> str | None:
    """The ``uv`` that was installed with the package; None lets it be looked for in ``PATH``."""
    try:
        from uv import find_uv_bin
    except ImportError:
        return None
    try:
        return os.fspath(find_uv_bin())
    except FileNotFoundError:
        return None


def open(
    pipelines: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    max_concurrent_runs: int | None = None,
    inherit_env: Iterable[str] = (),
    uv: str | os.PathLike[str] | None = None,
    timeout: Duration = ANSWER_TIMEOUT_SECONDS,
) -> Opening:
    """Opens a flow: ``with`` gives a :class:`Flow`, ``async with`` an :class:`AsyncFlow`.

    Leaving it stops no program: runs go on, and the next flow of the same data directory takes hold of them.

    Args:
        pipelines: the folder of pipelines.
        data_dir: where everything is kept; ``.fastflow`` beside the folder of pipelines when nothing is said.
        max_concurrent_runs: how many runs are in flight at one time; 16 when nothing is said.
        inherit_env: further variables of this process that programs get, by name.
        uv: the ``uv`` to make environments with; the one that was installed with the package when nothing is said.
        timeout: how long calls wait for their answers when they do not say.

    >>> with fastflow.open(pipelines, data_dir=data_dir) as flow:
    ...     flow.run("hello").wait().status
    <Status.SUCCESS: 'SUCCESS'>
    """
    folder = Path(pipelines)
    options: dict[str, Any] = {
        "pipelines": folder,
        "data_dir": Path(data_dir) if data_dir is not None else folder.parent / ".fastflow",
        "max_concurrent_runs": max_concurrent_runs,
        "inherit_env": list(inherit_env),
        "uv": uv if uv is not None else _uv(),
    }
    return Opening(options, seconds(timeout))


class Opening:
    """A flow that is about to be opened: by ``with``, by ``async with``, or by :meth:`start` and ``await``."""

    __slots__ = ("_flow", "_options", "_timeout")

    def __init__(self, options: dict[str, Any], timeout: float) -> None:
        self._options = options
        self._timeout = timeout
        self._flow: Flow | AsyncFlow | None = None

    def start(self, *, timeout: Duration | None = None) -> Flow:
        """Opens it without a ``with``, for a notebook for example; :meth:`Flow.close` closes it."""
        engine = self._engine()
        try:
            engine.open().block(self._timeout if timeout is None else seconds(timeout))
        except BaseException:
            engine.stop()
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
            engine.stop()
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

    def _engine(self) -> Engine:
        engine = Engine(self._options)
        _open_engines.add(engine)
        return engine


class Flow:
    """The orchestrator, hosted by this process.

    >>> flow.run("hello").wait().status
    <Status.SUCCESS: 'SUCCESS'>
    """

    __slots__ = ("__weakref__", "_engine", "_timeout", "runs")

    runs: Runs
    """The runs: read, wait for, cancel, repeat; their logs and usage."""

    def __init__(self, engine: Engine, timeout: float) -> None:
        self._engine = engine
        self._timeout = timeout
        self.runs = Runs(self, engine.runs)

    def _limit(self, timeout: Duration | None) -> float:
        return self._timeout if timeout is None else seconds(timeout)

    @property
    def data_dir(self) -> Path:
        """Where everything is kept."""
        return self._engine.data_dir

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

    def run_code(
        self,
        code: str,
        *,
        name: str = "snippet",
        parameters: Mapping[str, object] | None = None,
        key: str | None = None,
        delay: Duration | None = None,
        timeout: Duration | None = None,
        **options: Unpack[CodeOptions],
    ) -> Run:
        """Runs the text of a program isolated. Once this has returned, the run survives the death of the process.

        Args:
            code: the program.
            name: groups its runs, which are of the pipeline ``code.<name>``; it says what is run, and not which time.
            parameters: values that the program finds as environment variables.
            key: names the submission, so that repeating it returns the run of the first.
            delay: does not start it before so much time has passed.
            timeout: how long to wait for the answer.
            options: what it needs and may use: :class:`fastflow.CodeOptions`.

        Raises:
            InvalidError: an option, or a parameter, is wrong.

        >>> run = flow.run_code("print(6 * 7)", memory="256m", time_limit=60)
        >>> [line.text for line in run.logs() if line.stream == "stdout"]
        ['42']
        """
        return self._run_code(snippet(code, name, options), parameters, key, delay, timeout)

    def run_script(
        self,
        path: str | os.PathLike[str],
        *,
        parameters: Mapping[str, object] | None = None,
        key: str | None = None,
        delay: Duration | None = None,
        timeout: Duration | None = None,
        **options: Unpack[CodeOptions],
    ) -> Run:
        """Runs a script of one file isolated, wherever it lies; its first lines may say what it needs (PEP 723).

        >>> flow.run_script(pipelines / "hello" / "main.py", parameters={"who": "you"}).wait().status
        <Status.SUCCESS: 'SUCCESS'>
        """
        return self._run_code(script(path, options), parameters, key, delay, timeout)

    def run_folder(
        self,
        path: str | os.PathLike[str],
        *,
        parameters: Mapping[str, object] | None = None,
        key: str | None = None,
        delay: Duration | None = None,
        timeout: Duration | None = None,
        **options: Unpack[CodeOptions],
    ) -> Run:
        """Runs a folder with a ``main.py`` isolated, as it is now. Options win over its ``pipeline.json``.

        >>> flow.run_folder(pipelines / "hello").wait().pipeline
        'code.hello'
        """
        return self._run_code(folder(path, options), parameters, key, delay, timeout)

    def _run_code(
        self,
        code: Prepared,
        parameters: Mapping[str, object] | None,
        key: str | None,
        delay: Duration | None,
        timeout: Duration | None,
    ) -> Run:
        operation = code.submit(self._engine.code, texts(parameters), key=key, delay=delay)
        return self.runs._run(operation.block(self._limit(timeout)))

    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self,
        function: None = None,
        /,
        *,
        serializer: Serializer = "json",
        max_result_bytes: int | None = None,
        **options: Unpack[CodeOptions],
    ) -> Callable[[Callable[P, R]], Task[P, R]]: ...
    def task(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        serializer: Serializer = "json",
        max_result_bytes: int | None = None,
        **options: Unpack[CodeOptions],
    ) -> Any:
        """Makes a function one that runs isolated when it is called; a decorator, with options or without.

        Args:
            function: the function.
            serializer: how arguments and results cross: ``"json"``, or ``"cloudpickle"``, which takes nearly everything,
                and which asks for trust: what the program leaves is unpickled here.
            max_result_bytes: the largest result; 16 MiB, when nothing is said.
            options: what it needs and may use: :class:`fastflow.CodeOptions`.

        Raises:
            InvalidError: the function can never cross.

        >>> from math import hypot
        >>> flow.task(hypot)(3, 4)
        5.0
        """
        from .tasks import Task, crossing

        def decorate(function: Callable[..., Any]) -> Task[..., Any]:
            return Task(self, crossing(function, serializer, max_result_bytes, options))

        return decorate if function is None else decorate(function)

    def close(
        self, *, drain: Duration | None = None, grace: Duration = 10.0, timeout: Duration | None = None
    ) -> None:
        """Ends the work of the host, and closes the data directory.

        Programs run on, and the next flow takes hold of them. With ``drain`` they are waited for so long, and those that
        are left are cancelled: asked to end, and killed after ``grace``.
        """
        if self._engine.is_alive():
            limit = self._limit(timeout) + (0.0 if drain is None else seconds(drain) + seconds(grace))
            try:
                self._engine.close(seconds_or_none(drain), seconds(grace)).block(limit)
            finally:
                self._engine.stop()

    def __enter__(self) -> Flow:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<fastflow.Flow {str(self.data_dir)!r}>"


class AsyncFlow:
    """The same as :class:`Flow`, for ``await`` and ``async for``."""

    __slots__ = ("__weakref__", "_engine", "_timeout", "runs")

    runs: AsyncRuns
    """The runs: read, wait for, cancel, repeat; their logs and usage."""

    def __init__(self, engine: Engine, timeout: float) -> None:
        self._engine = engine
        self._timeout = timeout
        self.runs = AsyncRuns(self, engine.runs)

    def _limit(self, timeout: Duration | None) -> float:
        return self._timeout if timeout is None else seconds(timeout)

    @property
    def data_dir(self) -> Path:
        """Where everything is kept."""
        return self._engine.data_dir

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

    async def run_code(
        self,
        code: str,
        *,
        name: str = "snippet",
        parameters: Mapping[str, object] | None = None,
        key: str | None = None,
        delay: Duration | None = None,
        timeout: Duration | None = None,
        **options: Unpack[CodeOptions],
    ) -> AsyncRun:
        """Runs the text of a program isolated. See :meth:`Flow.run_code`."""
        return await self._run_code(snippet(code, name, options), parameters, key, delay, timeout)

    async def run_script(
        self,
        path: str | os.PathLike[str],
        *,
        parameters: Mapping[str, object] | None = None,
        key: str | None = None,
        delay: Duration | None = None,
        timeout: Duration | None = None,
        **options: Unpack[CodeOptions],
    ) -> AsyncRun:
        """Runs a script of one file isolated. See :meth:`Flow.run_script`."""
        return await self._run_code(script(path, options), parameters, key, delay, timeout)

    async def run_folder(
        self,
        path: str | os.PathLike[str],
        *,
        parameters: Mapping[str, object] | None = None,
        key: str | None = None,
        delay: Duration | None = None,
        timeout: Duration | None = None,
        **options: Unpack[CodeOptions],
    ) -> AsyncRun:
        """Runs a folder with a ``main.py`` isolated. See :meth:`Flow.run_folder`."""
        return await self._run_code(folder(path, options), parameters, key, delay, timeout)

    async def _run_code(
        self,
        code: Prepared,
        parameters: Mapping[str, object] | None,
        key: str | None,
        delay: Duration | None,
        timeout: Duration | None,
    ) -> AsyncRun:
        operation = code.submit(self._engine.code, texts(parameters), key=key, delay=delay)
        return self.runs._run(await operation.within(self._limit(timeout)))

    @overload
    def task(self, function: Callable[P, R], /) -> AsyncTask[P, R]: ...
    @overload
    def task(
        self,
        function: None = None,
        /,
        *,
        serializer: Serializer = "json",
        max_result_bytes: int | None = None,
        **options: Unpack[CodeOptions],
    ) -> Callable[[Callable[P, R]], AsyncTask[P, R]]: ...
    def task(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        serializer: Serializer = "json",
        max_result_bytes: int | None = None,
        **options: Unpack[CodeOptions],
    ) -> Any:
        """Makes a function one that runs isolated when it is called. See :meth:`Flow.task`."""
        from .tasks import AsyncTask, crossing

        def decorate(function: Callable[..., Any]) -> AsyncTask[..., Any]:
            return AsyncTask(self, crossing(function, serializer, max_result_bytes, options))

        return decorate if function is None else decorate(function)

    async def close(
        self, *, drain: Duration | None = None, grace: Duration = 10.0, timeout: Duration | None = None
    ) -> None:
        """Ends the work of the host, and closes the data directory. See :meth:`Flow.close`."""
        if self._engine.is_alive():
            limit = self._limit(timeout) + (0.0 if drain is None else seconds(drain) + seconds(grace))
            try:
                await self._engine.close(seconds_or_none(drain), seconds(grace)).within(limit)
            finally:
                self._engine.stop()

    async def __aenter__(self) -> AsyncFlow:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<fastflow.AsyncFlow {str(self.data_dir)!r}>"
