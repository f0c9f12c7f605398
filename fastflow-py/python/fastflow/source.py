"""The source of pipelines: a folder or a repository, synced, looked at, watched."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

from ._given import count_or_none, text_or_none
from ._time import Duration, seconds_or_none
from .runs import Failure, FailureKind

if TYPE_CHECKING:
    from ._fastflow import Operation
    from ._fastflow import Source as NativeSource
    from .flow import AsyncFlow, Flow

_PAGE = 100


class SyncOutcome(str, Enum):
    """What came of a sync."""

    UNCHANGED = "unchanged"
    """There was nothing new."""
    PUBLISHED = "published"
    """What is there now is shown, all of it at once."""
    FAILED = "failed"
    """Nothing was changed."""

    def __str__(self) -> str:
        return self.value


class SyncTrigger(str, Enum):
    """What a sync was made for."""

    CALL = "call"
    """Somebody called for it."""
    START = "start"
    """The host started."""
    INTERVAL = "interval"
    """It was time."""
    CHANGE = "change"
    """The source said that something has changed."""

    def __str__(self) -> str:
        return self.value


class ChangeKind(str, Enum):
    """What a sync changed of a pipeline."""

    ADDED = "added"
    """It is new, or came back."""
    CHANGED = "changed"
    """Its files or what they say differ."""
    BROKEN = "broken"
    """It has configuration errors, new ones or for the first time."""
    REMOVED = "removed"
    """It is gone. Its history stays."""

    def __str__(self) -> str:
        return self.value


class SyncFailureKind(str, Enum):
    """What kind of thing went wrong with a sync."""

    UNREACHABLE = "unreachable"
    """The server or the folder cannot be reached, or broke off."""
    AUTHENTICATION = "authentication"
    """The server does not accept the credentials, or wants some."""
    HOST_KEY = "host_key"
    """The server's key is not the one that is trusted, or none is."""
    MISSING = "missing"
    """There is no such repository, branch, tag or folder."""
    REFUSED = "refused"
    """What came is not taken: by its address, its kind, or a rule for trees."""
    TOO_LARGE = "too_large"
    """What came is larger than the limits."""
    TIMED_OUT = "timed_out"
    """It took too long."""
    CORRUPT = "corrupt"
    """What came is damaged, and so it was after another try."""
    STORAGE_FULL = "storage_full"
    """No room is left on a device."""
    DENIED = "denied"
    """File permissions do not allow it."""
    INTERNAL = "internal"
    """A fault of the package itself, or a failure with no better name."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncFailure:
    """Why a source could not be synced. Nothing has changed then."""

    kind: SyncFailureKind
    """What to branch on."""
    message: str
    """What went wrong and what to do, without any credential."""
    is_transient: bool
    """Whether the same sync may work later without anybody changing anything."""

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One commit of a repository, and where it was found."""

    id: str
    """Its name."""
    reference: str
    """The full name of the branch or tag it was found by, such as ``refs/heads/main``."""
    branch: str | None
    """The branch's short name, if it was found by a branch."""
    author: str
    """Who wrote it, without an address."""
    subject: str
    """The first line of its message."""
    at: datetime
    """When it was committed, by its committer's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineChange:
    """What a sync changed of one pipeline."""

    pipeline: str
    """Its name."""
    kind: ChangeKind
    """What happened to it."""
    findings: tuple[str, ...]
    """What is wrong with it now, if it is broken; the first five."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """One line of the log of syncs."""

    id: int
    """Its position in the log."""
    started_at: datetime
    """When it began; the last one, where the line stands for several."""
    since: datetime
    """When the first one began of those that the line stands for."""
    repeated: int
    """How many syncs in a row the line stands for: those that came to the same and changed nothing."""
    duration: timedelta
    """How long it took."""
    trigger: SyncTrigger
    """What it was made for."""
    branch: str | None
    """The branch that was asked for, if one was."""
    outcome: SyncOutcome
    """What came of it."""
    changes: tuple[PipelineChange, ...]
    """What it changed, by name."""
    failure: SyncFailure | None
    """Why it failed, if it did."""
    previous: str | None
    """The commit that was published before it."""
    commit: Commit | None
    """The commit that is published after it."""
    commits_ahead: int | None
    """Commits that were published and that the branch does not have any more: its history was rewritten."""
    commits_behind: int | None
    """Commits of the branch that were not published."""
    bytes: int
    """Bytes that came over the network for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """How a source stands."""

    is_well: bool
    """Whether the newest sync did not fail."""
    commit: Commit | None
    """The commit that is shown; none for folders, or before the first sync."""
    last_success_at: datetime | None
    """When the last sync began that did not fail."""
    last_failure_at: datetime | None
    """When the last sync began that failed. It is over when ``last_success_at`` is later."""
    last_failure: SyncFailure | None
    """Why that one failed."""
    last_sync: Sync | None
    """The newest sync."""
    pipelines: int
    """The pipelines that are shown."""
    broken: int
    """Those of them that have configuration errors."""
    warnings: tuple[str, ...]
    """What is odd and belongs to no pipeline, such as a folder whose name cannot be one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What there is at a source that can be reached."""

    commit: str | None
    """The commit that a sync would publish."""
    branches: tuple[str, ...]
    """The branches that are there, by name; at most 1,000."""
    host_key: str | None
    """The fingerprint of the server's key, such as ``SHA256:…``, where it has one that is pinned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncStarted:
    """A sync begins to look."""

    trigger: SyncTrigger
    """What it was made for."""
    branch: str | None
    """The branch that was asked for, if one was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncEnded:
    """A sync has ended, well or not. What it published is shown."""

    sync: Sync
    """What came of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentBegun:
    """The environment of a pipeline is made ahead of its next run."""

    pipeline: str
    """The pipeline."""
    revision: str
    """Its revision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentProgress:
    """Something was said while an environment is made."""

    pipeline: str
    """The pipeline."""
    line: str
    """One line, without its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentEnded:
    """An environment is there, or could not be made. A failure stops no sync and no run."""

    pipeline: str
    """The pipeline."""
    revision: str
    """Its revision."""
    environment: str | None
    """The environment's id, if it is there."""
    failure: Failure | None
    """Why it is not, if it is not."""


