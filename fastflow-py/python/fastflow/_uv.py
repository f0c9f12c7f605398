"""Where uv is."""

from __future__ import annotations

import os
from pathlib import Path

from ._given import PathLike, possible_path
from .errors import InvalidError


def installed_uv() -> str | None:
    """The ``uv`` that was installed with the package; None lets it be looked for in ``PATH``."""
    try:
        from uv import find_uv_bin
    except ImportError:
        return None
    try:
        return os.fspath(find_uv_bin())
    except FileNotFoundError:
        return None


def given_uv(uv: PathLike) -> Path:
    """The one that was named. A name alone is looked for on the ``PATH`` when it is needed."""
    found = possible_path(uv, "uv").expanduser()
    # `Path` has no `./uv`: it would be a name alone.
    if "/" not in os.fspath(uv):
        return found
    if not found.is_file():
        raise InvalidError(f"`uv` is {os.fspath(found)!r}, which is no file")
    return found.absolute()
