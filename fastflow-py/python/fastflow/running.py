"""Running what is in no source: scripts, snippets, folders and functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._crossing import Serializer
    from ._fastflow import Engine
    from ._given import PathLike
    from ._time import Duration
    from .code import CodeOptions, Prepared
    from .flow import AsyncFlow, Flow
    from .runs import AsyncRun, AsyncRuns, Run, Runs
    from .tasks import AsyncTask, Task

P = ParamSpec("P")
R = TypeVar("R")


class RunsCode:
    """A flow, as far as it runs what is in no source."""

    __slots__ = ()

    if TYPE_CHECKING:
        _engine: Engine

        @property
        def runs(self) -> Runs: ...

        def _limit(self, timeout: Duration | None) -> float: ...

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
        from .code import snippet

        return self._run_code(snippet(code, name, options), parameters, key, delay, timeout)

    def run_script(
        self,
        path: PathLike,
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
        from .code import script

        return self._run_code(script(path, options), parameters, key, delay, timeout)

    def run_folder(
        self,
        path: PathLike,
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
        from .code import folder

        return self._run_code(folder(path, options), parameters, key, delay, timeout)

    def _run_code(
        self,
        code: Prepared,
        parameters: Mapping[str, object] | None,
        key: str | None,
        delay: Duration | None,
        timeout: Duration | None,
    ) -> Run:
        from .runs import _texts

        operation = code.submit(self._engine.code, _texts(parameters), key=key, delay=delay)
        return self.runs._run(operation.block(self._limit(timeout)))

    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self,
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
            serializer: how arguments and results cross: ``"json"``, or ``"cloudpickle"``, which takes nearly
                everything, and which asks for trust: what the program leaves is unpickled here.
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
            return Task(cast("Flow", self), crossing(function, serializer, max_result_bytes, options))

        return decorate if function is None else decorate(function)


class AsyncRunsCode:
    """The same as :class:`RunsCode`, for ``await``."""

    __slots__ = ()

    if TYPE_CHECKING:
        _engine: Engine

        @property
        def runs(self) -> AsyncRuns: ...

        def _limit(self, timeout: Duration | None) -> float: ...

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
        from .code import snippet

        return await self._run_code(snippet(code, name, options), parameters, key, delay, timeout)

    async def run_script(
        self,
        path: PathLike,
        *,
        parameters: Mapping[str, object] | None = None,
        key: str | None = None,
        delay: Duration | None = None,
        timeout: Duration | None = None,
        **options: Unpack[CodeOptions],
    ) -> AsyncRun:
        """Runs a script of one file isolated. See :meth:`Flow.run_script`."""
        from .code import script

        return await self._run_code(script(path, options), parameters, key, delay, timeout)

    async def run_folder(
        self,
        path: PathLike,
        *,
        parameters: Mapping[str, object] | None = None,
        key: str | None = None,
        delay: Duration | None = None,
        timeout: Duration | None = None,
        **options: Unpack[CodeOptions],
    ) -> AsyncRun:
        """Runs a folder with a ``main.py`` isolated. See :meth:`Flow.run_folder`."""
        from .code import folder

        return await self._run_code(folder(path, options), parameters, key, delay, timeout)

    async def _run_code(
        self,
        code: Prepared,
        parameters: Mapping[str, object] | None,
        key: str | None,
        delay: Duration | None,
        timeout: Duration | None,
    ) -> AsyncRun:
        from .runs import _texts

        operation = code.submit(self._engine.code, _texts(parameters), key=key, delay=delay)
        return self.runs._run(await operation.within(self._limit(timeout)))

    @overload
    def task(self, function: Callable[P, R], /) -> AsyncTask[P, R]: ...
    @overload
    def task(
        self,
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
            return AsyncTask(cast("AsyncFlow", self), crossing(function, serializer, max_result_bytes, options))

        return decorate if function is None else decorate(function)
