"""What callers give, as what the native half takes; and how it is refused."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, cast

from .errors import InvalidError

Size = int | str
"""An amount of memory or disk: a number of bytes, or a text such as ``"512m"``, ``"1.5g"`` or ``"2GiB"``. Units count by
1024."""

PathLike = str | os.PathLike[str]
"""A path."""

UINT32_MAX = 2**32 - 1
UINT64_MAX = 2**64 - 1
INT64_MAX = 2**63 - 1
PRIORITY_MIN = -(2**15)
PRIORITY_MAX = 2**15 - 1

_E = TypeVar("_E", bound=Enum)
_T = TypeVar("_T")


def choice(kind: type[_E], value: _E | str, name: str) -> _E:
    """One of an enum's members, or its value as text, in any case."""
    try:
        return kind(value)
    except ValueError:
        for member in kind:
            if isinstance(value, str) and member.value.casefold() == value.casefold():
                return member
        known = ", ".join(repr(member.value) for member in kind)
        raise InvalidError(f"`{name}` is one of {known}, and not {value!r}") from None


def choices(kind: type[_E], values: Iterable[_E | str] | _E | str | None, name: str) -> list[_E]:
    """Several of an enum's members, or one, or none; each may be its value as text."""
    if values is None:
        return []
    several = [values] if isinstance(values, (str, kind)) else values
    return [choice(kind, value, name) for value in several]  # type: ignore[union-attr]


def choice_or_none(kind: type[_E], value: _E | str | None, name: str) -> _E | None:
    """The same, if one was given."""
    return None if value is None else choice(kind, value, name)


def of_kind(kind: type[_T], value: _T, name: str) -> _T:
    """Refuses what is something else, with the name that the caller gave it by."""
    if not isinstance(value, kind):
        raise TypeError(f"`{name}` is of the type {kind.__name__}, and not {type(value).__name__}")
    return value


def several_of(kind: type[_T], values: Any, name: str) -> list[_T]:
    """Several of one kind."""
    try:
        several: Iterator[Any] = iter(values)
    except TypeError:
        raise TypeError(
            f"`{name}` takes several of the type {kind.__name__}, and no {type(values).__name__}"
        ) from None
    return [of_kind(kind, value, name) for value in several]


def mapping(values: Any, name: str) -> Mapping[str, Any]:
    """Values by their names."""
    if not isinstance(values, Mapping):
        raise TypeError(f"`{name}` is a mapping of names to values, and not of the type {type(values).__name__}")
    return cast("Mapping[str, Any]", values)


def whole(value: int, name: str, least: int, most: int = UINT32_MAX) -> int:
    """A whole number between these two, both included."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"`{name}` is of the type int, and not {type(value).__name__}") from None
    if not least <= number <= most:
        # What was given may have more digits than Python writes.
        found = f", and not {number}" if abs(number) <= UINT64_MAX else ""
        raise InvalidError(f"`{name}` is a whole number from {least} to {most}{found}")
    return number


def whole_or_none(value: int | None, name: str, least: int, most: int = UINT32_MAX) -> int | None:
    """The same, if one was given."""
    return None if value is None else whole(value, name, least, most)


def count_or_none(value: int | None, name: str) -> int | None:
    """How many, at most; ``None`` for all. Nothing at all may be asked for."""
    if value is not None and of_kind(int, value, name) < 0:
        raise InvalidError(f"`{name}` is 0 or more, and not {value!r}")
    return value


def priority_or_none(value: int | None) -> int | None:
    """A place in the queue, if one was given."""
    return whole_or_none(value, "priority", PRIORITY_MIN, PRIORITY_MAX)


def size_or_none(value: Any, name: str) -> Size | None:
    """An amount of bytes, if one was given. What a text says is read by the native half."""
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, int):
        raise TypeError(f"`{name}` is a number of bytes, or a text such as \"2g\", and not a {type(value).__name__}")
    return whole(value, name, 0, INT64_MAX)


def text(value: str, name: str) -> str:
    """A text that can be written down: a half of a pair of surrogates is no character."""
    try:
        of_kind(str, value, name).encode()
    except UnicodeEncodeError as error:
        raise InvalidError(f"`{name}` is no text: its character {error.start + 1} is half of one") from None
    return value


def text_or_none(value: str | None, name: str) -> str | None:
    """The same, if one was given."""
    return None if value is None else text(value, name)


def texts(values: Iterable[str], name: str) -> list[str]:
    """Several texts. One text alone would be taken for its letters."""
    if isinstance(values, str):
        raise InvalidError(f"`{name}` takes several: write [{values!r}]")
    return [text(value, name) for value in several_of(str, values, name)]


def path(value: PathLike | None) -> Path | None:
    """A path, if one was given. ``~`` is the home of this user."""
    return None if value is None else Path(value).expanduser()


def possible_path(value: PathLike, name: str) -> Path:
    """A path that a file could have."""
    found = Path(value)
    try:
        is_path = b"\0" not in os.fsencode(found)
    except UnicodeEncodeError:
        is_path = False
    if not is_path:
        raise InvalidError(f"`{name}` is no path: it holds a character that no path can have")
    return found


def at_most_one(what: str, **given: object) -> None:
    """Refuses two answers to one question."""
    said = [f"`{name}`" for name, value in given.items() if value is not None]
    if len(said) > 1:
        raise InvalidError(f"{' and '.join(said)} both say {what}: give one of them")
