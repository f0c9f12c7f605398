"""Others who have secrets, and are asked for what is not found among those of the flow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ._given import PathLike, mapping, path, text, texts, type_name, whole_or_none
from ._time import Duration, seconds_or_none
from .master_keys import split_command


@dataclass(frozen=True, slots=True)
class EnvironmentSecrets:
    """Secrets in variables of this process. Programs never get these variables themselves.

    >>> fastflow.EnvironmentSecrets("FASTFLOW_SECRET_").prefix
    'FASTFLOW_SECRET_'
    """

    prefix: str
    """The secret ``TOKEN`` is in the variable whose name is this and then ``TOKEN``."""


@dataclass(frozen=True, slots=True)
class DirectorySecrets:
    """Secrets in files, as Kubernetes and Docker mount them: each in the file of its name.

    >>> fastflow.DirectorySecrets("/run/secrets").folder
    '/run/secrets'
    """

    folder: PathLike
    """The folder."""


@dataclass(frozen=True, slots=True)
class CommandSecrets:
    """Secrets that a program writes on its standard output: the command line of a vault, or of a cloud. It is started
    without a shell, once for each secret of each attempt.

    >>> fastflow.CommandSecrets(["vault", "kv", "get", "-field=value", "secret/{name}"], inherit=["VAULT_ADDR"])
    CommandSecrets(command=['vault', …], inherit=['VAULT_ADDR'])
    """

    command: Sequence[str]
    """The program, and what it is told. ``{name}`` in an argument is the name of the secret, and ``{pipeline}`` that of the
    pipeline."""
    inherit: Iterable[str] = ()
    """The variables of this process that it finds, besides ``PATH``, ``HOME`` and ``LANG``."""
    env: Mapping[str, str] = field(default_factory=dict[str, str], kw_only=True, repr=False)
    """Further variables. They win over those of this process."""
    missing_code: int | None = field(default=None, kw_only=True)
    """The exit code by which it says that there is no such secret, so that whoever is asked later may have it."""
    timeout: Duration | None = field(default=None, kw_only=True)
    """How long it may take for one name; 30 s when nothing is said."""

    def __repr__(self) -> str:
        # People do put passwords into arguments.
        return f"CommandSecrets(command=[{self.command[0]!r}, …], inherit={self.inherit!r})"


SecretStore = EnvironmentSecrets | DirectorySecrets | CommandSecrets
"""Somebody who has secrets."""


def store_record(store: SecretStore) -> dict[str, Any]:
    """Somebody who has secrets, as the native half takes it."""
    match store:
        case EnvironmentSecrets():
            return {"prefix": text(store.prefix, "prefix")}
        case DirectorySecrets():
            return {"folder": path(store.folder, "folder")}
        case CommandSecrets():
            program, args = split_command(store.command, "a command for secrets")
            return {
                "program": program,
                "args": args,
                "inherit": texts(store.inherit, "inherit"),
                "env": {
                    text(name, "a name in `env`"): text(value, "a value in `env`")
                    for name, value in mapping(store.env, "env").items()
                },
                "missing_code": whole_or_none(store.missing_code, "missing_code", 0, 255),
                "timeout": seconds_or_none(store.timeout),
            }
    raise TypeError(
        "a secret store is an EnvironmentSecrets, a DirectorySecrets or a CommandSecrets, and not of the type "
        f"{type_name(store)}"
    )
