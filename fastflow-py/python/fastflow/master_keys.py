"""Master keys: what secrets are sealed with, and where it comes from."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ._fastflow import generate_master_key as _generate
from ._given import PathLike, path, several, text, texts, type_name
from .errors import InvalidError

_RAW_BYTES = 32


@dataclass(frozen=True, slots=True)
class MasterKeyFile:
    """A file that belongs to this user or root, and that nobody else can read or change: mode 600 or 400.

    >>> fastflow.MasterKeyFile("/run/secrets/master.key").path
    '/run/secrets/master.key'
    """

    path: PathLike
    """The file. Links are followed."""


@dataclass(frozen=True, slots=True)
class MasterKeyVariable:
    """An environment variable of this process. Whoever can read its environment can read the key: a file is better."""

    name: str
    """Its name. Programs never get it."""


@dataclass(frozen=True, slots=True)
class MasterKeyCommand:
    """What a program writes on its standard output: the command line of a vault, or of a cloud. It is started without a
    shell and with an empty standard input, and has 30 s.

    >>> fastflow.MasterKeyCommand(["vault", "kv", "get", "-field=key", "secret/fastflow"], inherit=["VAULT_ADDR"])
    MasterKeyCommand(command=['vault', …], inherit=['VAULT_ADDR'])
    """

    command: Sequence[str]
    """The program, by its path or its name on the ``PATH``, and what it is told."""
    inherit: Iterable[str] = ()
    """The variables of this process that it finds, besides ``PATH``, ``HOME`` and ``LANG``. It finds no others."""

    def __repr__(self) -> str:
        # People do put passwords into arguments.
        return f"MasterKeyCommand(command=[{self.command[0]!r}, …], inherit={self.inherit!r})"


MasterKey = str | bytes | MasterKeyFile | MasterKeyVariable | MasterKeyCommand
"""A master key: its text (the 44 characters that :func:`generate_master_key` writes), its 32 bytes, or where it is."""


def generate_master_key(path: PathLike) -> str:
    """Writes a new master key to a file that only this user can read, and answers the key's id.

    Keep a copy elsewhere: without it, nothing that it has sealed ever opens again.

    Raises:
        AlreadyExistsError: there is such a file, which stays as it is, whatever it is.

    >>> id = fastflow.generate_master_key(data_dir / "keys" / "master.key")
    >>> fastflow.generate_master_key(data_dir / "keys" / "master.key")
    Traceback (most recent call last):
    fastflow.errors.AlreadyExistsError: there is such a file, and no key is ever written over another one
    """
    return _generate(os.fspath(path))


def key_record(key: MasterKey | None) -> dict[str, Any] | None:
    """A key, as the native half takes it."""
    match key:
        case None:
            return None
        case str():
            return {"key": key}
        case bytes():
            return {"key": base64.b64encode(key).decode() if len(key) == _RAW_BYTES else _text(key)}
        case MasterKeyFile():
            return {"path": path(key.path, "path")}
        case MasterKeyVariable():
            return {"variable": text(key.name, "name")}
        case MasterKeyCommand():
            program, args = split_command(key.command, "a command for a master key")
            return {"program": program, "args": args, "inherit": set(texts(key.inherit, "inherit"))}
    raise TypeError(
        "a master key is a text, bytes, a MasterKeyFile, a MasterKeyVariable or a MasterKeyCommand, and not of the type "
        f"{type_name(key)}"
    )


def key_records(keys: Iterable[MasterKey]) -> list[dict[str, Any] | None]:
    """Several keys, as the native half takes them."""
    if isinstance(keys, (str, bytes)):
        raise InvalidError("`older_master_keys` takes several: put the one key into a list")
    return [key_record(key) for key in several(keys, "older_master_keys")]


def fernet_text(key: str | bytes | None) -> str | None:
    """A Fernet key as text."""
    return _text(key) if isinstance(key, bytes) else key


def split_command(command: Sequence[str], what: str) -> tuple[str, list[str]]:
    """The program of a command, and its arguments."""
    if isinstance(command, str) or not command:
        raise InvalidError(f"{what} is a list: the program, and each of its arguments; no shell reads it")
    program, *args = command
    return program, args


def _text(key: bytes) -> str:
    try:
        return key.decode("ascii")
    except UnicodeDecodeError:
        # Not with the words of the decoder, which quote what they found.
        raise InvalidError("a key in bytes is its text in ASCII, or of a master key its 32 bytes") from None
