"""Code that is in no source: what a script, a snippet, a folder or a function needs to be run isolated."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from ._given import (
    PathLike,
    Size,
    mapping,
    number_or_none,
    possible_path,
    priority_or_none,
    size_or_none,
    text,
    text_or_none,
    texts,
    variable,
    whole_or_none,
)
from ._time import Duration, delay_or_none, seconds
from .errors import InvalidError, NotFoundError

if TYPE_CHECKING:
    from ._fastflow import Code as NativeCode
    from ._fastflow import Operation

FOLDER_FILES_MAX = 1_000
"""The most files of a folder that is run."""
FOLDER_BYTES_MAX = 64 << 20
"""The most that they hold together."""

RETRIES_MAX = 1_000
"""The most further attempts."""
CPU_MIN, CPU_MAX = 0.01, 10_000
"""The least and the most cores that code may ask for."""

_NAME_CHARS_MAX = 58
_MAIN = "main.py"
_SETTINGS = "pipeline.json"
_REQUIREMENTS = "requirements.txt"
# What tools make, and what is no part of what is run.
_LEFT_OUT = frozenset({".git", ".venv", "__pycache__", "node_modules", "venv"})
# Any of these says which packages are needed, and wins over a `requirements.txt` that is made of an option.
_PACKAGES = ("uv.lock", "pylock.toml", "requirements.txt.lock", _REQUIREMENTS, "pyproject.toml")
_INLINE_METADATA = rb"(?m)^# /// script[ \t]*\r?$"


class CodeOptions(TypedDict, total=False):
    """What code needs and may use, and how its run is queued. What is left out is as it is for a pipeline.

    >>> options = CodeOptions(memory="256m", time_limit=30)
    >>> flow.run_code("print('within limits')", **options).wait().status
    <Status.SUCCESS: 'SUCCESS'>
    """

    requirements: Iterable[str]
    """The packages it needs, as ``pip`` takes them: ``["polars==1.*"]``."""
    python: str
    """The Python it wants, as ``uv`` takes it: ``"3.12"``, or a range such as ``">=3.11,<3.14"``."""
    memory: Size
    """The most memory, in bytes or as ``"2g"``."""
    cpu: float
    """The most processor time, in cores."""
    time_limit: Duration
    """The longest run time of one attempt; a part of a second counts as a whole one."""
    max_processes: int
    """The most processes and threads at one time."""
    retries: int
    """Further attempts after a failed one."""
    retry_delay: Duration
    """The wait before each further attempt; 60 seconds, when nothing is said."""
    network: Literal["bridge", "none"]
    """What it reaches: what the machine reaches, or nothing. Only executors that isolate can take the network away."""
    secrets: Iterable[str]
    """The stored secrets that it may see, by their names."""
    secrets_as: Literal["env", "files"]
    """Whether it finds them as environment variables, or as files in ``FASTFLOW_SECRETS_DIR``."""
    env: Mapping[str, str | int | float]
    """Environment variables."""
    image: str
    """The container image it runs in, for executors that have images."""
    tags: Iterable[str]
    """Words to find it by."""
    settings: Mapping[str, object]
    """Anything else that a ``pipeline.json`` can say, by its name there."""
    executor: str
    """The executor that runs it; the host's default, when nothing is said."""
    priority: int
    """Higher runs first."""


