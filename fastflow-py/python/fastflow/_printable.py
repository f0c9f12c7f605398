"""What programs have written, as it can be shown."""

from __future__ import annotations

# A line and a tab stay what they are; whatever else moves a cursor, or turns the order of what is read, is spelled out.
_CONTROLS = {*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)} - {0x09, 0x0A}
_SPELLED = {code: chr(code).encode("unicode_escape").decode() for code in _CONTROLS}


def printable(text: str) -> str:
    """The same text, with nothing in it that a terminal acts on.

    >>> print(printable("a\\x1b[31mb"))
    a\\x1b[31mb
    """
    return text.translate(_SPELLED)
