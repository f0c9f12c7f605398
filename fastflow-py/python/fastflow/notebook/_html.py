"""HTML from text that nobody vouches for: logs, names, parameters."""

from __future__ import annotations

import html
import re

_ESCAPE_SEQUENCES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Html(str):
    """Text that is HTML already. Only :func:`element` and :func:`joined` make it."""

    __slots__ = ()


def cleaned(text: str) -> str:
    """Text without what steers a terminal, reorders letters, or has no place in a document."""
    return _CONTROLS.sub("", _ESCAPE_SEQUENCES.sub("", text))


def escaped(value: object) -> str:
    """A value as it may stand in a document: HTML as it is, everything else as text."""
    if isinstance(value, Html):
        return value
    return html.escape(cleaned(str(value)), quote=True)


def element(tag: str, *children: object, **attributes: object) -> Html:
    """An element with its children and attributes, all escaped. A ``_`` in a name is a ``-``, at its end nothing.

    >>> from fastflow.notebook._html import element
    >>> print(element("b", "1 < 2", class_="x"))
    <b class="x">1 &lt; 2</b>
    """
    named = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escaped(value)}"' for name, value in attributes.items()
    )
    return Html(f"<{tag}{named}>{''.join(escaped(child) for child in children)}</{tag}>")


def joined(*parts: Html) -> Html:
    """Several pieces of HTML, one after the other."""
    return Html("".join(parts))
