"""Executors: what starts the programs of runs, and in which kind of sandbox."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

from ._given import (
    UINT64_MAX,
    PathLike,
    Size,
    choice,
    flag,
    mapping,
    path,
    several,
    size_or_none,
    text,
    text_or_none,
    texts,
    whole,
    whole_or_none,
)
from ._time import Duration, seconds_or_none
from .errors import InvalidError

if TYPE_CHECKING:
    from .executor import Executor


class PullPolicy(str, Enum):
    """When images are fetched.

    >>> PullPolicy("never") is PullPolicy.NEVER
    True
    """

    MISSING = "missing"
    """Where they are not there."""
    ALWAYS = "always"
    """Before each run. One that is there serves when its registry cannot be reached."""
    NEVER = "never"
    """Never: they are brought there by other means."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """Runs programs as processes of this machine, in environments of their own. It is there when nothing is said.

    >>> with fastflow.open(pipelines, data_dir=data_dir, executors={"local": fastflow.Process(cgroups=False)}) as flow:
    ...     flow.run("hello").wait().executor
    'local'
    """

    cgroups: bool = True
    """Whether the kernel's control groups keep limits, as far as they can be had."""
    secrets_folder: PathLike | None = None
    """A folder in memory (tmpfs) for secrets that are files; ``/dev/shm`` or the like when nothing is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Containers:
    image: str | None = None
    """The image of pipelines that choose none; Debian with Python and ``uv`` when nothing is said."""
    images: Iterable[str] | None = None
    """The images that pipelines may choose besides that one: any, when nothing is said; none, when it is empty."""
    pull: PullPolicy | str = PullPolicy.MISSING
    """When images are fetched."""
    host: str | None = None
    """Where the engine listens, such as ``unix:///run/docker.sock``; as the variables of its own programs say when nothing
    is said. It is asked when it is needed: one that is down now may be up then."""
    allow_plain_tcp: bool = False
    """Allows an address of another machine without TLS. Whoever can reach such an engine is its user there, often root."""
    user: tuple[int, int] | None = None
    """Whom programs run as, user and group, by number; never root. This process' user when nothing is said, or 65532 where
    that is root."""
    default_memory: Size | None = "1g"
    """The memory of attempts that say nothing. None is no limit."""
    default_max_processes: int | None = None
    """Processes and threads of attempts that say nothing."""
    max_open_files: int | None = None
    """Open files of one process."""
    tmp_size: Size | None = None
    """How much ``/tmp`` holds; it is memory of the attempt. 64 MiB when nothing is said."""
    network: str | None = None
    """The network that programs share, as far as they reach outwards; ``fastflow`` when nothing is said."""
    max_warm: int | None = None
    """How many warm sandboxes may wait at one time, of all pipelines together; 16 when nothing is said."""
    warm_lifetime: Duration | None = None
    """How long a warm sandbox waits before it ends; 10 minutes when nothing is said."""
    order_folder: PathLike | None = None
    """A folder in memory (tmpfs) by which attempts are handed what they are to do, their secrets with it. No other executor
    uses it. One below ``/dev/shm`` or ``/run`` when nothing is said."""
    host_paths: Mapping[str, str] = field(default_factory=dict[str, str])
    """Where folders of this process lie on the engine's machine, where this process itself runs in a container. It is
    found out by asking the engine when it is empty."""
    call_timeout: Duration | None = None
    """How long one question to the engine may take; 10 s when nothing is said."""
    change_timeout: Duration | None = None
    """How long it may take to make, start or remove something; 60 s when nothing is said."""
    pull_stall_timeout: Duration | None = None
    """How long getting an image may be without any progress; 120 s when nothing is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Docker(_Containers):
    """Runs programs in containers of a Docker engine, 20.10 or newer.

    >>> docker = fastflow.Docker(image="python:3.12-slim", default_memory="2g")
    >>> docker.pull
    <PullPolicy.MISSING: 'missing'>
    """

    tls_folder: PathLike | None = None
    """The folder with ``ca.pem``, ``cert.pem`` and ``key.pem`` for a TCP address; as ``DOCKER_CERT_PATH`` says when nothing is
    said."""
    credentials_folder: PathLike | None = None
    """The folder with the ``config.json`` that has the credentials for registries; as ``DOCKER_CONFIG`` says, or
    ``~/.docker``, when nothing is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Podman(_Containers):
    """Runs programs in containers of a Podman engine, 4.3 or newer, with or without root.

    >>> fastflow.Podman(host="unix:///run/podman/podman.sock").host
    'unix:///run/podman/podman.sock'
    """

    auth_file: PathLike | None = None
    """The file with the credentials for registries; where ``podman login`` leaves it when nothing is said."""


BuiltInExecutor = Process | Docker | Podman
"""An executor of the package, with its options."""

_BY_NAME: dict[str, type[BuiltInExecutor]] = {"process": Process, "docker": Docker, "podman": Podman}


def named_executors(
    executor: BuiltInExecutor | str | None,
    executors: Iterable[BuiltInExecutor | str] | Mapping[str, Executor | BuiltInExecutor | str] | None,
) -> list[tuple[str, Any]]:
    """The executors with their names, the default first, as the native half takes them; those that are written in
    Python as they are."""
    if executor is not None and executors is not None:
        raise InvalidError("give `executor` or `executors`, whose first is the default, and not both")
    if executor is not None:
        executors = [executor]
    if executors is None:
        return []
    if isinstance(executors, str):
        raise InvalidError(f"`executors` takes several: write executor={executors!r}, or executors=[{executors!r}]")
    if isinstance(executors, Mapping):
        by_name = cast("Mapping[str, Executor | BuiltInExecutor | str]", executors)
        return [(name, _record(_given(executor))) for name, executor in by_name.items()]
    named: dict[str, Any] = {}
    for given in map(_given, executors):
        name = next((name for name, kind in _BY_NAME.items() if type(given) is kind), None)
        if name is None:
            raise InvalidError(f"an executor of your own needs a name: write executors={{'mine': {given!r}}}")
        if name in named:
            raise InvalidError(
                f"two executors are called {name!r}: give them names, as executors={{'first': …, 'second': …}}"
            )
        named[name] = _record(given)
    return list(named.items())


def _given(executor: Executor | BuiltInExecutor | str) -> Executor | BuiltInExecutor:
    if isinstance(executor, str):
        if executor not in _BY_NAME:
            known = ", ".join(map(repr, _BY_NAME))
            raise InvalidError(f"there is no executor {executor!r}: those that are known by a name are {known}")
        return _BY_NAME[executor]()
    if type(executor) not in _BY_NAME.values():
        from .executor import Executor

        if not isinstance(executor, Executor):
            raise TypeError(
                f"an executor is a name, a Process, a Docker or a Podman, or an Executor of yours, and not {executor!r}"
            )
    return executor


def _record(executor: Executor | BuiltInExecutor) -> Any:
    match executor:
        case Process():
            return {
                "cgroups": flag(executor.cgroups, "cgroups"),
                "secrets_folder": path(executor.secrets_folder, "secrets_folder"),
            }
        case Docker():
            return {
                "docker": _engine(executor),
                "containers": _containers(executor),
                "tls_folder": path(executor.tls_folder, "tls_folder"),
                "credentials_folder": path(executor.credentials_folder, "credentials_folder"),
            }
        case Podman():
            return {
                "podman": _engine(executor),
                "containers": _containers(executor),
                "auth_file": path(executor.auth_file, "auth_file"),
            }
        case _:
            return executor


def _engine(containers: _Containers) -> dict[str, Any]:
    return {
        "host": text_or_none(containers.host, "host"),
        "allow_plain_tcp": flag(containers.allow_plain_tcp, "allow_plain_tcp"),
        "call_timeout": seconds_or_none(containers.call_timeout, "call_timeout"),
        "change_timeout": seconds_or_none(containers.change_timeout, "change_timeout"),
        "pull_stall_timeout": seconds_or_none(containers.pull_stall_timeout, "pull_stall_timeout"),
    }


def _containers(containers: _Containers) -> dict[str, Any]:
    return {
        "image": text_or_none(containers.image, "image"),
        "images": None if containers.images is None else texts(containers.images, "images"),
        "pull": choice(PullPolicy, containers.pull, "pull").value,
        "user": _user(containers.user),
        "order_folder": path(containers.order_folder, "order_folder"),
        "default_memory": size_or_none(containers.default_memory, "default_memory"),
        "default_max_processes": whole_or_none(containers.default_max_processes, "default_max_processes", 0),
        "max_open_files": whole_or_none(containers.max_open_files, "max_open_files", 0, UINT64_MAX),
        "tmp_size": size_or_none(containers.tmp_size, "tmp_size"),
        "network": text_or_none(containers.network, "network"),
        "max_warm": whole_or_none(containers.max_warm, "max_warm", 0),
        "warm_lifetime": seconds_or_none(containers.warm_lifetime, "warm_lifetime"),
        "host_paths": [
            (text(here, "a name in `host_paths`"), text(there, "a value in `host_paths`"))
            for here, there in mapping(containers.host_paths, "host_paths").items()
        ],
    }


def _user(user: tuple[int, int] | None) -> tuple[int, int] | None:
    if user is None:
        return None
    ids = [whole(id, "an item of `user`", 0) for id in several(user, "user")]
    if len(ids) != 2:
        raise InvalidError("`user` is two numbers: those of the user and of the group")
    return ids[0], ids[1]