_OPTIONS = frozenset(CodeOptions.__annotations__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Code that is ready to be submitted."""

    name: str
    files: tuple[tuple[str, bytes], ...]
    executor: str | None
    priority: int | None

    def submit(
        self, native: NativeCode, parameters: list[tuple[str, str]], *, key: str | None, delay: Duration | None
    ) -> Operation[dict[str, Any]]:
        """Accepts a run of it."""
        return native.submit(
            self.name,
            list(self.files),
            parameters,
            priority=self.priority,
            key=text_or_none(key, "key"),
            delay=delay_or_none(delay),
            executor=self.executor,
        )


def snippet(code: str, name: str, options: CodeOptions) -> Prepared:
    """The text of a program."""
    return prepared(text(name, "name"), [(_MAIN, text(code, "code").encode())], options)


def script(path: PathLike, options: CodeOptions) -> Prepared:
    """A script of one file."""
    path = possible_path(path, "path")
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFoundError(f"there is no such script: {path}", path=str(path)) from error
    return prepared(path.stem, [(_MAIN, content)], options)


def folder(path: PathLike, options: CodeOptions) -> Prepared:
    """A folder with a ``main.py``, as it is now."""
    path = possible_path(path, "path")
    if not path.is_dir():
        raise NotFoundError(f"there is no such folder: {path}", path=str(path))
    files: list[tuple[str, bytes]] = []
    left = FOLDER_BYTES_MAX
    for at, folders, names in os.walk(path):
        folders[:] = sorted(each for each in folders if each not in _LEFT_OUT)
        for link in (Path(at, name) for name in folders):
            if link.is_symlink():
                raise InvalidError(
                    f"{link} is a link to a folder, which would be left out: put there what it leads to", path=str(link)
                )
        for name in sorted(each for each in names if not each.endswith(".pyc")):
            file = Path(at, name)
            if not file.is_file():
                raise InvalidError(f"a folder that is run holds files only, and {file} is none", path=str(file))
            text(file.name, "path")
            # One byte more than there is room for tells that it does not fit, however large the file is.
            with file.open("rb") as opened:
                content = opened.read(left + 1)
            left -= len(content)
            files.append((file.relative_to(path).as_posix(), content))
            if left < 0 or len(files) > FOLDER_FILES_MAX:
                raise InvalidError(
                    f"the folder holds more than {FOLDER_FILES_MAX} files or {FOLDER_BYTES_MAX} bytes; keep data and "
                    "environments outside of it",
                    path=str(path),
                )
    return prepared(path.resolve().name, files, options)


def prepared(name: str, files: list[tuple[str, bytes]], options: CodeOptions) -> Prepared:
    """These files, with what the options say written down beside them."""
    check(options)
    files = _with_requirements(files, options)
    files = _with_settings(files, _settings(options))
    return Prepared(
        name=_valid_name(name),
        files=tuple(files),
        executor=text_or_none(options.get("executor"), "executor"),
        priority=priority_or_none(options.get("priority")),
    )


def check(options: CodeOptions) -> None:
    """Refuses what can be known to be wrong before there is any code.

    Raises:
        TypeError: there is no such option.
        InvalidError: an option is wrong.
    """
    unknown = sorted(set(options) - _OPTIONS)
    if unknown:
        raise TypeError(f"unknown option {unknown[0]!r}; expected one of {', '.join(sorted(_OPTIONS))}")
    _with_requirements([], options)
    _with_settings([], _settings(options))
    text_or_none(options.get("executor"), "executor")
    priority_or_none(options.get("priority"))


def _valid_name(name: str) -> str:
    """The name of a file or a function as names of code are written."""
    allowed = "".join(each if each.isascii() and (each.isalnum() or each in "_-.") else "_" for each in name)
    return allowed.lstrip("-.")[:_NAME_CHARS_MAX] or "_"


def _with_requirements(files: list[tuple[str, bytes]], options: CodeOptions) -> list[tuple[str, bytes]]:
    requirements = texts(options.get("requirements", ()), "requirements")
    if not requirements:
        return files
    import re

    for path, content in files:
        if path in _PACKAGES or (path == _MAIN and re.search(_INLINE_METADATA, content)):
            raise InvalidError(
                f"{path} says already which packages are needed; take `requirements` out, or add them there",
                requirements=", ".join(requirements),
            )
    lines = [line for each in requirements for line in each.splitlines()]
    return [*files, (_REQUIREMENTS, "".join(f"{line}\n" for line in lines).encode())]


def _with_settings(files: list[tuple[str, bytes]], settings: dict[str, object]) -> list[tuple[str, bytes]]:
    if not settings:
        return files
    import json

    own = dict(files).get(_SETTINGS)
    if own is not None:
        try:
            found = json.loads(own)
        except ValueError as error:
            raise InvalidError(f"{_SETTINGS} is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise InvalidError(f"{_SETTINGS} holds no object")
        settings = {**found, **settings}
    try:
        written = json.dumps(settings, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidError(f"the settings cannot be written as JSON: {error}") from error
    return [*(file for file in files if file[0] != _SETTINGS), (_SETTINGS, written.encode())]


def _settings(options: CodeOptions) -> dict[str, object]:
    """What the options say, in the words of a ``pipeline.json``."""
    found: dict[str, object] = {
        "python_version": text_or_none(options.get("python"), "python"),
        "mem_hard_limit": size_or_none(options.get("memory"), "memory"),
        "cpu_hard_limit": _cores(options.get("cpu")),
        "timeout": _whole_seconds(options.get("time_limit"), "time_limit"),
        "max_processes": whole_or_none(options.get("max_processes"), "max_processes", 1),
        "retry_attempts": whole_or_none(options.get("retries"), "retries", 0, RETRIES_MAX),
        "network": _word(options.get("network"), "network", ("bridge", "none")),
        "secrets": texts(options.get("secrets", ()), "secrets") or None,
        "secrets_as": _word(options.get("secrets_as"), "secrets_as", ("env", "files")),
        "default_env": _variables(options["env"]) if "env" in options else None,
        "image": text_or_none(options.get("image"), "image"),
        "tags": texts(options.get("tags", ()), "tags") or None,
    }
    if "time_limit" in options and seconds(options["time_limit"], "time_limit") <= 0:
        raise InvalidError("`time_limit` is more than 0; leave it out where there is no limit")
    if "retry_delay" in options:
        found["retry_strategy"] = {"type": "fixed_delay", "delay": _whole_seconds(options["retry_delay"], "retry_delay")}
    found = {name: value for name, value in found.items() if value is not None}
    more = dict(mapping(options.get("settings", {}), "settings"))
    twice = sorted(set(found) & set(more))
    if twice:
        raise InvalidError(f"the setting {twice[0]!r} is given twice: by an option, and in `settings`")
    return {**found, **more}


def _word(word: str | None, name: str, known: tuple[str, str]) -> str | None:
    if word is not None and text(word, name) not in known:
        raise InvalidError(f"`{name}` is {known[0]!r} or {known[1]!r}, and not {word!r}")
    return word


def _cores(cpu: float | None) -> float | None:
    cores = number_or_none(cpu, "cpu")
    if cores is not None and not CPU_MIN <= cores <= CPU_MAX:
        raise InvalidError(f"`cpu` is a number of cores from {CPU_MIN} to {CPU_MAX}, and not {cores}")
    return cores


def _variables(env: Mapping[str, object]) -> dict[str, str]:
    return {
        text(name, "a name in `env`"): variable(value, f"`{name}` in `env`")
        for name, value in mapping(env, "env").items()
    }


def _whole_seconds(duration: Duration | None, name: str) -> int | None:
    """Rounded up: a limit that became none, because 0 says that there is none, would be no limit."""
    if duration is None:
        return None
    given = seconds(duration, name)
    if given == float("inf"):
        raise InvalidError(f"`{name}` has an end; leave it out where there is none")
    whole = int(given)
    return whole if whole == given else whole + 1
