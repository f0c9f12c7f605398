"""How calls of functions go to a sandbox, and what became of them comes back."""

from __future__ import annotations

import base64
import builtins
import importlib
import inspect
import json
import math
import os
import stat
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from . import _source
from ._remote import runner
from .code import CodeOptions, Prepared, check, prepared
from .errors import InvalidError, RemoteTraceback, RunFailedError, TaskError, UnsupportedError
from .runs import FailureKind, Status

if TYPE_CHECKING:
    from types import ModuleType

    from .runs import RunData

Serializer = Literal["json", "cloudpickle"]
"""How arguments and results cross."""

ARGUMENTS_BYTES_MAX = 16 << 20
"""The most that the arguments of one call may have, as they are sent."""
RESULT_BYTES_MAX = 16 << 20
"""The most that a result may have, as it is sent, when nothing is said."""

# Arguments that fit go as a parameter of the run: then all calls of a function run the same code, which is kept once.
_PARAMETER_CHARS_MAX = 16_000
_DESCRIPTION_BYTES_MAX = 4 << 20
_RUNNER = Path(runner.__file__)

# Neither iterators, coroutines nor futures let these through: they mean something else to them.
_NEVER_RAISED = (StopIteration, StopAsyncIteration)

_by_value = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a function, ready to be submitted."""

    code: Prepared
    parameters: list[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """How one function crosses."""

    function: Callable[..., Any]
    serializer: Serializer
    max_result_bytes: int
    options: CodeOptions

    def __post_init__(self) -> None:
        """Refuses at once what can never cross."""
        if self.serializer not in ("json", "cloudpickle"):
            raise InvalidError(f'{self.serializer!r} is no serializer: "json" and "cloudpickle" are')
        check(self.options)
        if self.serializer == "cloudpickle":
            _source.check_kind(self.function)
            _cloudpickle()
            _this_python(self.options)
        elif _source.reference(self.function) is None:
            _source.check(self.function)

    def files(self) -> list[tuple[str, bytes]]:
        """The function, and what calls it there."""
        description: dict[str, object] = {
            "serializer": self.serializer,
            "max_result_bytes": self.max_result_bytes,
            "python": _minor_version(),
        }
        if self.serializer == "json":
            text, description["function"] = _source.module_of(self.function)
            function = (f"{runner.MODULE}.py", text.encode())
        else:
            function = (runner.FUNCTION_FILE, _pickled(self.function, self.function))
        return [
            ("main.py", _RUNNER.read_bytes()),
            (runner.DESCRIPTION_FILE, json.dumps(description).encode()),
            function,
        ]

    def call(self, files: list[tuple[str, bytes]], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """A call with these arguments."""
        _check_signature(self.function, args, kwargs)
        content, text = self._arguments(args, kwargs)
        if len(content) > ARGUMENTS_BYTES_MAX:
            raise InvalidError(
                f"the arguments have {len(content)} bytes, and at most {ARGUMENTS_BYTES_MAX} are sent: write them to a "
                "file that the program can read, and pass its path"
            )
        parameters: list[tuple[str, str]] = []
        if len(text) <= _PARAMETER_CHARS_MAX:
            parameters.append((runner.ARGUMENTS_NAME, text))
        else:
            files = [*files, (runner.ARGUMENTS_FILE, content)]
        name = getattr(self.function, "__name__", type(self.function).__name__)
        return Call(code=prepared(name, files, self._options()), parameters=parameters)

    def _arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bytes, str]:
        """The arguments for a file, and for a parameter."""
        if self.serializer == "cloudpickle":
            content = _pickled(self.function, (args, kwargs))
            return content, base64.b64encode(content).decode()
        try:
            for index, value in enumerate(args):
                runner.check_json(value, f"the argument {_argument_name(self.function, index)}")
            for name, value in kwargs.items():
                runner.check_json(value, f"the argument `{name}`")
        except runner.NotSendableError as error:
            raise InvalidError(f'{error}; or use serializer="cloudpickle"') from None
        call = {"args": list(args), "kwargs": kwargs}
        return runner.to_json(call), json.dumps(call)

    def _options(self) -> CodeOptions:
        if self.serializer == "json":
            return self.options
        options = self.options.copy()
        version = _cloudpickle().__version__
        options["requirements"] = [*self.options.get("requirements", ()), f"cloudpickle=={version}"]
        options["python"] = _this_python(self.options)
        return options

    def outcome(self, run: RunData, work: Path | None) -> Any:
        """The value that a run has brought. ``work`` is the working directory of its newest attempt.

        Raises:
            RunFailedError: it was ended by something else than its function.
            TaskError: it has brought neither a value nor an exception that can be raised here.
            BaseException: what the function has raised.
        """
        found = None if work is None else self._description(run, work)
        if run.status is Status.SUCCESS:
            if found is None:
                raise TaskError("the program has ended without a result: it may have called `sys.exit`", run)
            return self._value(run, work, found)
        failure = run.failure
        by_itself = failure is not None and failure.kind is FailureKind.EXIT_CODE
        if found is not None and by_itself and failure is not None and failure.exit_code == runner.FAILED_EXIT_CODE:
            raise self._exception(run, work, found)
        raise RunFailedError(run)

    def _description(self, run: RunData, work: Path) -> dict[str, Any] | None:
        limit = max(self.max_result_bytes + 1024, _DESCRIPTION_BYTES_MAX)
        content = _read(work, runner.RESULT_FILE, limit, run)
        if content is None:
            return None
        try:
            found = json.loads(content, parse_constant=_refuse_constant, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            raise TaskError(f"the program has left a result that cannot be read: {error}", run) from None
        if not isinstance(found, dict):
            raise TaskError("the program has left a result that is none", run)
        return cast("dict[str, Any]", found)

    def _value(self, run: RunData, work: Path | None, found: dict[str, Any]) -> Any:
        if found.get("kind") == "value" and self.serializer == "json":
            return found.get("value")
        if found.get("kind") == "pickled" and self.serializer == "cloudpickle" and work is not None:
            return self._unpickled(run, work)
        raise TaskError("the program has left a result that is none", run)

    def _unpickled(self, run: RunData, work: Path) -> Any:
        content = _read(work, runner.PICKLED_FILE, self.max_result_bytes, run)
        if content is None:
            raise TaskError("the program has left no result", run)
        import pickle

        try:
            return pickle.loads(content)
        except Exception as error:
            raise TaskError(f"the result cannot be unpickled here: {type(error).__name__}: {error}", run) from error

    def _exception(self, run: RunData, work: Path | None, found: dict[str, Any]) -> BaseException:
        """What the function has raised, or what takes its place."""
        if found.get("kind") != "exception":
            return TaskError(str(found.get("message", "the program has left a result that is none")), run)
        trace = str(found.get("traceback", ""))
        error: BaseException | None = None
        if found.get("pickled") is True and self.serializer == "cloudpickle" and work is not None:
            try:
                loaded = self._unpickled(run, work)
            except TaskError:
                loaded = None
            error = loaded if isinstance(loaded, Exception) and not isinstance(loaded, _NEVER_RAISED) else None
        if error is None:
            error = _builtin(found)
        if error is None:
            module, kind = str(found.get("module")), str(found.get("type"))
            name = kind if module == "builtins" else f"{module}.{kind}"
            error = TaskError(f"{name}: {found.get('message')}", run, type_name=name, remote_traceback=trace)
        error.__cause__ = RemoteTraceback(trace)
        return error


def _builtin(found: dict[str, Any]) -> Exception | None:
    """An exception of a built-in type, as it was."""
    kind = getattr(builtins, str(found.get("type")), None) if found.get("module") == "builtins" else None
    args: Any = found.get("args")
    if not isinstance(kind, type) or not issubclass(kind, Exception) or issubclass(kind, _NEVER_RAISED):
        return None
    if runner.kind_of(args) is not list:
        return None
    try:
        return kind(*[runner.decode_argument(each) for each in args])
    except Exception:  # What a program has left can be anything; in words it crosses in any case.
        return None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is out of range")
    return number


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _read(work: Path, name: str, limit_bytes: int, run: RunData) -> bytes | None:
    """A file that a program has left, which can be anything: a link to a file of ours, a pipe, or endless."""
    try:
        folder = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.open(name, flags, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TaskError(f"the result cannot be read: {error.strerror}", run) from error
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise TaskError("the program has left a result that is no file", run)
    with open(file, "rb") as opened:
        content = opened.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise TaskError(f"the program has left a result of more than {limit_bytes} bytes", run)
    return content


def _argument_name(function: Callable[..., Any], index: int) -> str:
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        names = []
    return f"`{names[index]}`" if index < len(names) else str(index + 1)


def _check_signature(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        # Some of those that are written in C do not tell.
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{getattr(function, '__name__', 'the function')}(): {error}") from None


def _minor_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _this_python(options: CodeOptions) -> str:
    here = _minor_version()
    wanted = options.get("python", here)
    if wanted != here and not wanted.startswith(f"{here}."):
        raise UnsupportedError(
            f"pickles of functions are for one version of Python, and this is {here}: leave `python` out, or use "
            'serializer="json"',
            python=wanted,
        )
    return wanted


def _cloudpickle() -> Any:
    try:
        return importlib.import_module("cloudpickle")
    except ImportError:
        raise UnsupportedError(
            'serializer="cloudpickle" needs the package `cloudpickle` here, too: install it, or use serializer="json"'
        ) from None


def _pickled(function: Callable[..., Any], value: object) -> bytes:
    """A function, or arguments for it, with everything of the function's module, which would not be there."""
    pickler = _cloudpickle()
    module: ModuleType | None = sys.modules.get(getattr(function, "__module__", None) or "")
    if module is None or module.__name__ == "__main__" or _source.is_there(module.__name__):
        return _dumped(pickler, function, value)
    with _by_value:
        known = module.__name__ in pickler.list_registry_pickle_by_value()
        if not known:
            pickler.register_pickle_by_value(module)
        try:
            return _dumped(pickler, function, value)
        finally:
            if not known:
                pickler.unregister_pickle_by_value(module)


def _dumped(pickler: Any, function: Callable[..., Any], value: object) -> bytes:
    try:
        content: bytes = pickler.dumps(value)
    except Exception as error:
        name = getattr(function, "__name__", repr(function))
        what = f"`{name}`" if value is function else f"the arguments of `{name}`"
        raise InvalidError(f"{what} cannot be pickled: {type(error).__name__}: {error}") from error
    return content
