"""Where uv is."""

from __future__ import annotations

import os


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
