"""Fast-Flow in notebooks: results as HTML, runs that are watched live, and cells that run isolated.

A run that is the last expression of a cell is shown live while it is in flight, and as it ended afterwards. With
``anywidget`` installed there is a button that cancels it; without, plain HTML is replaced in place, and says how to
cancel. The cell is free at once in both cases.

``%load_ext fastflow`` adds ``%%fastflow``, which runs a cell isolated, and shows lists of runs as tables.

>>> from fastflow import notebook
>>> view = notebook.view(flow.run("hello"))
>>> view.wait(timeout=60).status
<Status.SUCCESS: 'SUCCESS'>
"""

from __future__ import annotations

from ._table import Table, table
from ._view import TAIL_BYTES, TAIL_LINES, View, view

__all__ = ["TAIL_BYTES", "TAIL_LINES", "Table", "View", "table", "view"]
