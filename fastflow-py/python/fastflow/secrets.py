"""Secrets: sealed where they are kept, given only to pipelines that name them, and masked in what those say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from ._frozen import FrozenMapping
from ._given import at_most_one, text
from ._time import Duration, seconds_or_none
from .errors import InvalidError

if TYPE_CHECKING:
    from ._fastflow import Operation
    from ._fastflow import Secrets as NativeSecrets
    from .flow import AsyncFlow, Flow

_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretScope:
    """Whom a value is for. The narrower scope wins: a schedule's over its pipeline's, a pipeline's over the global one.

    >>> str(SecretScope(pipeline="etl")), str(SecretScope.GLOBAL)
    ('pipeline:etl', 'global')
    >>> SecretScope.parse("schedule:etl@nightly").schedule
    'etl@nightly'
    """

    pipeline: str | None = None
    """One pipeline, by its name."""
    schedule: str | None = None
    """The runs of one schedule, by its id."""

    GLOBAL: ClassVar[SecretScope]
    """Every pipeline that names it."""

    def __post_init__(self) -> None:
        at_most_one("whom a value is for", pipeline=self.pipeline, schedule=self.schedule)

    @classmethod
    def parse(cls, text: str) -> SecretScope:
        """The scope of a text: ``global``, ``pipeline:<name>`` or ``schedule:<id>``."""
        match text.partition(":"):
            case ("global", "", ""):
                return cls.GLOBAL
            case ("pipeline", ":", name):
                return cls(pipeline=name)
            case ("schedule", ":", id):
                return cls(schedule=id)
            case _:
                expected = "'global', 'pipeline:<name>' or 'schedule:<id>'"
                raise InvalidError(f"{text!r} is no scope of a secret: {expected}")

    def __str__(self) -> str:
        if self.pipeline is not None:
            return f"pipeline:{self.pipeline}"
        return "global" if self.schedule is None else f"schedule:{self.schedule}"


SecretScope.GLOBAL = SecretScope()


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSecret:
    """What became of a value that was set."""

    version: int
    """Which value it is: the first has 1."""
    is_masked: bool
    """Whether it is long enough to be masked in logs. A parameter is not masked at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretInfo:
    """What is known of a value that pipelines can name, but for the value of a secret."""

    scope: SecretScope
    """Whom it is for."""
    name: str
    """Its name."""
    version: int
    """Counts its values, those before a removal included."""
    parameter: str | None
    """The value, of a parameter."""
    key: str | None
    """The id of the master key that it is sealed with, of a secret."""
    set_at: datetime
    """When this value was set."""
    last_used_at: datetime | None
    """When an attempt last got this value."""
    last_used_by: UUID | None
    """The run that got it."""
    is_newest: bool
    """Whether it is the newest that there ever was under its scope and name. One that is not was put back by somebody, and
    no attempt gets it: set it anew, or remove it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretVersion:
    """One value that there is or was. The value itself is kept no longer than it is in force."""

    version: int
    """Its number, from 1."""
    is_sealed: bool
    """Whether it is a secret, and no parameter."""
    set_at: datetime
    """When it was set."""
    ended_at: datetime | None
    """When it was replaced or removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableSecret:
    """A stored secret that could not be opened. It stays as it is."""

    scope: SecretScope
    """Whom it is for."""
    name: str
    """Its name."""
    reason: str
    """Why it could not be opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """What putting every secret under one key came to."""

    resealed: int
    """How many values this call has put under the key that seals."""
    values_by_key: Mapping[str, int]
    """How many values there are under each key now, by its id."""
    unreadable: tuple[UnreadableSecret, ...]
    """Those that could not be opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterKeyUse:
    """A master key, and what it is used for. One that stored secrets need cannot be dropped."""

    key: str
    """Its id."""
    values: int
    """How many stored values are sealed with it. Sealed text in pipelines is not counted."""
    is_there: bool
    """Whether this flow has it."""
    seals: bool
    """Whether it is the one that new values are sealed with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedSecret:
    """A name for which a pipeline wants a value."""

    pipeline: str
    """The pipeline."""
    variable: str
    """The name."""
    is_brought: bool
    """Whether the pipeline brings a sealed value itself, in its ``encrypted_env``."""
    stored: tuple[SecretScope, ...]
    """The scopes under which there is a value for it, the one that wins last. Other stores are not asked."""

    @property
    def is_missing(self) -> bool:
        """Whether neither the pipeline nor the flow has a value."""
        return not self.is_brought and not self.stored


def _set(record: dict[str, Any]) -> SetSecret:
    return SetSecret(**record)


def _info(record: dict[str, Any]) -> SecretInfo:
    record["scope"] = SecretScope.parse(record["scope"])
    run = record["last_used_by"]
    record["last_used_by"] = None if run is None else UUID(run)
    return SecretInfo(**record)


def _versions(records: list[dict[str, Any]]) -> list[SecretVersion]:
    return [SecretVersion(**record) for record in records]


def _rotation(record: dict[str, Any]) -> Rotation:
    return Rotation(
        resealed=record["resealed"],
        values_by_key=FrozenMapping(record["values_by_key"]),
        unreadable=tuple(
            UnreadableSecret(scope=SecretScope.parse(scope), name=name, reason=reason)
            for scope, name, reason in record["unreadable"]
        ),
    )


def _keys(records: list[dict[str, Any]]) -> list[MasterKeyUse]:
    return [MasterKeyUse(**record) for record in records]


def _wanted(records: list[dict[str, Any]]) -> list[WantedSecret]:
    for record in records:
        record["stored"] = tuple(map(SecretScope.parse, record["stored"]))
    return [WantedSecret(**record) for record in records]


def _after(page: list[dict[str, Any]]) -> tuple[str, str] | None:
    """Where the next page begins, if there may be one."""
    return (page[-1]["scope"], page[-1]["name"]) if len(page) == _PAGE else None


def _page(
    native: NativeSecrets, scope: SecretScope | None, after: tuple[str, str] | None
) -> Operation[list[dict[str, Any]]]:
    return native.page(None if scope is None else str(scope), after, _PAGE)


def _named(scope: SecretScope, name: str) -> tuple[str, str]:
    return text(str(scope), "scope"), text(name, "name")


def _sealed(native: NativeSecrets, pipeline: str, variable: str, value: str) -> Operation[str]:
    return native.seal_text(text(pipeline, "pipeline"), text(variable, "variable"), text(value, "value"))


class Secrets:
    """The secrets of a flow. Values go in here and do not come out again, but for :meth:`reveal`.

    >>> key = fastflow.generate_master_key(data_dir / "master.key")
    >>> with fastflow.open(
    ...     pipelines, data_dir=data_dir, master_key=fastflow.MasterKeyFile(data_dir / "master.key")
    ... ) as flow:
    ...     print(flow.secrets.set("DATABASE_URL", "postgres://example").version)
    ...     print([secret.name for secret in flow.secrets.list()])
    1
    ['DATABASE_URL']
    """

    __slots__ = ("_flow", "_native")

    def __init__(self, flow: Flow, native: NativeSecrets) -> None:
        self._flow = flow
        self._native = native

    def set(
        self, name: str, value: str, *, scope: SecretScope = SecretScope.GLOBAL, timeout: Duration | None = None
    ) -> SetSecret:
        """Sets a secret, in the place of what there was. Attempts that start from now on get it.

        Raises:
            InvalidError: the flow has no master key, or no program could get such a value.
        """
        operation = self._native.set(*_named(scope, name), text(value, "value")).then(_set)
        return operation.block(self._flow._limit(timeout))

    def set_parameter(
        self, name: str, value: str, *, scope: SecretScope = SecretScope.GLOBAL, timeout: Duration | None = None
    ) -> SetSecret:
        """Sets a value that anybody may see, for pipelines to name beside secrets. It is neither sealed nor masked."""
        operation = self._native.set_parameter(*_named(scope, name), text(value, "value")).then(_set)
        return operation.block(self._flow._limit(timeout))

    def remove(
        self, name: str, *, scope: SecretScope = SecretScope.GLOBAL, timeout: Duration | None = None
    ) -> None:
        """Removes a value. Attempts that start from now on and want it do not start.

        Raises:
            NotFoundError: there is none.
        """
        self._native.remove(*_named(scope, name)).block(self._flow._limit(timeout))

    def list(self, *, scope: SecretScope | None = None, timeout: Duration | None = None) -> Iterator[SecretInfo]:
        """What there is, by scope and name; read a page at a time while it is iterated over."""
        after: tuple[str, str] | None = None
        while True:
            records = _page(self._native, scope, after).block(self._flow._limit(timeout))
            after = _after(records)
            yield from map(_info, records)
            if after is None:
                return

    def versions(
        self, name: str, *, scope: SecretScope = SecretScope.GLOBAL, timeout: Duration | None = None
    ) -> Sequence[SecretVersion]:
        """The values that there are and were under a name, newest first. The values themselves are not kept."""
        return self._native.versions(*_named(scope, name)).then(_versions).block(self._flow._limit(timeout))

    def reveal(
        self, name: str, *, scope: SecretScope = SecretScope.GLOBAL, timeout: Duration | None = None
    ) -> str:
        """The value itself. Nothing else in Fast-Flow calls this.

        Raises:
            NotFoundError: there is none.
            InvalidError: it cannot be opened.
        """
        return self._native.reveal(*_named(scope, name)).block(self._flow._limit(timeout))

    def rotate(self, *, timeout: Duration | None = None) -> Rotation:
        """Puts every stored secret under the key that seals now, and waits as long as it takes when nothing is said.

        Each is readable all the time; a call that ends in the middle is gone on with by the next. Sealed text in pipelines
        stays as it is.
        """
        return self._native.rotate().then(_rotation).block(seconds_or_none(timeout))

    def keys(self, *, timeout: Duration | None = None) -> Sequence[MasterKeyUse]:
        """The master keys that this flow has or that stored secrets need."""
        return self._native.keys().then(_keys).block(self._flow._limit(timeout))

    def seal_text(self, pipeline: str, variable: str, value: str, *, timeout: Duration | None = None) -> str:
        """A sealed text for ``encrypted_env`` of a ``pipeline.json``: only this pipeline can use it, under this name, with
        the master key."""
        return _sealed(self._native, pipeline, variable, value).block(self._flow._limit(timeout))

    def wanted(self, *, timeout: Duration | None = None) -> Sequence[WantedSecret]:
        """Which names the pipelines want, and whether there are values for them."""
        return self._native.wanted().then(_wanted).block(self._flow._limit(timeout))


class AsyncSecrets:
    """The same as :class:`Secrets`, for ``await`` and ``async for``."""

    __slots__ = ("_flow", "_native")

    def __init__(self, flow: AsyncFlow, native: NativeSecrets) -> None:
        self._flow = flow
        self._native = native

    async def set(
        self, name: str, value: str, *, scope: SecretScope = SecretScope.GLOBAL, timeout: Duration | None = None
    ) -> SetSecret:
        """Sets a secret, in the place of what there was. See :meth:`Secrets.set`."""
        operation = self._native.set(*_named(scope, name), text(value, "value")).then(_set)
        return await operation.within(self._flow._limit(timeout))

    async def set_parameter(
        self, name: str, value: str, *, scope: SecretScope = SecretScope.GLOBAL, timeout: Duration | None = None
    ) -> SetSecret:
        """Sets a value that anybody may see. See :meth:`Secrets.set_parameter`."""
        operation = self._native.set_parameter(*_named(scope, name), text(value, "value")).then(_set)
        return await operation.within(self._flow._limit(timeout))

    async def remove(
        self, name: str, *, scope: SecretScope = SecretScope.GLOBAL, timeout: Duration | None = None
    ) -> None:
        """Removes a value. See :meth:`Secrets.remove`."""
        await self._native.remove(*_named(scope, name)).within(self._flow._limit(timeout))

    async def list(
        self, *, scope: SecretScope | None = None, timeout: Duration | None = None
    ) -> AsyncIterator[SecretInfo]:
        """What there is, by scope and name; for ``async for``."""
        after: tuple[str, str] | None = None
        while True:
            records = await _page(self._native, scope, after).within(self._flow._limit(timeout))
            after = _after(records)
            for record in records:
                yield _info(record)
            if after is None:
                return

    async def versions(
        self, name: str, *, scope: SecretScope = SecretScope.GLOBAL, timeout: Duration | None = None
    ) -> Sequence[SecretVersion]:
        """The values that there are and were under a name, newest first."""
        return await self._native.versions(*_named(scope, name)).then(_versions).within(self._flow._limit(timeout))

    async def reveal(
        self, name: str, *, scope: SecretScope = SecretScope.GLOBAL, timeout: Duration | None = None
    ) -> str:
        """The value itself. See :meth:`Secrets.reveal`."""
        return await self._native.reveal(*_named(scope, name)).within(self._flow._limit(timeout))

    async def rotate(self, *, timeout: Duration | None = None) -> Rotation:
        """Puts every stored secret under the key that seals now. See :meth:`Secrets.rotate`."""
        return await self._native.rotate().then(_rotation).within(seconds_or_none(timeout))

    async def keys(self, *, timeout: Duration | None = None) -> Sequence[MasterKeyUse]:
        """The master keys that this flow has or that stored secrets need."""
        return await self._native.keys().then(_keys).within(self._flow._limit(timeout))

    async def seal_text(self, pipeline: str, variable: str, value: str, *, timeout: Duration | None = None) -> str:
        """A sealed text for ``encrypted_env`` of a ``pipeline.json``. See :meth:`Secrets.seal_text`."""
        return await _sealed(self._native, pipeline, variable, value).within(self._flow._limit(timeout))

    async def wanted(self, *, timeout: Duration | None = None) -> Sequence[WantedSecret]:
        """Which names the pipelines want, and whether there are values for them."""
        return await self._native.wanted().then(_wanted).within(self._flow._limit(timeout))
