"""Packages: what is installed where, who used it, bills of materials, and what is known to be vulnerable."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ._given import text, text_or_none, whole, whole_or_none
from ._time import Duration, seconds_or_none

if TYPE_CHECKING:
    from ._fastflow import Operation
    from ._fastflow import Packages as NativePackages
    from .flow import AsyncFlow, Flow

DEFAULT_AUDITS = 100
"""How many audits are read when the caller does not say."""


class PackageOrigin(str, Enum):
    """What kind of place a package came from."""

    INDEX = "index"
    """An index, or a folder that serves as one."""
    DIRECT = "direct"
    """A URL that the pipeline names."""
    FILE = "file"
    """A file that the pipeline names."""
    UNKNOWN = "unknown"
    """Nothing says where."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One package of an environment."""

    name: str
    """Its name, normalised."""
    version: str
    """Its version, as the package itself says it."""
    hashes: tuple[str, ...]
    """What the lock allows: the file that was installed has one of these hashes. Empty where the lock has none."""
    origin: PackageOrigin
    """What kind of place it came from."""
    place: str | None
    """The URL or path of that place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentPackages:
    """An environment with its packages, as it was recorded. It stays when the environment is removed from the disk."""

    environment: str
    """The environment's id."""
    lock_hash: str
    """SHA-256 of the lock it was built from, in hexadecimal."""
    python_version: str
    """The version of its interpreter."""
    uv_version: str
    """The version of the ``uv`` that built it."""
    recorded_at: datetime
    """When this was recorded."""
    packages: tuple[Package, ...] | None
    """Its packages, by name. None where nobody could say when it was recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageInEnvironment:
    """A package in an environment."""

    environment: str
    """The environment's id."""
    package: Package
    """The package, with its version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageUse:
    """Who used a package."""

    environments: tuple[PackageInEnvironment, ...]
    """The environments that have it, those recorded last first; at most 1,000."""
    more_environments: bool
    """Whether there are more of them."""
    pipelines: tuple[str, ...]
    """The pipelines that ran in any of them, by name."""
    runs: tuple[UUID, ...]
    """The runs with an attempt in any of them, newest first; a page of them."""
    next_runs: UUID | None
    """Given as ``before``, it leads to the next page of runs. None on the last one."""
    unknown_environments: int
    """How many environments were used whose packages nobody knows: what ran there may have used it too."""


class AuditOutcome(str, Enum):
    """What an audit came to."""

    CLEAN = "clean"
    """No package that was looked at is known to be vulnerable."""
    VULNERABLE = "vulnerable"
    """Some are."""
    TOOL_MISSING = "tool_missing"
    """The tool is not there, so nothing is known."""
    FAILED = "failed"
    """The audit failed, so nothing is known."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One known vulnerability of an installed package."""

    package: str
    """The package."""
    version: str
    """The version that is installed."""
    id: str
    """The name of the vulnerability, such as ``PYSEC-2023-212``."""
    aliases: tuple[str, ...]
    """Its other names, such as those of CVE."""
    fixed_in: tuple[str, ...]
    """The versions without it, as far as there are any."""
    description: str
    """What it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedPackage:
    """A package that an audit did not look at."""

    package: str
    """The package."""
    reason: str
    """Why not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What an audit found in the packages of an environment."""

    environment: str
    """The environment's id."""
    at: datetime
    """When it ended."""
    outcome: AuditOutcome
    """What it came to."""
    message: str
    """The same in words."""
    audited: int | None
    """How many packages were looked at; None when nothing is known."""
    findings: tuple[Finding, ...]
    """What was found."""
    skipped: tuple[SkippedPackage, ...]
    """The packages that were not looked at."""


def _package(record: dict[str, Any]) -> Package:
    record["hashes"] = tuple(record["hashes"])
    record["origin"] = PackageOrigin(record["origin"])
    return Package(**record)


