"""What callers give, as what the native half takes; and how it is refused."""

from __future__ import annotations

import os
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import TypeVar

from .errors import InvalidError

Size = int | str
"""An amount of memory or disk: a number of bytes, or a text such as ``"512m"``, ``"1.5g"`` or ``"2GiB"``. Units count by
1024."""

PathLike = str | os.PathLike[str]
"""A path."""

_E = TypeVar("_E", bound=Enum)


def choice(kind: type[_E], value: _E | str, name: str) -> _E:
    """One of an enum's members, or its value as text."""
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(repr(member.value) for member in kind)
        raise InvalidError(f"`{name}` is one of {known}, and not {value!r}") from None


def choices(kind: type[_E], values: Iterable[_E | str] | _E | str | None, name: str) -> list[_E]:
    """Several of an enum's members, or one, or none; each may be its value as text."""
    if values is None:
        return []
    several = [values] if isinstance(values, (str, kind)) else values
    return [choice(kind, value, name) for value in several]  # type: ignore[union-attr]


def count_or_none(value: int | None, name: str) -> int | None:
    """How many, at most; ``None`` for all. Nothing at all may be asked for."""
    if value is not None and value < 0:
        raise InvalidError(f"`{name}` is 0 or more, and not {value!r}")
    return value


def texts(values: Iterable[str], name: str) -> list[str]:
    """Several texts. One text alone would be taken for its letters."""
    if isinstance(values, str):
        raise InvalidError(f"`{name}` takes several: write [{values!r}]")
    return list(values)


def path(value: PathLike | None) -> Path | None:
    """A path, if one was given. ``~`` is the home of this user."""
    return None if value is None else Path(value).expanduser()


def at_most_one(what: str, **given: object) -> None:
    """Refuses two answers to one question."""
    said = [f"`{name}`" for name, value in given.items() if value is not None]
    if len(said) > 1:
        raise InvalidError(f"{' and '.join(said)} both say {what}: give one of them")