SourceEvent = SyncStarted | SyncEnded | EnvironmentBegun | EnvironmentProgress | EnvironmentEnded
"""Something that happens to a source."""


def _commit(record: dict[str, Any] | None) -> Commit | None:
    return None if record is None else Commit(**record)


def _sync_failure(record: dict[str, Any] | None) -> SyncFailure | None:
    if record is None:
        return None
    record["kind"] = SyncFailureKind(record["kind"])
    return SyncFailure(**record)


def _change(record: dict[str, Any]) -> PipelineChange:
    record["kind"] = ChangeKind(record["kind"])
    record["findings"] = tuple(record["findings"])
    return PipelineChange(**record)


def _sync(record: dict[str, Any]) -> Sync:
    record["trigger"] = SyncTrigger(record["trigger"])
    record["outcome"] = SyncOutcome(record["outcome"])
    record["changes"] = tuple(map(_change, record["changes"]))
    record["failure"] = _sync_failure(record["failure"])
    record["commit"] = _commit(record["commit"])
    return Sync(**record)


def _status(record: dict[str, Any]) -> SourceStatus:
    record["commit"] = _commit(record["commit"])
    record["last_failure"] = _sync_failure(record["last_failure"])
    record["last_sync"] = None if record["last_sync"] is None else _sync(record["last_sync"])
    record["warnings"] = tuple(record["warnings"])
    return SourceStatus(**record)


def _probe(record: dict[str, Any]) -> Probe:
    record["branches"] = tuple(record["branches"])
    return Probe(**record)


def _event(record: dict[str, Any]) -> SourceEvent:
    match record.pop("event"):
        case "sync_started":
            return SyncStarted(trigger=SyncTrigger(record["trigger"]), branch=record["branch"])
        case "sync_ended":
            return SyncEnded(sync=_sync(record["sync"]))
        case "environment_begun":
            return EnvironmentBegun(**record)
        case "environment_progress":
            return EnvironmentProgress(**record)
        case _:
            failed = record["failure"]
            if failed is not None:
                failed["kind"] = FailureKind(failed["kind"])
                record["failure"] = Failure(**failed)
            return EnvironmentEnded(**record)


def _page(native: NativeSource, before: int | None, left: int | None) -> Operation[list[dict[str, Any]]]:
    return native.syncs(before, _PAGE if left is None else min(left, _PAGE))