def _environment(record: dict[str, Any]) -> EnvironmentPackages:
    packages = record["packages"]
    record["packages"] = None if packages is None else tuple(_package(found) for found in packages)
    return EnvironmentPackages(**record)


def _use(record: dict[str, Any]) -> PackageUse:
    record["environments"] = tuple(
        PackageInEnvironment(environment=found["environment"], package=_package(found["package"]))
        for found in record["environments"]
    )
    record["pipelines"] = tuple(record["pipelines"])
    record["runs"] = tuple(UUID(run) for run in record["runs"])
    record["next_runs"] = None if record["next_runs"] is None else UUID(record["next_runs"])
    return PackageUse(**record)


def _finding(record: dict[str, Any]) -> Finding:
    record["aliases"] = tuple(record["aliases"])
    record["fixed_in"] = tuple(record["fixed_in"])
    return Finding(**record)


def _audit(record: dict[str, Any]) -> Audit:
    record["outcome"] = AuditOutcome(record["outcome"])
    record["findings"] = tuple(_finding(found) for found in record["findings"])
    record["skipped"] = tuple(SkippedPackage(**found) for found in record["skipped"])
    return Audit(**record)


def _audits(records: list[dict[str, Any]]) -> list[Audit]:
    return [_audit(record) for record in records]


def _used(
    native: NativePackages, name: str, versions: str | None, before: UUID | None, limit: int | None
) -> Operation[dict[str, Any]]:
    return native.used(
        text(name, "name"),
        versions=text_or_none(versions, "versions"),
        before=None if before is None else text(str(before), "before"),
        limit=whole_or_none(limit, "limit", 1),
    )


def _audited(native: NativePackages, environment: str | None, limit: int) -> Operation[list[Audit]]:
    return native.audits(text_or_none(environment, "environment"), whole(limit, "limit", 1)).then(_audits)


class Packages:
    """The packages of the environments of a flow.

    An environment is recorded soon after the first attempt in it has started, and stays recorded when it is removed from
    the disk.

    >>> run = flow.run("hello").wait()
    >>> flow.packages.of_run(run.id).environment == run.attempts()[-1].setup.environment
    True
    """

    __slots__ = ("_flow", "_native")

    def __init__(self, flow: Flow, native: NativePackages) -> None:
        self._flow = flow
        self._native = native

    def of_run(self, id: UUID | str, *, timeout: Duration | None = None) -> EnvironmentPackages:
        """The environment of the newest attempt of a run that had one.

        Raises:
            NotFoundError: there is no such run, or no attempt of it had an environment so far.
        """
        return self._native.of_run(text(str(id), "id")).then(_environment).block(self._flow._limit(timeout))

    def of_environment(self, id: str, *, timeout: Duration | None = None) -> EnvironmentPackages:
        """An environment as it was recorded.

        Raises:
            NotFoundError: it is not recorded.
        """
        return self._native.of_environment(text(id, "id")).then(_environment).block(self._flow._limit(timeout))

    def used(
        self,
        name: str,
        *,
        versions: str | None = None,
        before: UUID | None = None,
        limit: int | None = None,
        timeout: Duration | None = None,
    ) -> PackageUse:
        """Who used a package: environments, pipelines, and a page of runs.

        Args:
            name: the package.
            versions: only in these, such as ``<2.2``; in all, when nothing is said.
            before: only runs older than this one: the page after it.
            limit: at most so many runs; 100, when nothing is said.
            timeout: how long to wait for the answer.

        >>> flow.packages.used("urllib3", versions="<2.2").pipelines
        ()
        """
        operation = _used(self._native, name, versions, before, limit)
        return operation.then(_use).block(self._flow._limit(timeout))

    def sbom_of_run(self, id: UUID | str, *, timeout: Duration | None = None) -> dict[str, Any]:
        """The bill of materials of the newest attempt of a run that had an environment, as CycloneDX 1.6.

        Raises:
            NotFoundError: there is no such run, it had no environment, or nobody knows its packages.
        """
        return self._native.sbom_of_run(text(str(id), "id")).block(self._flow._limit(timeout))

    def sbom_of_environment(self, id: str, *, timeout: Duration | None = None) -> dict[str, Any]:
        """The bill of materials of an environment, as CycloneDX 1.6. It is the same whenever it is asked for.

        Raises:
            NotFoundError: there is no such environment, or nobody knows its packages.
        """
        return self._native.sbom_of_environment(text(id, "id")).block(self._flow._limit(timeout))

    def audit(self, environment: str, *, timeout: Duration | None = None) -> Audit:
        """Audits the packages of an environment, now, and keeps what is found; it has a limit of its own.

        That the tool is missing or fails is an outcome like any other.

        Raises:
            NotFoundError: the environment is not recorded, or nobody knows its packages.
            TimedOutError: it took longer than ``timeout``. Nothing is kept.
        """
        return self._native.audit(text(environment, "environment")).then(_audit).block(seconds_or_none(timeout))

    def audits(
        self, environment: str | None = None, *, limit: int = DEFAULT_AUDITS, timeout: Duration | None = None
    ) -> list[Audit]:
        """The audits of one environment, or of all, newest first; at most ``limit``, and never more than 1,000.

        >>> flow.packages.audits()
        []
        """
        return _audited(self._native, environment, limit).block(self._flow._limit(timeout))


