"""Pipelines from a git repository."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ._given import (
    UINT64_MAX,
    PathLike,
    Size,
    at_most_one,
    choice,
    of_kind,
    path,
    several,
    size_or_none,
    text,
    text_or_none,
    whole,
    whole_or_none,
)
from ._time import Duration, seconds_or_none
from .errors import InvalidError


class InsecureScheme(str, Enum):
    """A way to a repository that protects neither what is fetched nor who asks. For tests, and for networks that need no
    protection."""

    HTTP = "http"
    """``http://…``. A token is shown only to this machine itself."""
    GIT = "git"
    """``git://…``, of ``git daemon``."""
    FILE = "file"
    """``file:///…``, or a path from the root. Needs git to be installed."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHubApp:
    """A GitHub App that may read the repository: it gets tokens that live for an hour.

    >>> fastflow.GitHubApp(app="Iv23li0123456789", installation=42, key="-----BEGIN RSA PRIVATE KEY-----…")
    GitHubApp(app='Iv23li0123456789', installation=42, key_file=None, api=None, ca_certificates=None)
    """

    app: str
    """Its number or client id."""
    installation: int
    """The number of its installation."""
    key: str | None = field(default=None, repr=False)
    """Its private key, in PEM."""
    key_file: PathLike | None = None
    """A file with the private key that only its owner can read; read whenever it is used."""
    api: str | None = None
    """Where the API of a GitHub Enterprise Server is: ``https://<host>/api/v3``."""
    ca_certificates: PathLike | None = None
    """A file in PEM with certificate authorities that are trusted beside those of the machine."""

    def __post_init__(self) -> None:
        at_most_one("what the key of the GitHub App is", key=self.key, key_file=self.key_file)
        if self.key is None and self.key_file is None:
            raise InvalidError("a GitHub App has a private key: give `key_file`, or `key`")


@dataclass(frozen=True, slots=True, kw_only=True)
class GitLimits:
    """What is taken of a repository at most. What is not said has a default.

    >>> fastflow.GitLimits(max_fetch="200m").fetch_timeout is None
    True
    """

    max_fetch: Size | None = None
    """How much one fetch may bring over the network; 4 GiB when nothing is said."""
    fetch_timeout: Duration | None = None
    """How long one fetch may take, all together; 10 minutes when nothing is said."""
    silence_timeout: Duration | None = None
    """How long the server may say nothing at all; 1 minute when nothing is said."""
    max_pipelines: int | None = None
    """Entries at the top of the folder of pipelines; 20,000 when nothing is said."""
    max_pipeline_files: int | None = None
    """Files, links and folders of one pipeline; 20,000 when nothing is said."""
    max_pipeline_size: Size | None = None
    """Bytes of all files of one pipeline; 1 GiB when nothing is said."""
    max_pipeline_depth: int | None = None
    """Folders inside each other; 32 when nothing is said."""
    max_total_files: int | None = None
    """Files, links and folders of all pipelines together that one commit may change; a million when nothing is said."""
    max_total_size: Size | None = None
    """Bytes of all pipelines together that one commit may change; 16 GiB when nothing is said."""