class Source:
    """Where the pipelines of a flow come from.

    >>> flow.source.sync().outcome in (SyncOutcome.UNCHANGED, SyncOutcome.PUBLISHED)
    True
    >>> flow.source.status().is_well
    True
    """

    __slots__ = ("_flow", "_native")

    def __init__(self, flow: Flow, native: NativeSource) -> None:
        self._flow = flow
        self._native = native

    def sync(self, *, branch: str | None = None, timeout: Duration | None = None) -> Sync:
        """Looks for what is new and shows it: pipelines with their schedules and triggers, all at once.

        It waits as long as it takes when nothing is said: a fetch has limits of its own. One that is not waited for goes on.

        Args:
            branch: the branch to publish, and to follow from now on until the host ends or another one is named.
            timeout: how long to wait.

        Raises:
            UnavailableError: the source cannot be reached.
            DeniedError: the credentials or the key of the server are not taken.
            NotFoundError: there is no such branch, tag or folder.
            InvalidError: what is there is not taken.
        """
        return self._native.sync(text_or_none(branch, "branch")).then(_sync).block(seconds_or_none(timeout))

    def status(self, *, timeout: Duration | None = None) -> SourceStatus:
        """How the source stands."""
        return self._native.status().then(_status).block(self._flow._limit(timeout))

    def is_well(self, *, timeout: Duration | None = None) -> bool:
        """Whether the newest sync did not fail. :meth:`status` says why it did."""
        return self.status(timeout=timeout).is_well

    def syncs(self, *, limit: int | None = None, timeout: Duration | None = None) -> Iterator[Sync]:
        """The log of syncs, newest first; read a page at a time while it is iterated over. It keeps 1,000 lines."""
        before: int | None = None
        left = count_or_none(limit, "limit")
        while left is None or left > 0:
            records = _page(self._native, before, left).block(self._flow._limit(timeout))
            if not records:
                return
            before = records[-1]["id"]
            left = None if left is None else left - len(records)
            yield from map(_sync, records)

    def probe(self, *, timeout: Duration | None = None) -> Probe:
        """Whether the source can be reached with what it was told, and what is there. It changes nothing, and raises what
        :meth:`sync` does."""
        return self._native.probe().then(_probe).block(self._flow._limit(timeout))

    def forget_host_key(self, *, timeout: Duration | None = None) -> str | None:
        """Forgets the key that is pinned for the server, and answers its fingerprint: the next sync trusts the key that the
        server has then. For when the server's operator says that it has another one.

        Raises:
            UnsupportedError: the source has no such server.
        """
        return self._native.forget_host_key().block(self._flow._limit(timeout))

    def events(self, *, timeout: Duration | None = None) -> Iterator[SourceEvent]:
        """What happens to the source from now on. Whoever is more than 1,000 events behind loses the oldest.

        Args:
            timeout: how long to wait for each event; for ever, when nothing is said.
        """
        return self._native.events(then=_event, timeout=seconds_or_none(timeout))


class AsyncSource:
    """The same as :class:`Source`, for ``await`` and ``async for``."""

    __slots__ = ("_flow", "_native")

    def __init__(self, flow: AsyncFlow, native: NativeSource) -> None:
        self._flow = flow
        self._native = native

    async def sync(self, *, branch: str | None = None, timeout: Duration | None = None) -> Sync:
        """Looks for what is new and shows it. See :meth:`Source.sync`."""
        return await self._native.sync(text_or_none(branch, "branch")).then(_sync).within(seconds_or_none(timeout))

    async def status(self, *, timeout: Duration | None = None) -> SourceStatus:
        """How the source stands."""
        return await self._native.status().then(_status).within(self._flow._limit(timeout))

    async def is_well(self, *, timeout: Duration | None = None) -> bool:
        """Whether the newest sync did not fail."""
        return (await self.status(timeout=timeout)).is_well

    async def syncs(self, *, limit: int | None = None, timeout: Duration | None = None) -> AsyncIterator[Sync]:
        """The log of syncs, newest first; for ``async for``."""
        before: int | None = None
        left = count_or_none(limit, "limit")
        while left is None or left > 0:
            records = await _page(self._native, before, left).within(self._flow._limit(timeout))
            if not records:
                return
            before = records[-1]["id"]
            left = None if left is None else left - len(records)
            for record in records:
                yield _sync(record)

    async def probe(self, *, timeout: Duration | None = None) -> Probe:
        """Whether the source can be reached, and what is there. See :meth:`Source.probe`."""
        return await self._native.probe().then(_probe).within(self._flow._limit(timeout))

    async def forget_host_key(self, *, timeout: Duration | None = None) -> str | None:
        """Forgets the key that is pinned for the server. See :meth:`Source.forget_host_key`."""
        return await self._native.forget_host_key().within(self._flow._limit(timeout))

    def events(self, *, timeout: Duration | None = None) -> AsyncIterator[SourceEvent]:
        """What happens to the source from now on; for ``async for``."""
        return self._native.events(then=_event, timeout=seconds_or_none(timeout))