class AsyncPackages:
    """The same as :class:`Packages`, for ``await``."""

    __slots__ = ("_flow", "_native")

    def __init__(self, flow: AsyncFlow, native: NativePackages) -> None:
        self._flow = flow
        self._native = native

    async def of_run(self, id: UUID | str, *, timeout: Duration | None = None) -> EnvironmentPackages:
        """The environment of the newest attempt of a run that had one. See :meth:`Packages.of_run`."""
        return await self._native.of_run(text(str(id), "id")).then(_environment).within(self._flow._limit(timeout))

    async def of_environment(self, id: str, *, timeout: Duration | None = None) -> EnvironmentPackages:
        """An environment as it was recorded. See :meth:`Packages.of_environment`."""
        return await self._native.of_environment(text(id, "id")).then(_environment).within(self._flow._limit(timeout))

    async def used(
        self,
        name: str,
        *,
        versions: str | None = None,
        before: UUID | None = None,
        limit: int | None = None,
        timeout: Duration | None = None,
    ) -> PackageUse:
        """Who used a package: environments, pipelines, and a page of runs. See :meth:`Packages.used`."""
        operation = _used(self._native, name, versions, before, limit)
        return await operation.then(_use).within(self._flow._limit(timeout))

    async def sbom_of_run(self, id: UUID | str, *, timeout: Duration | None = None) -> dict[str, Any]:
        """The bill of materials of a run, as CycloneDX 1.6. See :meth:`Packages.sbom_of_run`."""
        return await self._native.sbom_of_run(text(str(id), "id")).within(self._flow._limit(timeout))

    async def sbom_of_environment(self, id: str, *, timeout: Duration | None = None) -> dict[str, Any]:
        """The bill of materials of an environment, as CycloneDX 1.6. See :meth:`Packages.sbom_of_environment`."""
        return await self._native.sbom_of_environment(text(id, "id")).within(self._flow._limit(timeout))

    async def audit(self, environment: str, *, timeout: Duration | None = None) -> Audit:
        """Audits the packages of an environment, now, and keeps what is found. See :meth:`Packages.audit`."""
        return await self._native.audit(text(environment, "environment")).then(_audit).within(seconds_or_none(timeout))

    async def audits(
        self, environment: str | None = None, *, limit: int = DEFAULT_AUDITS, timeout: Duration | None = None
    ) -> list[Audit]:
        """The audits of one environment, or of all, newest first. See :meth:`Packages.audits`."""
        return await _audited(self._native, environment, limit).within(self._flow._limit(timeout))