@dataclass(frozen=True, slots=True)
class Git:
    """A git repository of pipelines. It is synced at the start, when :meth:`Source.sync` is called, and at each
    ``sync_interval``.

    >>> git = fastflow.Git("https://git.example.org/team/pipelines.git", branch="production", token="s3cret")
    >>> git.branch, "s3cret" in repr(git)
    ('production', False)
    """

    url: str
    """``https://…``, ``ssh://user@host/path`` or ``user@host:path``; without a user or a password for https."""
    branch: str | None = field(default=None, kw_only=True)
    """The branch that is published; the default branch of the repository when neither it nor a tag is said."""
    tag: str | None = field(default=None, kw_only=True)
    """The tag that is published."""
    subfolder: str | None = field(default=None, kw_only=True)
    """The folder of pipelines in the repository; its top when nothing is said."""
    token: str | None = field(default=None, kw_only=True, repr=False)
    """A token as the password, with https."""
    token_file: PathLike | None = field(default=None, kw_only=True)
    """A file with a token, read anew for each sync."""
    username: str | None = field(default=None, kw_only=True)
    """Whom the token belongs to, for servers that look at it."""
    deploy_key: PathLike | None = field(default=None, kw_only=True)
    """A file with a private key in OpenSSH's format that only its owner can read, with ssh."""
    github_app: GitHubApp | None = field(default=None, kw_only=True)
    """A GitHub App, with https."""
    known_hosts: str | None = field(default=None, kw_only=True)
    """The only servers that are believed with ssh, as lines of a ``known_hosts``. The key that a server shows first is
    pinned when nothing is said."""
    known_hosts_file: PathLike | None = field(default=None, kw_only=True)
    """The same in a file, read anew for each sync."""
    ca_certificates: PathLike | None = field(default=None, kw_only=True)
    """A file in PEM with certificate authorities that are trusted beside those of the machine, with https."""
    insecure: Iterable[InsecureScheme | str] = field(default=(), kw_only=True)
    """What is allowed beside https and ssh."""
    limits: GitLimits | None = field(default=None, kw_only=True)
    """What is taken at most."""

    def __post_init__(self) -> None:
        at_most_one("what is published", branch=self.branch, tag=self.tag)
        at_most_one(
            "who asks for the repository",
            token=self.token,
            token_file=self.token_file,
            deploy_key=self.deploy_key,
            github_app=self.github_app,
        )
        at_most_one("which servers are believed", known_hosts=self.known_hosts, known_hosts_file=self.known_hosts_file)
        if self.username is not None and self.token is None and self.token_file is None:
            raise InvalidError("`username` says whom a token belongs to, and there is none")


def git_record(git: Git | None) -> dict[str, Any] | None:
    """A repository, as the native half takes it."""
    if git is None:
        return None
    of_kind(Git, git, "git")
    if isinstance(git.insecure, str):
        raise InvalidError(f"`insecure` takes several: write [{str(git.insecure)!r}]")
    return {
        "url": text(git.url, "url"),
        "branch": text_or_none(git.branch, "branch"),
        "tag": text_or_none(git.tag, "tag"),
        "subfolder": text_or_none(git.subfolder, "subfolder"),
        "access": _access(git),
        "known_hosts": text_or_none(git.known_hosts, "known_hosts"),
        "known_hosts_file": path(git.known_hosts_file, "known_hosts_file"),
        "ca_certificates": path(git.ca_certificates, "ca_certificates"),
        "insecure": [choice(InsecureScheme, scheme, "insecure").value for scheme in several(git.insecure, "insecure")],
        "limits": None if git.limits is None else _limits(of_kind(GitLimits, git.limits, "limits")),
    }


def _access(git: Git) -> dict[str, Any] | None:
    if git.token is not None:
        return {"token": text(git.token, "token"), "username": text_or_none(git.username, "username")}
    if git.token_file is not None:
        return {"token_file": path(git.token_file, "token_file"), "username": text_or_none(git.username, "username")}
    if git.deploy_key is not None:
        return {"deploy_key": path(git.deploy_key, "deploy_key")}
    app = git.github_app
    if app is None:
        return None
    return {
        "app": text(app.app, "app"),
        "installation": whole(app.installation, "installation", 0, UINT64_MAX),
        "key": {"file": path(app.key_file, "key_file")} if app.key is None else {"text": text(app.key, "key")},
        "api": text_or_none(app.api, "api"),
        "ca_certificates": path(app.ca_certificates, "ca_certificates"),
    }


def _limits(limits: GitLimits) -> dict[str, Any]:
    return {
        "max_fetch": size_or_none(limits.max_fetch, "max_fetch"),
        "fetch_timeout": seconds_or_none(limits.fetch_timeout, "fetch_timeout"),
        "silence_timeout": seconds_or_none(limits.silence_timeout, "silence_timeout"),
        "max_pipelines": whole_or_none(limits.max_pipelines, "max_pipelines", 0, UINT64_MAX),
        "max_pipeline_files": whole_or_none(limits.max_pipeline_files, "max_pipeline_files", 0, UINT64_MAX),
        "max_pipeline_size": size_or_none(limits.max_pipeline_size, "max_pipeline_size"),
        "max_pipeline_depth": whole_or_none(limits.max_pipeline_depth, "max_pipeline_depth", 0, UINT64_MAX),
        "max_total_files": whole_or_none(limits.max_total_files, "max_total_files", 0, UINT64_MAX),
        "max_total_size": size_or_none(limits.max_total_size, "max_total_size"),
    }
