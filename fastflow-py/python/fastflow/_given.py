"""What callers give, as what the native half takes; and how it is refused."""

from __future__ import annotations

import contextlib
import math
import operator
import os
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, SupportsIndex, TypeVar, cast

from .errors import InvalidError

Size = int | str
"""An amount of memory or disk: a number of bytes, or a text such as ``"512m"``, ``"1.5g"`` or ``"2GiB"``. Units count by
1024."""

PathLike = str | os.PathLike[str]
"""A path."""

UINT32_MAX = 2**32 - 1
UINT64_MAX = 2**64 - 1
INT64_MAX = 2**63 - 1
INT64_MIN = -(2**63)
PRIORITY_MIN = -(2**15)
PRIORITY_MAX = 2**15 - 1

_E = TypeVar("_E", bound=Enum)
_T = TypeVar("_T")


def type_name(value: object) -> str:
    """The type of what was given, with its module where people would not know it without."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def quoted(name: str) -> str:
    """An argument as messages name it; a name that says more, such as ``an item of `images` ``, stays as it is."""
    return name if "`" in name else f"`{name}`"


def choice(kind: type[_E], value: _E | str, name: str) -> _E:
    """One of an enum's members, or its value as text, in any case."""
    for member in kind:
        if value == member or (isinstance(value, str) and member.value.casefold() == value.casefold()):
            return member
    known = ", ".join(repr(member.value) for member in kind)
    if not isinstance(value, str):
        raise TypeError(f"{quoted(name)} is one of {known}, and not of the type {type_name(value)}")
    raise InvalidError(f"{quoted(name)} is one of {known}, and not {value!r}")


def choices(kind: type[_E], values: Iterable[_E | str] | _E | str | None, name: str) -> list[_E]:
    """Several of an enum's members, or one, or none; each may be its value as text."""
    if values is None:
        return []
    if isinstance(values, (str, kind)):
        return [choice(kind, values, name)]
    return [choice(kind, value, f"an item of `{name}`") for value in several(values, name)]


def choice_or_none(kind: type[_E], value: _E | str | None, name: str) -> _E | None:
    """The same, if one was given."""
    return None if value is None else choice(kind, value, name)


def of_kind(kind: type[_T], value: _T, name: str) -> _T:
    """Refuses what is something else, with the name that the caller gave it by."""
    if not isinstance(value, kind):
        raise TypeError(f"{quoted(name)} is of the type {kind.__name__}, and not {type_name(value)}")
    return value


def flag(value: bool, name: str) -> bool:
    """Yes or no. Those of numpy are no ``bool``."""
    if type_name(value) in ("numpy.bool", "numpy.bool_"):
        return bool(value)
    return of_kind(bool, value, name)


def several(values: Any, name: str) -> Iterator[Any]:
    """What can be iterated over."""
    try:
        return iter(values)
    except TypeError:
        raise TypeError(f"`{name}` takes several, as a list, and not {type_name(values)}") from None


def several_of(kind: type[_T], values: Any, name: str) -> list[_T]:
    """Several of one kind."""
    if isinstance(values, kind):
        raise InvalidError(f"`{name}` takes several: write [{values!r}]")
    return [of_kind(kind, value, f"an item of `{name}`") for value in several(values, name)]


def mapping(values: Any, name: str) -> Mapping[str, Any]:
    """Values by their names."""
    if not isinstance(values, Mapping):
        raise TypeError(f"`{name}` is a mapping of names to values, and not of the type {type_name(values)}")
    return cast("Mapping[str, Any]", values)


def whole(value: int, name: str, least: int, most: int = UINT32_MAX) -> int:
    """A whole number between these two, both included."""
    number = _index(value, name)
    if not least <= number <= most:
        raise InvalidError(f"{quoted(name)} is a whole number from {least} to {most}{_found(number)}")
    return number


