from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, final

_T = TypeVar("_T")
_U = TypeVar("_U")

__version__: str

def cli(argv: list[str], *, uv: str | None, python: str, interrupts: int) -> int: ...

@final
class Operation(Generic[_T]):
    def then(self, function: Callable[[_T], _U]) -> Operation[_U]: ...
    def within(self, seconds: float | None) -> Operation[_T]: ...
    def block(self, timeout: float | None = None) -> _T: ...
    def __await__(self) -> Generator[Any, Any, _T]: ...

@final
class Stream(Generic[_T]):
    def __iter__(self) -> Iterator[_T]: ...
    def __next__(self) -> _T: ...
    def __aiter__(self) -> AsyncIterator[_T]: ...
    def __anext__(self) -> Awaitable[_T]: ...

@final
class Engine:
    def __new__(cls, options: dict[str, Any]) -> Engine: ...
    def open(self) -> Operation[None]: ...
    def close(self, drain: float | None = None, grace: float = 10.0) -> Operation[None]: ...
    def stop(self) -> None: ...
    def is_alive(self) -> bool: ...
    @property
    def data_dir(self) -> Path: ...
    @property
    def runs(self) -> Runs: ...

@final
class Runs:
    def submit(
        self,
        pipeline: str,
        parameters: list[tuple[str, str]],
        *,
        priority: int | None = None,
        config: str | None = None,
        key: str | None = None,
        delay: float | None = None,
        executor: str | None = None,
    ) -> Operation[dict[str, Any]]: ...
    def get(self, id: str) -> Operation[dict[str, Any]]: ...
    def wait(self, id: str) -> Operation[dict[str, Any]]: ...
    def page(
        self,
        *,
        pipeline: str | None = None,
        statuses: list[str] = [],
        before: str | None = None,
        limit: int | None = None,
    ) -> Operation[tuple[list[dict[str, Any]], str | None]]: ...
    def attempts(self, id: str) -> Operation[list[dict[str, Any]]]: ...
    def cancel(self, id: str) -> Operation[dict[str, Any]]: ...
    def rerun(self, id: str, newest_revision: bool) -> Operation[dict[str, Any]]: ...
    def directory(self, id: str, attempt: int) -> Operation[Path]: ...
    def logs(
        self, id: str, *, attempt: int = 1, offset: int = 0, timeout: float | None = None
    ) -> Stream[LogLine]: ...
    def usage(
        self,
        id: str,
        attempt: int,
        *,
        then: Callable[[dict[str, Any]], _T],
        timeout: float | None = None,
    ) -> Stream[_T]: ...
    def explain(self, id: str) -> Operation[str]: ...

@final
class LogLine:
    """One line of a run's log."""

    @property
    def text(self) -> str:
        """The text without its newline; what is not UTF-8 in it is U+FFFD."""
    @property
    def raw(self) -> bytes:
        """Exactly the bytes that were written, without the newline."""
    @property
    def time(self) -> datetime:
        """When the sandbox read it."""
    @property
    def stream(self) -> Literal["stdout", "stderr", "setup", "sandbox", "truncated"]:
        """Where it comes from; ``truncated`` is a place where lines are missing."""
    @property
    def attempt(self) -> int:
        """The number of the attempt that wrote it."""
    @property
    def continues(self) -> bool:
        """Whether the line goes on in the next of its stream: there was no newline here."""
    @property
    def dropped_lines(self) -> int:
        """How many lines are missing so far, where the stream is ``truncated``."""
    @property
    def position(self) -> str:
        """The place after it, from which the log can be read on."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
