"""What kind of program this is."""

from __future__ import annotations

import sys


def is_kernel() -> bool:
    """Whether this is a kernel of Jupyter, whose front end can show HTML and replace it."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None