def _index(value: int, name: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{quoted(name)} is of the type int, and not {type_name(value)}") from None


def _found(number: int) -> str:
    """What was given may have more digits than Python writes."""
    return f", and not {number}" if abs(number) <= UINT64_MAX else ""


def whole_or_none(value: int | None, name: str, least: int, most: int = UINT32_MAX) -> int | None:
    """The same, if one was given."""
    return None if value is None else whole(value, name, least, most)


def count_or_none(value: int | None, name: str) -> int | None:
    """How many, at most; ``None`` for all. Nothing at all may be asked for."""
    if value is None:
        return None
    number = _index(value, name)
    if number < 0:
        raise InvalidError(f"{quoted(name)} is 0 or more{_found(number)}")
    return number


def priority_or_none(value: int | None) -> int | None:
    """A place in the queue, if one was given."""
    return whole_or_none(value, "priority", PRIORITY_MIN, PRIORITY_MAX)


def number_or_none(value: Any, name: str) -> float | None:
    """A number, which has an end, if one was given."""
    if value is None:
        return None
    try:
        # A text is none, though `float` would read it.
        number = float("none" if isinstance(value, (str, bytes, bytearray)) else value)
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError):
        raise TypeError(f"{quoted(name)} is of the type float, and not {type_name(value)}") from None
    if not math.isfinite(number):
        raise InvalidError(f"{quoted(name)} is a number that has an end")
    return number


def size_or_none(value: Any, name: str) -> Size | None:
    """An amount of bytes, if one was given."""
    if value is None:
        return None
    if isinstance(value, str):
        return _amount(text(value, name), name)
    if not hasattr(value, "__index__"):
        raise TypeError(f"{quoted(name)} is a number of bytes, or a text such as \"2g\", and not {type_name(value)}")
    return whole(value, name, 0, INT64_MAX)


def _amount(value: str, name: str) -> str:
    """A text that says how many bytes. The native half reads it, and would not know what the caller calls it."""
    import re

    if not re.fullmatch(r"(?ai)[0-9]+ *b?|[0-9]+(\.[0-9]{1,9})? *[kmgt]i?b?", value.strip()):
        raise InvalidError(
            f"{quoted(name)} is {value[:80]!r}, no byte size: give a number of bytes, or one with a unit, such as "
            '"512m", "1.5g" or "2GiB"'
        )
    return value


def text(value: str, name: str) -> str:
    """A text that can be written down: a half of a pair of surrogates is no character."""
    try:
        of_kind(str, value, name).encode()
    except UnicodeEncodeError as error:
        raise InvalidError(f"{quoted(name)} is no text: its character {error.start + 1} is half of one") from None
    return value


def text_or_none(value: str | None, name: str) -> str | None:
    """The same, if one was given."""
    return None if value is None else text(value, name)


def variable(value: object, what: str) -> str:
    """A text or a number as programs find it in a variable: of members of enums, what they stand for."""
    if isinstance(value, str):
        return text(str.__str__(value), what)
    if hasattr(value, "__index__") and not isinstance(value, bool):
        # What numpy has for yes and no has the method, and is no number.
        with contextlib.suppress(TypeError):
            return int.__repr__(operator.index(cast("SupportsIndex", value)))
    if isinstance(value, float):
        return float.__repr__(value)
    raise InvalidError(
        f"{what} is a {type_name(value)}: programs find it as an environment variable, so give a str, an int or a float"
    )


def texts(values: Iterable[str], name: str) -> list[str]:
    """Several texts. One text alone would be taken for its letters."""
    given: Any = values
    if isinstance(given, bytes):
        given = given.decode("utf-8", "replace")
    return [text(value, f"an item of `{name}`") for value in several_of(str, given, name)]


def possible_path(value: PathLike, name: str) -> Path:
    """A path that a file could have."""
    try:
        found = Path(value)
    except TypeError:
        raise TypeError(f"`{name}` is a str or an os.PathLike, and not {type_name(value)}") from None
    try:
        is_path = b"\0" not in os.fsencode(found)
    except UnicodeEncodeError:
        is_path = False
    if not is_path:
        raise InvalidError(f"`{name}` is no path: it holds a character that no path can have")
    return found


def path(value: PathLike | None, name: str) -> Path | None:
    """A path, if one was given. ``~`` is the home of this user."""
    if value is None:
        return None
    found = possible_path(value, name)
    if not os.fspath(value):
        # `Path` takes an empty text for the folder where the process is.
        raise InvalidError(f"`{name}` is empty")
    return found.expanduser()


def at_most_one(what: str, **given: object) -> None:
    """Refuses two answers to one question."""
    said = [f"`{name}`" for name, value in given.items() if value is not None]
    if len(said) > 1:
        raise InvalidError(f"{' and '.join(said)} both say {what}: give one of them")
